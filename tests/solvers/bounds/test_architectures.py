"""Transformers, recurrent and residual networks as torch exports them, read and bounded."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from models import Network, fold_affine
from solvers.bounds import BoundOptions, Interval, Margins
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.agreement import assert_agrees, torch_outputs
from tests.helpers.exports import ARCHITECTURES, build, exported
from tests.solvers.bounds.support import (
    bound,
    check_sound,
    random_margins,
    values_at,
)

every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


@functools.cache
def read(name: str, *, dynamo: bool = False) -> Network:
    """Return an architecture as it is read from its export, in float64."""
    module, x = build(name)
    network = assert_agrees(exported(module, x, dynamo=dynamo))
    expected = module(x).detach().numpy().reshape(1, -1)
    np.testing.assert_allclose(torch_outputs(network, x.numpy()[None]), expected, atol=1e-5)
    return network.to(torch.float64)


def regions(network: Network, widths: tuple[float, ...]) -> Interval:
    source = torch.Generator().manual_seed(0)
    shape = (len(widths), *network.input_shape)
    center = torch.rand(shape, generator=source, dtype=torch.float64)
    half = torch.tensor(widths, dtype=torch.float64).reshape(-1, *(1,) * (len(shape) - 1))
    return Interval(center - half, center + half)


@every_architecture
@pytest.mark.parametrize("method", BOUND_METHODS)
def test_bounds_hold(name: str, method: Method) -> None:
    network = read(name)
    region = regions(network, (0.0, 0.003, 0.03, 0.3))
    margins = random_margins(network, region.batch, 1)
    options = BoundOptions(iterations=1, optimise_intermediate=False)
    check_sound(network, region, margins, bound(network, region, margins, method, options))


@every_architecture
def test_crown_is_almost_exact_on_small_regions(name: str) -> None:
    """On a region so small that the network is almost linear, so are its bounds."""
    network = read(name)
    region = regions(network, (1e-5, 1e-5))
    margins = random_margins(network, 2, 2)
    lower = bound(network, region, margins, Method.CROWN).lower
    x = region.center.clone().requires_grad_()
    for row in range(margins.matrix.shape[1]):
        value = values_at(network, margins, x.unsqueeze(1))[:, 0, row]
        slope = torch.autograd.grad(value.sum(), x)[0]
        linear = value - (slope.abs() * region.radius).flatten(1).sum(1)
        # The rest is of second order: curvature and ReLUs that turn within 1e-5.
        assert (lower[:, row] <= linear + 1e-6).all()
        assert (lower[:, row] >= linear - 1e-5).all()


@pytest.mark.parametrize("name", ["transformer", "vit_layer_norm", "gru"])
def test_optimised_bounds_are_never_below_crown(name: str) -> None:
    network = read(name)
    region = regions(network, (0.05,))
    margins = random_margins(network, region.batch, 3)
    options = BoundOptions(iterations=2, intermediate_iterations=2)
    crown = bound(network, region, margins, Method.CROWN).lower
    best = bound(network, region, margins, Method.ALPHA_CROWN, options).lower
    assert (best >= crown - 1e-9).all()


@every_architecture
def test_folded_networks_compute_the_same_and_are_bounded(name: str) -> None:
    network = read(name)
    folded = fold_affine(network)
    assert len(folded.graph.nodes) <= len(network.graph.nodes)
    region = regions(network, (0.01,))
    torch.testing.assert_close(folded(region.lower), network(region.lower), rtol=1e-9, atol=1e-9)
    margins = random_margins(network, 1, 4)
    check_sound(folded, region, margins, bound(folded, region, margins, Method.CROWN))


@every_architecture
def test_both_exporters_give_the_same_bounds(name: str) -> None:
    pytest.importorskip("onnxscript")
    one, other = read(name), read(name, dynamo=True)
    region = regions(one, (0.01,))
    eye = torch.eye(one.output_size, dtype=torch.float64)
    margins = Margins(torch.cat([eye, -eye])[None], eye.new_zeros(1, 2 * len(eye)))
    first = bound(one, region, margins, Method.CROWN).lower
    second = bound(other, region, margins, Method.CROWN).lower
    # Weights go through different foldings in float32 on their way into the file.
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)
