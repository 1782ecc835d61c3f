"""Boxes in stacked tensors, and how they are bisected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from solvers.bounds import Interval

__all__ = ["Boxes", "bisected"]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes and what is known of them.

    Attributes:
        lower, upper: Of the inputs that vary, shape `(boxes, varying)`.
        case: Which case each belongs to, shape `(boxes,)`.
        clause_lower: Proved lower bounds, shape `(boxes, clauses)`.
        reached: Least margin of the inputs tried in them, shape `(boxes,)`.
        scores: How much a split of each input promises, shape `(boxes, varying)`.
        depth: Number of splits, shape `(boxes,)`.
        bounds: Of some nodes over each box or one that holds it, by name, or empty.
    """

    lower: Tensor
    upper: Tensor
    case: Tensor
    clause_lower: Tensor
    reached: Tensor
    scores: Tensor
    depth: Tensor
    bounds: Mapping[str, Interval]

    def __len__(self) -> int:
        """Return the number of boxes."""
        return int(self.case.shape[0])

    def __getitem__(self, index: Tensor | slice) -> Boxes:
        """Return some boxes, by position or mask."""
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            index = index.nonzero().squeeze(1)
        plain = {name: getattr(self, name)[index] for name in _COLUMNS}
        bounds = {name: interval[index] for name, interval in self.bounds.items()}
        return Boxes(**plain, bounds=bounds)

    def without_bounds(self) -> Boxes:
        """Return the boxes without bounds of nodes."""
        return replace(self, bounds={})

    @property
    def worst(self) -> Tensor:
        """Lower bound of each box's margin, shape `(boxes,)`."""
        return self.clause_lower.amin(1)

    @property
    def row_bytes(self) -> int:
        """What one box takes."""
        parts = [getattr(self, name) for name in _COLUMNS]
        parts += [end for each in self.bounds.values() for end in (each.lower, each.upper)]
        return sum(part[:1].numel() * part.element_size() for part in parts)

    @classmethod
    def joined(cls, parts: Sequence[Boxes]) -> Boxes:
        """Put boxes together; bounds of nodes are kept where all parts have them."""
        if len(parts) == 1:
            return parts[0]
        plain = {name: torch.cat([getattr(part, name) for part in parts]) for name in _COLUMNS}
        names = set.intersection(*(set(part.bounds) for part in parts))
        bounds = {
            name: Interval(
                torch.cat([part.bounds[name].lower for part in parts]),
                torch.cat([part.bounds[name].upper for part in parts]),
            )
            for name in names
        }
        return cls(**plain, bounds=bounds)


_COLUMNS = tuple(column.name for column in fields(Boxes) if column.name != "bounds")


def bisected(boxes: Boxes) -> tuple[Boxes, Tensor]:
    """Cut every box in two, along the input that promises most.

    The halves share the cut, a number strictly between the ends, so that they cover the box
    exactly. An input without such a number is never cut.

    Returns:
        The halves, the lower ones first; and which boxes could not be cut, a mask.
    """
    middle = boxes.lower / 2 + boxes.upper / 2
    divisible = (middle > boxes.lower) & (middle < boxes.upper)
    stuck = ~divisible.any(1)
    rest = boxes if not bool(stuck.any()) else boxes[~stuck]
    if len(rest) < len(boxes):
        middle, divisible = middle[~stuck], divisible[~stuck]
    promising = rest.scores.nan_to_num(nan=0.0).masked_fill(~divisible, -torch.inf)
    chosen = promising.argmax(1, keepdim=True)
    cut = middle.gather(1, chosen)
    # What a second cut of the same input promises.
    scores = rest.scores.scatter(1, chosen, rest.scores.gather(1, chosen) / 2)
    both = Boxes.joined([rest, rest])
    depth = both.depth + 1
    return replace(
        both,
        lower=torch.cat([rest.lower, rest.lower.scatter(1, chosen, cut)]),
        upper=torch.cat([rest.upper.scatter(1, chosen, cut), rest.upper]),
        scores=torch.cat([scores, scores]),
        depth=depth,
    ), stuck
