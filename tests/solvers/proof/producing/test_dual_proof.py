"""Verdicts of semidefinite relaxations, from the multipliers found to a proof that is checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.onnx_import import load_network
from solvers.budget import Budget
from solvers.errors import SolverFailedError
from solvers.problem import Box, Clause, Problem, Specification
from solvers.proof import Proof, check_proof, read_proof
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.parts.semidefinite import SEMIDEFINITE, proved_by
from solvers.proof.producing import dual_proof, produce
from solvers.proof.producing.dual_proof import DualCloser, Fitter
from solvers.proof.producing.found_duals import FoundDuals
from solvers.proof.producing.ground import Ground
from solvers.proof.producing.trace import Trace
from solvers.proof.rational import check_exactly
from tests.helpers.duals import Bounded, bounded
from tests.helpers.graphs import mlp
from tests.helpers.networks import mlp as onnx_mlp
from tests.helpers.proofs import random_layers
from tests.helpers.rational import exact_margin_of

SIZES = [(2, 6, 3), (3, 5, 5, 3), (5, 12, 8, 4)]


def hard_case(seed: int, radius: float = 0.3) -> Bounded:
    """Return a case of two clauses that CROWN does not prove."""
    sizes = SIZES[seed % len(SIZES)]
    centre = np.random.default_rng(seed).normal(size=(1, sizes[0]))
    rows = np.random.default_rng(seed + 1).normal(size=(2, sizes[-1]))
    return bounded(random_layers(sizes, seed), Box(centre - radius, centre + radius), rows)


def proved(given: Bounded, trace: Trace | None = None) -> produce.Proven:
    prover = produce.Prover(load_network(given.content), "cpu")
    budget = Budget.of_seconds(120.0)
    outcome = prover.prove(Problem((given.case,)), budget, trace=trace or given.trace)
    assert isinstance(outcome, produce.Proven), outcome
    return outcome


def read(outcome: produce.Proven, folder: Path) -> Proof:
    (folder / "proof").write_bytes(outcome.content)
    return read_proof(folder / "proof")


@pytest.mark.parametrize("seed", [1, 2, 5, 8, 11])
def test_what_was_found_is_what_is_proved(seed: int, tmp_path: Path) -> None:
    """Nothing is searched for again, and next to nothing of the bound is lost."""
    given = hard_case(seed)
    assert (given.crown <= 0).any()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DualCloser, "_solved", None)
        patch.setattr(produce, "NeuronCloser", None)
        outcome = proved(given)
    assert SEMIDEFINITE.name in outcome.check.parts
    least = min(given.lower.min(), given.crown[given.crown > 0].min(initial=np.inf))
    assert outcome.check.margin == pytest.approx(least, rel=0.02)
    (tree,) = read(outcome, tmp_path).trees
    assert tree.duals is not None
    assert len(tree.duals.bound) == (given.crown <= 0).sum()
    assert tree.kind.tolist() == [0, 0]
    exact = check_exactly(tmp_path / "proof", given.content)
    assert exact.accepted, exact.reason
    assert exact.margin is not None
    assert exact.margin >= outcome.check.margin


def test_multipliers_are_kept_in_half_the_space_where_that_will_do(tmp_path: Path) -> None:
    (tree,) = read(proved(hard_case(2)), tmp_path).trees
    assert tree.duals is not None
    assert tree.duals.product.dtype == np.float32
    assert tree.duals.diagonal.dtype == np.float32


@pytest.mark.parametrize("seed", [2, 5])
def test_multipliers_that_prove_nothing_are_looked_for_again(seed: int) -> None:
    """Those of another relaxation, or none at all, are only a place to begin."""
    given = hard_case(seed)
    found = given.trace.duals[0]
    spoiled = {
        number: replace(
            dual,
            multipliers=replace(
                dual.multipliers,
                diagonal=np.zeros_like(dual.multipliers.diagonal),
                product=np.full_like(dual.multipliers.product, np.nan),
            ),
        )
        for number, dual in found.duals.items()
    }
    trace = Trace(duals={0: replace(found, duals=spoiled)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(produce, "NeuronCloser", None)
        outcome = proved(given, trace)
    assert SEMIDEFINITE.name in outcome.check.parts


@pytest.mark.parametrize("without", [0, 1])
def test_hinges_that_the_checker_sees_otherwise_are_left_out(without: int) -> None:
    """A value less, or one more: columns are found by name, not by number."""
    given = hard_case(2)
    found = given.trace.duals[0]
    hinges = list(found.hinges)
    name, index = hinges[without]
    hinges[without] = name, index[:-1]
    trace = Trace(duals={0: replace(found, hinges=tuple(hinges))})
    assert proved(given, trace).check.accepted


def test_what_a_relaxation_did_not_prove_is_searched() -> None:
    """Without hope in every clause that is open, no time is spent on multipliers."""
    given = hard_case(5)
    found = given.trace.duals[0]
    hopeless = {number: replace(dual, bound=-1.0) for number, dual in found.duals.items()}
    trace = Trace(duals={0: replace(found, duals=hopeless)})
    ground = Ground.of(load_network(given.content), load_network(given.content).device)
    closer = DualCloser(ground, given.case, 0, trace.duals[0], budget=Budget())
    assert closer.close() is None
    assert SEMIDEFINITE.name not in proved(given, trace).check.parts


def test_a_solver_that_fails_leaves_the_case_to_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SolverFailedError("it broke")

    given = hard_case(5)
    monkeypatch.setattr(Fitter, "fitted", lambda *_: None)
    monkeypatch.setattr(dual_proof, "sdp_margin", fail)
    assert SEMIDEFINITE.name not in proved(given).check.parts


def test_multipliers_of_other_functions_than_relu_are_not_kept() -> None:
    given = hard_case(2)
    duals = list(given.trace.duals[0].duals.values())
    network = mlp((2, 3, 2), seed=0)
    names = {node.inputs[0]: node for node in network.graph.nodes if node.inputs}
    bounds = {name: (-np.ones(3), np.ones(3)) for name in names}
    assert FoundDuals.of(network, bounds, []) is None
    kept = FoundDuals.of(network, bounds, duals)
    assert kept is not None
    curved = load_network(onnx_mlp((2, 3, 2), activation="Tanh", seed=0))
    assert FoundDuals.of(curved, {}, duals) is None


@pytest.mark.parametrize("seed", range(10))
def test_a_bound_that_is_all_but_true_is_not_claimed(seed: int) -> None:
    """Where a relaxation is exact, a γ above it by any rounding would be false."""
    generator, sizes = np.random.default_rng(seed), [(2, 1, 1), (2, 2, 1), (2, 1, 1, 1)][seed % 3]
    layers, row = random_layers(sizes, seed), generator.normal(size=1)
    centre, radius = generator.normal(size=(1, 2)), generator.uniform(0, 1, (1, 2))
    given = bounded(layers, Box(centre - radius, centre + radius), row[None])
    region = given.case.region
    zero = Specification((Clause(row[None], np.zeros(1)),))
    truth = exact_margin_of(layers, region, zero)
    network = load_network(given.content)
    ground = Ground.of(network, network.device)
    corners = region.lower.reshape(1, -1), region.upper.reshape(1, -1)
    fitter = Fitter.of(ground, Enclosure.of(ground.checked, Region(*corners)))
    found = given.trace.duals[0]
    dual = fitter.fitted(found, found.duals[0], row, -np.inf)
    assert dual is not None
    assert proved_by(fitter.relaxation, row, dual) <= truth
    for base in (dual.bound, float(truth)):
        for power in range(-15, -3):
            higher = dual._replace(bound=base + 10.0**power * (1 + abs(base)))
            assert proved_by(fitter.relaxation, row, higher) <= truth


def test_rows_of_many_cases_are_numbered_through(tmp_path: Path) -> None:
    """The second case's rows stand behind the first's."""
    given = hard_case(2)
    trace = Trace(duals={0: given.trace.duals[0], 1: given.trace.duals[0]})
    prover = produce.Prover(load_network(given.content), "cpu")
    problem = Problem((given.case, given.case))
    outcome = prover.prove(problem, Budget.of_seconds(120.0), trace=trace)
    assert isinstance(outcome, produce.Proven), outcome
    first, second = read(outcome, tmp_path).trees
    assert (second.leaf_row == first.leaf_row + 2).all()
    assert check_proof(tmp_path / "proof", given.content).accepted
