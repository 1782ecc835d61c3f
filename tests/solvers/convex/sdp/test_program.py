"""The lifted network and its forms, held against runs of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import operators as ops
from models.network import Network
from solvers.budget import Budget
from solvers.convex.sdp.hinges import lift_network
from solvers.errors import UnsupportedMethodError
from solvers.exact.model import ModelTooLargeError
from tests.helpers.graphs import mlp
from tests.helpers.lifted import LiftedCase, columns_at, inputs_of, lifted_case
from tests.helpers.random_graphs import GraphBuilder


def _pooled() -> Network:
    builder = GraphBuilder((1, 2, 4, 4), 5)
    builder.add(ops.Scale(builder.normal(2, 1, 1), builder.normal(2, 1, 1)))
    builder.add(ops.Clip(-0.4, 0.9))
    builder.add(ops.MaxPool((3, 3), (2, 2), ((1, 0), (1, 0)), (1, 1)))
    builder.add(ops.Reshape((1, 8)))
    builder.add(ops.LeakyRelu(-0.3))
    builder.linear(3)
    return builder.network()


def _skipping() -> Network:
    builder = GraphBuilder((1, 3), 6)
    first = builder.linear(3)
    builder.add(ops.Relu())
    second = builder.linear(3)
    builder.add(ops.Add((0.7, -1.3)), second, first)
    builder.add(ops.PRelu(builder.uniform(-0.5, 2.0, 3)))
    builder.linear(3)
    return builder.network()


NETWORKS = {"pooled": _pooled(), "skipping": _skipping(), "deep": mlp((3, 4, 4, 4, 3), seed=8)}


def output_at(case: LiftedCase, w: np.ndarray) -> np.ndarray:
    lifted = case.lifted
    middle, radius = (lifted.lower + lifted.upper) / 2, (lifted.upper - lifted.lower) / 2
    columns = middle + radius * w[1:]
    function = lifted.output.function
    return np.asarray(function.widened(lifted.columns) @ columns + function.offset)


@pytest.mark.parametrize("name", NETWORKS)
def test_columns_and_output_are_those_of_the_network(name: str) -> None:
    case = lifted_case(NETWORKS[name], 0.5)
    assert case.lifted.hinges.column.size > 3
    for x in inputs_of(case.case, 60):
        w = columns_at(case, x)
        y = case.network(torch.from_numpy(x[None]))[0].numpy().ravel()
        assert np.abs(w).max() <= 1.0 + 1e-12
        assert output_at(case, w) == pytest.approx(y, abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.floats(0.01, 2.0))
def test_forms_and_products_hold_at_every_run(seed: int, radius: float) -> None:
    case = lifted_case(mlp((3, 5, 5, 3), seed=seed), radius, center=0.1)
    program = case.program()
    forms, products = program.forms, program.products
    for x in inputs_of(case.case, 20, seed):
        w = columns_at(case, x)
        values = forms.matrix @ w
        # the run itself is computed in float64, to about this accuracy
        assert (values >= -forms.error - 1e-12).all()
        assert (np.abs(values) <= forms.reach + 1e-12).all()
        pairs = values[products.left] * values[products.right]
        assert np.abs(pairs[products.equality]).max(initial=0.0) < 1e-12
        objective = program.objective
        margin = objective.scale * (objective.coefficients @ w)
        assert margin == pytest.approx(case.margin_at(x), abs=1e-10)


def test_forms_are_of_size_one_and_nearly_exact() -> None:
    case = lifted_case(mlp((6, 20, 20, 3), seed=2), 0.5)
    program = case.program()
    assert ((program.forms.reach > 0.49) & (program.forms.reach < 2.0 + 1e-9)).all()
    assert program.forms.error.max() < 1e-12
    assert np.abs(program.objective.coefficients).sum() <= 1.0
    assert 0.0 < program.objective.error < 1e-10


def test_levels_rise_along_the_network() -> None:
    lifted = lifted_case(mlp((3, 5, 5, 3), seed=2), 0.8).lifted
    hinges = lifted.hinges
    assert set(lifted.level) == {0, 1, 2}
    assert (lifted.level[: lifted.inputs] == 0).all()
    for hinge, column in enumerate(hinges.column):
        row = hinges.source.function.matrix[[hinge]]
        assert lifted.level[column] == lifted.level[row.indices].max() + 1


def test_a_layer_that_is_too_large_and_a_budget_that_ended_are_told_apart() -> None:
    case = lifted_case(mlp((3, 5, 3), seed=2), 0.5)
    arguments = (case.network, case.case.region, case.bounds)
    with pytest.raises(ModelTooLargeError, match="more than 3 coefficients"):
        lift_network(*arguments, max_nonzeros=3, budget=Budget())
    with pytest.raises(UnsupportedMethodError, match="no time was left to lift node"):
        lift_network(*arguments, max_nonzeros=10**6, budget=Budget(deadline=0.0))
