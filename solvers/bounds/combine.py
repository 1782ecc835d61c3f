"""Methods put together: the best of several, and many margins fused into one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import InvalidInputError
from models.graph import Node
from solvers.bounds.backward import Relaxations, Rows, Scene, lower_bounds
from solvers.bounds.ibp import propagate
from solvers.bounds.intermediate import relaxations_of
from solvers.bounds.interval import Interval
from solvers.bounds.margins import Bounds, MarginBounds, Margins, bound_margins
from solvers.bounds.observed import ObservedPass, observe
from solvers.bounds.options import BoundOptions
from solvers.bounds.relaxation import ConstantRelaxation, Relaxation
from solvers.bounds.rules import Slopes
from solvers.budget import Budget
from solvers.methods import Method

__all__ = ["FusedLoss", "best_of", "fused_loss", "fused_loss_bound"]


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


@dataclass(frozen=True)
class FusedLoss:
    """A bound of the worst cross-entropy by one row per region, and what it rests on.

    Attributes:
        loss: Upper bounds, shape `(batch,)`.
        weights: Of each margin in the row, never negative, shape `(batch, margins)`.
        intermediate: Interval bounds of every node.
        relaxations: Returns what encloses a nonlinear node on these bounds.
        observed: The backward pass of the row Σ weights · margins.
    """

    loss: Tensor
    weights: Tensor
    intermediate: Bounds
    relaxations: Relaxations
    observed: ObservedPass


def fused_loss_bound(scene: Scene, margins: Margins, known: Bounds | None = None) -> Tensor:
    """Bound the worst cross-entropy over each region; the loss alone of `fused_loss`."""
    return fused_loss(scene, margins, known).loss


def fused_loss(scene: Scene, margins: Margins, known: Bounds | None = None) -> FusedLoss:
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
    """
    bounds = propagate(scene, known)
    lower, upper = _margin_intervals(scene, margins, bounds)
    # Everything is scaled by exp(−shift), so that no exponential exceeds 1 and overflows.
    shift = (-lower).amax(-1, keepdim=True).clamp(min=0).detach()
    at_lower = torch.exp(-lower - shift)
    weights = _chord_weights(at_lower, torch.exp(-upper - shift), upper - lower)
    row = torch.einsum("br,bro->bo", weights, margins.matrix).unsqueeze(1)
    offset = (weights * margins.offset).sum(-1, keepdim=True)
    shape = scene.network.output_shape
    rows = Rows({scene.network.graph.output: row.reshape(scene.batch, 1, *shape)}, -offset)
    lines = relaxations_of(scene, bounds, Slopes())
    observed = observe(scene, rows, lines)
    total = (at_lower + weights * lower).sum(-1) - observed.lower.squeeze(1)
    # The intervals alone bound the sum as well.
    total = torch.minimum(total.clamp(min=0), at_lower.sum(-1))
    shift = shift.squeeze(-1)
    loss = shift + torch.log(torch.exp(-shift) + total)
    return FusedLoss(loss, weights, bounds, lines, observed)


def _chord_weights(at_lower: Tensor, at_upper: Tensor, width: Tensor) -> Tensor:
    """Return how fast exp(−m) falls along its chord; 0 for a sliver, which takes its larger end."""
    sliver = width < 1e-6
    safe = torch.where(sliver, torch.ones_like(width), width)
    return torch.where(sliver, torch.zeros_like(width), (at_lower - at_upper) / safe)


def _margin_intervals(scene: Scene, margins: Margins, bounds: Bounds) -> tuple[Tensor, Tensor]:
    """Bound every margin on both sides by interval arithmetic.

    What is affine behind the last nonlinear node is merged into the margins first, which takes no
    pass through the network and makes the chords on these intervals a good deal tighter.
    """
    network = scene.network

    def constants(node: Node) -> Relaxation:
        return ConstantRelaxation(bounds[node.name].lower, bounds[node.name].upper)

    shape = (*margins.matrix.shape[:2], *network.output_shape)
    rows = Rows({network.graph.output: margins.matrix.reshape(shape)}, -margins.offset)
    both = lower_bounds(scene, rows, constants, two_sided=True)
    return both[:, : shape[1]], -both[:, shape[1] :]
