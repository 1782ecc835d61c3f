"""What is asked: regions of inputs, and specifications of outputs.

Plain float64 numpy data, free of torch, so that parsers, checkers and encoders share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from models.errors import BoundsError, ShapeError, SpecificationError
from solvers.balls import Norm, NormBall

__all__ = [
    "Box",
    "Case",
    "Clause",
    "Problem",
    "Specification",
    "linf_ball",
    "norm_ball",
    "robustness",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Box:
    """A region: all inputs between two corners, and inside a ball where there is one.

    Attributes:
        lower, upper: Shape `input_shape`, float64, `lower <= upper` and finite.
        ball: An L1 or L2 ball whose centre lies between the corners, or None.

    Raises:
        ShapeError: The corners differ in shape, or the ball does from them.
        BoundsError: A bound is not finite, an interval is empty, or the ball's centre lies
            outside.
    """

    lower: FloatArray
    upper: FloatArray
    ball: NormBall | None = None

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape:
            raise ShapeError(f"corners have shapes {self.lower.shape} and {self.upper.shape}")
        finite = np.isfinite(self.lower) & np.isfinite(self.upper)
        if not finite.all():
            index = int(np.flatnonzero(~finite)[0])
            raise BoundsError(f"input {index} has a bound that is not finite; give both bounds")
        reversed_ = self.lower > self.upper
        if reversed_.any():
            index = int(np.flatnonzero(reversed_)[0])
            raise BoundsError(
                f"input {index} has lower bound {self.lower.flat[index]} above "
                f"upper bound {self.upper.flat[index]}"
            )
        if self.ball is not None:
            self._check_ball(self.ball.center)

    def _check_ball(self, center: FloatArray) -> None:
        if center.shape != self.shape:
            raise ShapeError(f"the ball has shape {center.shape}, its box has {self.shape}")
        if not (np.all(self.lower <= center) and np.all(center <= self.upper)):
            raise BoundsError("the centre of the ball lies outside its box")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.lower.shape

    @property
    def center(self) -> FloatArray:
        """Midpoint, or the ball's centre; inside the region."""
        if self.ball is not None:
            return self.ball.center
        middle = self.lower + (self.upper - self.lower) / 2
        return np.asarray(np.clip(middle, self.lower, self.upper))

    def require_shape(self, input_shape: tuple[int, ...]) -> None:
        """Refuse a network that takes other inputs.

        Raises:
            ShapeError: The shape of the inputs differs.
        """
        if self.shape != input_shape:
            raise ShapeError(f"the region has shape {self.shape}, the network takes {input_shape}")

    def reshape(self, shape: tuple[int, ...]) -> Box:
        """Return the same region for inputs of another shape.

        Raises:
            ShapeError: The number of inputs differs.
        """
        if prod(shape) != self.lower.size:
            raise ShapeError(
                f"the region has {self.lower.size} inputs, the network {prod(shape)} ({shape})"
            )
        ball = None if self.ball is None else self.ball.reshape(shape)
        return Box(self.lower.reshape(shape), self.upper.reshape(shape), ball)

    def contains(self, x: NDArray[np.floating]) -> bool:
        """Return whether `x` lies inside, compared exactly; not a number does not."""
        wide = x.astype(np.float64)
        if not (np.all(wide >= self.lower) and np.all(wide <= self.upper)):
            return False
        return self.ball is None or self.ball.contains(wide)

    def pulled_in(self, x: NDArray[np.floating]) -> FloatArray:
        """Return a point inside that is close to `x` and equal to it where `x` is inside.

        Args:
            x: Shape `input_shape`, finite.
        """
        cut = np.clip(x.astype(np.float64), self.lower, self.upper)
        # On the way from the ball's centre to a point of the box, which holds both.
        return cut if self.ball is None else self.ball.pulled_in(cut)


def linf_ball(
    center: NDArray[np.floating],
    epsilon: float | FloatArray,
    *,
    valid_range: tuple[float, float] | None = (0.0, 1.0),
) -> Box:
    """Return the L∞ ball around an input, cut to the valid range.

    Args:
        center: Raw input, shape `input_shape`.
        epsilon: Radius in raw input units, at least 0; or one per value, shape `input_shape`.
        valid_range: Smallest and largest valid input value; None for no limit.

    Raises:
        BoundsError: `epsilon` is negative or not finite, the centre is not finite, or it lies
            outside the valid range.
        ShapeError: There is not one radius per value.
    """
    wide, radii = _checked(center, epsilon)
    return _cut(wide, wide - radii, wide + radii, valid_range)


def norm_ball(
    center: NDArray[np.floating],
    epsilon: float | FloatArray,
    norm: Norm,
    *,
    valid_range: tuple[float, float] | None = (0.0, 1.0),
) -> Box:
    """Return the ball of a norm around an input, cut to the valid range.

    All x with ‖(x − center) / epsilon‖ ≤ 1 that the range allows.

    Args:
        center: Raw input, shape `input_shape`.
        epsilon: Radius in raw input units, at least 0; or one per value, shape `input_shape`.
        norm: L∞, L2 or L1.
        valid_range: Smallest and largest valid input value; None for no limit.

    Raises:
        BoundsError: `epsilon` is negative or not finite, the centre is not finite, or it lies
            outside the valid range.
        ShapeError: There is not one radius per value.
    """
    if norm is Norm.INF:
        return linf_ball(center, epsilon, valid_range=valid_range)
    wide, radii = _checked(center, epsilon)
    # Outwards, so that rounding cuts nothing off the ball.
    low = np.where(radii > 0, np.nextafter(wide - radii, -np.inf), wide)
    high = np.where(radii > 0, np.nextafter(wide + radii, np.inf), wide)
    box = _cut(wide, low, high, valid_range)
    return Box(box.lower, box.upper, NormBall(wide, radii, norm))


def _checked(
    center: NDArray[np.floating], epsilon: float | FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return centre and radii in float64, both of the centre's shape."""
    given = np.asarray(epsilon, dtype=np.float64)
    if not np.isfinite(given).all() or (given < 0).any():
        raise BoundsError(f"epsilon is {epsilon}; give a finite number that is 0 or more")
    wide = center.astype(np.float64)
    if not np.isfinite(wide).all():
        raise BoundsError("the input holds values that are not finite")
    if given.shape not in {(), wide.shape}:
        raise ShapeError(
            f"epsilon has shape {given.shape}, the input has {wide.shape}; "
            "give one number, or one per value"
        )
    return wide, np.broadcast_to(given, wide.shape).copy()


def _cut(
    center: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    valid_range: tuple[float, float] | None,
) -> Box:
    """Return the box within the valid range, in which the centre has to lie."""
    if valid_range is not None:
        low, high = valid_range
        if not low <= high:
            raise BoundsError(f"the valid range [{low}, {high}] is empty")
        if center.min() < low or center.max() > high:
            raise BoundsError(
                f"input values span [{center.min():g}, {center.max():g}], outside the valid range "
                f"[{low:g}, {high:g}]; scale the data or state its range"
            )
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    return Box(lower, upper)


@dataclass(frozen=True, eq=False)
class Clause:
    """A conjunction of linear conditions: `matrix @ y <= offset` in every row.

    Its margin at an output is max over rows of (matrix @ y − offset): the clause holds, and a
    counterexample is found, exactly where that is at most 0.

    Attributes:
        matrix: Shape `(rows, outputs)`, float64.
        offset: Shape `(rows,)`, float64.

    Raises:
        SpecificationError: Shapes do not fit, there is no row, or a number is not finite.
    """

    matrix: FloatArray
    offset: FloatArray

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.offset.shape != self.matrix.shape[:1]:
            raise SpecificationError(
                f"clause has a matrix of shape {self.matrix.shape} and an offset of shape "
                f"{self.offset.shape}; they must be (rows, outputs) and (rows,)"
            )
        if self.matrix.shape[0] == 0:
            raise SpecificationError("a clause without rows holds everywhere; add a condition")
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.offset).all()):
            raise SpecificationError("a clause has coefficients that are not finite")

    def margin(self, y: NDArray[np.floating]) -> FloatArray:
        """Return the margin of outputs of shape `(…, outputs)`, shape `(…)`."""
        rows = y.astype(np.float64) @ self.matrix.T - self.offset
        return np.asarray(rows.max(axis=-1))


@dataclass(frozen=True, eq=False)
class Specification:
    """The counterexample condition: an OR of clauses. This is VNN-LIB's reading.

    Attributes:
        clauses: At least one; all over the same number of outputs.
        labels: One name per clause for reports, such as `target 3`; empty if there are none.

    Raises:
        SpecificationError: There is no clause, or clauses differ in their number of outputs.
    """

    clauses: tuple[Clause, ...]
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.clauses:
            raise SpecificationError("the specification has no clause, so nothing can break it")
        if len({clause.matrix.shape[1] for clause in self.clauses}) != 1:
            raise SpecificationError("clauses speak of different numbers of outputs")
        if self.labels and len(self.labels) != len(self.clauses):
            raise SpecificationError("give one label per clause, or none")

    @property
    def outputs(self) -> int:
        """Number of outputs the clauses speak of."""
        return int(self.clauses[0].matrix.shape[1])

    def margin(self, y: NDArray[np.floating]) -> FloatArray:
        """Return min over clauses of their margin, shape `(…)` for `y` of `(…, outputs)`."""
        return np.asarray(np.min([clause.margin(y) for clause in self.clauses], axis=0))

    def holds_at(self, y: NDArray[np.floating]) -> bool:
        """Return whether one output, shape `(outputs,)`, meets the condition, exactly."""
        return bool(self.margin(y) <= 0.0)


def robustness(label: int, outputs: int, targets: tuple[int, ...] | None = None) -> Specification:
    """Return the condition that some target's logit reaches the label's; a tie counts.

    Args:
        label: The right class.
        outputs: Number of classes.
        targets: Classes that may win; None for all but the label.

    Raises:
        SpecificationError: A class is out of range, or the label is among the targets.
    """
    if not 0 <= label < outputs:
        raise SpecificationError(
            f"label {label} is out of range: the network has {outputs} outputs, "
            f"so labels go from 0 to {outputs - 1}"
        )
    chosen = tuple(t for t in range(outputs) if t != label) if targets is None else targets
    clauses = []
    for target in chosen:
        if not 0 <= target < outputs or target == label:
            raise SpecificationError(
                f"target {target} is not a class from 0 to {outputs - 1} other than label {label}"
            )
        row = np.zeros((1, outputs))
        row[0, label], row[0, target] = 1.0, -1.0
        clauses.append(Clause(row, np.zeros(1)))
    return Specification(tuple(clauses), tuple(f"target {target}" for target in chosen))


@dataclass(frozen=True, eq=False)
class Case:
    """One region with one specification."""

    region: Box
    specification: Specification

    def require_fit(self, input_shape: tuple[int, ...], outputs: int) -> None:
        """Refuse a network whose inputs or outputs the case does not speak of.

        Raises:
            ShapeError: The shape of the inputs or the number of outputs differs.
        """
        self.region.require_shape(input_shape)
        if self.specification.outputs != outputs:
            raise ShapeError(
                f"the specification speaks of {self.specification.outputs} outputs, the network "
                f"has {outputs}"
            )


@dataclass(frozen=True, eq=False)
class Problem:
    """What `verify` is asked: a counterexample exists if any case has one.

    Attributes:
        cases: At least one, all over the same number of inputs and outputs.
        name: For people.

    Raises:
        SpecificationError: There is no case, or cases differ in inputs or outputs.
    """

    cases: tuple[Case, ...]
    name: str = "problem"

    def __post_init__(self) -> None:
        if not self.cases:
            raise SpecificationError("the problem has no case")
        if len({case.region.shape for case in self.cases}) != 1:
            raise SpecificationError("cases have regions of different shapes")
        if len({case.specification.outputs for case in self.cases}) != 1:
            raise SpecificationError("cases speak of different numbers of outputs")
