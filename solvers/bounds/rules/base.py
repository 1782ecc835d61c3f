"""What an operator has to know to be bounded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

import torch
from torch import Tensor

from models.operators import Operator
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.patches import Patches
from solvers.bounds.relaxation import Relaxation

__all__ = ["AffineRule", "NonlinearRule", "Rule", "SlopeChoice", "Slopes", "SpreadingRule"]

Shape = tuple[int, ...]
OperatorT = TypeVar("OperatorT", bound=Operator)

# ruff: noqa: ARG002  (defaults ignore what overriding rules need)


class SlopeChoice(Enum):
    """How a lower line is chosen where several are sound."""

    ADAPTIVE = auto()
    """The smaller area, as CROWN does (Zhang et al. 2018, section 3.3)."""
    PARALLEL = auto()
    """Parallel to the upper line, as Fast-Lin does (Weng et al. 2018, section 3.3)."""


@dataclass(frozen=True)
class Slopes:
    """What a backward pass wants of a nonlinearity's lower line.

    Attributes:
        choice: Used where `alpha` does not apply.
        alpha: Optimised slopes in [0, 1], shape `(batch, rows or 1, *shape)` unless the rule says
            otherwise, or None.
    """

    choice: SlopeChoice = SlopeChoice.ADAPTIVE
    alpha: Tensor | None = None


class Rule(ABC, Generic[OperatorT]):
    """How one operator is bounded. Rules have no state; parameters are passed in.

    Attributes:
        mixes: Whether one output depends on several values, or one value reaches several
            outputs. Interval arithmetic is exact until two mixing operators follow each other.
    """

    mixes: bool = True

    @abstractmethod
    def interval(
        self, operator: OperatorT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Bound the output elementwise, given bounds of the inputs (Gowal et al. 2018)."""


class AffineRule(Rule[OperatorT]):
    """A rule for an affine operator, which a backward pass crosses without loss."""

    @abstractmethod
    def adjoint(
        self,
        operator: OperatorT,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Apply the transposed linear part.

        Args:
            operator: The node's operator.
            coefficients: Of the node's output, shape `(rows, *shape)`.
            input_shapes: Shape of each input of the node.
            parameters: The network's parameters.

        Returns:
            Coefficients of each input, shape `(rows, *input_shape)`.
        """

    def adjoint_of_few(
        self, operator: OperatorT, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Do the work of `adjoint` where most coefficients of each example are zero.

        Args:
            operator: The node's operator, of one input.
            coefficients: Of the node's output, shape `(batch, rows, *shape)`.
            parameters: The network's parameters.

        Returns:
            Coefficients of the input, shape `(batch, rows, *input_shape)`; None where that would
            not pay.
        """
        return None

    @abstractmethod
    def linear(
        self,
        operator: OperatorT,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Apply the linear part to values, or the part with every coefficient's magnitude.

        Args:
            operator: The node's operator.
            inputs: One tensor of shape `(batch, *input_shape)` per input.
            parameters: The network's parameters.
            magnitude: Whether to apply |W| instead of W.

        Returns:
            Shape `(batch, *shape)`.
        """

    def constant(
        self,
        operator: OperatorT,
        coefficients: Tensor,
        parameters: Parameters,
    ) -> Tensor | None:
        """Return what the operator's offset adds to the rows, shape `(rows,)`, or None."""
        return None

    def adjoint_patches(
        self,
        operator: OperatorT,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Do the work of `adjoint` and `constant` on windows.

        Args:
            operator: The node's operator.
            patches: Of the node's output; zero beyond the edge of its map.
            input_shapes: Shape of each input of the node.
            parameters: The network's parameters.

        Returns:
            Windows of each input, and what is added to the constant, shape `(batch, rows)`; None
            where the operator needs whole maps.
        """
        return None

    def rows(
        self,
        operator: OperatorT,
        indices: Tensor,
        parameters: Parameters,
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return single outputs as linear functions of the only input, if that is cheap.

        Args:
            operator: The node's operator.
            indices: Flat output indices, shape `(batch, rows)`.
            parameters: The network's parameters.

        Returns:
            Coefficients `(batch, rows, *input_shape)` and constants `(batch, rows)`, or None where
            a pass from unit rows is the way.
        """
        return None


class SpreadingRule(AffineRule[OperatorT]):
    """An affine rule whose outputs are copies, sums or constants: monotone in every input."""

    mixes = False

    def interval(
        self, operator: OperatorT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Apply the operator to both ends."""
        return Interval(
            operator.forward([bounds.lower for bounds in inputs], parameters),
            operator.forward([bounds.upper for bounds in inputs], parameters),
        )

    def linear(
        self,
        operator: OperatorT,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Apply the operator and take its constant off; coefficients are never negative."""
        zeros = [torch.zeros_like(x[:1]) for x in inputs]
        return operator.forward(inputs, parameters) - operator.forward(zeros, parameters)


class NonlinearRule(Rule[OperatorT]):
    """A rule for an operator that a backward pass replaces by linear functions.

    Attributes:
        optimisable: Whether `Slopes.alpha` changes its lines.
        own_lines: Whether every row gets an `alpha` of its own where its lines do not move linearly
            with it; otherwise all rows share one then.
        settles: Whether tighter bounds can make the relaxation of a value exact, as for a ReLU
            that turns out stable.
        bent_at_zero: Whether it is linear on either side of 0, where its lines are the furthest
            apart.
    """

    mixes = False
    optimisable: bool = False
    own_lines: bool = False
    settles: bool = False
    bent_at_zero: bool = False

    def interval(
        self, operator: OperatorT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Apply the operator to both ends: every activation here is monotone."""
        return Interval(
            operator.forward([inputs[0].lower], parameters),
            operator.forward([inputs[0].upper], parameters),
        )

    @abstractmethod
    def relax(
        self,
        operator: OperatorT,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Enclose the operator on the intervals of its inputs."""

    def undecided(self, operator: OperatorT, bounds: Interval, position: int = 0) -> Tensor:
        """Return where tighter bounds would change the relaxation.

        Args:
            operator: The node's operator.
            bounds: Of one input; those of the others may not be known yet.
            position: Which input that is.

        Returns:
            A mask of the shape of the bounds.
        """
        return bounds.upper > bounds.lower

    def reads(self, wanted: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        """Return which values of each input some outputs depend on.

        Args:
            wanted: A mask of those outputs, shape `(1, *shape)`.
            shapes: Of the inputs.

        Returns:
            Masks of shape `(1, *input_shape)`; of what mixes values, all or nothing.
        """
        if not self.mixes:
            return (wanted,) * len(shapes)
        return tuple(wanted.any().expand(1, *shape) for shape in shapes)

    def passes_on(self, operator: OperatorT) -> bool:
        """Return whether tight bounds of the input leave a backward pass nothing to gain.

        True for a function of one value whose range is exact and whose every input that is not a
        point is undecided: lines never bound it better than its range does.
        """
        return False

    def outside(self, operator: OperatorT, bounds: Interval) -> tuple[Tensor, str] | None:
        """Return where an interval leaves the operator's domain.

        Args:
            operator: The node's operator.
            bounds: Of its input.

        Returns:
            A mask of the shape of the bounds, and for people what leaving means: "reaches 0",
            say. None for an operator that is defined everywhere.
        """
        return None

    def adjustable(
        self, operator: OperatorT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Callable[[Tensor], Relaxation]:
        """Return what encloses the operator for any `Slopes.alpha`, on the same intervals.

        What no slope changes is computed once.
        """
        return lambda alpha: self.relax(operator, inputs, parameters, Slopes(alpha=alpha))

    def alpha_start(self, operator: OperatorT, inputs: Sequence[Interval]) -> Tensor:
        """Return the slopes that optimisation starts from.

        Returns:
            Shape `(batch, *any)`; `Slopes.alpha` then has shape `(batch, rows or 1, *any)`.
        """
        return torch.zeros_like(inputs[0].lower)
