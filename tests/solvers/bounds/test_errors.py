"""What does not fit is refused in words; what overflows proves nothing; time that is up is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from models import operators as ops
from models.errors import InvalidInputError, ShapeError
from models.network import Network
from models.operators import Operator
from models.parameters import Parameters
from solvers.bounds import BoundOptions, Interval, Margins, MemoryBudget, Scene, bound_margins
from solvers.budget import Budget
from solvers.errors import UnsupportedMethodError
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.random_graphs import GraphBuilder, relu_chain
from tests.solvers.bounds.support import (
    bound,
    check_sound,
    points_in,
    random_margins,
    random_region,
    values_at,
)

methods = pytest.mark.parametrize("method", BOUND_METHODS)


@dataclass(frozen=True)
class Softsign(Operator):
    """An operator that nobody registered."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:  # noqa: ARG002
        return inputs[0] / (1 + inputs[0].abs())


def region_of(*shape: int, batch: int = 1) -> Interval:
    ones = torch.ones(batch, *shape, dtype=torch.float64)
    return Interval(-ones, ones)


def margins_of(batch: int, rows: int, outputs: int) -> Margins:
    return Margins(
        torch.ones(batch, rows, outputs, dtype=torch.float64),
        torch.zeros(batch, rows, dtype=torch.float64),
    )


@methods
def test_an_unregistered_operator_is_named(method: Method) -> None:
    builder = GraphBuilder((1, 3))
    builder.linear(3)
    builder.add(Softsign())
    with pytest.raises(UnsupportedMethodError, match="operator Softsign"):
        bound(builder.network(), region_of(1, 3), margins_of(1, 1, 3), method)


def test_an_exact_method_is_no_bound() -> None:
    network = relu_chain((3, 4, 2), 0)
    with pytest.raises(UnsupportedMethodError, match="method exact is not a bound"):
        bound(network, region_of(1, 3), margins_of(1, 1, 2), Method.EXACT)


@methods
@pytest.mark.parametrize(
    ("region", "margins", "message"),
    [
        (region_of(1, 3), margins_of(1, 1, 3), "do not fit 1 regions of a network with 2 outputs"),
        (region_of(1, 3), margins_of(2, 1, 2), "do not fit 1 regions"),
        (region_of(1, 4), margins_of(1, 1, 2), r"regions have shape \(1, 4\)"),
        (region_of(3), margins_of(1, 1, 2), r"the network takes \(1, 3\)"),
        (region_of(1, 3), margins_of(1, 0, 2), "at least one region and one row"),
        (region_of(1, 3, batch=0), margins_of(0, 1, 2), "at least one region and one row"),
    ],
)
def test_what_does_not_fit_is_refused(
    method: Method, region: Interval, margins: Margins, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        bound(relu_chain((3, 4, 2), 0), region, margins, method)


def test_margins_and_intervals_check_their_own_shapes() -> None:
    with pytest.raises(ShapeError, match=r"shape \(1, 2\).*\(batch, rows, outputs\)"):
        Margins(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ShapeError, match="an offset of shape"):
        Margins(torch.zeros(1, 2, 3), torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"bounds have shapes \(1, 2\) and \(1, 3\)"):
        Interval(torch.zeros(1, 2), torch.zeros(1, 3))


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": -1}, {"learning_rate": 0.0}, {"learning_rate_decay": -0.5}],
    ids=str,
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="iterations must be 0 or more"):
        BoundOptions(**wrong)  # type: ignore[arg-type]


def test_a_memory_limit_must_be_positive() -> None:
    with pytest.raises(InvalidInputError, match="memory limit must be positive"):
        MemoryBudget(0)


@methods
@pytest.mark.parametrize(
    "budget",
    [Budget.of_seconds(0.0), Budget(cancelled=lambda: True)],
    ids=["deadline", "cancelled"],
)
def test_bounds_are_sound_when_time_is_up_at_once(method: Method, budget: Budget) -> None:
    network = relu_chain((3, 10, 10, 3), 1)
    region = random_region(network, 1, (0.3, 1.0))
    margins = random_margins(network, 2, 1)
    found = bound_margins(Scene(network, region), margins, method, budget=budget)
    check_sound(network, region, margins, found)
    assert found.lower.isfinite().all()


def test_a_cancelled_optimisation_keeps_its_best_iterate() -> None:
    network = relu_chain((3, 10, 10, 3), 2)
    region = random_region(network, 2, (0.5,))
    margins = random_margins(network, 1, 2)
    asked = iter([False] * 12)
    budget = Budget(cancelled=lambda: next(asked, True))
    options = BoundOptions(iterations=10_000)
    found = bound_margins(
        Scene(network, region), margins, Method.ALPHA_CROWN, options=options, budget=budget
    )
    start = bound(network, region, margins, Method.CROWN).lower
    assert (found.lower >= start - 1e-9).all()
    check_sound(network, region, margins, found)


def overflowing(seed: int, activation: Operator) -> Network:
    """Return a network whose first layer overflows to ∞ − ∞ in interval arithmetic."""
    builder = GraphBuilder((1, 2), seed)
    huge = torch.tensor([[1e200, 0.0], [0.0, 1e200], [1.0, 1.0]])
    builder.add(ops.Linear(builder.store(huge)))
    mixed = torch.tensor([[1e200, -1e200, 1.0], [-1e200, 1e200, 0.5]])
    builder.add(ops.Linear(builder.store(mixed)))
    builder.add(activation)
    builder.linear(2)
    return builder.network()


ACTIVATIONS = [
    ops.Relu(),
    ops.LeakyRelu(0.1),
    ops.LeakyRelu(-0.5),
    ops.Clip(0.0, 1.0),
    ops.Clip(-1.0, float("inf")),
    ops.Sigmoid(),
    ops.Tanh(),
]


@methods
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_overflow_proves_nothing_and_never_passes_for_stable(
    method: Method, activation: Operator
) -> None:
    network = overflowing(3, activation)
    region = region_of(1, 2, batch=2)
    margins = random_margins(network, 2, 3)
    found = bound(network, region, margins, method)
    assert not found.lower.isnan().any()
    x = points_in(region, 50, 3)
    values = values_at(network, margins, x).nan_to_num(nan=torch.inf)
    assert (values.amin(1) >= found.lower - 1e-9 * (1 + found.lower.abs())).all()
    for interval in found.intermediate.values():
        assert not interval.lower.isnan().any()
        assert not interval.upper.isnan().any()


@methods
def test_a_weight_that_is_not_a_number_makes_every_bound_minus_infinity(method: Method) -> None:
    network = relu_chain((2, 3, 2), 4)
    name = min(network.parameters)
    broken = network.parameters[name].clone()
    broken[0] = torch.nan
    network = network.with_parameters({name: broken})
    found = bound(network, region_of(1, 2), random_margins(network, 1, 4), method)
    assert (found.lower == -torch.inf).all()
