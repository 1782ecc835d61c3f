"""How rows cross nonlinear nodes inside the domains of a search.

In a domain every value z that can be split has bounds l ≤ z ≤ u, among them those that splits
impose. For any number γ, the function f + γ·z − γ⁺·u + γ⁻·l, with γ⁺ = max(γ, 0) and
γ⁻ = max(−γ, 0), is nowhere in the domain above f: it is f plus multipliers γ⁺ ≥ 0 and γ⁻ ≥ 0 of the
constraints u − z ≥ 0 and z − l ≥ 0, taken off. For a ReLU that was split at 0, one of the two
is the β of Wang et al. 2021 (β-CROWN), section 3.1; here all values that are undecided at the root
have one, because bounds found elsewhere are constraints as good as splits.

Every row has slopes and multipliers of its own, so that in all of this file rows are domains: the
engine's batch is 1, and row r of a pass lies in domain r.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.graph import Node
from models.operators import Relu
from solvers.bounds.backward import Relaxations
from solvers.bounds.interval import ROUNDING_UNITS
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation, SavedContext
from solvers.bounds.rules import NonlinearRule, Slopes, rule_for
from solvers.search.neurons.layout import Layout, Slot, loss_known

__all__ = [
    "Enclosing",
    "GeneralCrossing",
    "ReluLines",
    "Terms",
    "Traces",
    "first_slopes",
    "relaxations_in",
]


@dataclass(frozen=True, eq=False)
class Terms:
    """What rows are bounded with, one domain per row.

    Attributes:
        lower, upper: Bounds of the values that can be split, shape `(rows, size)`.
        alpha: Lower slopes of ReLUs in [0, 1], the same shape; behind them, where lines of other
            nodes are moved too, what `Layout.moved` says of these.
        gamma: Multipliers of the bounds, positive for the upper one, the same shape.
    """

    lower: Tensor
    upper: Tensor
    alpha: Tensor
    gamma: Tensor

    def __getitem__(self, index: Tensor | slice) -> Terms:
        """Return some of the rows."""
        return Terms(self.lower[index], self.upper[index], self.alpha[index], self.gamma[index])

    @property
    def slopes(self) -> Tensor:
        """Lower slopes of ReLUs, shape `(rows, size)`."""
        return self.alpha[:, : self.lower.shape[1]]

    @property
    def moves(self) -> bool:
        """Whether lines of other nodes are moved."""
        return self.alpha.shape[1] > self.lower.shape[1]

    def to(self, dtype: torch.dtype) -> Terms:
        """Return the same numbers in another dtype."""
        if self.lower.dtype == dtype:
            return self
        parts = (self.lower, self.upper, self.alpha, self.gamma)
        return Terms(*(part.to(dtype) for part in parts))


def first_slopes(lower: Tensor, upper: Tensor) -> Tensor:
    """Return the lower slopes of ReLUs that searches begin with, float32: of the smaller area."""
    return (upper > -lower).to(torch.float32)


@dataclass(eq=False)
class Traces:
    """What the way back through a pass leaves behind, all of shape `(rows, size)`.

    The nodes themselves write here, and gradients follow from it: slopes and multipliers of all
    nodes are one tensor each, which autograd would take apart and put together in every step.

    Attributes:
        pull: Coefficients of the outputs of ReLUs, and of the inputs of other nodes.
        place: Value z* of each neuron where the relaxed minimum is attained.
        loss: What the relaxation of its owner loses at z*.
        reach: What it loses at the place between the bounds where it is loosest, or about that.
        steepness: The derivative of rows in what moves lines of nodes other than ReLUs, shape
            `(rows, lines)`, or None.
    """

    pull: Tensor
    place: Tensor
    loss: Tensor
    reach: Tensor
    steepness: Tensor | None = None

    @classmethod
    def like(cls, terms: Terms) -> Traces:
        """Return traces of zeros."""
        return cls(*(torch.zeros_like(terms.lower) for _ in range(4)))

    def rows(self, index: Tensor) -> Traces:
        """Return the traces of some of the rows."""
        return Traces(self.pull[index], self.place[index], self.loss[index], self.reach[index])

    def put(self, index: Tensor, other: Traces) -> None:
        """Replace the traces of some of the rows."""
        self.pull[index], self.place[index] = other.pull, other.place
        self.loss[index], self.reach[index] = other.loss, other.reach


@dataclass(frozen=True, eq=False)
class ReluLines:
    """The lines of max(0, z) on every value's interval, as if all owners were ReLUs.

    Attributes:
        unstable: Where zero lies strictly inside, shape `(rows, size)`, as all others.
        below: Lower slope: α where unstable.
        above, intercept: Of the chord above (Ehlers 2017).
    """

    unstable: Tensor
    below: Tensor
    above: Tensor
    intercept: Tensor

    @classmethod
    def of(cls, terms: Terms) -> ReluLines:
        """Return the lines of every row."""
        lower, upper = terms.lower, terms.upper
        unstable = (lower < 0) & (upper > 0)
        active = (lower >= 0).to(lower.dtype)
        width = torch.where(unstable, upper - lower, torch.ones_like(lower))
        above = torch.where(unstable, upper / width, active)
        intercept = torch.where(unstable, -above * lower, torch.zeros_like(above))
        return cls(unstable, torch.where(unstable, terms.slopes, active), above, intercept)

    def rows(self, index: Tensor) -> ReluLines:
        """Return the lines of some of the rows."""
        return ReluLines(
            self.unstable[index], self.below[index], self.above[index], self.intercept[index]
        )

    def with_alpha(self, alpha: Tensor) -> ReluLines:
        """Return the lines with other lower slopes."""
        return replace(self, below=torch.where(self.unstable, alpha, self.above))


def _multiplier_constant(terms: Terms, part: slice) -> Tensor:
    """Return −γ⁺·u + γ⁻·l summed over a slot, less the rounding of all that it stands for."""
    gamma, lower, upper = terms.gamma[:, part], terms.lower[:, part], terms.upper[:, part]
    constant = -(gamma.clamp(min=0) * upper).sum(1) - (gamma.clamp(max=0) * lower).sum(1)
    if gamma.dtype != torch.float64:
        return constant
    unit = ROUNDING_UNITS * torch.finfo(torch.float64).eps
    size = (gamma.abs() * torch.maximum(lower.abs(), upper.abs())).sum(1)
    return constant - unit * size


@dataclass(frozen=True, eq=False)
class _ReluCrossing(Relaxation):
    """One ReLU node in the domain of every row.

    Attributes:
        slot: What can be split of its input.
        terms, lines, traces: Of the rows.
        active: 1 for values that are positive over the whole region, 0 for others.
        unlisted: Undecided values that cannot be split.
        owns: Whether multipliers are added here.
    """

    slot: Slot
    terms: Terms
    lines: ReluLines
    traces: Traces | None
    active: Tensor
    unlisted: Tensor
    owns: bool

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor], Tensor]:
        """Multiply by the slopes of each row, and add its multipliers."""
        rows = coefficients.shape[1]
        passed, constant = _CrossRelu.apply(coefficients.reshape(rows, -1), self)  # type: ignore[no-untyped-call]
        return (passed.reshape(coefficients.shape),), constant.unsqueeze(0)


class _CrossRelu(torch.autograd.Function):
    """a ↦ a⁺·(lower slope) + a⁻·(upper slope) + γ and the constant; writes the traces."""

    @staticmethod
    def forward(ctx: SavedContext, a: Tensor, node: _ReluCrossing) -> tuple[Tensor, Tensor]:
        part, lines = node.slot.part, node.lines
        open_ = a.index_select(1, node.slot.indices)
        negative = open_.clamp(max=0)
        constant = (negative * lines.intercept[:, part]).sum(1)
        passed = (open_ - negative).mul_(lines.below[:, part])
        passed.addcmul_(negative, lines.above[:, part])
        if node.owns:
            passed += node.terms.gamma[:, part]
            constant = constant + _multiplier_constant(node.terms, part)
        if len(node.unlisted) > 0:
            # Zero is below them, and nothing above that is worth finding.
            loose = (a.index_select(1, node.unlisted) < 0).any(1)
            constant = constant.masked_fill(loose, -torch.inf)
        result = (a * node.active).index_copy_(1, node.slot.indices, passed)
        ctx.save_for_backward(open_)
        ctx.node = node  # type: ignore[attr-defined]
        return result, constant

    @staticmethod
    def backward(ctx: SavedContext, grad_passed: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (open_,) = ctx.saved_tensors
        node: _ReluCrossing = ctx.node  # type: ignore[attr-defined]
        part, lines = node.slot.part, node.lines
        place = grad_passed.index_select(1, node.slot.indices)
        if node.traces is not None:
            node.traces.pull[:, part] = open_
            node.traces.place[:, part] = place
        above = torch.addcmul(lines.intercept[:, part], lines.above[:, part], place)
        chosen = torch.where(open_ > 0, lines.below[:, part] * place, above)
        grad = grad_passed * node.active
        return grad.index_copy_(1, node.slot.indices, chosen), None


@dataclass(frozen=True, eq=False)
class GeneralCrossing(Relaxation):
    """Any nonlinear node in the domain of every row."""

    node: Node
    inner: Relaxation
    slots: Sequence[tuple[int, Slot]]
    terms: Terms
    traces: Traces | None

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Cross by the rule's own lines, then add the multipliers of the inputs."""
        moved, constant = self.inner.backward(coefficients.squeeze(0).unsqueeze(1))
        passed = [value.squeeze(1).unsqueeze(0) for value in moved]
        total = constant.squeeze(1)
        for position, slot in self.slots:
            value = passed[position]
            note = _Note(self, slot, coefficients.detach() if len(passed) == 1 else None)
            flat, added = _AddMultipliers.apply(value.reshape(value.shape[1], -1), note)  # type: ignore[no-untyped-call]
            passed[position] = flat.reshape(value.shape)
            total = total + added
        return tuple(passed), total.unsqueeze(0)


@dataclass(frozen=True, eq=False)
class _Note:
    """What adding multipliers of one input has to know."""

    crossing: GeneralCrossing
    slot: Slot
    outputs: Tensor | None


class _AddMultipliers(torch.autograd.Function):
    """a ↦ a + γ and the constant of γ; writes the traces."""

    @staticmethod
    def forward(ctx: SavedContext, a: Tensor, note: _Note) -> tuple[Tensor, Tensor]:
        slot, terms = note.slot, note.crossing.terms
        ctx.note = note  # type: ignore[attr-defined]
        ctx.save_for_backward(a)
        result = a.index_add(1, slot.indices, terms.gamma[:, slot.part])
        return result, _multiplier_constant(terms, slot.part)

    @staticmethod
    def backward(ctx: SavedContext, grad_a: Tensor, _: Tensor) -> tuple[Tensor, None]:
        note: _Note = ctx.note  # type: ignore[attr-defined]
        (a,) = ctx.saved_tensors
        slot, traces = note.slot, note.crossing.traces
        if traces is not None:
            part = slot.part
            place, pull = (value.index_select(1, slot.indices) for value in (grad_a, a))
            traces.place[:, part], traces.pull[:, part] = place, pull
            loss, reach = _general_loss(note, pull, place)
            traces.loss[:, part], traces.reach[:, part] = loss, reach
        return grad_a, None


def _general_loss(note: _Note, a: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the lines of a node lose at z*, and in the middle of its interval.

    Functions of one value alone are evaluated; for others, such as products or what has a stored
    slope, the width times the coefficient stands in.
    """
    crossing, slot = note.crossing, note.slot
    lower, upper = crossing.terms.lower[:, slot.part], crossing.terms.upper[:, slot.part]
    inner, known = crossing.inner, loss_known(crossing.node)
    if not isinstance(inner, ElementwiseRelaxation) or note.outputs is None or not known:
        # What reads several values may read one of them with coefficient zero, as a maximum does.
        spread = (a.abs() + a.abs().mean(1, keepdim=True)) * (upper - lower)
        return spread, spread
    outputs = note.outputs.squeeze(0).flatten(1).index_select(1, slot.indices)

    def chosen(line: Tensor | None) -> Tensor:
        if line is None:
            return torch.zeros_like(lower)
        return line.squeeze(1).flatten(1).index_select(1, slot.indices)

    def lost(z: Tensor) -> Tensor:
        value = crossing.node.operator.forward([z], {})
        below = value - chosen(inner.lower_slope) * z - chosen(inner.lower_intercept)
        above = value - chosen(inner.upper_slope) * z - chosen(inner.upper_intercept)
        return outputs.clamp(min=0) * below + outputs.clamp(max=0) * above

    return lost(torch.clamp(place, lower, upper)), lost((lower + upper) / 2)


Enclosing = Callable[[Terms], Relaxation]
"""Returns what encloses a node for the slopes of some terms; their bounds must not have changed."""


def _enclosing(layout: Layout, node: Node, rule: NonlinearRule[Any], terms: Terms) -> Enclosing:
    """Return what encloses a node other than a ReLU on the bounds of terms."""
    inputs = [layout.full(name, terms.lower, terms.upper) for name in node.inputs]
    parameters = layout.parameters(terms.lower.dtype)
    moved = layout.moved.get(node.name) if terms.moves else None
    if moved is None:
        fixed = rule.relax(node.operator, inputs, parameters, Slopes())
        return lambda _: fixed
    adjusted = rule.adjustable(node.operator, inputs, parameters)
    return lambda now: adjusted(now.alpha[:, moved.part].reshape(-1, 1, *moved.shape))


def relaxations_in(
    layout: Layout,
    terms: Terms,
    traces: Traces | None = None,
    *,
    lines: ReluLines | None = None,
    inner: dict[str, Enclosing] | None = None,
) -> Relaxations:
    """Return what encloses each nonlinear node in the domain of every row.

    Args:
        layout: Numbers the values that can be split.
        terms: Bounds, slopes and multipliers of the rows, in the dtype of the pass.
        traces: Filled by the way back through the pass, if there is one.
        lines: Of the terms, where they are at hand.
        inner: What encloses nodes other than ReLUs on the bounds of the terms, for any slopes, by
            name; what is missing is added.
    """
    kept: dict[str, Relaxation] = {}
    enclosures: dict[str, Enclosing] = {} if inner is None else inner
    triangles = ReluLines.of(terms) if lines is None else lines

    def built(node: Node) -> Relaxation:
        rule = rule_for(node.operator)
        assert isinstance(rule, NonlinearRule)  # noqa: S101  passes ask for no other
        slot = layout.by_node.get(node.inputs[0])
        if isinstance(node.operator, Relu) and slot is not None:
            active = layout.active(node.inputs[0], terms.lower.dtype)
            unlisted, owns = layout.unlisted(node.inputs[0]), slot.owner is node
            return _ReluCrossing(slot, terms, triangles, traces, active, unlisted, owns)
        places = {name: layout.by_node.get(name) for name in node.inputs}
        if not any(places.values()):
            return layout.settled(node, terms.lower.dtype)
        if node.name not in enclosures:
            with torch.no_grad():
                enclosures[node.name] = _enclosing(layout, node, rule, terms)
        owned: dict[str, tuple[int, Slot]] = {}
        for position, name in enumerate(node.inputs):
            place = places[name]
            if place is not None and place.owner is node and name not in owned:
                owned[name] = (position, place)
        inner = enclosures[node.name](terms)
        return GeneralCrossing(node, inner, tuple(owned.values()), terms, traces)

    def relaxation(node: Node) -> Relaxation:
        if node.name not in kept:
            kept[node.name] = built(node)
        return kept[node.name]

    return relaxation
