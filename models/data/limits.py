"""How much a data source may ask of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import DataError

__all__ = ["DataLimits"]


@dataclass(frozen=True)
class DataLimits:
    """Limits that are compared with what files declare, before anything is unpacked.

    Attributes:
        max_bytes: Of all inputs together in float32, and of any array that is unpacked.
        max_files: In a folder of images.
        max_pixels: Of one image, width times height.
        max_members: Arrays in one npz file.
    """

    max_bytes: int = 2**32
    max_files: int = 1_000_000
    max_pixels: int = 2**24
    max_members: int = 1000

    def check_bytes(self, wanted: int, what: str) -> None:
        """Refuse what would take too much memory.

        Raises:
            DataError: `wanted` is beyond the limit.
        """
        if wanted > self.max_bytes:
            raise DataError(
                f"{what} unpacks to {wanted} bytes, the limit is {self.max_bytes}; split it"
            )
