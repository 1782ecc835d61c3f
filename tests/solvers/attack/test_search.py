"""The attack reaches known minima, never undercuts them, and stays inside the region."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from models.errors import BoundsError, ShapeError
from models.network import Network
from models.operators import Linear, Reshape
from solvers.attack import AttackOptions, AttackResult, attack
from solvers.budget import Budget
from solvers.float32_region import runnable_box
from solvers.problem import Box, Case, Clause, Specification, robustness
from tests.helpers.graphs import GraphBuilder, mlp

OPTIONS = AttackOptions()


def unit_box(*shape: int) -> Box:
    return Box(np.zeros(shape), np.ones(shape))


def random_specification(generator: np.random.Generator, outputs: int) -> Specification:
    return Specification(
        tuple(
            Clause(generator.normal(size=(rows, outputs)), generator.normal(size=rows))
            for rows in generator.integers(1, 4, size=generator.integers(1, 4))
        )
    )


def linear_network(generator: np.random.Generator, inputs: int, outputs: int) -> Network:
    builder = GraphBuilder((inputs,))
    weight = builder.parameter(generator.normal(size=(outputs, inputs)))
    builder.add(Linear(weight, builder.parameter(generator.normal(size=outputs))))
    return builder.network()


def linear_minimum(network: Network, case: Case) -> float:
    """Return the least margin of a linear network, by one linear program per clause."""
    weight, bias = (p.double().numpy() for p in network.parameters.values())
    minima = []
    for clause in case.specification.clauses:
        # Variables x and t: minimise t where every row's margin is at most t.
        rows = np.hstack([clause.matrix @ weight, -np.ones((len(clause.offset), 1))])
        box = zip(case.region.lower, case.region.upper, strict=True)
        solved = linprog(
            [*np.zeros(weight.shape[1]), 1.0],
            A_ub=rows,
            b_ub=clause.offset - clause.matrix @ bias,
            bounds=[*box, (None, None)],
        )
        minima.append(float(solved.fun or 0.0))
    return min(minima)


def margin_at(network: Network, case: Case, result: AttackResult) -> float:
    assert result.candidate is not None
    x = torch.from_numpy(result.candidate).double().unsqueeze(0)
    y = network.to(torch.float64)(x).flatten().numpy()
    return float(case.specification.margin(y))


@pytest.mark.parametrize("seed", range(8))
def test_minima_of_linear_networks_are_reached_and_not_undercut(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = linear_network(generator, 3, 4)
    cases = [
        Case(Box(low, low + generator.uniform(size=3)), random_specification(generator, 4))
        for low in generator.normal(size=(4, 3))
    ]
    results = attack(network, cases, OPTIONS, budget=Budget())
    for case, result in zip(cases, results, strict=True):
        minimum = linear_minimum(network, case)
        # The linear program's tolerance below; what the last step can overshoot above. A case
        # that is clearly falsified is left alone, wherever its minimum lies.
        assert result.margin >= minimum - 1e-6
        assert result.margin <= max(0.0, minimum + 0.02)
        assert result.margin == pytest.approx(margin_at(network, case, result), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_networks_with_kinks_are_minimised_as_well_as_by_a_fine_grid(seed: int) -> None:
    network = mlp((2, 12, 12, 3), seed=seed)
    axis = torch.linspace(0, 1, 201, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(-1, 2)
    outputs = network.to(torch.float64)(grid).numpy()
    # Shifted so that nothing is falsified and the whole search runs.
    bare = robustness(int(outputs[0].argmax()), 3)
    shift = float(bare.margin(outputs).min()) - 1.0
    specification = Specification(tuple(Clause(c.matrix, c.offset + shift) for c in bare.clauses))
    (result,) = attack(network, [Case(unit_box(2), specification)], OPTIONS, budget=Budget())
    assert result.margin <= float(specification.margin(outputs).min()) + 1e-3


@given(st.integers(0, 1000), st.integers(1, 4), st.booleans())
def test_candidates_lie_inside_and_margins_belong_to_them(
    seed: int, inputs: int, narrow: bool
) -> None:
    generator = np.random.default_rng(seed)
    network = mlp((inputs, 5, 2), seed=seed)
    lower = generator.normal(size=inputs)
    width = generator.choice([0.0, 1e-9, 1e-7, 1.0], size=inputs) if narrow else 1.0
    case = Case(Box(lower, lower + width), random_specification(generator, 2))
    options = AttackOptions(restarts=3, samples=5, steps=5, seed=seed)
    (result,) = attack(network, [case], options, budget=Budget())
    assert result.candidate is not None
    assert runnable_box(case.region).contains(result.candidate)
    assert result.margin == pytest.approx(margin_at(network, case, result), abs=1e-12)


def test_inputs_keep_their_shape() -> None:
    builder = GraphBuilder((1, 2, 3))
    builder.add(Reshape((1, 6)))
    builder.add(Linear(builder.parameter(np.eye(2, 6))))
    (result,) = attack(
        builder.network(), [Case(unit_box(1, 2, 3), robustness(0, 2))], OPTIONS, budget=Budget()
    )
    assert result.candidate is not None
    assert result.candidate.shape == (1, 2, 3)
    assert result.candidate.dtype == np.float32
    assert result.margin < 0


def test_the_seed_decides_and_global_random_numbers_do_not() -> None:
    network = mlp((6, 10, 3), seed=1)
    far = Specification((Clause(np.array([[1.0, -1.0, 0.0]]), np.array([-100.0])),))

    def run(seed: int, state: int) -> list[float]:
        torch.manual_seed(state)
        before = torch.random.get_rng_state()
        options = AttackOptions(seed=seed, restarts=2, steps=0, samples=50, diversify_steps=1)
        (result,) = attack(network, [Case(unit_box(6), far)], options, budget=Budget())
        assert torch.equal(torch.random.get_rng_state(), before)
        assert result.candidate is not None
        return [result.margin, *result.candidate.tolist()]

    assert run(3, state=0) == run(3, state=1)
    assert len({tuple(run(seed, state=0)) for seed in range(10)}) > 1


def test_small_memory_changes_the_batches_and_not_the_quality() -> None:
    network = linear_network(np.random.default_rng(0), 3, 2)
    cases = [Case(unit_box(3), random_specification(np.random.default_rng(k), 2)) for k in range(5)]
    tight = AttackOptions(memory_bytes=500)
    for case, result in zip(cases, attack(network, cases, tight, budget=Budget()), strict=True):
        assert result.margin <= max(0.0, linear_minimum(network, case) + 0.02)


def test_many_clauses_are_narrowed_to_the_promising_ones() -> None:
    network = linear_network(np.random.default_rng(0), 2, 3)
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(500, 1, 3))
    clauses = tuple(Clause(row, np.array([-10.0 - k])) for k, row in enumerate(rows))
    case = Case(unit_box(2), Specification(clauses))
    (result,) = attack(network, [case], AttackOptions(clauses=8, restarts=16), budget=Budget())
    assert result.margin <= linear_minimum(network, case) + 0.02


def test_no_budget_means_no_candidate() -> None:
    network = mlp((2, 3, 2))
    cases = [Case(unit_box(2), robustness(0, 2))] * 2
    results = attack(network, cases, OPTIONS, budget=Budget.of_seconds(0))
    assert [(r.margin, r.candidate) for r in results] == [(np.inf, None)] * 2


@pytest.mark.parametrize("calls", [1, 2, 3, 10])
def test_the_budget_is_asked_between_steps(calls: int) -> None:
    """Cancelled at its n-th look at the budget, the attack runs the network n times at most."""
    network = mlp((2, 3, 2))
    unreachable = Specification((Clause(np.array([[1.0, 0.0]]), np.array([-1e6])),))
    asked = itertools.count()
    runs = []

    def counted(self: Network, x: torch.Tensor) -> torch.Tensor:
        runs.append(len(x))
        return self.graph.evaluate(x, self.parameters)[self.graph.output]

    budget = Budget(cancelled=lambda: next(asked) >= calls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "__call__", counted)
        attack(network, [Case(unit_box(2), unreachable)], OPTIONS, budget=budget)
    assert 1 <= len(runs) <= calls + 1  # and once to judge the candidate


def test_stopping_at_the_first_leaves_the_others() -> None:
    network = linear_network(np.random.default_rng(0), 2, 2)
    easy = Specification((Clause(np.zeros((1, 2)), np.array([1.0])),))
    hard = Specification((Clause(np.ones((1, 2)), np.array([-1e3])),))
    cases = [Case(unit_box(2), s) for s in (hard, easy, hard)]
    options = AttackOptions(stop_at_first=True)
    results = attack(network, cases, options, budget=Budget())
    assert results[1].margin == -1.0
    full = attack(network, cases, OPTIONS, budget=Budget())
    assert full[0].margin <= results[0].margin
    assert full[0].margin < float(results[2].margin)


def test_a_flat_network_is_no_trouble() -> None:
    builder = GraphBuilder((2,))
    builder.add(Linear(builder.parameter(np.zeros((2, 2)))))
    case = Case(unit_box(2), robustness(0, 2))
    (tie,) = attack(builder.network(), [case], OPTIONS, budget=Budget())
    assert tie.margin == 0.0


def test_outputs_that_are_not_finite_are_never_candidates() -> None:
    builder = GraphBuilder((2,))
    builder.add(Linear(builder.parameter(np.full((2, 2), np.nan))))
    case = Case(unit_box(2), robustness(0, 2))
    (result,) = attack(builder.network(), [case], OPTIONS, budget=Budget())
    assert (result.margin, result.candidate) == (np.inf, None)


def test_what_does_not_fit_is_refused() -> None:
    network = mlp((2, 3, 2))
    with pytest.raises(ShapeError, match=r"region has shape \(3,\), the network takes \(2,\)"):
        attack(network, [Case(unit_box(3), robustness(0, 2))], OPTIONS, budget=Budget())
    with pytest.raises(ShapeError, match="speaks of 5 outputs, the network has 2"):
        attack(network, [Case(unit_box(2), robustness(0, 5))], OPTIONS, budget=Budget())
    huge = Box(np.full(2, 1e300), np.full(2, 1e301))
    with pytest.raises(BoundsError, match="beyond the range of float32"):
        attack(network, [Case(huge, robustness(0, 2))], OPTIONS, budget=Budget())
    assert attack(network, [], OPTIONS, budget=Budget()) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_the_device_of_the_network_is_used() -> None:
    network = mlp((3, 8, 2), seed=2)
    case = Case(unit_box(3), robustness(0, 2))
    (result,) = attack(network.to(torch.float32, "cuda"), [case], OPTIONS, budget=Budget())
    (reference,) = attack(network, [case], OPTIONS, budget=Budget())
    assert np.sign(result.margin) == np.sign(reference.margin)
