"""Bounds over L1 and L2 balls: sound by sampling, exact where the network is linear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from models import operators as ops
from models.errors import BoundsError
from models.network import Network
from solvers.balls import Norm
from solvers.bounds import (
    Balls,
    BoundOptions,
    MarginBounds,
    Margins,
    MemoryBudget,
    Scene,
    bound_margins,
    boxes_to_interval,
    regions_to_balls,
)
from solvers.bounds.balls import largest_gain
from solvers.bounds.ibp import propagate
from solvers.methods import BOUND_METHODS, Method
from solvers.problem import Box, norm_ball
from tests.helpers.random_graphs import (
    GraphBuilder,
    networks,
    random_image_network,
    relu_chain,
    seeds,
)
from tests.solvers.bounds.support import (
    check_margins,
    check_nodes,
    generator,
    random_margins,
    slope_of,
    uniform,
    values_at,
)

ROUND = (Norm.TWO, Norm.ONE)
norms = st.sampled_from(ROUND)
EPSILONS = (0.0, 1e-6, 0.1, 1.0, 30.0)


def random_balls(network: Network, seed: int, norm: Norm) -> list[Box]:
    """Return one region per radius; half of them cut by a valid range, some radii zero."""
    random = np.random.default_rng(seed)
    shape = network.input_shape
    regions = []
    for position, epsilon in enumerate(EPSILONS):
        center = random.uniform(0, 1, shape) * random.integers(0, 2, shape)
        radii = epsilon * random.uniform(0, 1, shape) * (random.uniform(size=shape) > 0.2)
        limits = (0.0, 1.0) if position % 2 else None
        regions.append(norm_ball(center, radii, norm, valid_range=limits))
    return regions


def scene_of(network: Network, regions: list[Box], dtype: torch.dtype = torch.float64) -> Scene:
    return Scene(network, boxes_to_interval(regions, dtype), regions_to_balls(regions, dtype))


def points_in_balls(regions: list[Box], count: int, seed: int) -> Tensor:
    """Return points of regions, `(batch, points, *shape)`: inside, on the surface, on few axes."""
    random = np.random.default_rng(seed)
    batches = []
    for region in regions:
        assert region.ball is not None
        shape = (count, *region.shape)
        step = random.normal(size=shape) * (random.uniform(size=shape) < random.choice([0.1, 1]))
        # Far beyond the surface, so that most are pulled back onto it.
        far = region.center + region.ball.radii * step * random.choice([0.3, 3, 100])
        batches.append(np.stack([region.center, *(region.pulled_in(x) for x in far)]))
    return torch.from_numpy(np.stack(batches))


def descended(network: Network, margins: Margins, regions: list[Box], x: Tensor) -> Tensor:
    """Move points towards small margins and pull them back inside."""
    for _ in range(3):
        x = x.detach().requires_grad_()
        slope = slope_of(values_at(network, margins, x), x).detach().numpy()
        moved = x.detach().numpy().copy()
        for case, region in enumerate(regions):
            assert region.ball is not None
            size = np.abs(slope[case]).max() or 1.0
            for point in range(moved.shape[1]):
                step = region.ball.radii * slope[case, point] / size
                moved[case, point] = region.pulled_in(moved[case, point] - step)
        x = torch.from_numpy(moved)
    return x


def check_sound(
    network: Network, regions: list[Box], margins: Margins, bounds: MarginBounds
) -> None:
    x = points_in_balls(regions, 25, 1)
    x = torch.cat([x, descended(network, margins, regions, x[:, :6])], dim=1)
    check_margins(network, margins, bounds.lower, x)
    check_nodes(network, bounds.intermediate, x)


@pytest.mark.parametrize("method", BOUND_METHODS)
@settings(max_examples=15, deadline=None)
@given(network=networks(), norm=norms, seed=seeds)
def test_bounds_hold_over_balls(method: Method, network: Network, norm: Norm, seed: int) -> None:
    regions = random_balls(network, seed, norm)
    margins = random_margins(network, len(regions), seed)
    options = BoundOptions(iterations=3, intermediate_iterations=2)
    bounds = bound_margins(scene_of(network, regions), margins, method, options=options)
    check_sound(network, regions, margins, bounds)


@given(seeds, norms)
@settings(max_examples=20, deadline=None)
def test_windows_give_what_whole_maps_give(seed: int, norm: Norm) -> None:
    network = random_image_network(seed, 5)
    regions = random_balls(network, seed, norm)
    margins = random_margins(network, len(regions), seed)
    scene = scene_of(network, regions)
    boxes = Scene(network, scene.region)
    for method in (Method.IBP, Method.CROWN_IBP):
        ball = bound_margins(scene, margins, method)
        box = bound_margins(boxes, margins, method)
        for name, interval in ball.intermediate.items():
            slack = 1e-9 * (1 + box.intermediate[name].lower.abs())
            assert (interval.lower >= box.intermediate[name].lower - slack).all()


def linear_network(seed: int) -> Network:
    """Scaled per channel in front, so that windows pass a scaling on their way."""
    builder = GraphBuilder((1, 2, 4, 4), seed)
    builder.add(ops.Scale(builder.normal(2, 1, 1), builder.normal(1, 2, 4, 4)))
    builder.add(
        ops.Convolution(builder.normal(3, 2, 3, 3), builder.normal(3), (1, 1), (1, 1), (1, 1), 1)
    )
    builder.add(ops.Reshape((1, 48)))
    builder.linear(4)
    return builder.network()


@pytest.mark.parametrize("method", BOUND_METHODS)
@pytest.mark.parametrize("norm", ROUND)
def test_linear_networks_are_bounded_by_the_dual_norm(method: Method, norm: Norm) -> None:
    network = linear_network(3)
    random = np.random.default_rng(0)
    center, radii = random.uniform(0, 1, (2, 1, 2, 4, 4)), random.uniform(0, 0.5, (2, 1, 2, 4, 4))
    regions = [norm_ball(c, r, norm, valid_range=None) for c, r in zip(center, radii, strict=True)]
    margins = random_margins(network, 2, 0)
    bounds = bound_margins(scene_of(network, regions), margins, method)
    x = torch.from_numpy(center).unsqueeze(1).requires_grad_()
    values = values_at(network, margins, x)
    for row in range(3):
        slope = torch.autograd.grad(values[..., row].sum(), x, retain_graph=True)[0].numpy()
        gain = np.abs(slope[:, 0] * radii).reshape(2, -1)
        dual = np.linalg.norm(gain, axis=1) if norm is Norm.TWO else gain.max(axis=1)
        np.testing.assert_allclose(
            bounds.lower[:, row], values[:, 0, row].detach().numpy() - dual, rtol=1e-9
        )


@pytest.mark.parametrize("norm", ROUND)
def test_intervals_of_a_first_layer_use_the_dual_norm(norm: Norm) -> None:
    network = relu_chain((30, 5, 2), 0)
    region = norm_ball(np.full((1, 30), 0.5), 0.3, norm, valid_range=None)
    first = network.graph.nodes[1]
    ball = propagate(scene_of(network, [region]))[first.name]
    weight = first.operator.references()[0].resolve(network.parameters)
    wanted = 0.3 * torch.linalg.vector_norm(weight, 2 if norm is Norm.TWO else torch.inf, dim=1)
    torch.testing.assert_close(ball.radius.flatten(), wanted, rtol=1e-9, atol=0)


@pytest.mark.parametrize("norm", ROUND)
def test_layers_behind_bent_inputs_are_tightened(norm: Norm) -> None:
    """What interval arithmetic gives exactly over a box, it does not over a ball."""
    builder = GraphBuilder((1, 20), 0)
    builder.add(ops.Relu())
    layer = builder.linear(5)
    builder.add(ops.Relu())
    builder.linear(2)
    network = builder.network()
    scene = scene_of(network, [norm_ball(np.full((1, 20), 0.5), 0.2, norm)])
    margins = random_margins(network, 1, 0)
    crown = bound_margins(scene, margins, Method.CROWN).intermediate[layer]
    ibp = bound_margins(scene, margins, Method.IBP).intermediate[layer]
    unstable = ibp.unstable
    assert unstable.any()
    assert (crown.radius < 0.9 * ibp.radius)[unstable].all()


def brute_force_gain(gain: np.ndarray, reach: np.ndarray, norm: Norm) -> float:
    """Maximise gain · u by a general solver."""

    def room(u: np.ndarray) -> float:
        return float(1 - (u @ u if norm is Norm.TWO else u.sum()))

    solver: Any = minimize  # its stubs know fewer callables than it does
    found = solver(
        lambda u: float(-gain @ u),
        0.1 * reach / len(reach),
        jac=lambda _: -gain,
        bounds=[(0.0, float(most)) for most in reach],
        constraints=[{"type": "ineq", "fun": room}],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    return float(-found.fun)


@given(seeds, norms)
@settings(max_examples=60, deadline=None)
def test_gains_agree_with_a_general_solver(seed: int, norm: Norm) -> None:
    random = np.random.default_rng(seed)
    gain = random.uniform(0, 1, 6) * random.choice([0, 1, 3], 6)
    reach = np.clip(random.uniform(-0.3, 1.5, 6), 0, 1) * random.choice([0.2, 1])
    found = float(largest_gain(torch.from_numpy(gain), torch.from_numpy(reach), norm))
    wanted = brute_force_gain(gain, reach, norm)
    assert found >= wanted - 1e-6
    assert found <= wanted + 1e-4 * (1 + wanted)


@given(seeds, norms)
@settings(max_examples=50, deadline=None)
def test_gains_are_never_below_those_of_points(seed: int, norm: Norm) -> None:
    """Many values, so that multipliers are cut short: sound all the same, and never loose."""
    source = generator(seed)
    gain = uniform(source, 3, 600, low=0)
    reach = uniform(source, 3, 600, low=0) * uniform(source, 3, 1, low=0).pow(3)
    u = torch.minimum(uniform(source, 200, 3, 600, low=0) * gain, reach)
    order = 2 if norm is Norm.TWO else 1
    u = u / torch.linalg.vector_norm(u, order, dim=-1, keepdim=True).clamp(min=1)
    found = largest_gain(gain, reach, norm)
    assert (found >= (gain * u).sum(-1).amax(0) * (1 - 1e-12)).all()
    dual = torch.linalg.vector_norm(gain, 2 if norm is Norm.TWO else torch.inf, dim=-1)
    assert (found <= dual * (1 + 1e-12)).all()
    assert (found <= (gain * reach).sum(-1) * (1 + 1e-12)).all()


@pytest.mark.parametrize("norm", ROUND)
def test_gains_of_nothing_and_of_too_much(norm: Norm) -> None:
    zero, one = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    assert float(largest_gain(zero, one, norm)) == pytest.approx(0, abs=1e-300)
    assert float(largest_gain(one, zero, norm)) == 0
    assert float(largest_gain(1e200 * one, one, norm)) <= 4e200


@pytest.mark.parametrize("norm", ROUND)
def test_gains_are_differentiable(norm: Norm) -> None:
    gain = uniform(1, 5, low=0.1).requires_grad_()
    reach = torch.tensor([0.3, 1.0, 0.2, 0.8, 0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda g: largest_gain(g, reach, norm), (gain,), eps=1e-7, atol=1e-3
    )
    nothing = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(largest_gain(nothing, reach, norm), nothing)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("norm", ROUND)
def test_the_valid_range_tightens(norm: Norm) -> None:
    network = linear_network(1)
    center = np.zeros(network.input_shape)
    margins = random_margins(network, 1, 0)
    free, cut = (
        bound_margins(
            scene_of(network, [norm_ball(center, 0.5, norm, valid_range=limits)]),
            margins,
            Method.CROWN,
        ).lower
        for limits in (None, (0.0, 1.0))
    )
    assert (cut >= free - 1e-12).all()
    assert (cut > free + 1e-3).any()


@pytest.mark.parametrize("method", BOUND_METHODS)
def test_smaller_norms_of_a_radius_have_smaller_balls(method: Method) -> None:
    network = relu_chain((8, 6, 6, 3), 2)
    margins = random_margins(network, 1, 0)
    lowers = [
        bound_margins(
            scene_of(network, [norm_ball(np.full((1, 8), 0.5), 0.2, norm)]), margins, method
        ).lower
        for norm in (Norm.INF, Norm.TWO, Norm.ONE)
    ]
    assert (lowers[1] > lowers[0]).all()
    assert (lowers[2] > lowers[1]).all()


@given(seeds, norms)
@settings(max_examples=30, deadline=None)
def test_float32_balls_hold_those_of_float64(seed: int, norm: Norm) -> None:
    network = relu_chain((5, 3, 2), 0)
    regions = random_balls(network, seed, norm)
    narrow = regions_to_balls(regions, torch.float32)
    assert narrow is not None
    assert narrow.center.dtype == torch.float32
    x = points_in_balls(regions, 40, seed).numpy()
    for case, region in enumerate(regions):
        center, radii = narrow.center[case].double().numpy(), narrow.radii[case].double().numpy()
        steps = np.abs(x[case] - center)
        safe = np.where(radii > 0, radii, 1.0)
        assert (steps[:, radii == 0] == 0).all()
        order = 2 if norm is Norm.TWO else 1
        lengths = np.linalg.norm((steps / safe).reshape(len(steps), -1), order, axis=1)
        assert lengths.max() <= 1 + 1e-12
        assert region.ball is not None
        if region.ball.radii.max() > 1e-3:
            assert radii.max() <= region.ball.radii.max() * 1.01


def test_batches_keep_their_balls_in_small_pieces() -> None:
    network = random_image_network(11, 4)
    regions = random_balls(network, 0, Norm.TWO)
    margins = random_margins(network, len(regions), 0, rows=5)
    scene = scene_of(network, regions)
    whole = bound_margins(scene, margins, Method.CROWN).lower
    pieces = BoundOptions(memory=MemoryBudget(1 << 15))
    small = bound_margins(scene, margins, Method.CROWN, options=pieces).lower
    torch.testing.assert_close(small, whole, rtol=1e-9, atol=1e-9)


def test_regions_without_a_ball_have_none() -> None:
    assert regions_to_balls([Box(np.zeros(2), np.ones(2))], torch.float64) is None


def test_norms_are_not_mixed_in_a_batch() -> None:
    center = np.full(2, 0.5)
    regions = [norm_ball(center, 0.1, norm) for norm in (Norm.TWO, Norm.ONE)]
    with pytest.raises(BoundsError, match="same norm"):
        regions_to_balls(regions, torch.float64)
    with pytest.raises(BoundsError, match="same norm"):
        regions_to_balls([regions[0], norm_ball(center, 0.1, Norm.INF)], torch.float64)


def test_the_way_left_by_the_box_is_a_share_of_the_radius() -> None:
    region = norm_ball(np.array([0.0, 0.9, 0.5]), np.array([0.5, 0.4, 0.0]), Norm.TWO)
    balls = regions_to_balls([region], torch.float64)
    assert isinstance(balls, Balls)
    down, up = balls.reach(boxes_to_interval([region], torch.float64))
    torch.testing.assert_close(down, torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(up, torch.tensor([[1.0, 0.25, 0.0]], dtype=torch.float64))
