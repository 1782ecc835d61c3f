"""Slopes of lines that a search moved, as the fractions that proofs hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.graph import Node
from models.operators import Operator, Sigmoid, Tanh
from solvers.bounds.backward import pull_back
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.proof.parts.curves import SIGMOID, TANH
from solvers.proof.parts.relaxed import Relaxed
from solvers.proof.producing.slopes import Compact, quantised
from solvers.search.neurons.bounding import Bounder
from solvers.search.neurons.crossing import GeneralCrossing, Terms, relaxations_in
from solvers.search.neurons.functions import Bounded, Functions
from solvers.search.neurons.layout import Slot

__all__ = ["slope_shares", "with_lines"]

_BATCH = 256

_CURVES: Mapping[type[Operator], Relaxed] = {Sigmoid: SIGMOID, Tanh: TANH}
"""What the checker makes of nodes of which leaves can tell what was moved."""


@dataclass
class _Seen(Relaxation):
    """Crosses a node, and remembers which coefficients it met."""

    inner: GeneralCrossing
    met: list[Tensor] = field(default_factory=list)

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Cross the node."""
        self.met.append(coefficients)
        return self.inner.backward(coefficients)


def slope_shares(bounder: Bounder, functions: Bounded, terms: Terms) -> Tensor:
    """Return the slopes with which rows are bounded, as proofs hold them.

    Args:
        bounder: Bounds the rows.
        functions: Of the rows.
        terms: With which they are bounded; they move lines of curves, or there are none.

    Returns:
        In [0, 1], shape `(rows, values)`: slopes of ReLUs as they are; of curves, fractions of the
        way from the least derivative to the largest, for the line on the side that is asked for.
    """
    layout, terms = bounder.layout, terms.to(bounder.exact_dtype)
    relaxation, seen = relaxations_in(layout, terms), dict[str, _Seen]()

    def watched(node: Node) -> Relaxation:
        found = relaxation(node)
        if isinstance(found, GeneralCrossing) and node.name in layout.moved:
            return seen.setdefault(node.name, _Seen(found))
        return found

    with torch.no_grad():
        pull_back(bounder.scene, functions.rows(bounder.scene), watched)
    shares = terms.slopes.clone()
    for one in seen.values():
        curve = _CURVES[type(one.inner.node.operator)]
        for _, slot in one.inner.slots:
            ends = [end[:, slot.part].cpu().numpy() for end in (terms.lower, terms.upper)]
            least, most = curve.slopes([(ends[0], ends[1])])
            way = np.where(most > least, most - least, 1.0)
            share = (_slopes(one, slot).cpu().numpy() - least) / way
            shares[:, slot.part] = torch.from_numpy(np.clip(share, 0.0, 1.0)).to(shares)
    return shares


def with_lines(bounder: Bounder, functions: Functions, terms: Terms) -> Compact:
    """Return slopes and multipliers of leaves in which lines of curves were moved.

    Each leaf has a row of its own: leaves share no slopes, since their intervals differ.

    Args:
        bounder: Bounds leaves.
        functions: The row that is proved in each leaf.
        terms: Of each leaf.
    """
    count, device = len(terms.alpha), functions.offset.device
    shares, lower = [torch.zeros(0, terms.lower.shape[1])], [torch.zeros(0, dtype=torch.float64)]
    for first in range(0, count, _BATCH):
        part = slice(first, first + _BATCH)
        held = (terms.lower, terms.upper, terms.alpha, terms.gamma)
        own = Terms(*(values[part].to(device, bounder.exact_dtype) for values in held))
        shares.append(slope_shares(bounder, functions[part], own).cpu())
        lower.append(bounder.lower(functions[part], own).cpu().double())
    rows = np.arange(count, dtype=np.int32)
    return Compact(
        quantised(torch.cat(shares), np.uint16), rows, terms.gamma.float(), torch.cat(lower)
    )


def _slopes(one: _Seen, slot: Slot) -> Tensor:
    """Return the slopes that coefficients met at the values of a slot, shape `(rows, values)`."""
    lines, (met,) = one.inner.inner, one.met
    assert isinstance(lines, ElementwiseRelaxation)  # noqa: S101  curves have lines
    below, above = (line.squeeze(1) for line in (lines.lower_slope, lines.upper_slope))
    slopes = torch.where(met[0] > 0, below, above)
    return slopes.flatten(1).index_select(1, slot.indices)
