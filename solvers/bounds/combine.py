"""Methods put together: the best of several, and many margins fused into one row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.errors import InvalidInputError
from solvers.bounds.backward import Rows, Scene, lower_bounds
from solvers.bounds.ibp import propagate
from solvers.bounds.intermediate import relaxations_of
from solvers.bounds.interval import Interval
from solvers.bounds.margins import Bounds, MarginBounds, Margins, bound_margins
from solvers.bounds.options import BoundOptions
from solvers.bounds.rules import Slopes
from solvers.budget import Budget
from solvers.methods import Method

__all__ = ["best_of", "fused_loss_bound"]


def best_of(
    scene: Scene,
    margins: Margins,
    methods: Sequence[Method],
    *,
    options: BoundOptions | None = None,
    budget: Budget | None = None,
) -> MarginBounds:
    """Bound margins by several methods and keep the best of each bound.

    Node bounds found by one method are intersected with those of the others, but each method
    starts afresh, so the order does not matter.

    Args:
        scene: Network and regions.
        margins: One set of linear functions per region.
        methods: At least one of `BOUND_METHODS`.
        options: Work and memory limits, for each of them.
        budget: Time limit for all of them.

    Raises:
        InvalidInputError: There is no method.
    """
    if not methods:
        raise InvalidInputError("name at least one method to take the best of")
    results = [
        bound_margins(scene, margins, method, options=options, budget=budget) for method in methods
    ]
    lower = torch.stack([result.lower for result in results]).amax(0)
    joined: dict[str, Interval] = dict(results[0].intermediate)
    for result in results[1:]:
        for name, interval in result.intermediate.items():
            joined[name] = joined[name].intersect(interval)
    return MarginBounds(lower, joined)


def fused_loss_bound(scene: Scene, margins: Margins, known: Bounds | None = None) -> Tensor:
    """Bound the worst cross-entropy over each region with a single backward row per region.

    With margins mₜ of all wrong classes t, the loss is log(1 + Σₜ exp(−mₜ)). On the interval of
    each margin exp lies below a chord, so the sum lies below one linear function of the margins:
    one row goes back through the network instead of one per class, which is what makes training
    over many classes affordable. Differentiable in the parameters.

    Source: loss fusion in Xu et al. 2020, section 3.4.

    Args:
        scene: Network and regions.
        margins: Of each wrong class against the right one, shape `(batch, classes − 1)` in all.
        known: Sound bounds of some nodes over the same regions; intervals otherwise.

    Returns:
        Upper bounds of the loss, shape `(batch,)`.
    """
    bounds = propagate(scene, known)
    output = bounds[scene.network.graph.output]
    lower, upper = _margin_intervals(margins, output)
    # exp(−m) over [lower, upper] lies below its chord; a sliver takes its larger end.
    at_lower, at_upper = torch.exp(-lower), torch.exp(-upper)
    width = upper - lower
    sliver = width < 1e-6
    safe = torch.where(sliver, torch.ones_like(width), width)
    slope = torch.where(sliver, torch.zeros_like(width), (at_upper - at_lower) / safe)
    intercept = at_lower - slope * lower
    # Slopes are never positive: minimise Σ −slope·m, with offsets, in one row.
    weights = -slope
    row = torch.einsum("br,bro->bo", weights, margins.matrix).unsqueeze(1)
    offset = (weights * margins.offset).sum(-1, keepdim=True)
    shape = scene.network.output_shape
    rows = Rows({scene.network.graph.output: row.reshape(scene.batch, 1, *shape)}, -offset)
    least = lower_bounds(scene, rows, relaxations_of(scene, bounds, Slopes())).squeeze(1)
    total = (intercept.sum(-1) - least).clamp(min=0)
    # The intervals alone bound the sum as well.
    return torch.log1p(torch.minimum(total, at_lower.sum(-1)))


def _margin_intervals(margins: Margins, output: Interval) -> tuple[Tensor, Tensor]:
    """Bound every margin by interval arithmetic from the outputs' bounds."""
    low = output.lower.reshape(output.batch, -1, 1)
    high = output.upper.reshape(output.batch, -1, 1)
    positive, negative = margins.matrix.clamp(min=0), margins.matrix.clamp(max=0)
    lower = (positive @ low + negative @ high).squeeze(-1) - margins.offset
    upper = (positive @ high + negative @ low).squeeze(-1) - margins.offset
    return lower, upper
