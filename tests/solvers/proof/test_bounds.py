"""Rigorous bounds: nothing of the region crosses them, judged in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.proof import (
    Ball,
    BoundGroup,
    CheckedNetwork,
    ProofError,
    bound_boxes,
    read_network,
    root_bounds,
)
from solvers.proof.bounds import Choices, Enclosure, Region
from solvers.proof.parts.float32 import float32_error
from tests.helpers.networks import cnn, model, node, resnet
from tests.helpers.proofs import exact_vectors, random_layers, relu_net

Array = NDArray[np.float64]
SEEDS = st.integers(0, 10_000)


def enclosure_of(network: CheckedNetwork, lower: Array, upper: Array) -> Enclosure:
    return Enclosure.of(network, Region(np.atleast_2d(lower), np.atleast_2d(upper)))


def assert_holds(enclosure: Enclosure, x: Array, *, domain: int = 0) -> None:
    """Compare every bound of every vector with its exact value at an input."""
    for vector, values in enumerate(exact_vectors(enclosure.network, x)):
        lower, upper = enclosure.lower[vector], enclosure.upper[vector]
        for index, value in enumerate(values):
            assert Fraction(float(lower[min(domain, len(lower) - 1), index])) <= value
            assert value <= Fraction(float(upper[min(domain, len(upper) - 1), index]))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_no_point_of_a_box_crosses_a_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = read_network(relu_net(random_layers((3, 5, 4, 2), seed)))
    center, radius = rng.normal(size=3), rng.uniform(0, 0.7, size=3)
    enclosure = enclosure_of(network, center - radius, center + radius)
    matrix = rng.normal(size=(3, 2))
    bounds = enclosure.backward(network.output, matrix)
    for x in np.clip(rng.normal(center, radius, (6, 3)), center - radius, center + radius):
        assert_holds(enclosure, x)
        y = exact_vectors(network, x)[network.output]
        for row, bound in zip(matrix, bounds, strict=True):
            exact = sum((Fraction(float(c)) * v for c, v in zip(row, y, strict=True)), Fraction(0))
            assert Fraction(float(bound)) <= exact


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.5, 10.0))
def test_huge_weights_beside_tiny_ones_lose_nothing(seed: int, scale: float) -> None:
    """Weights of 1e8 that cancel beside weights of 1e-8: float32 and float64 sums go wrong."""
    rng = np.random.default_rng(seed)
    layers = []
    for before, after in ((4, 4), (4, 4), (4, 2)):
        weight = rng.normal(size=(after, before)) * 10.0 ** rng.integers(-8, 9, (after, before))
        weight[:, 1] = -weight[:, 0]
        layers.append((weight * scale, rng.normal(size=after) * 1e-8))
    network = read_network(relu_net(layers))
    point = rng.normal(size=4)
    enclosure = enclosure_of(network, point, point)
    assert_holds(enclosure, point)
    wide = enclosure_of(network, point - 1e-9, point + 1e-9)
    assert_holds(wide, point)
    for side in (1.0, -1.0):
        bounds = wide.backward(network.output, side * np.eye(2))
        for bound, value in zip(bounds, exact_vectors(network, point)[-1], strict=True):
            assert Fraction(float(bound)) <= Fraction(side) * value


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_slopes_and_multipliers_of_any_value_keep_bounds_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = read_network(relu_net(random_layers((2, 5, 5, 1), seed)))
    enclosure = enclosure_of(network, -np.ones(2), np.ones(2))
    z = [network.names["z0"], network.names["z1"]]
    slopes = {v: rng.integers(0, 256, (4, 5)) / 255 for v in z}
    factors = {v: rng.normal(size=(4, 5)) * rng.integers(0, 2, (4, 5)) for v in z}
    bounds = enclosure.backward(
        network.output,
        np.ones((4, 1)),
        choices=Choices(slopes, factors),
    )
    for x in rng.uniform(-1, 1, (20, 2)):
        (value,) = exact_vectors(network, x)[-1]
        assert all(Fraction(float(bound)) <= value for bound in bounds)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_multipliers_of_values_with_several_readers_keep_bounds_sound(seed: int) -> None:
    """Coefficients meet at a value that a ReLU and two sums read; some slopes are left open."""
    rng = np.random.default_rng(seed)
    nodes = [
        node("Gemm", ["x", "w", "b"], ["z"], transB=1),
        node("Relu", ["z"], ["a"]),
        node("Add", ["a", "z"], ["s"]),
        node("Gemm", ["s", "v", "b"], ["t"], transB=1),
        node("Relu", ["t"], ["r"]),
        node("Add", ["r", "z"], ["y"]),
    ]
    weights = {name: rng.normal(size=(4, n)).astype(np.float32) for name, n in (("w", 2), ("v", 4))}
    weights["b"] = rng.normal(size=4).astype(np.float32)
    network = read_network(model(nodes, shape=(1, 2), weights=weights))
    enclosure = enclosure_of(network, -np.ones(2), np.ones(2))
    z = [network.names["z"], network.names["t"]]
    slopes = {v: rng.integers(0, 256, (5, 4)) / 255 for v in z}
    slopes[z[0]][:, :2] = np.nan
    factors = {v: 10.0 ** rng.integers(-3, 4) * rng.normal(size=(5, 4)) for v in z}
    matrix = rng.normal(size=(5, 4)) * 10.0 ** rng.integers(-6, 7, (5, 1))
    bounds = enclosure.backward(network.output, matrix, choices=Choices(slopes, factors))
    assert np.isfinite(bounds).all()
    for x in (*rng.uniform(-1, 1, (10, 2)), -np.ones(2), np.ones(2)):
        y = exact_vectors(network, x)[network.output]
        for row, bound in zip(matrix, bounds, strict=True):
            exact = sum((Fraction(float(c)) * v for c, v in zip(row, y, strict=True)), Fraction(0))
            assert Fraction(float(bound)) <= exact


def test_slopes_that_are_left_open_are_those_of_least_area() -> None:
    network = read_network(relu_net(random_layers((2, 5, 5, 1), 4)))
    enclosure, row = enclosure_of(network, -np.ones(2), np.ones(2)), np.ones((1, 1))
    z = [network.names["z0"], network.names["z1"]]
    slopes = {v: (enclosure.upper[v] > -enclosure.lower[v]).astype(float) for v in z}
    left = enclosure.backward(network.output, row)
    assert left == enclosure.backward(network.output, row, choices=Choices(slopes, {}))
    turned = {v: 1.0 - slope for v, slope in slopes.items()}
    assert left != enclosure.backward(network.output, row, choices=Choices(turned, {}))
    none = {v: np.full_like(slope, np.nan) for v, slope in slopes.items()}
    assert left == enclosure.backward(network.output, row, choices=Choices(none, {}))


def test_many_boxes_at_once_have_the_bounds_of_each() -> None:
    rng = np.random.default_rng(3)
    network = read_network(relu_net(random_layers((3, 6, 6, 2), 3)))
    lower = rng.normal(size=(7, 3))
    upper = lower + rng.uniform(0, 1, (7, 3))
    matrix, offset = np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([0.5, -0.25])
    together = bound_boxes(network, lower, upper, matrix, offset)
    for box in range(7):
        alone = bound_boxes(network, lower[box : box + 1], upper[box : box + 1], matrix, offset)
        # Only the share for rounding differs, which goes by the magnitudes of all boxes.
        np.testing.assert_allclose(together[box], alone[0], atol=1e-12)
        for x in rng.uniform(lower[box], upper[box], (5, 3)):
            y = exact_vectors(network, x)[-1]
            for row, shift, bound in zip(matrix, offset, together[box], strict=True):
                exact = Fraction(row[0]) * y[0] + Fraction(row[1]) * y[1] - Fraction(shift)
                assert Fraction(float(bound)) <= exact


@pytest.mark.parametrize("norm", [1, 2])
def test_bounds_in_a_ball_hold_there_and_are_better_than_in_its_box(norm: int) -> None:
    rng = np.random.default_rng(norm)
    network = read_network(relu_net(random_layers((4, 6, 2), norm)))
    center, radius = rng.normal(size=4), np.full(4, 0.5)
    box = (center - radius)[None], (center + radius)[None]
    ball = Ball(norm, center, radius)
    matrix, offset = np.array([[1.0, -1.0]]), np.zeros(1)
    inside = bound_boxes(network, *box, matrix, offset, ball=ball)
    assert inside > bound_boxes(network, *box, matrix, offset) + 0.01
    for _ in range(50):
        step = rng.normal(size=4)
        step /= np.abs(step).sum() if norm == 1 else np.sqrt((step**2).sum())
        # A little inside, so that the point itself is in the ball in spite of rounding.
        y = exact_vectors(network, center + step * radius * (1 - 1e-12))[-1]
        assert Fraction(float(inside[0, 0])) <= y[0] - y[1]


def test_a_box_of_one_point_leaves_only_rounding() -> None:
    network = read_network(relu_net(random_layers((3, 5, 2), 8)))
    x = np.array([0.3, -0.2, 0.9])
    enclosure = enclosure_of(network, x, x)
    widths = [np.max(u - v) for u, v in zip(enclosure.upper, enclosure.lower, strict=True)]
    assert 0 <= max(widths) < 1e-13
    assert_holds(enclosure, x)


def test_groups_improve_the_bounds_they_name_and_stay_sound() -> None:
    content = relu_net(random_layers((2, 8, 8, 1), 5))
    network = read_network(content)
    lower, upper = -np.ones(2), np.ones(2)
    before = root_bounds(network, lower, upper)
    rng = np.random.default_rng(0)
    index = np.tile(np.arange(8, dtype=np.int32), 2)
    side = np.repeat(np.array([0, 1], np.uint8), 8)
    groups = [
        BoundGroup("z1", index, side, rng.integers(0, 256, (16, 8)).astype(np.uint8))
        for _ in range(30)
    ]
    layout = ((("z0", 8),), np.arange(8, dtype=np.int32))
    after = root_bounds(network, lower, upper, groups, layout)
    assert np.all(after["z1"][0] >= before["z1"][0])
    assert np.all(after["z1"][1] <= before["z1"][1])
    assert np.sum(after["z1"][1] - after["z1"][0]) < np.sum(before["z1"][1] - before["z1"][0])
    for x in rng.uniform(-1, 1, (30, 2)):
        values = exact_vectors(network, x)[network.names["z1"]]
        for low, value, high in zip(after["z1"][0], values, after["z1"][1], strict=True):
            assert Fraction(float(low)) <= value <= Fraction(float(high))


def test_slopes_that_fit_no_values_are_refused() -> None:
    network = read_network(relu_net(random_layers((2, 3, 3, 1), 5)))
    group = BoundGroup(
        "z1", np.zeros(1, np.int32), np.zeros(1, np.uint8), np.zeros((1, 3), np.uint8)
    )
    with pytest.raises(ProofError, match="do not fit the values"):
        root_bounds(network, -np.ones(2), np.ones(2), [group])


@pytest.mark.parametrize("make", [cnn, resnet])
def test_convolutions_and_residual_networks_are_bounded_soundly(make: object) -> None:
    network = read_network(make())  # type: ignore[operator]
    rng = np.random.default_rng(0)
    center = rng.uniform(0, 1, network.sizes[0])
    enclosure = enclosure_of(network, center - 0.05, center + 0.05)
    for _ in range(2):
        assert_holds(enclosure, rng.uniform(center - 0.05, center + 0.05))


def test_bounds_that_overflow_are_refused() -> None:
    layers = [(np.full((2, 1), 3e38), np.zeros(2))] + [(np.full((2, 2), 3e38), np.zeros(2))] * 8
    network = read_network(relu_net(layers))
    with pytest.raises(ProofError, match="overflow"):
        bound_boxes(network, np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 2)), np.zeros(1))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 100.0))
def test_float32_in_any_order_stays_within_its_error(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    layers = [(w * np.float32(scale), b) for w, b in random_layers((3, 7, 7, 2), seed)]
    network = read_network(relu_net(layers))
    lower = rng.normal(size=3)
    upper = lower + rng.uniform(0, 0.2, 3)
    error = float32_error(enclosure_of(network, lower, upper), np.eye(2))[0]
    for x in rng.uniform(lower, upper, (8, 3)):
        exact = exact_vectors(network, x)[-1]
        for got, value, allowed in zip(shuffled_float32(layers, x, rng), exact, error, strict=True):
            assert abs(Fraction(float(got)) - value) <= Fraction(float(allowed))


def shuffled_float32(
    layers: list[tuple[Array, Array]], x: Array, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Run layers in float32, adding up in a random order."""
    values = x.astype(np.float32)
    for place, (weight, bias) in enumerate(layers):
        parts = [*(np.float32(weight).T * values[:, None]), np.float32(bias)]
        total = np.zeros(len(bias), dtype=np.float32)
        for part in rng.permutation(len(parts)):
            total = total + parts[part]
        values = np.maximum(total, np.float32(0)) if place < len(layers) - 1 else total
    return values


def test_a_network_whose_float32_result_depends_on_the_order_is_not_deployment_sound() -> None:
    first = np.array([[1e8], [-1e8], [1.0]]), np.array([3e8, 3e8, 0.0])
    network = read_network(relu_net([first, (np.ones((1, 3)), np.array([0.5]))]))
    x = np.ones(1)
    enclosure = enclosure_of(network, x, x)
    error = float32_error(enclosure, np.ones((1, 1)))[0, 0]
    assert error > 10
    assert enclosure.upper[-1][0, 0] - enclosure.lower[-1][0, 0] < 1e-3


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_float32_that_overflows_has_an_infinite_error(layers: int) -> None:
    huge = [(np.full((2, 2), 3e38), np.zeros(2))]
    ordinary = [(np.array([[1.0, -1.0], [0.0, 0.0]]), np.zeros(2))] * (layers - 1)
    network = read_network(relu_net(huge + ordinary))
    enclosure = enclosure_of(network, np.ones(2), np.ones(2))
    assert np.all(np.isinf(float32_error(enclosure, np.eye(2))))


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_float32_stays_within_its_error_in_deep_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = random_layers((3, 8, 8, 8, 8, 8, 8, 2), seed)
    network = read_network(relu_net(layers))
    lower = rng.normal(size=3)
    upper = lower + rng.uniform(0, 0.02, 3)
    error = float32_error(enclosure_of(network, lower, upper), np.eye(2))[0]
    many = Region(np.stack([lower, lower]), np.stack([upper, upper]))
    together = float32_error(Enclosure.of(network, many), np.eye(2))
    for x in rng.uniform(lower, upper, (5, 3)):
        exact = exact_vectors(network, x)[-1]
        got = shuffled_float32(layers, x, rng)
        for place, value in enumerate(exact):
            off = abs(Fraction(float(got[place])) - value)
            assert off <= Fraction(float(error[place]))
            assert off <= Fraction(float(together[0, place]))


def test_pools_of_negative_values_take_nothing_off_the_error() -> None:
    """Upper lines of a maximum may have negative intercepts; their sizes count, not their sum."""
    count = 2048
    rng = np.random.default_rng(0)
    bias = -(3 + np.abs(rng.normal(size=count))).astype(np.float32)
    nodes = [
        node("Add", ["x", "b"], ["a"]),
        node("MaxPool", ["a"], ["p"], kernel_shape=[2], strides=[2]),
        node("Flatten", ["p"], ["y"]),
    ]
    content = model(
        nodes, shape=(1, 1, 2 * count), weights={"b": np.repeat(bias, 2).reshape(1, 1, -1)}
    )
    network = read_network(content)
    box = np.ones(2 * count)
    row = -rng.uniform(0.1, 1, count)
    truth = sum(
        ((Fraction(float(b)) + 1) * Fraction(float(c)) for b, c in zip(bias, row, strict=True)),
        Fraction(0),
    )
    (bound,) = enclosure_of(network, -box, box).backward(network.output, row[None])
    assert Fraction(float(bound)) <= truth
    assert float(bound) == pytest.approx(float(truth), rel=1e-9)


@pytest.mark.parametrize("gain", [1.0, 1.1])
def test_float32_errors_of_a_normalisation_are_those_of_its_parts(gain: float) -> None:
    """(x − 1e6)·g + 1e6·g is about g·x on paper, and 0 in float32 where x is small."""
    numbers = {"g": gain, "s": 1e6 * gain, "m": 1e6, "v": 1.0}
    weights = {name: np.full(1, value, np.float32) for name, value in numbers.items()}
    nodes = [node("BatchNormalization", ["x", *"gsmv"], ["y"], epsilon=0.0)]
    network = read_network(model(nodes, shape=(1, 1, 1, 1), weights=weights))
    x = np.float32(0.015)
    enclosure = enclosure_of(network, np.array([0.01]), np.array([0.02]))
    (error,) = float32_error(enclosure, np.ones((1, 1)))[0]
    g, s, m, _ = (weights[name][0] for name in "gsmv")
    in_float32 = (x - m) * g + s
    exact = (Fraction(float(x)) - Fraction(float(m))) * Fraction(float(g)) + Fraction(float(s))
    assert abs(Fraction(float(in_float32)) - exact) > Fraction(1, 200)
    assert abs(Fraction(float(in_float32)) - exact) <= Fraction(float(error))


def test_weights_that_folding_may_overflow_leave_no_word_about_float32() -> None:
    nodes = [node("Mul", ["x", "a"], ["h"]), node("Mul", ["h", "b"], ["y"])]
    for large, known in ((2.0**40, True), (2.0**80, False)):
        weights = {"a": np.full(1, large, np.float32), "b": np.full(1, 2.0**-20, np.float32)}
        network = read_network(model(nodes, shape=(1, 1), weights=weights))
        point = np.array([2.0**-40])
        error = float32_error(enclosure_of(network, point, point), np.ones((1, 1)))
        assert bool(np.isfinite(error).all()) == known


def test_values_beyond_what_underflow_allows_for_are_refused() -> None:
    nodes = [node("Mul", ["x", "a"], [f"h{i}"]) for i in range(1)]
    nodes += [node("Mul", [f"h{i}", "a"], ["y" if i == 2 else f"h{i + 1}"]) for i in range(3)]
    weights = {"a": np.full(1, 2.0**100, np.float32)}
    network = read_network(model(nodes, shape=(1, 1), weights=weights))
    with pytest.raises(ProofError, match="overflow"):
        enclosure_of(network, np.zeros(1), np.ones(1))
    assert np.isfinite(enclosure_of(network, np.zeros(1), np.full(1, 1e-90)).upper[-1]).all()
