"""What the tests of the bounds share: regions, points inside them, and the check by sampling."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import BoundOptions, Interval, MarginBounds, Margins, Scene, bound_margins
from solvers.methods import Method

# Widths of input intervals, from a point to far beyond what the weights were made for.
WIDTHS = (0.0, 1e-9, 0.05, 0.5, 3.0, 1e6)

# Bounds and values are both computed in float64, on different ways through the network: they may
# differ by rounding, which grows with the size of what is added up.
ROUNDING = 1e-9


def generator(seed: int) -> torch.Generator:
    """Return a generator of its own."""
    return torch.Generator().manual_seed(seed)


def uniform(seed: int | torch.Generator, *shape: int, low: float = -1, high: float = 1) -> Tensor:
    """Return uniform float64 numbers."""
    source = generator(seed) if isinstance(seed, int) else seed
    return low + (high - low) * torch.rand(shape, generator=source, dtype=torch.float64)


def random_region(network: Network, seed: int, widths: tuple[float, ...]) -> Interval:
    """Return one region per width; ends are shared with the centre here and there (one-sided)."""
    source = generator(seed)
    shape = (len(widths), *network.input_shape)
    center = uniform(source, *shape)
    scale = torch.tensor(widths, dtype=torch.float64).reshape(-1, *(1,) * (len(shape) - 1))
    down, up = (uniform(source, *shape, low=-0.3).clamp(min=0) * scale for _ in range(2))
    return Interval(center - down, center + up)


def random_margins(network: Network, batch: int, seed: int, rows: int = 3) -> Margins:
    """Return random margins, one of which reads a single output."""
    source = generator(seed)
    matrix = uniform(source, batch, rows, network.output_size)
    matrix[:, 0] = 0
    matrix[:, 0, 0] = 1
    return Margins(matrix, uniform(source, batch, rows))


def values_at(network: Network, margins: Margins, x: Tensor) -> Tensor:
    """Return margins at points `(batch, points, *input_shape)`, shape `(batch, points, rows)`."""
    y = network(x.flatten(0, 1)).reshape(*x.shape[:2], -1)
    return torch.einsum("bro,bpo->bpr", margins.matrix, y) - margins.offset.unsqueeze(1)


def points_in(region: Interval, count: int, seed: int) -> Tensor:
    """Return points of a region, shape `(batch, points, *shape)`: both ends, corners, inside."""
    source = generator(seed)
    lower, upper = region.lower.cpu().unsqueeze(1), region.upper.cpu().unsqueeze(1)
    inside = uniform(source, lower.shape[0], count, *lower.shape[2:], low=0)
    corners = (uniform(source, *inside.shape) > 0).to(inside.dtype)
    mixed = torch.where(uniform(source, *inside.shape) > 0, inside, corners)
    steps = torch.cat([inside, corners, mixed], dim=1)
    drawn = torch.minimum(torch.maximum(lower + (upper - lower) * steps, lower), upper)
    return torch.cat([lower, upper, drawn], dim=1).to(region.lower.device)


def slope_of(values: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of the sum of values, also where they do not depend on `x`."""
    return torch.autograd.grad(values.sum() + 0 * x.sum(), x)[0]


def descend(network: Network, margins: Margins, region: Interval, x: Tensor) -> Tensor:
    """Move points towards small margins by signed gradient steps, one margin per point."""
    lower, upper = region.lower.unsqueeze(1), region.upper.unsqueeze(1)
    rows = torch.arange(x.shape[1], device=x.device) % margins.matrix.shape[1]
    for fraction in (0.5, 0.25, 0.1, 0.03):
        x = x.detach().requires_grad_()
        values = values_at(network, margins, x).gather(2, rows.expand(len(x), -1).unsqueeze(-1))
        step = fraction * (upper - lower) * slope_of(values, x).sign()
        x = torch.minimum(torch.maximum(x.detach() - step, lower), upper)
    return x


def check_margins(network: Network, margins: Margins, lower: Tensor, x: Tensor) -> None:
    """Assert that no margin at points `x` is below its bound, up to rounding."""
    values = values_at(network, margins, x)
    size = 1 + x.abs().amax() + values.abs().amax(1)
    below = (lower - values.amin(1)) / size
    assert not lower.isnan().any()
    assert below.max() <= ROUNDING, f"a bound is {below.max():.3g} above a value"


def check_nodes(network: Network, bounds: Mapping[str, Interval], x: Tensor) -> None:
    """Assert that every node's value at points `x` lies within its bounds, up to rounding."""
    values = network.graph.evaluate(x.flatten(0, 1), network.parameters)
    for node in network.graph.nodes:
        value = values[node.name].expand(x.shape[0] * x.shape[1], *node.shape)
        value = value.reshape(*x.shape[:2], *node.shape)
        slack = ROUNDING * (1 + x.abs().max() + value.abs().amax(1))
        interval = bounds[node.name]
        assert (interval.lower <= interval.upper).all(), node.name
        assert (value.amin(1) >= interval.lower - slack).all(), node.name
        assert (value.amax(1) <= interval.upper + slack).all(), node.name


def check_sound(
    network: Network, region: Interval, margins: Margins, bounds: MarginBounds, seed: int = 0
) -> None:
    """Assert that bounds hold at sampled points, and at points pushed towards the bound."""
    x = points_in(region, 60, seed)
    x = torch.cat([x, descend(network, margins, region, x)], dim=1)
    check_margins(network, margins, bounds.lower, x)
    check_nodes(network, bounds.intermediate, x)


def bound(
    network: Network,
    region: Interval,
    margins: Margins,
    method: Method,
    options: BoundOptions | None = None,
    *,
    known: Mapping[str, Interval] | None = None,
) -> MarginBounds:
    """Bound margins; a short alpha-crown where no options are given."""
    chosen = BoundOptions(iterations=4) if options is None else options
    return bound_margins(Scene(network, region), margins, method, options=chosen, known=known)
