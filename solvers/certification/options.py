"""What to certify and how."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.errors import InvalidInputError
from models.network import Normalization
from solvers.balls import Norm
from solvers.exact import ExactMode
from solvers.methods import Method

__all__ = ["CertifyOptions"]

_DEFAULT_METHODS = (Method.IBP, Method.CROWN, Method.ALPHA_CROWN, Method.EXACT)


@dataclass(frozen=True)
class CertifyOptions:
    """What to certify and how.

    Attributes:
        epsilon: Radius in raw input units.
        methods: Which lower bounds to compute; all of them run on every input.
        norm: Of the region: `inf`, `2` or `1`.
        timeout_seconds: Per input, for the exact search, for each convex program, and for all
            bounds by propagation together.
        valid_range: Smallest and largest valid raw input; None for no limit.
        targets: Classes that may win; None for all.
        device: `cpu`, `cuda` or `auto`.
        seed: Of the attack's random starts.
        normalization: Applied to raw inputs in front of the network, or None.
        exact_mode: `optimize` brackets the margin's value, `decide` its sign alone, sooner.
        proof_timeout_seconds: Per verified input, for a proof that the checker accepts; None for no
            proofs.

    Raises:
        InvalidInputError: An option is out of range.
    """

    epsilon: float
    methods: tuple[Method, ...] = _DEFAULT_METHODS
    norm: str = "inf"
    timeout_seconds: float = 60.0
    valid_range: tuple[float, float] | None = (0.0, 1.0)
    targets: tuple[int, ...] | None = None
    device: str = "auto"
    seed: int = 0
    normalization: Normalization | None = None
    exact_mode: ExactMode = ExactMode.OPTIMIZE
    proof_timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.epsilon) or self.epsilon < 0:
            raise InvalidInputError(
                f"epsilon is {self.epsilon}; give a finite number that is 0 or more"
            )
        if self.norm not in set(Norm):
            raise InvalidInputError(f"norm is {self.norm!r}; give inf, 2 or 1")
        if not self.timeout_seconds > 0 or math.isnan(self.timeout_seconds):
            raise InvalidInputError(
                f"the timeout is {self.timeout_seconds} seconds; give a number above 0"
            )
        limit = self.proof_timeout_seconds
        if limit is not None and not limit > 0:
            raise InvalidInputError(f"proofs get {limit} seconds; give a number above 0")
        if not self.methods:
            raise InvalidInputError("name at least one method")
