"""Upper lines of single neurons from the tightened relaxation, batched.

A line of the triangle is a function of a neuron's pre-activation w·x + b. Here the upper line is a
function of x itself: the inequality of the tightened relaxation that a point violates most. See
`solvers.convex.cuts` for the same in sparse arrays, one region at a time.

Shapes: `batch` examples, `pairs` neurons of each, `inputs` values that each of them depends on.

Source: Tjandraatmadja et al. 2020 (*The Convex Relaxation Barrier, Revisited*), theorem 1 and the
algorithm FastC2V.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from solvers.bounds.crossing import Coefficients
from solvers.bounds.patches import Patches
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation

__all__ = [
    "Cuts",
    "Fields",
    "TightenedLines",
    "flat",
    "joined",
    "laid_out",
    "read",
    "separate",
]

_CACHED = 1 << 16
"""Values handled at once, so that arrays stay in a processor's cache."""

_BISECTIONS = 6
"""More measured no tighter."""

_SHARE_STEP = 1e-3
"""Margin around the shares, which lie between 0 and 1."""

_OFFSET_UNITS = 8.0
"""Units of rounding granted to each term of an offset, beyond one for every term of the sum."""


@dataclass(frozen=True)
class Fields:
    """What neurons depend on: their weights, and the box and a point of their inputs.

    Attributes:
        weight: Shape `(batch, pairs, inputs)`.
        bias: Shape `(batch, pairs)`.
        lower, upper: Box of the inputs, shape `(batch, pairs or 1, inputs)`.
        point: Where to separate, the same shape.
    """

    weight: Tensor
    bias: Tensor
    lower: Tensor
    upper: Tensor
    point: Tensor

    def __getitem__(self, index: slice) -> Fields:
        """Return the neurons of some examples."""
        return Fields(
            self.weight[index],
            self.bias[index],
            self.lower[index],
            self.upper[index],
            self.point[index],
        )


def separate(fields: Fields) -> tuple[Tensor, Tensor, Tensor]:
    """Return for every neuron an inequality y ≤ c·x + d that its point violates most, or nearly.

    Inputs are taken into the set I in the order of their share of the way from the end of their
    interval where wᵢxᵢ is least. Sorting them costs more than all the rest, so the last share taken
    is found by bisection; inputs between its last two guesses count as equal.

    Returns:
        c of shape `(batch, pairs, inputs)`, d and the right side at the point, `(batch, pairs)`.
        d is the least with which c is valid, rounded up, so that nothing has to be trusted but
        that. Neurons that have no inequality get a right side of ∞.
    """
    size = fields.weight.shape[1] * fields.weight.shape[2]
    step = max(1, _CACHED // max(1, size))
    count = fields.weight.shape[0]
    parts = [_separate(fields[first : first + step]) for first in range(0, count, step)]
    lines, offset, right = (torch.cat(column) for column in zip(*parts, strict=True))
    return lines, offset, right


def _separate(fields: Fields) -> tuple[Tensor, Tensor, Tensor]:
    lines, crosses = _lines(fields)
    offset = _safe_offsets(fields, lines)
    right = (lines * fields.point).sum(-1) + offset
    # An infinite box leaves nothing that could be used, and 0 · ∞ must not come up later.
    usable = crosses & right.isfinite()
    lines = lines * usable.unsqueeze(-1).to(lines.dtype)
    return lines, offset.masked_fill(~usable, 0), right.masked_fill(~usable, torch.inf)


def _lines(fields: Fields) -> tuple[Tensor, Tensor]:
    """Return the coefficients, and which neurons have an inequality.

    Masks are numbers here: choosing by masks costs several times as much as multiplying.
    """
    weight, width = fields.weight, fields.upper - fields.lower
    dtype = weight.dtype
    drop = weight.abs() * width
    total = drop.sum(-1, keepdim=True)
    # Σ wᵢ far(i) + b, as the middle plus half of what all inputs can change
    middle = (weight * ((fields.lower + fields.upper) / 2)).sum(-1, keepdim=True)
    start = middle + total / 2 + fields.bias.unsqueeze(-1)
    way = (fields.point - fields.lower) / (width + torch.finfo(dtype).tiny)
    share = 0.5 + weight.sign() * (way - 0.5)
    low, high = torch.full_like(start, -_SHARE_STEP), torch.full_like(start, 1 + _SHARE_STEP)
    for _ in range(_BISECTIONS):
        guess = (low + high) / 2
        taken = torch.linalg.vecdot((share <= guess).to(dtype), drop).unsqueeze(-1)
        low, high = torch.where(taken > start, low, guess), torch.where(taken > start, guess, high)
    inside = (share <= low).to(dtype)
    drop_undecided = drop * ((share <= high).to(dtype) - inside)
    left = start - torch.linalg.vecdot(inside, drop).unsqueeze(-1)
    fits = (drop_undecided.cumsum(-1) <= left).to(dtype)
    # inputs that fit come before the first that does not; it is h, unless all fit
    last = fits.sum(-1, keepdim=True).long().clamp(max=weight.shape[-1] - 1)
    fitting = fits * (drop_undecided > 0).to(dtype)
    rest = left - torch.linalg.vecdot(fitting, drop_undecided).unsqueeze(-1)
    inside = inside + fitting
    slope = rest / width.expand_as(weight).gather(-1, last) * weight.gather(-1, last).sign()
    crosses = (start >= 0) & (total > start) & slope.isfinite()
    lines = (weight * inside).scatter(-1, last, slope.nan_to_num(0.0, 0.0, 0.0))
    return lines, crosses.squeeze(-1)


def _safe_offsets(fields: Fields, lines: Tensor) -> Tensor:
    """Return the largest value of max(0, w·x + b) − c·x over the box, rounded up."""
    reach = torch.maximum(fields.lower.abs(), fields.upper.abs())
    spread = ((lines.abs() + fields.weight.abs()) * reach).sum(-1) + fields.bias.abs()
    rest = fields.weight - lines
    active = torch.maximum(rest * fields.lower, rest * fields.upper).sum(-1) + fields.bias
    inactive = -torch.minimum(lines * fields.lower, lines * fields.upper).sum(-1)
    units = _OFFSET_UNITS + fields.weight.shape[-1]
    return torch.maximum(active, inactive) + units * torch.finfo(spread.dtype).eps * spread


@dataclass(frozen=True)
class Cuts:
    """Upper lines of some neurons of a layer that are functions of its origins' values.

    Every row of an example has cuts of its own, so `batch · rows` takes the place of `batch`.

    Attributes:
        index: Which neurons, flat, shape `(batch · rows, pairs)`.
        weight: Share that each has in its neuron's upper line, from 0 to 1, the same shape.
        offset: d, the same shape.
        lines: c, by name of the origin: shape `(batch · rows, pairs, *origin_shape)`, or windows.
    """

    index: Tensor
    weight: Tensor
    offset: Tensor
    lines: tuple[tuple[str, Coefficients], ...]

    def weighted(self, factors: Tensor) -> Cuts:
        """Return the cuts with shares multiplied by factors, shape `(batch · rows, pairs or 1)`."""
        return replace(self, weight=self.weight * factors)

    def at(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the right sides at a point, shape `(batch · rows, pairs)`.

        Args:
            values: Of each origin, shape `(batch · rows, *origin_shape)`.
        """
        parts = [(flat(lines) * read(lines, values[name])).sum(-1) for name, lines in self.lines]
        return self.offset + sum(parts[1:], parts[0])

    def crossed(self, amounts: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return Σ over pairs of amount · c for each origin, and of amount · d.

        Args:
            amounts: Shape `(batch · rows, pairs)`.

        Returns:
            Shapes `(batch · rows, *origin_shape)` and `(batch · rows,)`.
        """
        sums = []
        for _, lines in self.lines:
            if isinstance(lines, Patches):
                factors = amounts.reshape(*amounts.shape, 1, 1, 1)
                sums.append(lines.with_values(lines.values * factors).summed())
            else:
                total = torch.matmul(amounts.unsqueeze(1), lines.flatten(2)).squeeze(1)
                sums.append(total.reshape(total.shape[0], *lines.shape[2:]))
        return sums, (amounts * self.offset).sum(-1)


@dataclass
class TightenedLines(Relaxation):
    """The lines of a ReLU, with cuts in place of some upper ones, and what last crossed them.

    An upper line is a mixture: of cuts by their shares, and of the triangle's for what is left.

    Attributes:
        lines: The triangle's.
        cuts: Sets of cuts, each of other neurons or separated at another point.
        trial: Cuts that are being tried, or None.
        step: Share that the trial takes of its neurons' upper lines, shape `(batch · rows, 1)`.
        seen: Coefficients of the node in the last pass, shape `(batch, rows, *shape)`.
    """

    lines: ElementwiseRelaxation
    cuts: tuple[Cuts, ...] = ()
    trial: Cuts | None = None
    step: Tensor | None = None
    seen: Tensor | None = None

    @property
    def beyond(self) -> tuple[str, ...]:
        """The origins that cuts are functions of, once for every set."""
        return tuple(name for cuts in self._mixture() for name, _ in cuts.lines)

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Send the cuts' shares of negative coefficients to their origins, the rest as ever."""
        self.seen = coefficients
        leading = coefficients.shape[:2]
        left = coefficients.flatten(0, 1).flatten(1)
        negative = left.clamp(max=0)
        further: list[Tensor] = []
        added: Tensor | float = 0.0
        for cuts in self._mixture():
            amounts = negative.gather(1, cuts.index) * cuts.weight
            left = left.scatter_add(1, cuts.index, -amounts)
            sums, constant = cuts.crossed(amounts)
            further.extend(total.reshape(*leading, *total.shape[1:]) for total in sums)
            added = added + constant.reshape(leading)
        passed, constant = self.lines.backward(left.reshape(coefficients.shape))
        return (*passed, *further), constant + added

    def settle(self, step: Tensor) -> None:
        """Keep the trial with a share of its own for each row, shape `(batch · rows, 1)`."""
        self.step = step
        self.cuts = tuple(cuts for cuts in self._mixture() if bool((cuts.weight > 0).any()))
        self.trial = self.step = None

    def _mixture(self) -> list[Cuts]:
        """Return all cuts with the shares they have while the trial is on."""
        if self.trial is None or self.step is None or self.seen is None:
            return list(self.cuts)
        taken = self.seen.new_zeros(self.step.shape[0], self.seen[0, 0].numel())
        taken = taken.scatter(1, self.trial.index, self.trial.weight * self.step)
        kept = [cuts.weighted(1 - taken.gather(1, cuts.index)) for cuts in self.cuts]
        return [*kept, self.trial.weighted(self.step)]


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return the inputs of several origins one behind the other.

    Origins read as windows have values of their own for every pair, others share them.
    """
    if len(parts) == 1:
        return parts[0]
    pairs = max(part.shape[1] for part in parts)
    return torch.cat([part.expand(-1, pairs, -1) for part in parts], dim=-1)


def flat(part: Coefficients) -> Tensor:
    """Return coefficients with their inputs along one axis, shape `(batch, pairs, inputs)`."""
    return (part.values if isinstance(part, Patches) else part).flatten(2)


def read(part: Coefficients, values: Tensor) -> Tensor:
    """Lay out values of a node as the coefficients are, shape `(batch, pairs or 1, inputs)`."""
    if isinstance(part, Patches):
        return part.read(values).flatten(2)
    return values.flatten(1).unsqueeze(1)


def laid_out(part: Coefficients, values: Tensor) -> Coefficients:
    """Return other coefficients, shape `(batch, pairs, inputs)`, in the layout of some."""
    if isinstance(part, Patches):
        return part.with_values(values.reshape(part.values.shape))
    return values.reshape(part.shape)
