"""Which value of a domain is split, and where.

Values are scored by what the relaxation loses there; the best few are tried: the bounds of both
children, without any ascent, decide. This is filtered smart branching (De Palma et al. 2021) with
scores that need no separate heuristic per activation: the loss at the relaxed minimum, and the
most that the relaxation could lose (for a ReLU, the intercept of its chord). Where that is only
guessed, as for products, values are ranked apart from the others, since guesses are far too high.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.graph import Node
from models.operators import Clip, HardSwish, LeakyRelu, Operator, PRelu, Relu
from solvers.bounds.ibp import nonlinear_nodes
from solvers.search.neurons.bounding import Bounder, Functions
from solvers.search.neurons.crossing import ReluLines, Terms, Traces
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.layout import Layout

__all__ = ["Brancher", "children_of", "losses"]


def _kinks(operator: Operator) -> tuple[float, ...]:
    """Return where a function is best split: at its kinks."""
    if isinstance(operator, Relu | LeakyRelu | PRelu):
        return (0.0,)
    if isinstance(operator, Clip):
        return (operator.lower, operator.upper)
    return (-3.0, 3.0) if isinstance(operator, HardSwish) else ()


class Brancher:
    """Chooses splits.

    Args:
        layout: Numbers the values that can be split.
        bounder: Bounds children.
        candidates: How many values are tried per score.
        row_limit: Most rows of one pass.
    """

    def __init__(
        self, layout: Layout, bounder: Bounder, *, candidates: int, row_limit: int
    ) -> None:
        self._layout, self._bounder = layout, bounder
        self._count, self.row_limit = candidates, row_limit
        self._kinks = _kink_table(layout)

    @property
    def width(self) -> int:
        """How many candidates a domain has."""
        return self._each * len(self._layout.kinds)

    @property
    def _each(self) -> int:
        """How many of them are of one kind."""
        return min(2 * self._count, self._layout.size)

    def candidates(self, terms: Terms, traces: Traces) -> Tensor:
        """Return the values worth trying in each row's domain, shape `(rows, width)`.

        Args:
            terms: Of the rows.
            traces: What the way back through their last pass left behind.
        """
        undecided = self._layout.undecided(terms.lower, terms.upper)
        loss, reach = losses(self._layout, terms, traces)
        # Rounding must not hide what is still undecided.
        loss, reach = (part.clamp(min=0).nan_to_num() for part in (loss, reach))
        kinds = self._layout.kinds
        return torch.cat([self._best(loss, reach, undecided & kind) for kind in kinds], dim=1)

    def _best(self, loss: Tensor, reach: Tensor, open_: Tensor) -> Tensor:
        """Return the best of some values by either score, shape `(rows, candidates of a kind)`."""
        count = min(self._count, self._layout.size)
        first = torch.where(open_, loss, -1.0).topk(count, dim=1)
        reach = torch.where(open_, reach, -1.0).scatter(1, first.indices, -1.0)
        second = reach.topk(self._each - count, dim=1)
        values = torch.cat([first.values, second.values], dim=1)
        places = torch.cat([first.indices, second.indices], dim=1)
        return torch.where(values >= 0, places, torch.full_like(places, -1))

    def points(self, values: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Return where values are split: at a kink inside their bounds, or halfway.

        Args:
            values: Numbers of values, any shape.
            lower: Their bounds, the same shape, float32.
            upper: The same.
        """
        point = lower + (upper - lower) / 2
        for kink in self._kinks.unbind(1):
            place = kink[values].to(point.dtype)
            point = torch.where((lower < place) & (place < upper), place, point)
        return point

    def choose(self, domains: Domains, functions: Functions) -> tuple[Tensor, Tensor]:
        """Choose a split for every domain.

        Args:
            domains: Each with at least one candidate.
            functions: Of every row of every domain.

        Returns:
            The value split and the point, shape `(domains,)` each.
        """
        count, width = domains.candidates.shape
        values = domains.candidates.clamp(min=0)
        lower, upper = domains.lower.gather(1, values), domains.upper.gather(1, values)
        points = self.points(values, lower, upper)
        if width > 1:
            gains = self._gains(domains, functions, values, points)
            gains = gains.masked_fill(domains.candidates < 0, -torch.inf)
            best = gains.argmax(1, keepdim=True)
        else:
            best = torch.zeros(count, 1, dtype=torch.long, device=values.device)
        return values.gather(1, best).squeeze(1), points.gather(1, best).squeeze(1)

    def _gains(
        self, domains: Domains, functions: Functions, values: Tensor, points: Tensor
    ) -> Tensor:
        """Return what both children gain together, shape `(domains, width)`."""
        count, width = values.shape
        rows = domains.alpha.shape[1]
        repeated = torch.arange(count, device=values.device).repeat_interleave(width)
        parts = []
        size = max(1, self.row_limit // (2 * rows))
        for first in range(0, count * width, size):
            part = repeated[first : first + size]
            chosen = values.flatten()[first : first + size]
            at = points.flatten()[first : first + size]
            children = children_of(domains[part], chosen, at)
            index = (part.unsqueeze(1) * rows + torch.arange(rows, device=part.device)).flatten()
            both = torch.cat([index, index])
            found = self._bounder.estimate(functions[both], children.terms)
            parts.append(found.reshape(2, len(part), rows).amax(2))
        lower = torch.cat(parts, dim=1).reshape(2, count, width)
        lower = torch.nan_to_num(lower, nan=-torch.inf, neginf=-1e30, posinf=1e30)
        base = domains.floor.to(lower.dtype).clamp(max=-1e-9).reshape(1, count, 1)
        # More than zero is not needed. Where a child's own multiplier is still missing, its bound
        # may lie below the parent's, which says nothing of the split.
        return ((lower.clamp(max=0) - base) / -base).clamp(min=0).sum(0)


def children_of(domains: Domains, values: Tensor, points: Tensor) -> Domains:
    """Return both halves of every domain, first all lower ones, then all upper ones.

    Args:
        domains: What is split.
        values: The value that each is split at, shape `(domains,)`.
        points: Where.
    """
    index = torch.arange(len(domains), device=values.device)
    both = domains[torch.cat([index, index])]
    lower, upper = both.lower.clone(), both.upper.clone()
    upper[index, values] = torch.minimum(upper[index, values], points)
    lower[index + len(domains), values] = torch.maximum(domains.lower[index, values], points)
    return Domains(
        both.clause,
        both.floor,
        both.depth + 1,
        both.number,
        lower,
        upper,
        both.alpha,
        both.gamma,
        both.candidates,
    )


def losses(layout: Layout, terms: Terms, traces: Traces) -> tuple[Tensor, Tensor]:
    """Return what relaxations lose at the relaxed minimum, and at most; `(rows, size)` each."""
    lines = ReluLines.of(terms)
    inside = torch.maximum(torch.minimum(traces.place, terms.upper), terms.lower)
    value = inside.clamp(min=0)
    positive, negative = traces.pull.clamp(min=0), traces.pull.clamp(max=0)
    above = torch.addcmul(lines.intercept, lines.above, inside)
    loss = positive * (value - lines.below * inside) + negative * (value - above)
    reach = -negative * lines.intercept
    for slot in layout.slots:
        if not isinstance(slot.owner.operator, Relu):
            loss[:, slot.part] = traces.loss[:, slot.part]
            reach[:, slot.part] = traces.reach[:, slot.part]
    return loss, reach


def _kink_table(layout: Layout) -> Tensor:
    """Return up to two kinks of each value's consumers, shape `(size, 2)`; none is not a number."""
    table = torch.full((layout.size, 2), torch.nan, device=layout.lower.device)
    nonlinear: tuple[Node, ...] = nonlinear_nodes(layout.network.graph)
    for slot in layout.slots:
        found = [
            k for node in nonlinear if slot.node.name in node.inputs for k in _kinks(node.operator)
        ]
        for position, kink in enumerate(dict.fromkeys(found)):
            if position < 2:
                table[slot.part, position] = kink
    return table
