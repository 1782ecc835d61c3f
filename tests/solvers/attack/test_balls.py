"""Attacks inside L1 and L2 balls: exactly inside, and as deep as the norm allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BoundsError
from models.network import Network
from solvers.attack import AttackOptions, attack
from solvers.attack.geometry import balls_of, steepest
from solvers.attack.starts import corners_of, landmarks, random_points
from solvers.balls import Norm
from solvers.budget import Budget
from solvers.float32_region import runnable_box
from solvers.problem import Box, Case, Clause, Specification, norm_ball
from tests.helpers.random_graphs import GraphBuilder, relu_chain, seeds

ROUND = (Norm.TWO, Norm.ONE)
FAR = 100.0
norms = st.sampled_from(ROUND)


def region_of(seed: int, norm: Norm, size: int = 8, epsilon: float = 0.7) -> Box:
    """Return a ball with radii of its own, cut by the valid range here and there."""
    random = np.random.default_rng(seed)
    center = random.uniform(0, 1, (1, size)).astype(np.float32)
    return norm_ball(center, epsilon * random.uniform(0.2, 1, (1, size)), norm)


def reading(network: Network) -> Specification:
    """Return a condition that is out of reach, whose margin is the first output plus 100."""
    row = np.zeros((1, network.output_size))
    row[0, 0] = 1
    return Specification((Clause(row, np.full(1, -FAR)),))


@given(seeds, norms, st.sampled_from([0.7, 1e-2, 3e-6]))
@settings(max_examples=30, deadline=None)
def test_candidates_are_inside_exactly(seed: int, norm: Norm, epsilon: float) -> None:
    """Also where the radius is a few dozen float32 numbers, and rounding leads outside."""
    network = relu_chain((8, 6, 3), seed % 100)
    regions = [region_of(seed + i, norm, epsilon=epsilon) for i in range(3)]
    cases = [Case(region, reading(network)) for region in regions]
    options = AttackOptions(restarts=3, samples=8, steps=4, diversify_steps=1, seed=seed % 7)
    for case, result in zip(cases, attack(network, cases, options, budget=Budget()), strict=True):
        assert result.candidate is not None
        assert result.candidate.dtype == np.float32
        assert case.region.contains(result.candidate)
        y = network(torch.from_numpy(result.candidate).double().unsqueeze(0)).detach().numpy()
        assert result.margin == pytest.approx(float(y.ravel()[0]) + FAR)


def linear_network(size: int) -> Network:
    builder = GraphBuilder((1, size), 5)
    builder.linear(2)
    return builder.network()


@pytest.mark.parametrize("norm", ROUND)
@pytest.mark.parametrize("size", [1, 8, 200])
def test_linear_margins_are_reached(norm: Norm, size: int) -> None:
    network = linear_network(size)
    center = np.full((1, size), 0.5, dtype=np.float32)
    radii = np.linspace(0.01, 0.2, size).reshape(1, size)
    case = Case(norm_ball(center, radii, norm, valid_range=None), reading(network))
    (result,) = attack(network, [case], AttackOptions(), budget=Budget())
    weight, bias = network.graph.nodes[1].operator.references()
    row = weight.resolve(network.parameters)[0].numpy()
    gain = np.abs(row * radii)
    dual = np.linalg.norm(gain) if norm is Norm.TWO else gain.max()
    middle = float(row @ center.ravel() + bias.resolve(network.parameters)[0]) + FAR
    assert result.margin >= middle - dual - 1e-6
    assert result.margin <= middle - 0.97 * dual


@pytest.mark.parametrize("norm", ROUND)
def test_descents_go_deeper_than_samples(norm: Norm) -> None:
    network = relu_chain((30, 20, 20, 2), 4)
    case = Case(region_of(1, norm, 30), reading(network))
    searched, sampled = (
        attack(network, [case], AttackOptions(restarts=5, samples=20, steps=steps), budget=Budget())
        for steps in (30, 0)
    )
    assert searched[0].margin < sampled[0].margin - 1e-3


@given(seeds, norms, st.sampled_from([0.1, 1.0, 20.0]))
@settings(max_examples=50, deadline=None)
def test_projections_are_the_nearest_points(seed: int, norm: Norm, scale: float) -> None:
    region = region_of(seed, norm)
    assert region.ball is not None
    # Nearest as the ball measures: coordinates divided by their radii.
    boxes = [runnable_box(region)]
    balls = balls_of(boxes)
    assert balls is not None
    random = np.random.default_rng(seed)
    step = scale * random.normal(size=(2, 30, 1, 8)) * region.ball.radii
    x = torch.from_numpy((region.ball.center + step).astype(np.float32))
    found = balls.project(x[:1], *corners_of(boxes)).numpy().astype(np.float64)
    other = balls.project(x[1:], *corners_of(boxes)).numpy().astype(np.float64)
    for point in found[0]:
        assert region.ball.length(point) <= 1 + 1e-5
        assert np.all(point >= region.lower - 1e-6)
        assert np.all(point <= region.upper + 1e-6)
    away = (x[:1].numpy() - found) / region.ball.radii
    along = (other - found) / region.ball.radii
    angle = (away * along).sum((-1, -2))
    assert (angle <= 3e-3 * (1 + np.abs(away).sum((-1, -2)))).all()


@pytest.mark.parametrize("norm", ROUND)
def test_points_inside_stay_where_they_are(norm: Norm) -> None:
    region = region_of(3, norm)
    boxes = [runnable_box(region)]
    balls = balls_of(boxes)
    assert balls is not None
    x = torch.from_numpy(boxes[0].nearest(region.center + 1e-3)).reshape(1, 1, 1, 8)
    torch.testing.assert_close(balls.project(x, *corners_of(boxes)), x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("norm", ROUND)
def test_starts_lie_in_the_ball_and_some_on_its_surface(norm: Norm) -> None:
    region = norm_ball(np.full((1, 8), 0.5, dtype=np.float32), 0.2, norm)
    ball, box = region.ball, runnable_box(region)
    assert ball is not None
    marks = landmarks([Case(region, reading(linear_network(8)))], [box])[0].numpy()
    points = random_points(box, 40, torch.Generator().manual_seed(0)).numpy()
    lengths = np.array([ball.length(x) for x in [*points, *marks]])
    assert lengths.max() <= 1 + 1e-5
    assert lengths[3:40:4].min() > 0.99
    assert lengths[40] == 0, "the first landmark is the centre"
    assert lengths[41:].min() > 0.99


def test_steps_follow_the_gradient_whatever_its_size() -> None:
    gradient = torch.tensor([3.0, -4.0, 0.0, 0.0]).reshape(1, 1, 4)
    torch.testing.assert_close(
        steepest(gradient, Norm.TWO).flatten(), torch.tensor([0.6, -0.8, 0, 0])
    )
    torch.testing.assert_close(
        steepest(gradient, Norm.ONE).flatten(), torch.tensor([0.75, -1, 0, 0])
    )
    assert not steepest(torch.zeros(1, 2, 4), Norm.TWO).any()
    assert not steepest(torch.zeros(1, 2, 4), Norm.ONE).any()


def test_a_ball_without_float32_inputs_gives_no_candidate() -> None:
    network = linear_network(100)
    center = np.full((1, 100), 1.0) + 2.0**-25
    case = Case(norm_ball(center, 2.0**-24, Norm.ONE, valid_range=None), reading(network))
    (result,) = attack(network, [case], AttackOptions(), budget=Budget())
    assert result.candidate is None
    assert result.margin == np.inf


def test_norms_are_not_mixed() -> None:
    network = linear_network(8)
    cases = [Case(region_of(0, norm), reading(network)) for norm in ROUND]
    with pytest.raises(BoundsError, match="same norm"):
        attack(network, cases, AttackOptions(), budget=Budget())
