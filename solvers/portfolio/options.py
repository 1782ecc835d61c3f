"""How a decision is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.errors import InvalidInputError

__all__ = ["DecideOptions"]


@dataclass(frozen=True)
class DecideOptions:
    """How a decision is made.

    Attributes:
        timeout_seconds: For all of it.
        device: `cpu`, `cuda` or `auto`.
        seed: Of everything that is drawn at random.

    Raises:
        InvalidInputError: The time is not positive.
    """

    timeout_seconds: float = 60.0
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.timeout_seconds > 0 or math.isnan(self.timeout_seconds):
            raise InvalidInputError(
                f"the timeout is {self.timeout_seconds} seconds; give a number above 0"
            )
