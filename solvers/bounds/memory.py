"""How much work is in flight at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.errors import InvalidInputError
from solvers.bounds.backward import Scene

__all__ = ["MemoryBudget", "out_of_memory"]

_COPIES = 6
"""Arrays of the size of the coefficients that a backward pass holds at its peak."""

_SMALLEST_BYTES = 1 << 20
"""Limits below this do not make pieces of practical networks any smaller."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of torch or Python says that memory ran out.

    torch's allocator for the processor raises a plain RuntimeError, so its words have to serve.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


@dataclass(frozen=True)
class MemoryBudget:
    """A limit on the memory of coefficient arrays.

    Attributes:
        limit_bytes: What all coefficients in flight may take together. On a processor 64 MiB is
            as fast as more, since larger pieces leave its caches.
    """

    limit_bytes: int = 1 << 26

    def __post_init__(self) -> None:
        if self.limit_bytes <= 0:
            raise InvalidInputError("the memory limit must be positive")

    @classmethod
    def for_device(cls, device: torch.device) -> MemoryBudget:
        """Return the default, which on an accelerator is a quarter of the memory that is free."""
        if device.type != "cuda":
            return cls()
        free, _ = torch.cuda.mem_get_info(device)
        return cls(max(cls.limit_bytes, free // 4))

    @property
    def whole_bytes(self) -> int:
        """What one array may take that cannot be cut into pieces."""
        return 16 * self.limit_bytes

    def rows(self, scene: Scene, *, two_sided: bool = False) -> int:
        """Return how many rows per example fit, at least 1."""
        per_row = self._row_bytes(scene) * scene.batch * (2 if two_sided else 1)
        return max(1, self.limit_bytes // per_row)

    def examples(self, scene: Scene, rows: int) -> int:
        """Return how many examples fit with so many rows each, at least 1."""
        return max(1, self.limit_bytes // (self._row_bytes(scene) * max(1, rows)))

    def halved(self) -> MemoryBudget | None:
        """Return half the limit, or None below which no piece gets any smaller."""
        smaller = self.limit_bytes // 2
        return MemoryBudget(smaller) if smaller >= _SMALLEST_BYTES else None

    @staticmethod
    def _row_bytes(scene: Scene) -> int:
        widest = max(node.size for node in scene.network.graph.nodes)
        return widest * scene.region.lower.element_size() * _COPIES
