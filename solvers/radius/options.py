"""What is asked about minimum distortions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.errors import InvalidInputError
from models.network import Normalization
from solvers.balls import Norm

__all__ = ["RadiusOptions"]


@dataclass(frozen=True)
class RadiusOptions:
    """How far to bracket minimum distortions, and in what time.

    Attributes:
        norm: How distances are measured: `inf`, `2` or `1`.
        max_epsilon: No larger radius is tried; None for the largest distance that the valid range
            allows.
        tolerance: A bracket at most this wide is narrow enough, in raw input units.
        relative_tolerance: As is one at most this share of its upper end.
        timeout_seconds: Per input, for the exact decisions.
        valid_range: Smallest and largest valid raw input; None for no limit.
        targets: Classes that may win; None for all.
        device: `cpu`, `cuda` or `auto`.
        seed: Of the attacks' random starts.
        normalization: Applied to raw inputs in front of the network, or None.

    Raises:
        InvalidInputError: An option is out of range, or there is no limit on the radius.
    """

    norm: str = "inf"
    max_epsilon: float | None = None
    tolerance: float = 1e-4
    relative_tolerance: float = 0.01
    timeout_seconds: float = 60.0
    valid_range: tuple[float, float] | None = (0.0, 1.0)
    targets: tuple[int, ...] | None = None
    device: str = "auto"
    seed: int = 0
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        if self.norm not in set(Norm):
            raise InvalidInputError(f"norm is {self.norm!r}; give inf, 2 or 1")
        positive = {"max_epsilon": self.max_epsilon, "timeout_seconds": self.timeout_seconds}
        for name, value in positive.items():
            if value is not None and not (value > 0 and not math.isnan(value)):
                raise InvalidInputError(f"{name} is {value}; give a number above 0")
        if self.max_epsilon is not None and math.isinf(self.max_epsilon):
            raise InvalidInputError("max_epsilon is infinite; give a finite number")
        if self.max_epsilon is None and self.valid_range is None:
            raise InvalidInputError("without a valid range, distances have no limit: give one")
        for name in ("tolerance", "relative_tolerance"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise InvalidInputError(f"{name} is {value}; give a finite number from 0")
        if self.tolerance == 0.0 and self.relative_tolerance == 0.0:
            raise InvalidInputError("with both tolerances 0, no bracket is ever narrow enough")

    def limit(self, size: int) -> float:
        """Return the largest radius to try for inputs of `size` values."""
        if self.max_epsilon is not None:
            return self.max_epsilon
        low, high = self.valid_range or (0.0, 0.0)
        reach = {Norm.INF: 1.0, Norm.TWO: math.sqrt(size), Norm.ONE: float(size)}
        return (high - low) * reach[Norm(self.norm)]

    def narrow(self, lower: float, upper: float) -> bool:
        """Return whether a bracket is narrow enough; one that is open above never is."""
        allowed = max(self.tolerance, self.relative_tolerance * upper)
        return math.isfinite(upper) and upper - lower <= allowed
