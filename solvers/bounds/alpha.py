"""Lower slopes optimised by gradient ascent (after Xu et al. 2021, *Fast and Complete*, section 3).

Every slope in [0, 1] gives a sound lower line of an unstable ReLU, so every iterate is a bound and
the best one is kept. Each bounded value has slopes of its own, unless they are to be shared.

Xu et al. ascend all slopes of all layers together, along the gradient of the final bound. Here
layers are optimised one after the other, each value for its own bounds: since tighter bounds of a
layer never hurt what is built on them, nothing is given up in the limit, and a pass then holds one
layer's rows instead of all, needs no gradient through bounds, and can be cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.graph import Node
from models.operators import Relu
from solvers.bounds.adjustable import AdjustableLines, AdjustedWhole
from solvers.bounds.backward import Rows, Scene, lower_bounds, unit_rows
from solvers.bounds.ibp import interval_of, refinable_nodes
from solvers.bounds.intermediate import example_groups, relax_node, select, undecided_in
from solvers.bounds.interval import Interval
from solvers.bounds.options import BoundOptions
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules import NonlinearRule, Slopes, rule_for
from solvers.budget import Budget

__all__ = ["Optimised", "optimised"]

_GRADIENT_COPIES = 3
"""A differentiated pass keeps about this many times the memory of a plain one."""


@dataclass(frozen=True)
class Optimised:
    """What the ascent came to.

    Attributes:
        lower: The best bounds of the margins, shape `(batch, rows)`.
        bounds: The best bounds of every node.
        alphas: By node name, the slopes of ReLUs with which each margin was best, shape
            `(batch, rows, *shape)`; none unless they were asked for.
    """

    lower: Tensor
    bounds: dict[str, Interval]
    alphas: Mapping[str, Tensor]


def optimised(
    scene: Scene,
    final: tuple[Tensor, Tensor],
    bounds: Mapping[str, Interval],
    options: BoundOptions,
    budget: Budget,
    *,
    keep_alphas: bool = False,
) -> Optimised:
    """Bound margins from below with optimised slopes.

    Args:
        scene: Network and regions.
        final: The margins: coefficients of the output, shape `(batch, rows, *output_shape)`, and
            what is subtracted, shape `(batch, rows)`.
        bounds: Sound bounds of every node, such as CROWN's; where optimisation starts.
        options: Iterations, learning rate, memory.
        budget: Stops the optimisation early; at least one pass is made.
        keep_alphas: Whether slopes are wanted too.
    """
    climber = _Climber(scene, options, budget)
    best = {name: interval.detach() for name, interval in bounds.items()}
    if options.optimise_intermediate:
        best = climber.refined(best)
    output = scene.network.graph.output
    coefficients, offset = final
    size = climber.chunk(two_sided=False)
    parts, slopes = [], []
    for first in range(0, coefficients.shape[1], size):
        part = slice(first, first + size)
        kept: dict[str, Tensor] | None = {} if keep_alphas else None

        def margins(part: slice = part) -> Rows:
            return Rows({output: coefficients[:, part]}, -offset[:, part])

        parts.append(climber.climb(margins, best, iterations=options.iterations, kept=kept))
        slopes.append(kept or {})
    names = set(slopes[0]).intersection(*slopes)
    alphas = {name: torch.cat([part[name] for part in slopes], dim=1) for name in names}
    return Optimised(torch.cat(parts, dim=1), best, alphas)


@dataclass(frozen=True)
class _Climber:
    scene: Scene
    options: BoundOptions
    budget: Budget

    def chunk(self, *, two_sided: bool) -> int:
        """Return how many rows per example one differentiated pass may hold."""
        memory = self.options.memory_on(self.scene.region.lower.device)
        rows = memory.rows(self.scene, two_sided=two_sided)
        return max(1, rows // _GRADIENT_COPIES)

    def refined(self, bounds: Mapping[str, Interval]) -> dict[str, Interval]:
        """Tighten the bounds of every layer in turn."""
        graph = self.scene.network.graph
        refinable = {node.name for node in refinable_nodes(self.scene)}
        best: dict[str, Interval] = {}
        for node in graph.nodes:
            with torch.no_grad():
                current = interval_of(self.scene, node, best).intersect(bounds[node.name])
            if node.name in refinable:
                current = self._refine(node, current, best)
            best[node.name] = current
        return best

    def _refine(self, node: Node, current: Interval, best: Mapping[str, Interval]) -> Interval:
        """Tighten one node, in groups of examples that need about as many rows."""
        groups = example_groups(undecided_in(self.scene, node, current))
        if groups is None:
            return self._refine_group(node, current, best)
        for index in groups:
            part = replace(self, scene=self.scene[index])
            bounds = {name: interval[index] for name, interval in best.items()}
            current = current.put(index, part._refine_group(node, current[index], bounds))
        return current

    def _refine_group(
        self, node: Node, current: Interval, best: Mapping[str, Interval]
    ) -> Interval:
        selection = select(undecided_in(self.scene, node, current))
        size = self.chunk(two_sided=True)
        for first in range(0, selection.rows, size):
            if self.budget.exhausted:
                break
            part = selection[first : first + size]

            def rows(indices: Tensor = part.indices) -> Rows:
                return unit_rows(self.scene, node, indices)

            steps = self.options.intermediate_iterations
            both = self.climb(rows, best, iterations=steps, two_sided=True)
            current = part.write(current, both[:, : part.rows], -both[:, part.rows :])
        return current

    def climb(
        self,
        rows: Callable[[], Rows],
        bounds: Mapping[str, Interval],
        *,
        iterations: int,
        two_sided: bool = False,
        kept: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Ascend the slopes of some rows; return the best bounds seen, `(batch, rows)`.

        The slopes that gave them are written to `kept`, if that is given.
        """
        lines = _Lines(self.scene, bounds, shared=self.options.share_slopes)
        best: Tensor | None = None
        optimiser: torch.optim.Optimizer | None = None
        for iteration in range(iterations + 1):
            last = iteration == iterations
            with torch.set_grad_enabled(not last):
                value = lower_bounds(self.scene, rows(), lines, two_sided=two_sided)
            found = value.detach()
            if kept is not None:
                lines.remember(kept, torch.ones_like(found) if best is None else found > best)
            best = found if best is None else torch.fmax(best, found)
            if last or self.budget.exhausted or self._settled(best, two_sided=two_sided):
                break
            variables = lines.variables()
            if not variables:
                break
            if optimiser is None:
                optimiser = torch.optim.Adam(variables, lr=self.options.learning_rate)
            # Not `backward`, which would leave gradients in the network's own parameters.
            gradients = torch.autograd.grad(-value.sum(), variables, allow_unused=True)
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.grad = gradient
            optimiser.step()
            for group in optimiser.param_groups:
                group["lr"] *= self.options.learning_rate_decay
            with torch.no_grad():
                for variable in variables:
                    variable.clamp_(0, 1)
        assert best is not None  # noqa: S101  the loop runs at least once
        return best

    def _settled(self, best: Tensor, *, two_sided: bool) -> bool:
        stops = self.options.stop_when_positive and not two_sided
        return stops and bool((best > 0).all())


class _Lines:
    """Relaxations of one climb: adjustable where the rule allows, built on first use."""

    def __init__(self, scene: Scene, bounds: Mapping[str, Interval], *, shared: bool) -> None:
        self._scene, self._bounds, self._shared = scene, bounds, shared
        self._kept: dict[str, Relaxation] = {}
        self._adjustable: list[AdjustableLines | AdjustedWhole] = []

    def __call__(self, node: Node) -> Relaxation:
        if node.name not in self._kept:
            self._kept[node.name] = self._built(node)
        return self._kept[node.name]

    def variables(self) -> list[Tensor]:
        """Return the slopes of every node that passes have crossed."""
        found = (lines.alpha for lines in self._adjustable)
        return [variable for variable in found if variable is not None]

    def remember(self, kept: dict[str, Tensor], better: Tensor) -> None:
        """Write the slopes of ReLUs to `kept`, of the rows that are now better, `(batch, rows)`."""
        for name, lines in self._kept.items():
            node = self._scene.network.graph.node(name)
            if not isinstance(lines, AdjustableLines) or lines.alpha is None:
                continue
            alpha, size = lines.alpha.detach(), lines.start[0, 0].numel()
            # slopes in the layout of windows are of other rows than margins
            if isinstance(node.operator, Relu) and alpha.flatten(2).shape[-1] == size:
                shape = (*better.shape, *node.shape)
                wide = alpha.reshape(*alpha.shape[:2], *node.shape).expand(shape)
                chosen = better.bool().reshape(*better.shape, *(1,) * len(node.shape))
                kept[name] = torch.where(chosen, wide, kept.get(name, wide))

    def _built(self, node: Node) -> Relaxation:
        rule = rule_for(node.operator)
        inputs = [self._bounds[name] for name in node.inputs]
        with torch.no_grad():
            if not isinstance(rule, NonlinearRule) or not rule.optimisable:
                return relax_node(self._scene, node, self._bounds, Slopes())
            undecided = (rule.undecided(node.operator, b, i) for i, b in enumerate(inputs))
            if not any(bool(mask.any()) for mask in undecided):
                return relax_node(self._scene, node, self._bounds, Slopes())
            start = rule.alpha_start(node.operator, inputs).unsqueeze(1)
            build = rule.adjustable(node.operator, inputs, self._scene.network.parameters)
            if rule.own_lines:
                return self._whole(build, start, shared=self._shared)
            low, high = build(torch.zeros_like(start)), build(torch.ones_like(start))
        if isinstance(low, ElementwiseRelaxation) and isinstance(high, ElementwiseRelaxation):
            made = AdjustableLines(low, high, start, self._shared)
            self._adjustable.append(made)
            return made
        return self._whole(build, start, shared=True)

    def _whole(
        self, build: Callable[[Tensor], Relaxation], start: Tensor, *, shared: bool
    ) -> Relaxation:
        made = AdjustedWhole(build, start, shared)
        self._adjustable.append(made)
        return made
