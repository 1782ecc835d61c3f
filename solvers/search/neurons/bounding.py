"""Bounds of domains: slopes and multipliers optimised together, for many domains at once.

Every slope and every multiplier gives a sound bound (see `crossing`), so the best that a climb has
seen is kept, whatever it was. Climbs run in single precision; the bound that counts is computed
from what they found in the precision of the network.

Source: Wang et al. 2021 (β-CROWN), section 3.2: joint ascent of α and β by Adam.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.graph import Node
from models.network import Network
from solvers.bounds import Interval, Scene
from solvers.bounds.backward import Relaxations, Rows, concretize, pull_back, unit_rows
from solvers.bounds.balls import Balls
from solvers.bounds.crossing import Coefficients, whole
from solvers.bounds.relaxation import Relaxation
from solvers.budget import Budget
from solvers.search.neurons.crossing import ReluLines, Terms, Traces, relaxations_in
from solvers.search.neurons.layout import Layout

__all__ = ["Bounder", "Climb", "Functions", "Start"]

_MOMENTS = (0.5, 0.999)
_DECAY = 0.97
_WORTH = 0.8
"""Rows are dropped when no more than this share of them is left."""
_TINY = 1e-12
"""Keeps steps finite where a gradient has always been zero."""


@dataclass(frozen=True, eq=False)
class Functions:
    """Linear functions of the output, one per row: coefficients · y − offset.

    Attributes:
        coefficients: Shape `(rows, *output_shape)`.
        offset: Shape `(rows,)`.
    """

    coefficients: Tensor
    offset: Tensor

    def __getitem__(self, index: Tensor | slice) -> Functions:
        """Return some of the rows."""
        return Functions(self.coefficients[index], self.offset[index])

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.offset.shape[0])

    def rows(self, scene: Scene) -> Rows:
        """Return the rows in the scene's precision."""
        kind = scene.network.dtype
        return Rows(
            {scene.network.graph.output: self.coefficients.to(kind).unsqueeze(0)},
            -self.offset.to(kind).unsqueeze(0),
        )


@dataclass(frozen=True, eq=False)
class Start:
    """Single values of one node, one per row, times a sign.

    Attributes:
        node: Whose values.
        indices: Flat indices into the node, shape `(rows,)`.
        signs: 1 or −1, the same shape.
    """

    node: Node
    indices: Tensor
    signs: Tensor

    def __getitem__(self, index: Tensor | slice) -> Start:
        """Return some of the rows."""
        return Start(self.node, self.indices[index], self.signs[index])

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.indices.shape[0])

    def rows(self, scene: Scene) -> Rows:
        """Return the rows in the scene's precision."""
        signs = self.signs.to(scene.network.dtype).unsqueeze(0)
        return unit_rows(scene, self.node, self.indices.unsqueeze(0), signs)


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
    """

    def __init__(
        self, layout: Layout, region: Interval, balls: Balls | None, *, dtype: torch.dtype
    ) -> None:
        self.layout, self.dtype = layout, dtype
        self.exact_dtype = layout.network.dtype
        self._scenes = {
            kind: _scene(layout.in_dtype(kind), region, balls) for kind in {dtype, self.exact_dtype}
        }

    @property
    def scene(self) -> Scene:
        """The region in the network's own precision."""
        return self._scenes[self.exact_dtype]

    def lower(self, functions: Functions | Start, terms: Terms) -> Tensor:
        """Bound rows in the network's precision, shape `(rows,)`; not a number becomes −∞."""
        with torch.no_grad():
            value = self._pass(functions, terms.to(self.exact_dtype))[0]
        return torch.where(value.isnan(), torch.full_like(value, -torch.inf), value)

    def estimate(self, functions: Functions | Start, terms: Terms) -> Tensor:
        """Bound rows in the precision of climbs, shape `(rows,)`; proves nothing."""
        with torch.no_grad():
            return self._pass(functions, terms.to(self.dtype))[0]

    def linear(self, functions: Functions | Start, terms: Terms) -> NDArray[np.float64]:
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
        functions: Functions | Start,
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
        terms = terms.to(self.dtype)
        state = _Ascent(terms, self.layout, rate)
        found = Climb.starting_at(terms, self.scene.region.lower.to(self.dtype))
        rows = torch.arange(functions.count, device=terms.lower.device)
        for step in range(1, max(1, steps) + 1):
            traces = Traces.like(state.terms)
            value, minimiser = self._differentiated(functions, state, traces)
            gain = found.note(rows, value, state.terms)
            best = found.lower[rows]
            stop = step >= steps or budget.exhausted
            open_ = best <= 0
            if until_positive:
                stop = stop or (step > 2 and gain < -patience * float(best.clamp(max=0).mean()))
            else:
                open_ = torch.ones_like(open_)
            if stop or not bool(open_.any()):
                found.trace(rows, traces, minimiser)
                break
            state.move(traces)
            left = open_.nonzero().squeeze(1)
            if len(left) <= _WORTH * len(rows):
                done = (~open_).nonzero().squeeze(1)
                found.trace(rows[done], traces.rows(done), minimiser[done])
                rows, functions = rows[left], functions[left]
                state.keep(left)
        found.steps = step
        return found

    def _differentiated(
        self, functions: Functions | Start, state: _Ascent, traces: Traces
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            value, minimiser = self._pass(functions, state.terms, traces, state=state)
        assert minimiser is not None  # noqa: S101  asked for with the traces
        return value.detach(), minimiser

    def _pass(
        self,
        functions: Functions | Start,
        terms: Terms,
        traces: Traces | None = None,
        *,
        state: _Ascent | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Make one backward pass; return bounds, and where traced the relaxed minimisers."""
        scene = self._scenes[terms.lower.dtype]
        rows = functions.rows(scene)
        leaves = []
        if traces is not None:
            # What is differentiated: the coefficients that rows start with. The nodes behind them
            # write down what they need on the way back.
            rows.coefficients = {name: _leaf(value) for name, value in rows.coefficients.items()}
            leaves = [whole(value) for value in rows.coefficients.values()]
        lines, inner = (None, None) if state is None else (state.lines, state.enclosures)
        relaxations = relaxations_in(self.layout, terms, traces, lines=lines, inner=inner)
        pull_back(scene, rows, relaxations)
        value = concretize(scene, rows)[0]
        if traces is None:
            return value, None
        # Not `backward`, which would leave gradients in the network's own parameters.
        torch.autograd.grad(value.sum(), leaves)
        with torch.no_grad():
            return value, _minimiser(scene, rows, relaxations)


def _leaf(value: Coefficients) -> Tensor:
    return whole(value).detach().requires_grad_()


def _scene(network: Network, region: Interval, balls: Balls | None) -> Scene:
    kind = network.dtype
    box = Interval(region.lower.to(kind), region.upper.to(kind))
    if balls is not None:
        balls = Balls(balls.center.to(kind), balls.radii.to(kind), balls.norm)
    return Scene(network, box, balls)


def _minimiser(scene: Scene, rows: Rows, relaxations: Relaxations) -> Tensor:
    """Return the corner of the input box where rows at the entry are least.

    Behind the input there are only layers that an adjoint crosses, down to the input itself.
    Where the region is a ball, the corner lies outside, in the right direction.
    """
    graph = scene.network.graph
    rest = Rows({name: whole(value).detach() for name, value in rows.coefficients.items()})
    pull_back(scene, rest, relaxations, end=graph.input.name)
    slope = rest.take(graph.input.name)
    box = scene.region
    if slope is None:
        return box.center
    return torch.where(whole(slope)[0] > 0, box.lower, box.upper)


class _Ascent:
    """Adam on slopes and multipliers, which are two flat tensors."""

    def __init__(self, terms: Terms, layout: Layout, rate: float) -> None:
        self.terms = replace(terms, alpha=terms.alpha.clone(), gamma=terms.gamma.clone())
        self.lines = ReluLines.of(self.terms)
        self.enclosures: dict[str, Relaxation] = {}
        self._rate, self._taken = rate, 0
        self._moments = [torch.zeros_like(terms.alpha) for _ in range(4)]
        self._scale: Tensor | None = None
        self._layout = layout
        self._free = layout.cut(terms.lower, terms.upper)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the rows."""
        self.terms, self.lines = self.terms[rows], self.lines.rows(rows)
        self.enclosures = {}
        self._moments = [moment[rows] for moment in self._moments]
        self._free = self._free[rows]
        if self._scale is not None:
            self._scale = self._scale[rows]

    def move(self, traces: Traces) -> None:
        """Make one step."""
        if self._scale is None:
            # Only bounds that splits impose: the others hold by themselves, or nearly so, and
            # multipliers that hover around zero slow the climb down.
            self._scale = _scale(traces, self._layout) * self._free
        self._taken += 1
        size = self._rate * _DECAY ** (self._taken - 1)
        terms, (first_a, second_a, first_g, second_g) = self.terms, self._moments
        slope = (traces.pull.clamp(min=0) * traces.place).masked_fill_(~self.lines.unstable, 0)
        terms.alpha.add_(self._step(slope, first_a, second_a), alpha=size).clamp_(0, 1)
        pressure = _pressure(terms, traces.place)
        moved = self._step(pressure, first_g, second_g).mul_(self._scale)
        before = terms.gamma.clone()
        terms.gamma.add_(moved, alpha=size)
        # A multiplier that changes sign would pay for the other bound: it stops at zero first.
        terms.gamma.masked_fill_(before * terms.gamma < 0, 0)
        self.lines = self.lines.with_alpha(terms.alpha)

    def _step(self, gradient: Tensor, first: Tensor, second: Tensor) -> Tensor:
        decay, decay2 = _MOMENTS
        first.mul_(decay).add_(gradient, alpha=1 - decay)
        second.mul_(decay2).addcmul_(gradient, gradient, value=1 - decay2)
        mean = first / (1 - decay**self._taken)
        return mean.div_((second / (1 - decay2**self._taken)).sqrt_().add_(_TINY))


def _pressure(terms: Terms, place: Tensor) -> Tensor:
    """Return the bounds' derivative in γ: z* − u where γ > 0, z* − l where γ < 0.

    At 0 it is how far z* lies outside of [l, u].
    """
    gamma = terms.gamma
    inside = torch.maximum(torch.minimum(place, terms.upper), terms.lower)
    nearest = torch.where(gamma > 0, terms.upper, torch.where(gamma < 0, terms.lower, inside))
    return place - nearest


def _scale(traces: Traces, layout: Layout) -> Tensor:
    """Return the mean size of the coefficients at every slot, spread over its values."""
    scale = torch.empty_like(traces.pull)
    for slot in layout.slots:
        part = slot.part
        scale[:, part] = traces.pull[:, part].abs().mean(1, keepdim=True)
    return scale
