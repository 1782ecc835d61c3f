"""Bounds of domains: slopes and multipliers optimised together, for many domains at once.

Every slope and every multiplier gives a sound bound (see `crossing`), so the best that a climb has
seen is kept, whatever it was. Climbs run in single precision; the bound that counts is computed
from what they found in the precision of the network.

Source: Wang et al. 2021 (β-CROWN), section 3.2: joint ascent of α and β by Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.network import Network
from solvers.bounds import Interval, Scene
from solvers.bounds.backward import Relaxations, Rows, concretize, pull_back
from solvers.bounds.balls import Balls
from solvers.bounds.crossing import Coefficients, whole
from solvers.budget import Budget
from solvers.search.neurons.ascent import Ascent
from solvers.search.neurons.crossing import Terms, Traces, first_slopes, relaxations_in
from solvers.search.neurons.functions import Bounded, Functions, Start
from solvers.search.neurons.layout import Layout

__all__ = ["Bounder", "Climb", "Functions", "Passed", "Start"]

_WORTH = 0.8
"""Rows are dropped when no more than this share of them is left."""


@dataclass(frozen=True, eq=False)
class Passed:
    """A differentiated pass.

    Attributes:
        value: Bounds, shape `(rows,)`.
        places: Values of the nodes that functions read, where the relaxed minimum is attained, by
            name, shape `(1, rows, *node_shape)`.
        scene: In which the pass was made.
        rows: What is left at the entry.
        relaxations: That were crossed.
    """

    value: Tensor
    places: Mapping[str, Tensor]
    scene: Scene
    rows: Rows
    relaxations: Relaxations

    def minimiser(self) -> Tensor:
        """Return the corner of the input box where rows are least, `(rows, *input_shape)`.

        Behind the entry there are only layers that an adjoint crosses, down to the input itself.
        Where the region is a ball, the corner lies outside, in the right direction.
        """
        graph, box = self.scene.network.graph, self.scene.region
        with torch.no_grad():
            left = self.rows.coefficients.items()
            rest = Rows({name: whole(value).detach() for name, value in left})
            pull_back(self.scene, rest, self.relaxations, end=graph.input.name)
            slope = rest.take(graph.input.name)
            if slope is None:
                return box.center
            return torch.where(whole(slope)[0] > 0, box.lower, box.upper)


@dataclass(eq=False)
class Climb:
    """What a climb found.

    Attributes:
        lower: Of the best iterate, in the precision climbed in, shape `(rows,)`.
        terms: Of the best iterate.
        traces: Of the last iterate of each row.
        minimiser: Input at which that iterate's relaxed minimum is attained, shape
            `(rows, *input_shape)`.
        steps: Gradient steps made.
    """

    lower: Tensor
    terms: Terms
    traces: Traces
    minimiser: Tensor
    steps: int = 0

    @classmethod
    def starting_at(cls, terms: Terms, like: Tensor) -> Climb:
        """Return what is known before the first step.

        Args:
            terms: Where the climb starts.
            like: One input with a batch axis, shape `(1, *input_shape)`.
        """
        rows = terms.lower.shape[0]
        return cls(
            terms.lower.new_full((rows,), -torch.inf),
            replace(terms, alpha=terms.alpha.clone(), gamma=terms.gamma.clone()),
            Traces.like(terms),
            like.expand(rows, *like.shape[1:]).clone(),
        )

    def note(self, rows: Tensor, value: Tensor, terms: Terms) -> float:
        """Keep the iterates of some rows that are better than any before; return the mean gain."""
        before = self.lower[rows]
        better = (value > before).nonzero().squeeze(1)
        where = rows[better]
        self.lower[where] = value[better]
        self.terms.alpha[where] = terms.alpha[better]
        self.terms.gamma[where] = terms.gamma[better]
        return float((self.lower[rows] - before).mean())

    def trace(self, rows: Tensor, traces: Traces, minimiser: Tensor) -> None:
        """Keep the traces of rows that are done."""
        self.traces.put(rows, traces)
        self.minimiser[rows] = minimiser


class Bounder:
    """Bounds rows over a region, each in a domain of its own.

    Args:
        layout: Numbers the values that can be split.
        region: Input bounds, batch 1, float64 or the network's dtype.
        balls: That inputs lie in as well, or None.
        dtype: To climb in.
        watch: Ends passes in the middle, by a `StoppedError`, once it is spent.
        moves: Whether climbs move the lines of nodes other than ReLUs, too.

    Attributes:
        moves: Whether they do; there may be none that could be moved.
    """

    def __init__(
        self,
        layout: Layout,
        region: Interval,
        balls: Balls | None,
        *,
        dtype: torch.dtype,
        watch: Budget | None = None,
        moves: bool = True,
    ) -> None:
        self.layout, self.dtype = layout, dtype
        self.moves = moves and len(layout.line_start) > 0
        self.exact_dtype = layout.network.dtype
        output = layout.root[layout.network.graph.output]
        self._output_size = torch.maximum(output.lower.abs(), output.upper.abs()).flatten()
        self._scenes = {
            kind: replace(_scene(layout.in_dtype(kind), region, balls), watch=watch)
            for kind in {dtype, self.exact_dtype}
        }

    @property
    def start(self) -> Tensor:
        """Slopes to begin with, and where lines that are moved begin, float32, one flat row."""
        layout = self.layout
        slopes = first_slopes(layout.lower, layout.upper)
        return torch.cat([slopes, layout.line_start]) if self.moves else slopes

    @property
    def scene(self) -> Scene:
        """The region in the network's own precision."""
        return self._scenes[self.exact_dtype]

    def lower(self, functions: Bounded, terms: Terms) -> Tensor:
        """Bound rows in the network's precision, shape `(rows,)`; not a number becomes −∞."""
        with torch.no_grad():
            value = self._plain(functions, terms.to(self.exact_dtype))
            value = value - functions.allowance(self._output_size)
        return torch.where(value.isnan(), torch.full_like(value, -torch.inf), value)

    def estimate(self, functions: Bounded, terms: Terms) -> Tensor:
        """Bound rows in the precision of climbs, shape `(rows,)`; proves nothing."""
        with torch.no_grad():
            return self._plain(functions, terms.to(self.dtype))

    def linear(self, functions: Bounded, terms: Terms) -> NDArray[np.float64]:
        """Return linear functions of the input below the rows, in the network's precision.

        Returns:
            Coefficients with the constant behind, shape `(rows, inputs + 1)`.
        """
        scene = self.scene
        with torch.no_grad():
            rows = functions.rows(scene)
            relaxations = relaxations_in(self.layout, terms.to(self.exact_dtype))
            pull_back(scene, rows, relaxations, end=scene.network.graph.input.name)
            left = rows.take(scene.network.graph.input.name)
        table = np.zeros((functions.count, scene.network.graph.input.size + 1))
        if left is not None:
            table[:, :-1] = whole(left)[0].flatten(1).cpu().numpy()
        constant = rows.constant
        table[:, -1] = constant[0].cpu().numpy() if isinstance(constant, Tensor) else constant
        return table

    def climb(
        self,
        functions: Bounded,
        terms: Terms,
        *,
        steps: int,
        budget: Budget,
        rate: float = 0.4,
        patience: float = 0.02,
        until_positive: bool = True,
    ) -> Climb:
        """Ascend slopes and multipliers of every row.

        The climb ends when what is left gains little.

        Args:
            functions: What is bounded.
            terms: Where to start.
            steps: Most gradient steps.
            budget: Ends the climb; one step is always made.
            rate: Length of the first step, in slopes; multipliers move in proportion to the
                coefficients that they are added to.
            patience: The share of what is missing to zero that steps have to gain, on average.
            until_positive: Whether rows leave once they are positive.
        """
        terms = self._movable(terms).to(self.dtype)
        state = Ascent(terms, self.layout, rate)
        found = Climb.starting_at(terms, self.scene.region.lower.to(self.dtype))
        rows = torch.arange(functions.count, device=terms.lower.device)
        for step in range(1, max(1, steps) + 1):
            traces = Traces.like(state.terms)
            passed = self.passed(functions, state, traces)
            value = passed.value
            gain = found.note(rows, value, state.terms)
            best = found.lower[rows]
            stop = step >= steps or budget.exhausted
            open_ = best <= 0
            if until_positive:
                stop = stop or (step > 2 and gain < -patience * float(best.clamp(max=0).mean()))
            else:
                open_ = torch.ones_like(open_)
            if stop or not bool(open_.any()):
                found.trace(rows, traces, passed.minimiser())
                break
            state.move(traces)
            left = open_.nonzero().squeeze(1)
            if len(left) <= _WORTH * len(rows):
                done = (~open_).nonzero().squeeze(1)
                found.trace(rows[done], traces.rows(done), passed.minimiser()[done])
                rows, functions = rows[left], functions[left]
                state.keep(left)
        found.steps = step
        return found

    def _movable(self, terms: Terms) -> Terms:
        """Return terms with lines of other nodes that can be moved, where they can."""
        if not self.moves or terms.moves:
            return terms
        start = self.layout.line_start.to(terms.alpha.dtype).expand(len(terms.alpha), -1)
        return replace(terms, alpha=torch.cat([terms.alpha, start], dim=1))

    def passed(self, functions: Bounded, state: Ascent, traces: Traces) -> Passed:
        """Make one differentiated pass where a climb stands.

        Args:
            functions: What is bounded.
            state: Of the climb.
            traces: Filled.
        """
        scene = self._scenes[state.terms.lower.dtype]
        with torch.enable_grad():
            rows = functions.rows(scene)
            # What is differentiated: the coefficients that rows start with. The nodes behind them
            # write down what they need on the way back.
            rows.coefficients = {name: _leaf(value) for name, value in rows.coefficients.items()}
            starts = {name: whole(value) for name, value in rows.coefficients.items()}
            terms = _with_leaf(state.terms)
            relaxations = relaxations_in(
                self.layout, terms, traces, lines=state.lines, inner=state.enclosures
            )
            pull_back(scene, rows, relaxations)
            value = concretize(scene, rows)[0]
            # Not `backward`, which would leave gradients in the network's own parameters.
            sought = [*starts.values(), *([terms.alpha] if terms.moves else [])]
            places = torch.autograd.grad(value.sum(), sought, allow_unused=terms.moves)
        if terms.moves:
            # None where rows pass by all the lines that could be moved.
            found = torch.zeros_like(terms.alpha) if places[-1] is None else places[-1]
            traces.steepness = found[:, terms.lower.shape[1] :].nan_to_num()
        return Passed(
            value.detach(), dict(zip(starts, places, strict=False)), scene, rows, relaxations
        )

    def _plain(self, functions: Bounded, terms: Terms) -> Tensor:
        """Make one backward pass; return bounds."""
        scene = self._scenes[terms.lower.dtype]
        rows = functions.rows(scene)
        pull_back(scene, rows, relaxations_in(self.layout, terms))
        return concretize(scene, rows)[0]


def _with_leaf(terms: Terms) -> Terms:
    """Return terms in whose slopes a pass is differentiated, if they move lines of other nodes."""
    return replace(terms, alpha=terms.alpha.detach().requires_grad_()) if terms.moves else terms


def _leaf(value: Coefficients) -> Tensor:
    return whole(value).detach().requires_grad_()


def _scene(network: Network, region: Interval, balls: Balls | None) -> Scene:
    kind = network.dtype
    box = Interval(region.lower.to(kind), region.upper.to(kind))
    if balls is not None:
        balls = Balls(balls.center.to(kind), balls.radii.to(kind), balls.norm)
    return Scene(network, box, balls)
