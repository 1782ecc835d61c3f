"""Bounds with perturbed weights: sound for every sample of weights and inputs together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import operators as ops
from models.errors import BoundsError, ShapeError
from models.network import Network
from models.parameters import MultiplyBy, Permute, Reciprocal
from solvers.balls import Norm
from solvers.bounds import (
    BoundOptions,
    Interval,
    Margins,
    ParameterRadii,
    Scene,
    bound_margins,
    boxes_to_interval,
    regions_to_balls,
)
from solvers.bounds.ibp import propagate
from solvers.errors import UnsupportedMethodError
from solvers.methods import BOUND_METHODS, Method
from solvers.problem import norm_ball
from tests.helpers.random_graphs import GraphBuilder, networks, relu_chain, seeds
from tests.solvers.bounds.support import (
    check_margins,
    check_nodes,
    descend,
    generator,
    points_in,
    random_margins,
    random_region,
    uniform,
)

OPTIONS = BoundOptions(iterations=2, intermediate_iterations=1)
LAYERS = ops.Linear | ops.Convolution | ops.ConvolutionTranspose


def weights_of(network: Network) -> list[str]:
    """Return the parameters of layers with weights."""
    return sorted(
        {
            reference.name
            for node in network.graph.nodes
            if isinstance(node.operator, LAYERS)
            for reference in node.operator.references()
        }
    )


def random_radii(network: Network, seed: int, scale: float) -> dict[str, float | Tensor]:
    """Return radii for about two thirds of the weights, some one number, some one per entry."""
    source = generator(seed)
    radii: dict[str, float | Tensor] = {}
    for name in weights_of(network):
        kind = int(torch.randint(3, (), generator=source))
        if kind:
            full = uniform(source, *network.parameters[name].shape, low=0) * scale
            radii[name] = full if kind == 1 else scale
    return radii


def sampled(network: Network, radii: ParameterRadii, seed: int, *, corner: bool) -> Network:
    """Return the network with other weights, inside the radii."""
    source = generator(seed)
    parameters = dict(network.parameters)
    for name, radius in radii.items():
        step = uniform(source, *parameters[name].shape)
        parameters[name] = parameters[name] + radius * (step.sign() if corner else step)
    return Network(network.graph, parameters, name="sampled")


def check_sound(
    scene: Scene, margins: Margins, method: Method, x: Tensor, *, samples: int = 6
) -> None:
    """Assert that bounds hold for sampled weights, at points and at points pushed downwards."""
    bounds = bound_margins(scene, margins, method, options=OPTIONS)
    assert scene.parameter_radii is not None
    for seed in range(samples):
        other = sampled(scene.network, scene.parameter_radii, seed, corner=seed % 2 == 0)
        points = x
        if scene.balls is None:
            points = torch.cat([x, descend(other, margins, scene.region, x[:, :8])], dim=1)
        check_margins(other, margins, bounds.lower, points)
        check_nodes(other, bounds.intermediate, points)


@pytest.mark.parametrize("method", BOUND_METHODS)
@settings(max_examples=15, deadline=None)
@given(network=networks(), seed=seeds, scale=st.sampled_from([1e-6, 0.02, 0.5]))
def test_bounds_hold_for_all_weights(
    method: Method, network: Network, seed: int, scale: float
) -> None:
    radii = random_radii(network, seed, scale)
    region = random_region(network, seed, (0.0, 0.05, 1.0))
    margins = random_margins(network, 3, seed)
    scene = Scene(network, region, parameter_radii=radii)
    check_sound(scene, margins, method, points_in(region, 6, seed))


@pytest.mark.parametrize("norm", [Norm.ONE, Norm.TWO])
@pytest.mark.parametrize("method", BOUND_METHODS)
def test_weights_and_balls_go_together(method: Method, norm: Norm) -> None:
    network = relu_chain((5, 6, 4, 3), 8)
    region = norm_ball(np.full((1, 5), 0.5), 0.4, norm)
    scene = Scene(
        network,
        boxes_to_interval([region], torch.float64),
        regions_to_balls([region], torch.float64),
        random_radii(network, 1, 0.05),
    )
    random = np.random.default_rng(0)
    steps = random.normal(size=(60, 1, 5)) * random.choice([0.1, 1], (60, 1, 1))
    points = np.stack([region.pulled_in(region.center + step) for step in steps])
    x = torch.from_numpy(points[None])
    check_sound(scene, random_margins(network, 1, 0), method, x, samples=20)


def one_layer(*, bias: bool = True) -> Network:
    builder = GraphBuilder((1, 4), 3)
    builder.linear(3, bias=bias)
    return builder.network()


@pytest.mark.parametrize("method", BOUND_METHODS)
def test_one_layer_of_positive_inputs_is_bounded_exactly(method: Method) -> None:
    network = one_layer()
    references = network.graph.nodes[1].operator.references()
    weight, bias = (reference.resolve(network.parameters) for reference in references)
    x = torch.tensor([[[0.5, 1.0, 0.0, 2.0]]], dtype=torch.float64)
    matrix = torch.eye(3, dtype=torch.float64).unsqueeze(0)
    margins = Margins(matrix, torch.zeros(1, 3, dtype=torch.float64))
    radii = {references[0].name: 0.1, references[1].name: 0.2}
    scene = Scene(network, Interval(x, x), parameter_radii=radii)
    found = bound_margins(scene, margins, method).lower
    wanted = x[0] @ weight.T + bias - 0.1 * x.sum() - 0.2
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", BOUND_METHODS)
def test_no_radius_changes_nothing(method: Method) -> None:
    network = relu_chain((4, 5, 3), 1)
    region = random_region(network, 1, (0.3,))
    margins = random_margins(network, 1, 1)
    plain = bound_margins(Scene(network, region), margins, method).lower
    zero: Mapping[str, float] = dict.fromkeys(weights_of(network), 0.0)
    found = bound_margins(Scene(network, region, parameter_radii=zero), margins, method).lower
    if method in {Method.IBP, Method.FASTC2V}:
        # A perturbed last layer is not merged into the margins, nor are ReLUs behind one cut.
        assert (found <= plain + 1e-9).all()
    else:
        torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-9)


def test_larger_radii_give_looser_bounds() -> None:
    network = relu_chain((4, 5, 3), 1)
    region = random_region(network, 1, (0.1,))
    margins = random_margins(network, 1, 1)
    lowers = [
        bound_margins(
            Scene(network, region, parameter_radii=dict.fromkeys(weights_of(network), radius)),
            margins,
            Method.CROWN_IBP,
        ).lower
        for radius in (0.0, 0.01, 0.1)
    ]
    assert (lowers[0] > lowers[1]).all()
    assert (lowers[1] > lowers[2]).all()


def test_radii_follow_the_parameter_through_views() -> None:
    """A weight stored transposed and used with a factor of −2 drifts by twice its radius."""
    builder = GraphBuilder((1, 2), 0)
    stored = builder.normal(2, 3)
    builder.add(ops.Linear(stored.then(Permute((1, 0))).then(MultiplyBy(-2.0)), None))
    network = builder.network()
    x = torch.tensor([[[1.0, 10.0]]], dtype=torch.float64)
    radius = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.01, 0.0]], dtype=torch.float64)
    scene = Scene(network, Interval(x, x), parameter_radii={stored.name: radius})
    output = propagate(scene)[network.graph.output]
    wanted = torch.tensor([[[0.2, 0.2, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(output.radius, wanted, rtol=0, atol=1e-9)


def scene_with(network: Network, radii: ParameterRadii) -> Scene:
    return Scene(network, random_region(network, 0, (0.1,)), parameter_radii=radii)


def test_radii_that_make_no_sense_are_refused() -> None:
    network = one_layer()
    name = weights_of(network)[0]
    with pytest.raises(BoundsError, match="no parameter 'w'"):
        propagate(scene_with(network, {"w": 0.1}))
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(BoundsError, match="finite and 0 or more"):
            propagate(scene_with(network, {name: bad}))
    with pytest.raises(ShapeError, match="one per entry"):
        propagate(scene_with(network, {name: torch.zeros(7)}))


def test_parameters_of_other_operators_cannot_be_perturbed() -> None:
    builder = GraphBuilder((1, 3), 0)
    factor = builder.uniform(0.5, 1.0, 3)
    builder.add(ops.Scale(factor, None))
    with pytest.raises(UnsupportedMethodError, match="only weights and biases"):
        propagate(scene_with(builder.network(), {factor.name: 0.1}))
    builder = GraphBuilder((1, 3), 0)
    weight = builder.uniform(0.5, 1.0, 2, 3)
    builder.add(ops.Linear(weight.then(Reciprocal()), None))
    with pytest.raises(UnsupportedMethodError, match="nonlinear"):
        propagate(scene_with(builder.network(), {weight.name: 0.1}))
