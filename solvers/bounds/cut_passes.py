"""Backward passes whose upper lines follow the point that the last pass stopped at.

Round by round: pull the rows back to the input; take the point of the region at which the result is
least; push it forward along the lines that the pass took; where the upper line of an unstable ReLU
lies far above the neuron there, replace it by the inequality of the tightened relaxation that the
point violates most; pull back again. Every pass is a bound, and the best one is kept.

Source: Tjandraatmadja et al. 2020, section 4 (FastC2V).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from models.graph import Node
from models.operators import Constant, Relu
from solvers.balls import Norm
from solvers.bounds.backward import Rows, Scene, concretize, pull_back, pull_to_origins, unit_rows
from solvers.bounds.crossing import whole
from solvers.bounds.intermediate import relax_node
from solvers.bounds.interval import Interval
from solvers.bounds.memory import MemoryBudget
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules import AffineRule, Slopes, rule_for
from solvers.bounds.tightened import (
    Cuts,
    Fields,
    TightenedLines,
    flat,
    joined,
    laid_out,
    read,
    separate,
)
from solvers.budget import Budget

__all__ = ["RowSlopes", "Tightening", "rows_with_cuts", "tightened_rows", "tightened_values"]

_CUT_COPIES = 4
"""A pass with cuts keeps about this many times the memory of a plain one."""


@dataclass(frozen=True)
class Tightening:
    """How hard to try.

    Attributes:
        rounds: Passes with cuts.
        pairs: Neurons of each layer that may get a cut in each row: those where it promises most.
        steps: Shares of an upper line that new cuts are tried with.
    """

    rounds: int = 2
    pairs: int = 2
    steps: tuple[float, ...] = (1.0, 0.4)


@dataclass(frozen=True)
class RowSlopes:
    """Slopes of the lower lines.

    Attributes:
        shared: Of all rows, at nodes that `alphas` does not name.
        alphas: By node name, slopes in [0, 1] of each row, shape `(batch, rows, *shape)`.
    """

    shared: Slopes
    alphas: Mapping[str, Tensor] = field(default_factory=dict)

    def at(self, node: Node) -> Slopes:
        """Return the slopes of a node."""
        if node.name not in self.alphas:
            return self.shared
        return replace(self.shared, alpha=self.alphas[node.name])

    def examples(self, index: Tensor) -> RowSlopes:
        """Return the slopes of some examples."""
        chosen = {name: alpha[index] for name, alpha in self.alphas.items()}
        return RowSlopes(self.shared, chosen)

    def rows(self, index: Tensor) -> RowSlopes:
        """Return the slopes of chosen rows of every example, shape `(batch, chosen)`."""
        batch = torch.arange(index.shape[0], device=index.device).unsqueeze(-1)
        chosen = {name: alpha[batch, index] for name, alpha in self.alphas.items()}
        return RowSlopes(self.shared, chosen)


def rows_with_cuts(memory: MemoryBudget, scene: Scene) -> int:
    """Return how many rows per example a pass with cuts may hold, at least 1."""
    return max(1, memory.rows(scene) // _CUT_COPIES)


def tightened_rows(
    scene: Scene,
    rows: Mapping[str, Tensor],
    constant: Tensor,
    bounds: Mapping[str, Interval],
    *,
    slopes: RowSlopes,
    tightening: Tightening,
    budget: Budget,
) -> tuple[Tensor, Mapping[str, TightenedLines]]:
    """Bound linear functions from below with cuts that fit each of them.

    Args:
        scene: Network and regions, without perturbed parameters.
        rows: Coefficients by node, shape `(batch, rows, *node_shape)`.
        constant: Shape `(batch, rows)`.
        bounds: Sound bounds of every node.
        slopes: Of the lower lines of these rows.
        tightening: Rounds and cuts.
        budget: Ends the rounds early; the first pass is always made.

    Returns:
        The best bounds found, shape `(batch, rows)`, and the lines of ReLUs with cuts that each
        row's best pass took, by node.
    """
    climb = _Climb(scene, bounds, slopes, tightening)
    best = climb.passed(Rows(dict(rows), constant))
    for left in reversed(range(tightening.rounds)):
        if budget.exhausted or not climb.propose():
            break
        best = climb.search(rows, constant, best, again=left > 0)
    return best, climb.cut_lines


def tightened_values(
    scene: Scene,
    node: Node,
    indices: Tensor,
    bounds: Mapping[str, Interval],
    *,
    slopes: RowSlopes,
    tightening: Tightening,
    budget: Budget,
) -> tuple[Tensor, Mapping[str, TightenedLines]]:
    """Bound values of a node with cuts, and behind them their negatives; as `tightened_rows` does.

    Args:
        scene: Network and regions, without perturbed parameters.
        node: Whose values.
        indices: Flat, shape `(batch, values)`.
        bounds: Sound bounds of every node before it.
        slopes: Of the lower lines of these rows.
        tightening: Rounds and cuts.
        budget: Ends the rounds early; the first pass is always made.

    Returns:
        Lower bounds, shape `(batch, 2 · values)`, and the lines that these took.
    """
    rows = unit_rows(scene, node, indices)
    rows.mirror()
    assert isinstance(rows.constant, Tensor)  # noqa: S101  mirrored rows have one each
    return tightened_rows(
        scene,
        {name: whole(value) for name, value in rows.coefficients.items()},
        rows.constant,
        bounds,
        slopes=slopes,
        tightening=tightening,
        budget=budget,
    )


@dataclass
class _Climb:
    """The passes of some rows."""

    scene: Scene
    bounds: Mapping[str, Interval]
    slopes: RowSlopes
    tightening: Tightening
    _lines: dict[str, Relaxation] = field(default_factory=dict)
    _left: Tensor | None = None

    def passed(self, rows: Rows) -> Tensor:
        """Pull rows back, remembering where the pass ends."""
        pull_back(self.scene, rows, self._relaxation)
        left = rows.coefficients.get(self.scene.entry.node.name)
        self._left = None if left is None else whole(left)
        return concretize(self.scene, rows)

    @property
    def cut_lines(self) -> dict[str, TightenedLines]:
        """Lines with cuts, by node."""
        every = self._lines.items()
        return {n: lines for n, lines in every if isinstance(lines, TightenedLines) and lines.cuts}

    def search(
        self, rows: Mapping[str, Tensor], constant: Tensor, best: Tensor, *, again: bool
    ) -> Tensor:
        """Give the cuts on trial the share with which each row's bound is best; return the bounds.

        If there is another round it ends with a pass along the lines kept, to start that from.
        """
        chosen = torch.zeros_like(best)
        for step in self.tightening.steps:
            for lines in self._on_trial():
                lines.step = torch.full_like(best, step).reshape(-1, 1)
            found = self.passed(Rows(dict(rows), constant))
            better = found > best
            best = torch.where(better, found, best)
            chosen = torch.where(better, torch.full_like(chosen, step), chosen)
        for lines in self._on_trial():
            lines.settle(chosen.reshape(-1, 1))
        if not again:
            return best
        return torch.fmax(best, self.passed(Rows(dict(rows), constant)))

    def propose(self) -> int:
        """Put cuts on trial at the last pass's point; return how many there are."""
        if self._left is None:
            return 0
        entry, graph = self.scene.entry, self.scene.network.graph
        parameters, rows = self.scene.network.parameters, self._left.shape[1]
        values = {entry.node.name: _least_point(self.scene, self._left).flatten(0, 1)}
        behind, found = False, 0
        for node in graph.nodes:
            if node.name == entry.node.name:
                behind = True
            elif isinstance(node.operator, Constant):
                constant = node.operator.forward([], parameters)
                values[node.name] = constant.expand(self.scene.batch * rows, *node.shape)
            elif behind and all(name in values for name in node.inputs):
                lines = self._lines.get(node.name)
                if isinstance(lines, TightenedLines) and lines.seen is not None:
                    values[node.name] = self._at_relu(node, lines, values, rows)
                    found += 0 if lines.trial is None else int((lines.trial.weight > 0).sum())
                else:
                    inputs = [values[name] for name in node.inputs]
                    values[node.name] = node.operator.forward(inputs, parameters)
        return found

    def _on_trial(self) -> list[TightenedLines]:
        every = self._lines.values()
        return [lines for lines in every if isinstance(lines, TightenedLines) and lines.trial]

    def _relaxation(self, node: Node) -> Relaxation:
        if node.name not in self._lines:
            lines = relax_node(self.scene, node, self.bounds, self.slopes.at(node))
            if self._has_neurons(node) and isinstance(lines, ElementwiseRelaxation):
                lines = TightenedLines(lines)
            self._lines[node.name] = lines
        return self._lines[node.name]

    def _has_neurons(self, node: Node) -> bool:
        """Return whether a node is a ReLU of an affine function: of one value it has its hull."""
        if type(node.operator) is not Relu or node.inputs[0] == self.scene.entry.node.name:
            return False
        source = self.scene.network.graph.node(node.inputs[0])
        return isinstance(rule_for(source.operator), AffineRule)

    def _at_relu(
        self, node: Node, lines: TightenedLines, values: Mapping[str, Tensor], rows: int
    ) -> Tensor:
        """Put cuts of a ReLU on trial; return its values along its lines, cuts included."""
        assert lines.seen is not None  # noqa: S101  the caller looked
        seen = lines.seen.flatten(0, 1).flatten(1)
        before = values[node.inputs[0]].flatten(1)
        unstable = self.bounds[node.inputs[0]].unstable.flatten(1).repeat_interleave(rows, 0)
        above = _upper(lines, before, values, rows)
        below = _line(lines.lines.lower_slope, lines.lines.lower_intercept, before, rows)
        value = torch.where(seen < 0, above, below)
        promise = -seen.clamp(max=0) * (above - before.clamp(min=0)) * unstable
        count = min(self.tightening.pairs, int((promise > 0).sum(1).max()))
        if count:
            most = promise.topk(count, dim=1)
            cuts, right = self._cuts(node.inputs[0], most.indices, values, rows)
            there = above.gather(1, most.indices)
            useful = (most.values > 0) & (right < there)
            lines.trial = replace(cuts, weight=useful.to(there.dtype))
            value = value.scatter(1, most.indices, torch.where(useful, right, there))
        return value.reshape(values[node.inputs[0]].shape)

    def _cuts(
        self, source: str, index: Tensor, values: Mapping[str, Tensor], rows: int
    ) -> tuple[Cuts, Tensor]:
        """Separate cuts of chosen neurons at a point; return them and their right sides there."""
        functions = unit_rows(self.scene, self.scene.network.graph.node(source), index)
        pull_to_origins(self.scene, functions)
        named = list(functions.coefficients.items())
        boxes = [self._box(name) for name, _ in named]

        def laid(sides: Sequence[Tensor]) -> Tensor:
            return joined([read(part, side) for (_, part), side in zip(named, sides, strict=True)])

        weights = [flat(part) for _, part in named]
        bias = functions.constant
        if not isinstance(bias, Tensor):
            bias = weights[0].new_full(index.shape, bias)
        fields = Fields(
            joined(weights),
            bias,
            laid([box.lower.repeat_interleave(rows, 0) for box in boxes]),
            laid([box.upper.repeat_interleave(rows, 0) for box in boxes]),
            laid([values[name] for name, _ in named]),
        )
        lines, offset, right = separate(fields)
        pieces = torch.split(lines, [weight.shape[-1] for weight in weights], dim=-1)
        kept = tuple(
            (name, laid_out(part, piece)) for (name, part), piece in zip(named, pieces, strict=True)
        )
        return Cuts(index, torch.ones_like(offset), offset, kept), right

    def _box(self, name: str) -> Interval:
        entry = self.scene.entry
        return entry.region if name == entry.node.name else self.bounds[name]


def _line(slope: Tensor, intercept: Tensor | None, before: Tensor, rows: int) -> Tensor:
    """Evaluate lines of shape `(batch, rows or 1, *shape)` at `(batch · rows, values)`."""
    size = before.shape[-1]
    steep = slope.flatten(2).expand(-1, rows, size).reshape(-1, size)
    if intercept is None:
        return steep * before
    return steep * before + intercept.flatten(2).expand(-1, rows, size).reshape(-1, size)


def _upper(
    lines: TightenedLines, before: Tensor, values: Mapping[str, Tensor], rows: int
) -> Tensor:
    """Evaluate the mixtures of upper lines at a point, shape `(batch · rows, values)`."""
    chord = _line(lines.lines.upper_slope, lines.lines.upper_intercept, before, rows)
    above = chord
    for cuts in lines.cuts:
        change = cuts.weight * (cuts.at(values) - chord.gather(1, cuts.index))
        above = above.scatter_add(1, cuts.index, change)
    return above


def _least_point(scene: Scene, left: Tensor) -> Tensor:
    """Return a point of the region where linear functions are about least, as wide as they are."""
    entry = scene.entry
    lower, upper = entry.region.lower.unsqueeze(1), entry.region.upper.unsqueeze(1)
    if entry.balls is None:
        return torch.where(left > 0, lower, torch.where(left < 0, upper, (lower + upper) / 2))
    center, radii = entry.balls.center.unsqueeze(1), entry.balls.radii.unsqueeze(1)
    gain = (left * radii).flatten(2)
    if entry.balls.norm is Norm.TWO:
        step = gain / torch.linalg.vector_norm(gain, dim=-1, keepdim=True).clamp(min=1e-30)
    else:
        most = gain.abs().argmax(-1, keepdim=True)
        step = torch.zeros_like(gain).scatter(-1, most, gain.gather(-1, most).sign())
    return torch.clamp(center - step.reshape(left.shape) * radii, lower, upper)
