"""Domains in which nothing is left to split: one linear program decides each.

There the network is linear up to what narrow intervals leave, and ascent would only converge
towards the answer. The program is solved in floating point and only its multipliers are used: the
bound that counts is computed from them like any other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from solvers.budget import Budget
from solvers.search.neurons.bounding import Bounder, Functions, Start
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.layout import Layout

__all__ = ["LeafSolver"]

_LARGE = 1e6
"""Times their size, multipliers that contradict each other stand for an empty domain."""


class LeafSolver:
    """Finds the best multipliers of domains by linear programs.

    Args:
        layout: Numbers the values.
        bounder: Turns multipliers into bounds.
        box: Input bounds, shape `(inputs,)` each.
    """

    def __init__(
        self, layout: Layout, bounder: Bounder, box: tuple[NDArray[np.float64], NDArray[np.float64]]
    ) -> None:
        self._layout, self._bounder = layout, bounder
        self._box = np.stack(box, axis=1)

    def solve(
        self, domains: Domains, functions: Functions, budget: Budget
    ) -> tuple[Domains, Tensor]:
        """Improve the floors of domains.

        Args:
            domains: With nothing left to split.
            functions: Of every row of every domain.
            budget: When to stop.

        Returns:
            The domains with better floors and multipliers, and for each an input where its program
            is least, shape `(domains, inputs)`; not a number where there is none.
        """
        rows = domains.alpha.shape[1]
        gamma, floor = domains.gamma.clone(), domains.floor.clone()
        points = np.full((len(domains), len(self._box)), np.nan)
        for place in range(len(domains)):
            one = domains[place : place + 1]
            constraints = self._constraints(one)
            for row in range(rows):
                if budget.exhausted:
                    break
                number = place * rows + row
                terms = one.terms[row : row + 1]
                objective = self._bounder.linear(functions[number : number + 1], _free(terms))
                multipliers, point = self._program(objective, constraints)
                if multipliers is None:
                    continue
                points[place] = point
                better = replace(terms, gamma=multipliers.to(terms.gamma.dtype))
                found = self._bounder.lower(functions[number : number + 1], better)[0]
                if float(found) > float(floor[place]):
                    floor[place], gamma[place, row] = found, better.gamma[0]
        return replace(domains, gamma=gamma, floor=floor), torch.from_numpy(points)

    def _constraints(self, domain: Domains) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
        """Return which values are cut and on which side, as `sign · z ≤ limit` over the input.

        Returns:
            Numbers of the values, signs (1 for upper bounds), and rows of coefficients with the
            constant left of the limit behind, shape `(constraints, inputs + 1)`.
        """
        lower, upper = domain.lower[0], domain.upper[0]
        below = (upper < self._layout.upper).nonzero().squeeze(1)
        above = (lower > self._layout.lower).nonzero().squeeze(1)
        values = torch.cat([below, above])
        signs = torch.cat([torch.ones(len(below)), -torch.ones(len(above))]).to(lower.device)
        limits = torch.cat([upper[below], -lower[above]]).double()
        table = np.zeros((len(values), len(self._box) + 1))
        depth = self._layout.depth[values]
        for position, slot in enumerate(self._layout.slots):
            mine = (depth == position).nonzero().squeeze(1)
            if len(mine) == 0:
                continue
            if slot.node.name in self._bounder.scene.front:
                table[mine.cpu().numpy()] = np.inf  # passes end behind it
                continue
            index = slot.indices[values[mine] - slot.part.start]
            # One row at a time has slopes of the domain; the lines are exact, so any would do.
            terms = _free(domain.terms[:1])
            repeated = Terms(
                *(
                    part.expand(len(mine), -1)
                    for part in (terms.lower, terms.upper, terms.alpha, terms.gamma)
                )
            )
            table[mine.cpu().numpy()] = self._bounder.linear(
                Start(slot.node, index, signs[mine]), repeated
            )
        table[:, -1] -= limits.cpu().numpy()
        return values, signs, table

    def _program(
        self,
        objective: NDArray[np.float64],
        constraints: tuple[Tensor, Tensor, NDArray[np.float64]],
    ) -> tuple[Tensor | None, NDArray[np.float64]]:
        """Minimise t with f(x) ≤ t and every constraint's excess ≤ t; return multipliers.

        With the multipliers of f scaled to 1, those of the constraints prove what they can: a
        positive optimum makes the bound positive too.
        """
        inputs = len(self._box)
        if not np.isfinite(objective).all():
            return None, np.full(inputs, np.nan)
        values, signs, table = constraints
        # Where no finite line is known, as of a curve that leaves its domain, a cut is left out,
        # which is always sound.
        usable = np.isfinite(table).all(1)
        kept = torch.from_numpy(usable).to(values.device)
        values, signs, table = values[kept], signs[kept], table[usable]
        rows = np.concatenate([objective, table])
        scale = np.abs(rows[:, :-1]).sum(1, keepdims=True)
        rows = rows / np.where(scale > 0, scale, 1.0)
        left = np.concatenate([rows[:, :-1], -np.ones((len(rows), 1))], axis=1)
        result = linprog(
            np.r_[np.zeros(inputs), 1.0],
            A_ub=left,
            b_ub=-rows[:, -1],
            bounds=[*map(tuple, self._box), (None, None)],
            method="highs",
        )
        if result.x is None or result.ineqlin is None:
            return None, np.full(inputs, np.nan)
        duals = np.maximum(0.0, -result.ineqlin.marginals) / np.where(
            scale[:, 0] > 0, scale[:, 0], 1
        )
        whole = duals[0] if duals[0] > duals.max() / _LARGE else max(duals.max(), 1e-300) / _LARGE
        gamma = torch.zeros(1, self._layout.size, dtype=torch.float64)
        share = torch.from_numpy(duals[1:] / whole) * signs.cpu().double()
        gamma[0].index_add_(0, values.cpu(), share)
        return gamma.to(values.device), result.x[:-1]


def _free(terms: Terms) -> Terms:
    return replace(terms, gamma=torch.zeros_like(terms.gamma))
