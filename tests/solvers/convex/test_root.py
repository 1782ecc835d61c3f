"""Cuts at the root of exact search: the answer stays, the relaxation rises, no input is lost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.network import Network
from solvers.budget import Budget
from solvers.convex.layers import relu_layers
from solvers.convex.programs import LinearAnswer, LinearStatus
from solvers.convex.root import RootCuts, origin_boxes
from solvers.exact import (
    BoundTightening,
    EncodingOptions,
    ExactHints,
    ExactMode,
    ExactOptions,
    ExactResult,
    ExactStatus,
    MilpModel,
    SolverName,
    encode_network,
    exact_margin,
)
from solvers.exact.context import Bounds, Splits, clipped
from solvers.exact.encode import AFFINE_ENCODERS
from solvers.problem import Case, Clause, Specification
from tests.helpers.programs import brute_force_margin, minimum
from tests.solvers.convex.support import (
    bounded,
    case_of,
    convolutional,
    dense,
    least_sample,
    lying,
    residual,
)

ROUNDING = 1e-6
MAKERS = {"dense": dense, "convolutional": convolutional, "residual": residual}


def _only_hinges(network: Network, bounds: Bounds) -> Bounds:
    """Return what exact search needs to be given: bounds in front of nonlinear nodes alone."""
    bent = [n for n in network.graph.nodes if type(n.operator) not in AFFINE_ENCODERS]
    needed = {name for node in bent for name in node.inputs}
    return {name: ends for name, ends in bounds.items() if name in needed}


def _programs(
    network: Network, case: Case, *, relaxed: bool, clause: int = 0
) -> tuple[MilpModel, MilpModel]:
    """Return a clause's program without cuts and with them."""
    bounds = _only_hinges(network, bounded(network, case).node_bounds(0))
    options = EncodingOptions(relaxed=relaxed)
    encoded = encode_network(network, case.region, bounds, options=options)
    model = encoded.clause_model(case.specification.clauses[clause])
    return model, RootCuts()(network)(model, encoded, bounds, Budget())


def _margin(
    network: Network,
    case: Case,
    bounds: Bounds,
    options: ExactOptions,
    splits: Splits | None = None,
) -> ExactResult:
    chosen = replace(options, mode=ExactMode.OPTIMIZE)
    hints, budget = ExactHints(splits=splits), Budget.of_seconds(60)
    return exact_margin(network, case, bounds, options=chosen, budget=budget, hints=hints)


def _truth(network: Network, case: Case) -> float:
    """Return the margin, by a program without cuts and a solver of its own."""
    bounds = bounded(network, case).node_bounds(0)
    encoded = encode_network(network, case.region, bounds, options=EncodingOptions())
    return min(minimum(encoded.clause_model(c)) for c in case.specification.clauses)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.floats(0.1, 0.8), relaxed=st.booleans())
def test_cuts_only_raise_the_relaxation_and_keep_the_optimum(
    seed: int, width: float, relaxed: bool
) -> None:
    network = dense(seed, (3, 4, 3, 3))
    case = case_of(network, seed, width)
    model, cut = _programs(network, case, relaxed=relaxed)
    assert cut.row_count >= model.row_count
    np.testing.assert_array_equal(cut.integral, model.integral)
    np.testing.assert_array_equal(cut.objective, model.objective)
    assert minimum(cut.relaxed()) >= minimum(model.relaxed()) - ROUNDING
    truth = brute_force_margin(network, case.region, case.specification.clauses[0])
    assert minimum(cut) <= truth + ROUNDING
    if not relaxed:
        assert minimum(cut) == pytest.approx(truth, abs=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_cuts_pay_at_the_root_and_no_sampled_input_is_lost(name: str) -> None:
    gains = []
    for seed in range(4):
        network = MAKERS[name](seed)
        case = case_of(network, seed, 0.3)
        model, cut = _programs(network, case, relaxed=True)
        gains.append(minimum(cut) - minimum(model))
        assert minimum(cut) <= least_sample(network, case, seed)[0] + ROUNDING
    assert max(gains) > 1e-3


def test_a_clause_of_several_rows_has_one_more_column() -> None:
    network = dense(2, (3, 4, 4, 3))
    rows = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    clause = Clause(rows, np.zeros(2))
    case = Case(case_of(network, 2, 0.6).region, Specification((clause,)))
    model, cut = _programs(network, case, relaxed=False)
    assert cut.row_count > model.row_count
    truth = brute_force_margin(network, case.region, clause)
    assert minimum(cut) == pytest.approx(truth, abs=1e-5)


@pytest.mark.parametrize("tightening", [BoundTightening.NONE, BoundTightening.FOCUS])
@pytest.mark.parametrize("solver", [SolverName.TREE, SolverName.HIGHS, SolverName.SCIP])
def test_searches_find_the_same_margin(solver: SolverName, tightening: BoundTightening) -> None:
    for seed in range(3):
        network = dense(seed, (3, 6, 5, 3))
        case = case_of(network, seed, 0.5)
        bounds = _only_hinges(network, bounded(network, case).node_bounds(0))
        options = ExactOptions(solver=solver, tightening=tightening, root_cuts=RootCuts())
        result = _margin(network, case, bounds, options)
        truth = _truth(network, case)
        assert result.status is ExactStatus.OPTIMAL
        assert result.lower <= truth + ROUNDING
        assert result.lower == pytest.approx(truth, abs=1e-3)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
@example(seed=5)  # nothing to split: the program has no rows
def test_parts_of_a_region_cover_its_margin(seed: int) -> None:
    network = dense(seed, (3, 5, 4, 3))
    case = case_of(network, seed, 0.5)
    bounds = bounded(network, case).node_bounds(0)
    first = relu_layers(network)[0].source
    unstable = (bounds[first][0] < 0) & (bounds[first][1] > 0)
    at = int(unstable.ravel().argmax())
    parts = []
    for side in (-1, 1):
        split = np.zeros(bounds[first][0].size, dtype=np.int8)
        split[at] = side if unstable.any() else 0
        options = ExactOptions(root_cuts=RootCuts())
        parts.append(_margin(network, case, bounds, options, {first: split}).lower)
    truth = _truth(network, case)
    assert min(parts) <= truth + ROUNDING
    assert min(parts) == pytest.approx(truth, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(MAKERS)))
def test_boxes_hold_what_the_network_computes_within_the_bounds(seed: int, name: str) -> None:
    network = MAKERS[name](seed % 7)
    case = case_of(network, seed, 0.4)
    known = _only_hinges(network, bounded(network, case).node_bounds(0))
    layers = relu_layers(network)
    sides = {layers[0].source: np.ones(known[layers[0].source][0].size, dtype=np.int8)}
    x = case.region.lower + np.random.default_rng(seed).random((300, *network.input_shape)) * (
        case.region.upper - case.region.lower
    )
    values = network.graph.evaluate(torch.from_numpy(x), network.parameters)
    for bounds in (known, clipped(known, sides)):
        if bounds is None:
            continue
        inside = _within(bounds, values)
        encoded = encode_network(network, case.region, bounds, options=EncodingOptions())
        for origin, (low, high) in origin_boxes(layers, network, bounds, encoded).items():
            value = values[origin].numpy()[inside]
            assert (value >= low - 1e-9).all()
            assert (value <= high + 1e-9).all()


def _within(bounds: Bounds, values: dict[str, torch.Tensor]) -> NDArray[np.bool_]:
    """Return which samples keep to bounds, shape `(samples,)`."""
    kept = [
        ((values[name].numpy() >= low) & (values[name].numpy() <= high)).reshape(300, -1).all(1)
        for name, (low, high) in bounds.items()
    ]
    return np.asarray(np.logical_and.reduce(kept))


def test_a_solver_that_lies_costs_cuts_and_nothing_else() -> None:
    network = dense(5, (3, 6, 5, 3))
    case = case_of(network, 5, 0.5)
    bounds = bounded(network, case).node_bounds(0)
    rng = np.random.default_rng(0)

    def rubbish(answer: LinearAnswer) -> LinearAnswer:
        return replace(answer, values=rng.normal(size=answer.values.size))

    def failed(answer: LinearAnswer) -> LinearAnswer:
        return replace(answer, status=LinearStatus.FAILED)

    for lie in (rubbish, failed):
        cutter = RootCuts(maker=lying(lie))
        result = _margin(
            network, case, bounds, ExactOptions(solver=SolverName.HIGHS, root_cuts=cutter)
        )
        assert result.lower == pytest.approx(_truth(network, case), abs=1e-3)


def test_a_budget_that_is_spent_leaves_the_program() -> None:
    network = dense(3)
    case = case_of(network, 3)
    bounds = bounded(network, case).node_bounds(0)
    encoded = encode_network(network, case.region, bounds, options=EncodingOptions())
    model = encoded.clause_model(case.specification.clauses[0])
    assert RootCuts()(network)(model, encoded, bounds, Budget.of_seconds(0.0)) is model
    assert math.isfinite(minimum(model))
