"""A pass that is observed proves the same bounds, and its minimum is attained where it says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models import operators as ops
from models.network import Network
from solvers.bounds import Interval, Margins, ObservedPass, Scene, observe, relaxed_minimum
from solvers.bounds.backward import Rows, lower_bounds
from solvers.bounds.gradients import chord, halves, on_lines
from solvers.bounds.ibp import propagate
from solvers.bounds.intermediate import relaxations_of
from solvers.bounds.observed import run_from_entry
from solvers.bounds.rules import SlopeChoice, Slopes
from solvers.errors import UnsupportedMethodError
from tests.helpers.random_graphs import GraphBuilder, relu_chain
from tests.solvers.bounds.support import random_margins, random_region, uniform
from tests.solvers.bounds.test_gradients import NETWORKS

ELEMENTWISE = ["relu", "leaky", "concave", "prelu", "clip", "sigmoid", "tanh", "image"]


def rows_of(network: Network, margins: Margins) -> Rows:
    shape = (*margins.matrix.shape[:2], *network.output_shape)
    return Rows({network.graph.output: margins.matrix.reshape(shape)}, -margins.offset)


def observed_pass(
    network: Network, region: Interval, margins: Margins, slopes: Slopes
) -> tuple[Scene, ObservedPass]:
    scene = Scene(network, region)
    lines = relaxations_of(scene, propagate(scene), slopes)
    return scene, observe(scene, rows_of(network, margins), lines)


def at_relaxed_minimum(scene: Scene, observed: ObservedPass, margins: Margins) -> Tensor:
    """Evaluate the first margin at the relaxed minimum: affine nodes behind it are exact."""
    values = relaxed_minimum(scene, observed)
    graph = scene.network.graph
    for node in graph.nodes:
        if node.name not in values and all(name in values for name in node.inputs):
            inputs = [values[name] for name in node.inputs]
            values[node.name] = node.operator.forward(inputs, scene.network.parameters)
    y = values[graph.output].flatten(1)
    return (margins.matrix[:, 0] * y).sum(1) - margins.offset[:, 0]


@pytest.mark.parametrize("kind", ELEMENTWISE)
@pytest.mark.parametrize("choice", list(SlopeChoice))
def test_an_observed_pass_proves_what_a_plain_one_proves(kind: str, choice: SlopeChoice) -> None:
    network = NETWORKS[kind](3)
    region, margins = random_region(network, 3, (0.0, 0.4, 2.0)), random_margins(network, 3, 3)
    scene, observed = observed_pass(network, region, margins, Slopes(choice))
    lines = relaxations_of(scene, propagate(scene), Slopes(choice))
    plain = lower_bounds(scene, rows_of(network, margins), lines)
    torch.testing.assert_close(observed.lower, plain, rtol=0, atol=0)
    assert set(observed.coefficients) == set(observed.relaxations)


@pytest.mark.parametrize("kind", ELEMENTWISE)
@pytest.mark.parametrize("choice", list(SlopeChoice))
@pytest.mark.parametrize("row", [0, 2])
def test_the_bound_is_attained_at_the_relaxed_minimum(
    kind: str, choice: SlopeChoice, row: int
) -> None:
    network = NETWORKS[kind](5)
    region, margins = random_region(network, 5, (0.0, 0.3, 1.0)), random_margins(network, 3, 5)
    scene, observed = observed_pass(network, region, margins, Slopes(choice))
    picked = observed.row(torch.full((3,), row))
    single = Margins(margins.matrix[:, row : row + 1], margins.offset[:, row : row + 1])
    reached = at_relaxed_minimum(scene, picked, single)
    # Two ways to the same sum in float64; the bound gives up a little more for rounding.
    torch.testing.assert_close(reached, picked.lower[:, 0], rtol=1e-9, atol=1e-9)


@given(st.integers(0, 10_000))
def test_the_input_of_the_relaxed_minimum_is_in_the_region(seed: int) -> None:
    network = relu_chain((3, 6, 5, 2), seed)
    region, margins = random_region(network, seed, (0.1, 2.0)), random_margins(network, 2, seed)
    scene, observed = observed_pass(network, region, margins, Slopes())
    x = relaxed_minimum(scene, observed)[scene.entry.node.name]
    assert (x >= region.lower).all()
    assert (x <= region.upper).all()
    # What the network does there is never below the bound.
    y = run_from_entry(scene, x)
    value = (margins.matrix[:, 0] * y).sum(1) - margins.offset[:, 0]
    assert (value >= observed.lower[:, 0] - 1e-9).all()


def test_the_first_examples_of_a_pass_are_those_of_the_whole() -> None:
    network = relu_chain((3, 6, 5, 2), 1)
    region, margins = random_region(network, 1, (0.1, 1.0, 2.0)), random_margins(network, 3, 1)
    _, observed = observed_pass(network, region, margins, Slopes())
    first = observed.first(2)
    assert torch.equal(first.lower, observed.lower[:2])
    assert first.entry is not None
    assert all(len(values) == 2 for values in (first.entry, *first.coefficients.values()))


def test_a_network_behind_a_normalisation_starts_at_its_entry() -> None:
    builder = GraphBuilder((1, 3), 2)
    builder.add(ops.Scale(builder.normal(1, 3), builder.normal(1, 3)))
    builder.linear(4)
    builder.add(ops.Relu())
    builder.linear(2)
    network = builder.network()
    region, margins = random_region(network, 2, (0.5,)), random_margins(network, 1, 2)
    scene, observed = observed_pass(network, region, margins, Slopes())
    values = relaxed_minimum(scene, observed)
    assert scene.entry.node.name != network.graph.input.name
    assert network.graph.input.name not in values
    inside = run_from_entry(scene, scene.entry.region.center)
    expected = network.graph.evaluate(region.center, network.parameters)[network.graph.output]
    torch.testing.assert_close(inside, expected.flatten(1))


def test_products_have_no_relaxed_minimum() -> None:
    builder = GraphBuilder((1, 3), 2)
    builder.linear(3)
    left = builder.last
    builder.linear(3, of="x")
    builder.add(ops.Multiply(), left, builder.last)
    builder.linear(2)
    network = builder.network()
    region, margins = random_region(network, 2, (0.5,)), random_margins(network, 1, 2)
    scene, observed = observed_pass(network, region, margins, Slopes())
    with pytest.raises(UnsupportedMethodError, match="without the feasibility regularizer"):
        relaxed_minimum(scene, observed)


# --- gradients written by hand ------------------------------------------------------------------


def inputs(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [uniform(7 + i, *shape).requires_grad_() for i, shape in enumerate(shapes)]


def test_halves_have_the_right_gradient() -> None:
    torch.autograd.gradcheck(halves, inputs((3, 4), (3, 4)))


def test_chords_have_the_right_gradient() -> None:
    center, radius = uniform(1, 5, 40), uniform(2, 5, 40, low=0.05)
    lower, upper = (center - radius).requires_grad_(), (center + radius).requires_grad_()
    assert ((lower < 0) & (upper > 0)).any()
    assert (lower > 0).any()
    assert (upper < 0).any()
    torch.autograd.gradcheck(chord, (lower, upper))


def test_chords_are_exact_where_the_sign_is_known() -> None:
    slope, intercept = chord(torch.tensor([0.3, -2.0, 0.0]), torch.tensor([0.7, -0.1, 0.0]))
    assert slope.tolist() == [1.0, 0.0, 0.0]
    assert intercept.abs().tolist() == [0.0, 0.0, 0.0]


def test_lines_have_the_right_gradient() -> None:
    coefficients = uniform(3, 2, 6)

    def value(*arguments: Tensor) -> Tensor:
        return on_lines(coefficients, *arguments)

    torch.autograd.gradcheck(value, inputs((2, 6), (2, 6), (2, 6), (2, 6)))


def test_infinite_bounds_leave_stable_neurons_exact() -> None:
    infinity = torch.inf
    region = Interval(torch.tensor([[0.5, -3.0]]), torch.tensor([[infinity, infinity]]))
    builder = GraphBuilder((2,), 0)
    builder.add(ops.Relu())
    network = builder.network().to(torch.float32)
    scene = Scene(network, region)
    lines = relaxations_of(scene, {"x": region}, Slopes())(network.graph.nodes[1])
    (passed,), _ = lines.backward(torch.tensor([[[2.0, 0.0]]]))
    assert passed[0, 0, 0] == 2.0
    (passed,), _ = lines.backward(torch.tensor([[[-2.0, 0.0]]]))
    assert passed[0, 0, 0] == -2.0
