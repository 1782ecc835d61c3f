"""Counterexamples out of the search: relaxed minimisers, and short descents from them.

The relaxed minimum of an open domain is attained at a corner of the region. Where relaxations are
nearly exact, the network's own margin there is nearly as low (Bunel et al. 2020, section 4).
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import Interval
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget

__all__ = ["Falsifier"]

_TRIED = 8
"""Corners that descents start from, the best of a round."""
_STEPS = 8
_SHARE = 0.1
"""Of the time of the search that descents may take."""
_BETTER = 1e-3
"""Share by which a margin must fall before the slow, independent runtime is asked."""


class Falsifier:
    """Offers inputs to a bracket.

    Args:
        network: In the precision to run in.
        region: Input bounds, batch 1.
        bracket: What inputs are offered to.
        witness: Judges them.
    """

    def __init__(
        self, network: Network, region: Interval, bracket: Bracket, witness: Witness
    ) -> None:
        self._network, self._bracket, self._witness = network, bracket, witness
        kind = network.dtype
        self._lower, self._upper = region.lower.to(kind), region.upper.to(kind)
        self._clauses = [
            (
                torch.from_numpy(clause.matrix).to(network.device, kind),
                torch.from_numpy(clause.offset).to(network.device, kind),
            )
            for clause in bracket.case.specification.clauses
        ]
        self._began, self._spent = time.perf_counter(), 0.0

    def try_corners(self, corners: Tensor, clauses: Tensor, budget: Budget) -> None:
        """Try the relaxed minimisers of domains.

        Args:
            corners: Shape `(domains, *input_shape)`.
            clauses: That each domain is about, shape `(domains,)`.
            budget: When to stop.
        """
        if len(corners) == 0:
            return
        corners = corners.to(self._lower.dtype)
        with torch.no_grad():
            margins = self._margins(corners)
        aimed = margins.gather(1, clauses.unsqueeze(1)).squeeze(1)
        self._offer(corners, margins.amin(1))
        began = time.perf_counter()
        if self._bracket.decided or self._spent > _SHARE * (began - self._began):
            return
        best = aimed.nan_to_num(nan=torch.inf).topk(min(_TRIED, len(aimed)), largest=False).indices
        self._descend(corners[best], clauses[best], budget)
        self._spent += time.perf_counter() - began

    def _descend(self, x: Tensor, clauses: Tensor, budget: Budget) -> None:
        """Follow the sign of the gradient within the box, in steps that shrink."""
        width = self._upper - self._lower
        for step in range(_STEPS):
            if budget.exhausted:
                return
            with torch.enable_grad():
                point = x.detach().requires_grad_()
                margins = self._margins(point)
                aim = margins.gather(1, clauses.unsqueeze(1)).sum()
                (gradient,) = torch.autograd.grad(
                    aim, point, allow_unused=True, materialize_grads=True
                )
            self._offer(point.detach(), margins.detach().amin(1))
            if self._bracket.decided:
                return
            moved = x - width * gradient.sign() * 0.5 ** (step // 2 + 1)
            x = torch.maximum(torch.minimum(moved, self._upper), self._lower)

    def _margins(self, x: Tensor) -> Tensor:
        """Return the margin of every clause, shape `(points, clauses)`."""
        y = self._network(x).flatten(1)
        return torch.stack([(y @ m.T - d).amax(1) for m, d in self._clauses], dim=1)

    def _offer(self, x: Tensor, margins: Tensor) -> None:
        """Let the bracket judge the best of some inputs, if it is news."""
        value, place = margins.nan_to_num(nan=torch.inf).min(0)
        upper = self._bracket.upper
        news = math.isinf(upper) or float(value) < upper - _BETTER * abs(upper)
        if news or float(value) <= 0:
            self._bracket.offer(self._witness, x[place].detach().cpu().double().numpy())
