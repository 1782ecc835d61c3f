"""Adversarial inputs by projected gradient ascent (Madry et al. 2018).

One start per input and few steps: what training needs every step. To judge a network, the attack
of the solvers is the better one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.network import Network
from solvers.bounds import Interval

__all__ = ["adversarial_inputs"]


@torch.enable_grad()  # also within an evaluation, which needs none of its own
def adversarial_inputs(
    network: Network,
    region: Interval,
    labels: Tensor,
    *,
    steps: int,
    step_size: float,
    generator: torch.Generator,
) -> Tensor:
    """Search each region for an input of large cross-entropy.

    Args:
        network: Its parameters are held fixed.
        region: Bounds of inputs, shape `(batch, *input_shape)`.
        labels: Shape `(batch,)`.
        steps: Of signed gradient ascent.
        step_size: As a share of the region's radius, value by value.
        generator: Of the random starts, on the CPU.

    Returns:
        The best input seen of each region, shape `(batch, *input_shape)`, without a gradient.
    """
    fixed = network.with_parameters({k: v.detach() for k, v in network.parameters.items()})
    lower, upper, radius = region.lower, region.upper, region.radius
    start = torch.rand(lower.shape, generator=generator).to(lower)
    x = torch.lerp(lower, upper, start)
    best, highest = x, torch.full_like(lower.flatten(1)[:, 0], -torch.inf)
    for step in range(steps + 1):
        x = x.detach().requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            loss = functional.cross_entropy(fixed(x).flatten(1), labels, reduction="none")
        best, highest = _better(best, highest, x.detach(), loss.detach())
        if step < steps:
            (slope,) = torch.autograd.grad(loss.sum(), x)
            moved = torch.addcmul(x.detach(), slope.sign(), step_size * radius)
            x = torch.minimum(torch.maximum(moved, lower), upper)
    return best


def _better(best: Tensor, highest: Tensor, x: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the input of larger loss, example by example."""
    improved = loss > highest
    spread = improved.reshape(-1, *(1,) * (x.dim() - 1))
    return torch.where(spread, x, best), torch.where(improved, loss, highest)
