"""Projected gradient descent on clause margins, for many cases and restarts at once.

Sources: Madry et al. 2018 (projected gradient descent with random restarts); Tashiro et al. 2020
(diversified starts: first towards random outputs); Kingma and Ba 2015 (the step's moments).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from solvers.attack.geometry import AttackBalls, steepest
from solvers.attack.objectives import ClauseBatch
from solvers.attack.options import AttackOptions
from solvers.budget import Budget

__all__ = ["Descent", "Found", "clearly_falsified", "descend"]

_MOMENTS = (0.5, 0.9)
# A margin this far below zero, relative to the outputs, survives another order of summation.
_CLEARLY = 1e-5


@dataclass(frozen=True, eq=False)
class Found:
    """The best point of each case.

    Attributes:
        margin: Shape `(cases,)`, float32.
        x: Shape `(cases, *input_shape)`.
        settled: Whether the margin is below zero beyond doubt, shape `(cases,)`.
    """

    margin: Tensor
    x: Tensor
    settled: Tensor


@dataclass(frozen=True, eq=False)
class Descent:
    """Where descents start, and what they aim at.

    Attributes:
        run: The network: `(batch, *input_shape)` to `(batch, outputs)`, differentiable.
        lower, upper: Of the regions, shape `(cases, 1, *input_shape)`.
        start: Shape `(cases, points, *input_shape)`.
        clauses: Of each case.
        target: Clause that each point aims at, shape `(cases, points)`.
        stride: Factor on the steps of each point, shape `(cases, points)`.
        direction: Random direction in output space that a point follows first, shape
            `(cases, points, outputs)`; zero for points that do not.
        balls: That points have to stay in as well, or None.
    """

    run: Callable[[Tensor], Tensor]
    lower: Tensor
    upper: Tensor
    start: Tensor
    clauses: ClauseBatch
    target: Tensor
    stride: Tensor
    direction: Tensor
    balls: AttackBalls | None = None

    def select(self, cases: Tensor) -> Descent:
        """Return the descents of some of the cases, by index."""
        return replace(
            self,
            lower=self.lower[cases],
            upper=self.upper[cases],
            start=self.start[cases],
            clauses=self.clauses.select(cases),
            target=self.target[cases],
            stride=self.stride[cases],
            direction=self.direction[cases],
            balls=None if self.balls is None else self.balls.select(cases),
        )

    def outputs(self, x: Tensor) -> Tensor:
        """Return outputs, shape `(cases, points, outputs)`, of `(cases, points, *input_shape)`."""
        return self.run(x.flatten(0, 1)).reshape(*x.shape[:2], -1)


def clearly_falsified(margin: Tensor, outputs: Tensor) -> Tensor:
    """Return which margins lie below zero beyond doubt.

    Args:
        margin: Shape `(…)`.
        outputs: Shape `(…, outputs)`.
    """
    return margin < -_CLEARLY * (1.0 + outputs.abs().amax(dim=-1))


class _State:
    """Points under way, and the best that each case has seen."""

    def __init__(self, descent: Descent) -> None:
        cases, device = descent.start.shape[0], descent.start.device
        self.descent = descent
        self.alive = torch.arange(cases, device=device)
        self.x = descent.start
        self.first = torch.zeros_like(descent.start)
        self.second = torch.zeros_like(descent.start)
        self.taken = 0
        self.found = Found(
            torch.full((cases,), torch.inf, device=device),
            descent.start[:, 0].clone(),
            torch.zeros(cases, dtype=torch.bool, device=device),
        )

    def gradient(self, *, diversify: bool) -> Tensor:
        """Evaluate the points, note the best, and return the gradient of what they minimise."""
        x = self.x.detach().requires_grad_()
        y = self.descent.outputs(x)
        margins = self.descent.clauses.margins(y)
        self._note(x.detach(), y.detach(), margins.detach())
        aim = margins.gather(2, self.descent.target.unsqueeze(-1)).squeeze(-1)
        if diversify:
            wander = (self.descent.direction * y).sum(dim=-1)
            aim = torch.where(self.descent.direction.any(dim=-1), wander, aim)
        if not aim.requires_grad:
            return torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(aim.sum(), x, allow_unused=True, materialize_grads=True)
        return torch.nan_to_num(gradient)

    def _note(self, x: Tensor, y: Tensor, margins: Tensor) -> None:
        """Keep the best point of each case."""
        value, point = torch.nan_to_num(margins.amin(dim=-1), nan=torch.inf).min(dim=1)
        rows = torch.arange(len(point), device=point.device)
        settled = clearly_falsified(value, y[rows, point])
        better = value < self.found.margin[self.alive]
        where = self.alive[better]
        self.found.margin[where] = value[better]
        self.found.x[where] = x[rows, point][better]
        self.found.settled[where] = settled[better]

    def move(self, gradient: Tensor, fraction: float) -> None:
        """Take a step of that share of the width against the gradient, and project."""
        lower, upper, balls = self.descent.lower, self.descent.upper, self.descent.balls
        width = upper - lower if balls is None else 2 * balls.radii
        scaled = gradient * width
        self.taken += 1
        decay, decay2 = _MOMENTS
        self.first = decay * self.first + (1 - decay) * scaled
        self.second = decay2 * self.second + (1 - decay2) * scaled.square()
        mean = self.first / (1 - decay**self.taken)
        size = (self.second / (1 - decay2**self.taken)).sqrt()
        stride = self.descent.stride.reshape(*self.x.shape[:2], *[1] * (self.x.ndim - 2))
        if balls is None:
            x = self.x - fraction * stride * width * mean / (size + 1e-12)
            self.x = torch.clamp(x, lower, upper)
        else:
            x = self.x - fraction * stride * width * steepest(mean, balls.norm)
            self.x = balls.project(x, lower, upper)

    def drop_settled(self) -> None:
        """Go on with the cases that are still open."""
        keep = torch.nonzero(~self.found.settled[self.alive]).squeeze(1)
        if len(keep) < len(self.alive):
            self.alive = self.alive[keep]
            self.descent = self.descent.select(keep)
            self.x, self.first, self.second = self.x[keep], self.first[keep], self.second[keep]


def descend(descent: Descent, options: AttackOptions, budget: Budget) -> Found:
    """Run all descents to their end, a clear counterexample, or the end of the budget.

    Args:
        descent: What to minimise, and from where.
        options: Steps and their sizes.
        budget: Asked between steps.
    """
    state = _State(descent)
    diversify = options.diversify_steps
    for step in range(diversify + options.steps + 1):
        if budget.exhausted or len(state.alive) == 0:
            break
        gradient = state.gradient(diversify=step < diversify)
        if options.stop_at_first and bool(state.found.settled.any()):
            break
        done = max(0, step - diversify) / max(1, options.steps - 1)
        ratio = options.final_fraction / options.step_fraction
        state.move(gradient, options.step_fraction * ratio**done)
        state.drop_settled()
    return state.found
