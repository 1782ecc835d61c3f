"""Every registered rule against its operator: intervals, adjoints, lines, shapes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import operators as ops
from models.graph import Node
from models.network import Network
from solvers.bounds import Interval
from solvers.bounds.backward import Scene
from solvers.bounds.ibp import propagate
from solvers.bounds.rules import RULES, AffineRule, NonlinearRule, Slopes, rule_for
from solvers.methods import BOUND_METHODS, Method
from tests.solvers.bounds.examples import EXAMPLES, Maker
from tests.solvers.bounds.support import (
    WIDTHS,
    bound,
    check_nodes,
    check_sound,
    points_in,
    random_margins,
    random_region,
    slope_of,
    uniform,
    values_at,
)

CASES = [
    pytest.param(maker, id=f"{operator.__name__}-{number}")
    for operator, makers in EXAMPLES.items()
    for number, maker in enumerate(makers)
]
AFFINE = [
    case
    for operator, makers in EXAMPLES.items()
    if isinstance(RULES.get(operator), AffineRule)
    for case in CASES
    if case.values[0] in makers
]
every_case = pytest.mark.parametrize("maker", CASES)
every_affine_case = pytest.mark.parametrize("maker", AFFINE)


def last_of(network: Network) -> Node:
    return network.graph.node(network.graph.output)


def linear_part(network: Network, inputs: list[Tensor]) -> Tensor:
    """Return the operator's value less its value at zero."""
    operator = last_of(network).operator
    zeros = [torch.zeros_like(value) for value in inputs]
    at_zero = operator.forward(zeros, network.parameters)
    return operator.forward(inputs, network.parameters) - at_zero


def test_every_rule_has_an_example_and_every_example_a_rule() -> None:
    assert set(EXAMPLES) == set(RULES)
    for operator, makers in EXAMPLES.items():
        for maker in makers:
            assert type(last_of(maker(0)).operator) is operator


@every_case
def test_intervals_hold_at_corners_and_inside(maker: Maker) -> None:
    network = maker(1)
    for seed in range(4):
        region = random_region(network, seed, WIDTHS)
        bounds = propagate(Scene(network, region))
        check_nodes(network, bounds, points_in(region, 200, seed))


@every_case
def test_the_interval_of_a_point_is_its_value(maker: Maker) -> None:
    network = maker(2)
    region = random_region(network, 0, (0.0, 0.0, 0.0))
    # Widened by 64 units of rounding of everything that was added up.
    interval = propagate(Scene(network, region))[network.graph.output]
    value = network(region.lower).expand_as(interval.lower)
    torch.testing.assert_close(interval.lower, value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(interval.upper, value, rtol=1e-12, atol=1e-12)


@every_case
@pytest.mark.parametrize("method", BOUND_METHODS)
def test_lines_never_cross_the_function(maker: Maker, method: Method) -> None:
    network = maker(3)
    region = random_region(network, 5, WIDTHS)
    margins = random_margins(network, region.batch, 6, rows=8)
    check_sound(network, region, margins, bound(network, region, margins, method))


@every_case
@pytest.mark.parametrize("method", BOUND_METHODS)
def test_bounds_at_a_point_are_exact(maker: Maker, method: Method) -> None:
    network = maker(4)
    region = random_region(network, 7, (0.0, 0.0))
    margins = random_margins(network, region.batch, 8, rows=4)
    value = values_at(network, margins, region.lower.unsqueeze(1)).squeeze(1)
    lower = bound(network, region, margins, method).lower
    torch.testing.assert_close(lower, value, rtol=1e-11, atol=1e-11)


@every_affine_case
def test_the_adjoint_is_the_transposed_map(maker: Maker) -> None:
    network = maker(5)
    node = last_of(network)
    rule = rule_for(node.operator)
    assert isinstance(rule, AffineRule)
    shapes = [network.graph.node(name).shape for name in node.inputs]
    inputs = [uniform(number, 4, *shape) for number, shape in enumerate(shapes)]
    rows = uniform(9, 4, *node.shape)
    passed = rule.adjoint(node.operator, rows, shapes, network.parameters)
    assert [tuple(value.shape[1:]) for value in passed] == shapes
    forth = (linear_part(network, inputs) * rows).reshape(4, -1).sum(1)
    back = sum(
        ((x * y).flatten(1).sum(1) for x, y in zip(inputs, passed, strict=True)), torch.zeros(4)
    )
    torch.testing.assert_close(forth, back, check_dtype=False)


@every_affine_case
def test_the_constant_is_the_value_at_zero(maker: Maker) -> None:
    network = maker(6)
    node = last_of(network)
    rule = rule_for(node.operator)
    assert isinstance(rule, AffineRule)
    shapes = [network.graph.node(name).shape for name in node.inputs]
    zeros = [torch.zeros(1, *shape, dtype=torch.float64) for shape in shapes]
    at_zero = node.operator.forward(zeros, network.parameters)
    rows = uniform(10, 6, *node.shape)
    constant = rule.constant(node.operator, rows, network.parameters)
    expected = (rows * at_zero).reshape(6, -1).sum(1)
    found = torch.zeros_like(expected) if constant is None else constant
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("maker", EXAMPLES[ops.Linear][:2])
def test_single_outputs_of_a_linear_layer_are_read_directly(maker: Maker) -> None:
    network = maker(7)
    node = last_of(network)
    indices = torch.tensor([[0, node.size - 1]])
    rule = rule_for(node.operator)
    assert isinstance(rule, AffineRule)
    direct = rule.rows(node.operator, indices, network.parameters)
    assert direct is not None
    coefficients, constant = direct
    x = uniform(11, 1, *network.input_shape)
    found = (coefficients @ x.flatten(1).unsqueeze(-1)).squeeze(-1)
    found = found if constant is None else found + constant
    torch.testing.assert_close(found, network(x).flatten(1).gather(1, indices))


@every_affine_case
def test_affine_margins_are_exact(maker: Maker) -> None:
    network = maker(8)
    region = random_region(network, 12, (0.5, 2.0))
    margins = random_margins(network, region.batch, 13, rows=5)
    found = bound(network, region, margins, Method.CROWN)
    # An affine margin is least at the corner that its gradient points away from.
    for row in range(5):
        x = region.center.clone().requires_grad_()
        slope = slope_of(values_at(network, margins, x.unsqueeze(1))[..., 0, row], x)
        corner = torch.where(slope > 0, region.lower, region.upper)
        least = values_at(network, margins, corner.unsqueeze(1))[:, 0, row]
        torch.testing.assert_close(found.lower[:, row], least)


@every_case
def test_values_reported_decided_need_no_tighter_bounds(maker: Maker) -> None:
    """What a rule calls decided is enclosed exactly: both lines are the function itself."""
    network = maker(9)
    node = last_of(network)
    rule = rule_for(node.operator)
    if not isinstance(rule, NonlinearRule) or rule.mixes:
        return
    region = random_region(network, 14, (0.0, 0.05, 0.5, 3.0))
    bounds = propagate(Scene(network, region))[node.inputs[0]]
    decided = ~rule.undecided(node.operator, bounds)
    lower, upper = decided_ends(network, bounds)
    value = node.operator.forward([bounds.center], network.parameters)
    torch.testing.assert_close(lower[decided], value[decided], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(upper[decided], value[decided], rtol=1e-12, atol=1e-12)


def decided_ends(network: Network, bounds: Interval) -> tuple[Tensor, Tensor]:
    """Return both lines of the last node at the centre of its input, one value at a time."""
    node: Node = last_of(network)
    rule = rule_for(node.operator)
    assert isinstance(rule, NonlinearRule)
    lines = rule.relax(node.operator, [bounds], network.parameters, Slopes())
    ends = []
    for sign in (1.0, -1.0):
        unit = sign * torch.eye(node.size, dtype=torch.float64)
        rows = unit.reshape(1, node.size, *node.shape).expand(bounds.batch, -1, *node.shape)
        (passed,), constant = lines.backward(rows)
        at_center = (passed * bounds.center.unsqueeze(1)).flatten(2).sum(-1)
        ends.append((sign * (at_center + constant)).reshape(bounds.center.shape))
    return ends[0], ends[1]
