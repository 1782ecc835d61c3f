"""Cuts of the tightened relaxation: brute force over all of them, and the valid-cut oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import BoundsError, ShapeError
from solvers.convex.cuts import Cuts, Neurons, safe_offsets, separate

FloatArray = NDArray[np.float64]


def _random_neurons(rng: np.random.Generator, count: int, inputs: int) -> Neurons:
    weight = rng.normal(size=(count, inputs)) * (rng.random((count, inputs)) < 0.8)
    center = rng.normal(size=inputs)
    width = rng.random(inputs) * (rng.random(inputs) < 0.9)
    bias = -weight @ center + 0.3 * rng.normal(size=count)
    return Neurons(sp.csr_array(weight), bias, center - width, center + width)


def _point(rng: np.random.Generator, neurons: Neurons) -> tuple[FloatArray, FloatArray]:
    """Return a point of the box and values above all neurons."""
    share = rng.choice([0.0, 0.3, 0.5, 0.7, 1.0, rng.random()], size=neurons.lower.size)
    x = neurons.lower + share * (neurons.upper - neurons.lower)
    return x, np.full(neurons.bias.size, 100.0)


def _all_inequalities(neurons: Neurons, at: int) -> list[tuple[FloatArray, float]]:
    """Write out every inequality of one neuron, as slopes and offset."""
    w = neurons.weight.toarray()[at]
    near = np.where(w >= 0, neurons.lower, neurons.upper)
    far = np.where(w >= 0, neurons.upper, neurons.lower)
    moving = np.flatnonzero((w != 0) & (near != far))

    def level(members: set[int]) -> float:
        ends = np.array([near[i] if i in members else far[i] for i in range(w.size)])
        return float(w @ ends + neurons.bias[at])

    found = []
    for size in range(moving.size):
        for chosen in itertools.combinations(moving, size):
            members = {int(i) for i in chosen}
            for last in set(map(int, moving)) - members:
                if level(members) >= 0 > level(members | {last}):
                    slopes = np.array([w[i] if i in members else 0.0 for i in range(w.size)])
                    slopes[last] = level(members) / (far[last] - near[last])
                    found.append((slopes, -float(slopes @ near)))
    return found


def _corners(neurons: Neurons) -> FloatArray:
    pairs = zip(neurons.lower, neurons.upper, strict=True)
    return np.array(list(itertools.product(*pairs)))


def _least_valid_offset(neurons: Neurons, at: int, slopes: FloatArray) -> float:
    """Return the valid-cut oracle's answer: a convex function is largest at a corner."""
    corners = _corners(neurons)
    y = np.maximum(0.0, corners @ neurons.weight.toarray()[at] + neurons.bias[at])
    return float((y - corners @ slopes).max())


@pytest.mark.parametrize("seed", range(12))
def test_the_most_violated_of_all_inequalities_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neurons = _random_neurons(rng, 6, 5)
    for _ in range(5):
        x, y = _point(rng, neurons)
        cuts = separate(neurons, x, y)
        for at in range(6):
            every = _all_inequalities(neurons, at)
            position = np.flatnonzero(cuts.neurons == at)
            assert position.size == bool(every)
            if every:
                least = min(slopes @ x + offset for slopes, offset in every)
                cut = cuts.taken(position)
                assert float((cut.coefficients @ x + cut.offset)[0]) == pytest.approx(
                    least, abs=1e-9
                )


@pytest.mark.parametrize("seed", range(12))
def test_every_cut_is_valid_and_touches_the_neuron(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    neurons = _random_neurons(rng, 8, 6)
    x, y = _point(rng, neurons)
    cuts = separate(neurons, x, y)
    assert cuts.count
    for position, at in enumerate(cuts.neurons):
        slopes = cuts.coefficients.toarray()[position]
        least = _least_valid_offset(neurons, int(at), slopes)
        assert least <= cuts.offset[position] <= least + 1e-12


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_sampled_point_lies_outside_a_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neurons = _random_neurons(rng, 5, 12)
    cuts = separate(neurons, *_point(rng, neurons), negligible=rng.choice([0.0, 0.05]))
    share = rng.random((200, 12)) ** rng.choice([0.2, 1.0, 5.0], size=(200, 12))
    for x in neurons.lower + share * (neurons.upper - neurons.lower):
        y = np.maximum(0.0, neurons.weight @ x + neurons.bias)
        assert (cuts.violation(x, y) <= 1e-12).all()


def test_cuts_are_never_above_the_triangle_where_they_are_separated() -> None:
    rng = np.random.default_rng(3)
    neurons = _random_neurons(rng, 40, 8)
    x, y = _point(rng, neurons)
    cuts = separate(neurons, x, y)
    weight = neurons.weight.toarray()
    spread = np.abs(weight) @ (neurons.upper - neurons.lower) / 2
    middle = weight @ (neurons.lower + neurons.upper) / 2 + neurons.bias
    lower, upper = middle - spread, middle + spread
    chord = upper / (upper - lower) * (weight @ x + neurons.bias - lower)
    right = cuts.coefficients @ x + cuts.offset
    assert cuts.count > 10
    assert (right <= chord[cuts.neurons] + 1e-9).all()
    assert (right < chord[cuts.neurons] - 1e-3).any()


def test_any_coefficients_get_the_least_offset_with_which_they_are_valid() -> None:
    rng = np.random.default_rng(4)
    neurons = _random_neurons(rng, 10, 5)
    slopes = rng.normal(size=(10, 5))
    offsets = safe_offsets(neurons, sp.csr_array(slopes))
    for at in range(10):
        least = _least_valid_offset(neurons, at, slopes[at])
        assert least <= offsets[at] <= least + 1e-12


def test_offsets_cover_the_rounding_of_huge_terms_that_cancel() -> None:
    weight = np.array([[1e12, -1e12, 1.0]])
    neurons = Neurons(sp.csr_array(weight), np.array([-0.5]), np.zeros(3), np.ones(3))
    x = np.array([0.5, 0.5, 0.5])
    cuts = separate(neurons, x, np.array([1e13]))
    slopes, offset = cuts.coefficients.toarray()[0], cuts.offset[0]
    for corner in _corners(neurons):
        exact = max(0.0, 1e12 * (corner[0] - corner[1]) + corner[2] - 0.5)
        assert exact <= slopes @ corner + offset


def test_coefficients_that_a_solver_would_drop_are_absorbed_into_the_offset() -> None:
    weight = np.array([[1.0, 1e-10, -1.0]])
    neurons = Neurons(sp.csr_array(weight), np.array([0.0]), -np.ones(3), np.ones(3))
    cuts = separate(neurons, np.array([-1.0, -1.0, 0.4]), np.array([9.0]))
    slopes = cuts.coefficients.toarray()[0]
    assert slopes[1] == 0.0
    assert cuts.offset[0] >= _least_valid_offset(neurons, 0, slopes)


def test_negligible_inputs_are_left_out_and_the_cut_stays_valid() -> None:
    weight = np.array([[1.0, -1.0, 1e-3, 1e-3]])
    neurons = Neurons(sp.csr_array(weight), np.array([0.1]), -np.ones(4), np.ones(4))
    x, y = np.array([0.0, 0.2, -1.0, -1.0]), np.array([9.0])
    whole = separate(neurons, x, y)
    short = separate(neurons, x, y, negligible=0.01)
    assert whole.coefficients.nnz > short.coefficients.nnz
    slopes = short.coefficients.toarray()[0]
    assert short.offset[0] >= _least_valid_offset(neurons, 0, slopes)


def test_points_inside_and_stable_neurons_get_no_cut() -> None:
    weight = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    bias = np.array([0.0, 5.0, -5.0])
    neurons = Neurons(sp.csr_array(weight), bias, -np.ones(2), np.ones(2))
    cuts = separate(neurons, np.zeros(2), np.full(3, 9.0))
    assert cuts.neurons.tolist() == [0]
    inside = np.maximum(0.0, bias)
    assert separate(neurons, np.zeros(2), inside).count == 0
    empty = Neurons(sp.csr_array((0, 2)), np.zeros(0), -np.ones(2), np.ones(2))
    assert separate(empty, np.zeros(2), np.zeros(0)).count == 0
    fixed = Neurons(sp.csr_array(weight), bias, np.zeros(2), np.zeros(2))
    assert separate(fixed, np.zeros(2), np.full(3, 9.0)).count == 0


def test_cuts_can_be_taken_and_measured() -> None:
    cuts = Cuts(np.array([1, 0]), sp.csr_array(np.array([[1.0, 0.0], [0.0, 2.0]])), np.ones(2))
    x, y = np.array([3.0, 4.0]), np.array([10.0, 5.0])
    assert cuts.violation(x, y).tolist() == [1.0, 1.0]
    assert cuts.taken(np.array([1])).violation(x, y).tolist() == [1.0]


def test_arrays_that_do_not_fit_are_refused() -> None:
    weight = sp.csr_array(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="bias of shape"):
        Neurons(weight, np.zeros(3), np.zeros(3), np.ones(3))
    with pytest.raises(BoundsError, match="empty or not finite"):
        Neurons(weight, np.zeros(2), np.ones(3), np.zeros(3))
