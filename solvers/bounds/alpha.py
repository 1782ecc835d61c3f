"""Lower slopes optimised by gradient ascent (Xu et al. 2021, *Fast and Complete*, section 3).

Every slope in [0, 1] gives a sound lower line of an unstable ReLU, so every iterate is a bound and
the best one is kept. Slopes belong to a start (the margins, or one node whose values are bounded)
and a nonlinear node that its backward pass crosses; they differ per row where memory allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.graph import Node
from solvers.bounds.backward import Rows, Scene, lower_bounds, unit_rows
from solvers.bounds.ibp import interval_of, nonlinear_nodes, refinable_nodes
from solvers.bounds.intermediate import Selection, relax_node, select, undecided_mask
from solvers.bounds.interval import Interval
from solvers.bounds.memory import MemoryBudget
from solvers.bounds.options import BoundOptions
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import NonlinearRule, Slopes, rule_for
from solvers.budget import Budget

__all__ = ["examples_per_pass", "optimised"]


@dataclass(frozen=True)
class _Start:
    """Where backward passes begin.

    Attributes:
        name: Of the node, or of the network's output for the margins.
        selection: Which values; None for the margins.
        alpha: Slopes by nonlinear node, shape `(batch, rows or 1, *shape)`, requiring gradients.
    """

    name: str
    selection: Selection | None
    alpha: Mapping[str, Tensor]


def optimised(
    scene: Scene,
    final: tuple[Tensor, Tensor],
    bounds: Mapping[str, Interval],
    options: BoundOptions,
    budget: Budget,
) -> tuple[Tensor, dict[str, Interval]]:
    """Bound margins from below with optimised slopes.

    Args:
        scene: Network and regions.
        final: The margins: coefficients of the output, shape `(batch, rows, *output_shape)`, and
            what is subtracted, shape `(batch, rows)`.
        bounds: Sound bounds of every node, such as CROWN's; where optimisation starts.
        options: Iterations, learning rate, memory.
        budget: Stops the optimisation early; at least one pass is made.

    Returns:
        The best lower bounds, shape `(batch, rows)`, and the best bounds of every node.
    """
    best = {name: interval.detach() for name, interval in bounds.items()}
    margins, offset = final
    starts = _starts(scene, margins, best, options)
    variables = [alpha for start in starts for alpha in start.alpha.values()]
    best_lower = margins.new_full(margins.shape[:2], -torch.inf)
    if not variables:
        return _one_pass(scene, starts, margins, offset, best)
    optimiser = torch.optim.Adam(variables, lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, options.learning_rate_decay)
    for iteration in range(options.iterations + 1):
        last = iteration == options.iterations
        with torch.set_grad_enabled(not last):
            lower, current = _one_pass(scene, starts, margins, offset, best)
        best_lower = torch.fmax(best_lower, lower.detach())
        best = {name: interval.detach() for name, interval in current.items()}
        settled = options.stop_when_positive and bool((best_lower > 0).all())
        # Without a gradient, no slope is on the way from the margins to the input.
        if last or settled or budget.exhausted or not lower.requires_grad:
            break
        # Not `backward`, which would leave gradients in the network's own parameters.
        gradients = torch.autograd.grad(-lower.sum(), variables, allow_unused=True)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.grad = gradient
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for alpha in variables:
                alpha.clamp_(0, 1)
    return best_lower, best


def examples_per_pass(
    scene: Scene, rows: int, bounds: Mapping[str, Interval], options: BoundOptions
) -> int:
    """Return how many examples fit into one differentiated pass; 0 if not even one does.

    A pass keeps the coefficients of every start at every nonlinear node until its gradient.
    """
    graph = scene.network.graph
    counts = {graph.output: rows}
    if options.optimise_intermediate:
        for node in refinable_nodes(graph):
            mask = undecided_mask(graph, node, bounds[node.name])
            counts[node.name] = 2 * int(mask.flatten(1).sum(1).max())
    nonlinear = {node.name for node in nonlinear_nodes(graph)}
    elements = 0
    for name, count in counts.items():
        crossed = [node.size for node in graph.ancestors(name) if node.name in nonlinear]
        elements += count * (sum(crossed) + graph.input.size)
    return options.memory.examples_of(elements, scene.region.lower)


def _starts(
    scene: Scene, margins: Tensor, bounds: Mapping[str, Interval], options: BoundOptions
) -> tuple[_Start, ...]:
    """Lay out the slopes of every start, those of intermediate nodes only where they fit."""
    graph = scene.network.graph
    found = []
    if options.optimise_intermediate:
        for node in refinable_nodes(graph):
            selection = select(undecided_mask(graph, node, bounds[node.name]))
            if selection.rows:
                slopes = _slopes_for(scene, node.name, 2 * selection.rows, bounds, options.memory)
                found.append(_Start(node.name, selection, slopes))
    rows = int(margins.shape[1])
    slopes = _slopes_for(scene, graph.output, rows, bounds, options.memory)
    return (*found, _Start(graph.output, None, slopes))


def _slopes_for(
    scene: Scene, name: str, rows: int, bounds: Mapping[str, Interval], memory: MemoryBudget
) -> dict[str, Tensor]:
    """Return starting slopes for every optimisable node before `name`."""
    before = {node.name for node in scene.network.graph.ancestors(name)} - {name}
    slopes: dict[str, Tensor] = {}
    for node in nonlinear_nodes(scene.network.graph):
        rule = rule_for(node.operator)
        if node.name not in before and node.name != scene.network.graph.output:
            continue
        if not isinstance(rule, NonlinearRule) or not rule.optimisable:
            continue
        inputs = [bounds[name] for name in node.inputs]
        undecided = (
            rule.undecided(node.operator, interval, position)
            for position, interval in enumerate(inputs)
        )
        if not any(bool(mask.any()) for mask in undecided):
            continue
        start = rule.alpha_start(node.operator, inputs).unsqueeze(1)
        own_rows = rows if memory.holds(rows * start.numel(), start) else 1
        shape = (-1, own_rows, *(-1,) * (start.dim() - 2))
        slopes[node.name] = start.expand(shape).clone().requires_grad_()
    return slopes


def _one_pass(
    scene: Scene,
    starts: tuple[_Start, ...],
    margins: Tensor,
    offset: Tensor,
    best: Mapping[str, Interval],
) -> tuple[Tensor, dict[str, Interval]]:
    """Bound every start in topological order with the current slopes."""
    by_name = {start.name: start for start in starts if start.selection is not None}
    bounds: dict[str, Interval] = {}
    for node in scene.network.graph.nodes:
        current = interval_of(scene, node, bounds).intersect(best[node.name])
        start = by_name.get(node.name)
        if start is not None and start.selection is not None:
            rows = unit_rows(scene, node, start.selection.indices)
            both = lower_bounds(scene, rows, _relaxer(scene, bounds, start), two_sided=True)
            count = start.selection.rows
            current = start.selection.write(current, both[:, :count], -both[:, count:])
        bounds[node.name] = current
    final = starts[-1]
    rows = Rows({final.name: margins}, -offset)
    return lower_bounds(scene, rows, _relaxer(scene, bounds, final)), bounds


class _relaxer:
    """Relaxations with the slopes of one start, built on first use."""

    def __init__(self, scene: Scene, bounds: Mapping[str, Interval], start: _Start) -> None:
        self._scene, self._bounds, self._start = scene, bounds, start
        self._kept: dict[str, Relaxation] = {}

    def __call__(self, node: Node) -> Relaxation:
        if node.name not in self._kept:
            slopes = replace(Slopes(), alpha=self._start.alpha.get(node.name))
            self._kept[node.name] = relax_node(self._scene, node, self._bounds, slopes)
        return self._kept[node.name]
