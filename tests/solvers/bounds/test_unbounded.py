"""Domains that are left, and numbers that overflow: bounds become infinite, and say where."""

from __future__ import annotations

import math

import pytest
import torch

from models import operators as ops
from models.network import Network
from models.operators import Operator
from solvers.bounds import Interval, unbounded_nodes
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.random_graphs import GraphBuilder
from tests.solvers.bounds.support import bound, random_margins

every_method = pytest.mark.parametrize("method", BOUND_METHODS)


def network_with(operator: Operator) -> Network:
    """Return linear, operator, linear."""
    builder = GraphBuilder((1, 3), 0)
    builder.linear(4)
    builder.add(operator)
    builder.linear(2)
    return builder.network()


def region(width: float, batch: int = 2) -> Interval:
    center = torch.zeros(batch, 1, 3, dtype=torch.float64)
    return Interval(center - width, center + width)


@every_method
@pytest.mark.parametrize(
    ("operator", "cause"),
    [
        (ops.Log(), "reaches 0"),
        (ops.Power(0.5), "reaches below 0"),
        (ops.Power(-1.0), "contains 0"),
        (ops.Power(-2.0), "contains 0"),
        (ops.Power(-0.5), "reaches 0"),
    ],
)
def test_a_domain_that_is_left_leaves_everything_open(
    operator: Operator, cause: str, method: Method
) -> None:
    network = network_with(operator)
    found = bound(network, region(1e3), random_margins(network, 2, 0), method)
    assert (found.lower == -torch.inf).all()
    (node,) = unbounded_nodes(network, found.intermediate)
    assert (node.operator, node.cause, node.count) == (type(operator).__name__, cause, 8)
    assert node.lower < 0 < node.upper
    assert all(word in node.reason for word in (node.name, node.operator, cause, "["))


def test_one_example_of_a_batch_does_not_open_the_other() -> None:
    builder = GraphBuilder((1, 3), 0)
    builder.add(ops.Log())
    builder.linear(2)
    network = builder.network()
    lower = torch.tensor([[[-0.5, 1.0, 1.0]], [[0.5, 1.0, 1.0]]], dtype=torch.float64)
    ends = Interval(lower, lower + 1)
    found = bound(network, ends, random_margins(network, 2, 0), Method.CROWN)
    assert (found.lower[0] == -torch.inf).all()
    assert found.lower[1].isfinite().all()
    assert unbounded_nodes(network, found.intermediate, example=1) == ()
    (node,) = unbounded_nodes(network, found.intermediate, example=0)
    assert (node.lower, node.upper, node.count) == (-0.5, 0.5, 1)


def test_an_end_on_the_border_of_a_domain() -> None:
    """The square root of 0 is a number, the logarithm and the reciprocal are not."""
    ends = Interval(torch.zeros(1, 1, 3).double(), torch.ones(1, 1, 3).double())
    for operator, finite in ((ops.Power(0.5), True), (ops.Log(), False), (ops.Power(-1.0), False)):
        builder = GraphBuilder((1, 3), 0)
        builder.add(operator)
        builder.linear(2)
        network = builder.network()
        found = bound(network, ends, random_margins(network, 1, 0), Method.CROWN)
        assert bool(found.lower.isfinite().all()) is finite
        assert (unbounded_nodes(network, found.intermediate) == ()) is finite


def test_overflow_is_told_from_a_domain() -> None:
    network = network_with(ops.Exp())
    found = bound(network, region(1e4), random_margins(network, 2, 0), Method.CROWN)
    (node,) = unbounded_nodes(network, found.intermediate)
    assert node.cause is None
    assert node.upper > math.log(torch.finfo(torch.float64).max)
    assert "no finite bounds" in node.reason


def test_nothing_is_reported_where_everything_is_finite() -> None:
    network = network_with(ops.Gelu())
    found = bound(network, region(1e6), random_margins(network, 2, 0), Method.CROWN)
    assert unbounded_nodes(network, found.intermediate) == ()
