"""Worst-case losses from the bound engine, with what the regularizers need of the pass made.

Every method gives a bound of the worst cross-entropy over each region, and on demand one row per
region for the feasibility regularizer:

- `crown-ibp`: the fused row, whose pass is already there;
- `fast-lin`, and `crown-ibp` without fusion: the margin with the least bound, picked from the
  pass over all of them;
- `ibp`: that margin too, by a backward pass over the same intervals. Only the signs of its
  coefficients matter, so that the pass itself needs no gradient and costs a third of one that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.graph import Node
from solvers.bounds import (
    BoundOptions,
    Interval,
    Margins,
    MemoryBudget,
    ObservedPass,
    Scene,
    bound_margins,
    fused_loss,
    observe,
)
from solvers.bounds.backward import Relaxations, Rows
from solvers.bounds.ibp import propagate
from solvers.bounds.intermediate import relaxations_of, tightened
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import SlopeChoice, Slopes
from solvers.methods import Method
from training.methods import TrainingMethod

__all__ = ["BoundRow", "WorstCase", "worst_case"]

# A differentiated pass keeps its arrays whatever the size of its pieces.
_WHOLE = BoundOptions(memory=MemoryBudget(1 << 50))


@dataclass(frozen=True)
class BoundRow:
    """One linear function of the outputs per region, and the pass that bounded it.

    Attributes:
        matrix: Shape `(batch, outputs)`.
        offset: Shape `(batch,)`.
        lower: The bound of matrix · y − offset that training uses, shape `(batch,)`.
        weight: How many margins the row adds up, shape `(batch,)`; 1 for a single one.
        observed: The pass that chose the lines.
    """

    matrix: Tensor
    offset: Tensor
    lower: Tensor
    weight: Tensor
    observed: ObservedPass


@dataclass(frozen=True)
class WorstCase:
    """The worst case over a batch of regions.

    Attributes:
        loss: Upper bounds of the cross-entropy, shape `(batch,)`.
        intermediate: Bounds of every node.
        relaxations: Returns what encloses a nonlinear node on these bounds.
        row: Returns the row of the feasibility regularizer.
    """

    loss: Tensor
    intermediate: Mapping[str, Interval]
    relaxations: Relaxations
    row: Callable[[], BoundRow]


def worst_case(
    method: TrainingMethod, scene: Scene, margins: Margins, *, loss_fusion: bool = True
) -> WorstCase:
    """Bound the cross-entropy over regions by the bounds that go with a training method.

    Args:
        method: `standard` and `pgd`, which have no bounds of their own, take those of `crown-ibp`.
        scene: Network and regions.
        margins: Of each wrong class against the label.
        loss_fusion: Whether `crown-ibp` takes one row for all classes instead of one for each.
    """
    over_intervals = _fused if loss_fusion else _per_class
    return _BOUNDS.get(method, over_intervals)(scene, margins)


def _cross_entropy(lower: Tensor) -> Tensor:
    """Return log(1 + Σ exp(−m)) of margins, shape `(batch, margins)`."""
    zeros = torch.zeros_like(lower[:, :1])
    return torch.logsumexp(torch.cat([zeros, -lower], dim=1), dim=1)


def _fused(scene: Scene, margins: Margins) -> WorstCase:
    """CROWN over interval bounds, all classes in one row."""
    fused = fused_loss(scene, margins)

    def row() -> BoundRow:
        matrix = torch.einsum("br,bro->bo", fused.weights, margins.matrix)
        offset = (fused.weights * margins.offset).sum(-1)
        weight = fused.weights.sum(-1)
        return BoundRow(matrix, offset, fused.observed.lower[:, 0], weight, fused.observed)

    return WorstCase(fused.loss, fused.intermediate, fused.relaxations, row)


def _intervals(scene: Scene, margins: Margins) -> WorstCase:
    """Interval bounds alone."""
    result = bound_margins(scene, margins, Method.IBP, options=_WHOLE)
    bounds = result.intermediate
    lines = relaxations_of(scene, bounds, Slopes())

    def with_gradient(node: Node) -> Relaxation:
        with torch.enable_grad():
            return lines(node)

    def row() -> BoundRow:
        index = result.lower.argmin(1)
        single = _single(margins, index)
        with torch.no_grad():
            observed = observe(scene, _rows(scene, single), with_gradient)
        lower = result.lower.gather(1, index.unsqueeze(1)).squeeze(1)
        return _row_of(single, lower, observed)

    return WorstCase(_cross_entropy(result.lower), bounds, lines, row)


def _per_class(scene: Scene, margins: Margins) -> WorstCase:
    """CROWN over interval bounds, a row for each wrong class."""
    return _backward(scene, margins, propagate(scene), Slopes())


def _parallel(scene: Scene, margins: Margins) -> WorstCase:
    """Parallel slopes on every layer."""
    slopes = Slopes(SlopeChoice.PARALLEL)
    memory = MemoryBudget.for_device(scene.region.lower.device)
    return _backward(scene, margins, tightened(scene, slopes, memory), slopes)


def _backward(
    scene: Scene, margins: Margins, bounds: Mapping[str, Interval], slopes: Slopes
) -> WorstCase:
    """Make one pass with all margins over bounds of the nodes."""
    lines = relaxations_of(scene, bounds, slopes)
    observed = observe(scene, _rows(scene, margins), lines)

    def row() -> BoundRow:
        index = observed.lower.argmin(1)
        chosen = observed.row(index)
        return _row_of(_single(margins, index), chosen.lower[:, 0], chosen)

    return WorstCase(_cross_entropy(observed.lower), bounds, lines, row)


_BOUNDS: Mapping[TrainingMethod, Callable[[Scene, Margins], WorstCase]] = {
    TrainingMethod.IBP: _intervals,
    TrainingMethod.SABR: _intervals,
    TrainingMethod.MTL_IBP: _intervals,
    TrainingMethod.FAST_LIN: _parallel,
}


def _rows(scene: Scene, margins: Margins) -> Rows:
    """Return margins as functions of the output node."""
    shape = (*margins.matrix.shape[:2], *scene.network.output_shape)
    return Rows({scene.network.graph.output: margins.matrix.reshape(shape)}, -margins.offset)


def _single(margins: Margins, index: Tensor) -> Margins:
    """Return one margin per region."""
    regions = torch.arange(len(index), device=index.device)
    return Margins(
        margins.matrix[regions, index].unsqueeze(1), margins.offset[regions, index].unsqueeze(1)
    )


def _row_of(single: Margins, lower: Tensor, observed: ObservedPass) -> BoundRow:
    weight = torch.ones_like(lower)
    return BoundRow(single.matrix[:, 0], single.offset[:, 0], lower, weight, observed)
