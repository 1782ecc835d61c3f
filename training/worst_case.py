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
from dataclasses import dataclass, replace

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

Bounds = Mapping[str, Interval]

# A differentiated pass keeps its arrays whatever the size of its pieces.
_WHOLE = BoundOptions(memory=MemoryBudget(1 << 50))


@dataclass(frozen=True)
class BoundRow:
    """One linear function of the outputs per region, and the pass that bounded it.

    Attributes:
        scene: The regions, which may be the first few of a batch.
        intermediate: Bounds of every node over them.
        matrix: Shape `(batch, outputs)`.
        offset: Shape `(batch,)`.
        lower: The bound of matrix · y − offset that training uses, shape `(batch,)`.
        weight: How many margins the row adds up, shape `(batch,)`; 1 for a single one.
        observed: The pass that chose the lines.
    """

    scene: Scene
    intermediate: Bounds
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
        row: Returns the row of the feasibility regularizer, for the first so many regions.
    """

    loss: Tensor
    intermediate: Bounds
    relaxations: Relaxations
    row: Callable[[int], BoundRow]


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

    def row(count: int) -> BoundRow:
        part = _Part.of(scene, margins, fused.intermediate, count)
        weights = fused.weights[:count]
        return part.row(
            torch.einsum("br,bro->bo", weights, part.margins.matrix),
            (weights * part.margins.offset).sum(-1),
            weights.sum(-1),
            part.of_pass(fused.observed, Slopes()),
        )

    return WorstCase(fused.loss, fused.intermediate, fused.relaxations, row)


def _intervals(scene: Scene, margins: Margins) -> WorstCase:
    """Interval bounds alone."""
    result = bound_margins(scene, margins, Method.IBP, options=_WHOLE)
    bounds = result.intermediate

    def row(count: int) -> BoundRow:
        part = _Part.of(scene, margins, bounds, count)
        lower, index = result.lower[:count].min(1)
        matrix, offset = part.margin(index)
        observed = part.signs_of(Margins(matrix.unsqueeze(1), offset.unsqueeze(1)))
        observed = replace(observed, lower=lower.unsqueeze(1))
        return part.row(matrix, offset, torch.ones_like(lower), observed)

    lines = relaxations_of(scene, bounds, Slopes())
    return WorstCase(_cross_entropy(result.lower), bounds, lines, row)


def _per_class(scene: Scene, margins: Margins) -> WorstCase:
    """CROWN over interval bounds, a row for each wrong class."""
    return _backward(scene, margins, propagate(scene), Slopes())


def _parallel(scene: Scene, margins: Margins) -> WorstCase:
    """Parallel slopes on every layer."""
    slopes = Slopes(SlopeChoice.PARALLEL)
    memory = MemoryBudget.for_device(scene.region.lower.device)
    return _backward(scene, margins, tightened(scene, slopes, memory), slopes)


def _backward(scene: Scene, margins: Margins, bounds: Bounds, slopes: Slopes) -> WorstCase:
    """Make one pass with all margins over bounds of the nodes."""
    lines = relaxations_of(scene, bounds, slopes)
    observed = observe(scene, rows_of(scene, margins), lines)

    def row(count: int) -> BoundRow:
        part = _Part.of(scene, margins, bounds, count)
        index = observed.lower[:count].argmin(1)
        matrix, offset = part.margin(index)
        chosen = part.of_pass(observed, slopes, index)
        return part.row(matrix, offset, torch.ones_like(offset), chosen)

    return WorstCase(_cross_entropy(observed.lower), bounds, lines, row)


@dataclass(frozen=True)
class _Part:
    """The first regions of a batch, with everything that was bounded over them."""

    scene: Scene
    margins: Margins
    intermediate: Bounds
    whole: bool

    @classmethod
    def of(cls, scene: Scene, margins: Margins, bounds: Bounds, count: int) -> _Part:
        if count >= scene.batch:
            return cls(scene, margins, bounds, whole=True)
        first = slice(0, count)
        cut = {name: interval[first] for name, interval in bounds.items()}
        return cls(scene[first], margins[first], cut, whole=False)

    def margin(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return one margin per region: its row of the matrix, and its offset."""
        regions = torch.arange(len(index), device=index.device)
        return self.margins.matrix[regions, index], self.margins.offset[regions, index]

    def of_pass(
        self, observed: ObservedPass, slopes: Slopes, index: Tensor | None = None
    ) -> ObservedPass:
        """Return a pass over the whole batch for these regions, and one row of each."""
        picked = observed.first(self.scene.batch)
        if index is not None:
            picked = picked.row(index)
        if self.whole:
            return picked
        lines = relaxations_of(self.scene, self.intermediate, slopes)
        graph = self.scene.network.graph
        rebuilt = {name: lines(graph.node(name)) for name in picked.relaxations}
        return replace(picked, relaxations=rebuilt)

    def signs_of(self, single: Margins) -> ObservedPass:
        """Make a pass that finds signs only; the lines keep their gradient."""
        lines = relaxations_of(self.scene, self.intermediate, Slopes())

        def with_gradient(node: Node) -> Relaxation:
            with torch.enable_grad():
                return lines(node)

        with torch.no_grad():
            return observe(self.scene, rows_of(self.scene, single), with_gradient)

    def row(
        self, matrix: Tensor, offset: Tensor, weight: Tensor, observed: ObservedPass
    ) -> BoundRow:
        lower = observed.lower[:, 0]
        return BoundRow(self.scene, self.intermediate, matrix, offset, lower, weight, observed)


_BOUNDS: Mapping[TrainingMethod, Callable[[Scene, Margins], WorstCase]] = {
    TrainingMethod.IBP: _intervals,
    TrainingMethod.SABR: _intervals,
    TrainingMethod.MTL_IBP: _intervals,
    TrainingMethod.FAST_LIN: _parallel,
}


def rows_of(scene: Scene, margins: Margins) -> Rows:
    """Return margins as functions of the output node."""
    shape = (*margins.matrix.shape[:2], *scene.network.output_shape)
    return Rows({scene.network.graph.output: margins.matrix.reshape(shape)}, -margins.offset)
