"""Decisions: the right verdict, within the time, with what backs it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from models import InvalidInputError, OnnxRuntime, SpecificationError, load_network
from models.errors import ShapeError
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.errors import MemoryLimitError, SolverFailedError
from solvers.exact import ExactMode, ExactOptions, ExactResult, ExactStatus, exact_margin
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio import DecideOptions, Run, decide, members, run, searches, settle
from solvers.portfolio.plan import Step
from solvers.problem import Box, Case, Clause, Problem, Specification
from solvers.results import Decision, Evidence, Stage, Verdict
from solvers.vnnlib import read_vnnlib
from tests.helpers.networks import cnn, mlp, model, node
from tests.helpers.programs import brute_force_margin

# There is one network in this file, so its minima are kept by width.
_MINIMA: dict[float, float] = {}
SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "benchmarks"


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(mlp((3, 4, 4, 2), seed=7))


def _box(network: Network, width: float) -> Box:
    center = np.full(network.input_shape, 0.1)
    return Box(center - width, center + width)


def _problem(network: Network, width: float, offset: float) -> Problem:
    """A counterexample has y0 − y1 ≤ offset."""
    clause = Clause(np.array([[1.0, -1.0]]), np.array([offset]))
    return Problem((Case(_box(network, width), Specification((clause,))),))


def _exact(network: Network, width: float) -> float:
    """Return the minimum of y0 − y1, from all activation patterns."""
    if width not in _MINIMA:
        clause = Clause(np.array([[1.0, -1.0]]), np.array([0.0]))
        flat = _box(network, width).reshape((3,))
        _MINIMA[width] = brute_force_margin(network, flat, clause)
    return _MINIMA[width]


@pytest.mark.parametrize("width", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("distance", [1e-3, 0.05, 1.0])
def test_verdicts_on_either_side_of_the_exact_minimum(
    network: Network, width: float, distance: float
) -> None:
    minimum = _exact(network, width)
    safe = decide(network, _problem(network, width, minimum - distance))
    assert safe.verdict is Verdict.VERIFIED
    assert safe.evidence is Evidence.SOLVER
    assert safe.lower is not None
    assert 0 < safe.lower <= distance + 1e-6
    broken = decide(network, _problem(network, width, minimum + distance))
    assert broken.verdict is Verdict.FALSIFIED
    assert broken.evidence is Evidence.CHECKED


def test_the_counterexample_holds_when_run_again(network: Network) -> None:
    problem = _problem(network, 1.0, _exact(network, 1.0) + 0.01)
    found = decide(network, problem).counterexample
    assert found is not None
    (case,) = problem.cases
    again = OnnxRuntime(network).run(found.x[np.newaxis])[0]
    assert case.region.contains(found.x)
    assert case.specification.holds_at(again.astype(np.float64))
    np.testing.assert_array_equal(again, found.y)


def test_one_bad_case_among_many_decides(network: Network) -> None:
    minimum = _exact(network, 1.0)
    safe = _problem(network, 1.0, minimum - 0.1).cases[0]
    bad = _problem(network, 1.0, minimum + 0.1).cases[0]
    assert decide(network, Problem((safe,) * 5)).verdict is Verdict.VERIFIED
    assert decide(network, Problem((safe, safe, bad, safe))).verdict is Verdict.FALSIFIED


def test_a_flat_region_takes_the_shape_of_the_network() -> None:
    network = load_network(cnn())
    flat = Box(np.full(36, 0.4), np.full(36, 0.6))
    clause = Clause(np.array([[1.0, 0.0, 0.0]]), np.array([-1e3]))
    decision = decide(network, Problem((Case(flat, Specification((clause,))),)))
    assert decision.verdict is Verdict.VERIFIED


@pytest.mark.usefixtures("no_boxes")
def test_stages_are_reported_as_they_end(network: Network) -> None:
    seen: list[Stage] = []
    problem = _problem(network, 2.0, _exact(network, 2.0) - 1e-3)
    decision = decide(network, problem, progress=seen.append)
    assert tuple(seen) == decision.stages
    assert [stage.name for stage in seen[:2]] == ["attack", "crown"]
    lowers = [stage.lower for stage in seen if stage.lower is not None]
    assert lowers == sorted(lowers)
    assert sum(stage.seconds for stage in seen) <= decision.seconds


@pytest.fixture
def no_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the case to bounds and programs, as if it had many inputs."""
    monkeypatch.setattr(run, "suits_boxes", lambda *_: False)


@pytest.fixture(scope="module")
def hard() -> tuple[Network, Problem]:
    """A safe problem so close to the exact minimum that no propagated bound proves it."""
    network = load_network(mlp((4, 16, 16, 16, 2), seed=5))
    case = _problem(network, 1.0, 0.0).cases[0]
    wide = network.to(torch.float64)
    bounds = CaseBatch(wide, [case]).bound(Method.CROWN, options=BoundOptions()).node_bounds(0)
    optimum = exact_margin(
        wide, case, bounds, options=ExactOptions(mode=ExactMode.OPTIMIZE), budget=Budget()
    )
    assert optimum.status is ExactStatus.OPTIMAL
    return network, _problem(network, 1.0, optimum.lower - 1e-3)


def test_the_solver_is_named_when_one_took_part(hard: tuple[Network, Problem]) -> None:
    network, problem = hard
    brackets = [Bracket(case) for case in problem.cases]
    device, budget = torch.device("cpu"), Budget.of_seconds(60.0)
    undecided = Run.of(network, brackets, device=device, budget=budget)
    settle(undecided, [Step(members.crown, 1.0), Step(searches.milp, 1.0)])
    decision = undecided.decision()
    assert decision.verdict is Verdict.VERIFIED
    reports = [stage.solver for stage in decision.stages if stage.solver]
    assert reports, "this margin is too tight for propagated bounds"
    assert {report.solver for report in reports} <= {"scip", "highs", "gurobi", "tree"}
    assert all(report.licence in {"open", "full"} for report in reports)


def test_cancelled_work_is_unknown(network: Network) -> None:
    problem = _problem(network, 2.0, _exact(network, 2.0) - 1e-3)
    decision = decide(network, problem, cancelled=lambda: True)
    assert decision.verdict is Verdict.UNKNOWN
    assert decision.reason == "cancelled"
    assert decision.evidence is Evidence.NONE


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_deadline_of_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInputError, match="above 0"):
        DecideOptions(timeout_seconds=seconds)


def test_a_tiny_deadline_answers_unknown_rather_than_wrongly(network: Network) -> None:
    problem = _problem(network, 2.0, _exact(network, 2.0) - 1e-3)
    decision = decide(network, problem, DecideOptions(timeout_seconds=1e-9))
    assert decision.verdict is Verdict.UNKNOWN
    assert decision.reason == "timeout"


def test_problems_that_do_not_fit_are_refused(network: Network) -> None:
    clause = Clause(np.array([[1.0, -1.0, 0.0]]), np.array([0.0]))
    with pytest.raises((SpecificationError, ShapeError), match="3"):
        decide(network, Problem((Case(_box(network, 1.0), Specification((clause,))),)))
    small = Box(np.zeros(2), np.ones(2))
    row = Clause(np.array([[1.0, -1.0]]), np.array([0.0]))
    with pytest.raises((SpecificationError, ShapeError), match="2"):
        decide(network, Problem((Case(small, Specification((row,))),)))


@pytest.mark.usefixtures("no_boxes")
def test_an_overstated_bound_never_becomes_verified(
    hard: tuple[Network, Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lying solver is caught by the margin that an input really has."""

    def lying(*_args: object, **_kwargs: object) -> ExactResult:
        return ExactResult(100.0, np.inf, None, ExactStatus.DECIDED, clause_lower=np.array([100.0]))

    monkeypatch.setattr(searches, "exact_margin", lying)
    decision = decide(*hard, DecideOptions(timeout_seconds=4.0))
    assert decision.verdict is Verdict.UNKNOWN
    assert decision.reason is not None
    assert "contradict" in decision.reason or "lies above" in decision.reason


def _timed(network: Network, problem: Problem, seconds: float) -> tuple[Decision, float]:
    began = time.monotonic()
    decision = decide(network, problem, DecideOptions(timeout_seconds=seconds))
    return decision, time.monotonic() - began


@pytest.mark.parametrize(
    ("onnx", "vnnlib", "verdict"),
    [
        (
            "mnist_fc/onnx/mnist-net_256x4.onnx",
            "mnist_fc/vnnlib/2022_prop_2_0.03.vnnlib",
            Verdict.VERIFIED,
        ),
        (
            "acasxu/onnx/ACASXU_run2a_1_7_batch_2000.onnx",
            "acasxu/vnnlib/prop_4.vnnlib",
            Verdict.FALSIFIED,
        ),
        ("test/onnx/test_nano.onnx", "test/vnnlib/test_nano.vnnlib", Verdict.VERIFIED),
    ],
)
def test_known_instances(onnx: str, vnnlib: str, verdict: Verdict) -> None:
    if not (SHARED / onnx).exists() or not (SHARED / vnnlib).exists():
        pytest.skip(f"{onnx} or {vnnlib} is not beside the repository")
    decision, _ = _timed(load_network(SHARED / onnx), read_vnnlib(SHARED / vnnlib), 60.0)
    assert decision.verdict is verdict


def test_an_undecided_instance_ends_with_its_bracket() -> None:
    onnx = SHARED / "acasxu/onnx/ACASXU_run2a_4_2_batch_2000.onnx"
    vnnlib = SHARED / "acasxu/vnnlib/prop_2.vnnlib"
    if not onnx.exists() or not vnnlib.exists():
        pytest.skip("ACAS Xu is not beside the repository")
    decision, _ = _timed(load_network(onnx), read_vnnlib(vnnlib), 2.0)
    if decision.verdict is Verdict.UNKNOWN:
        assert decision.lower is not None
        assert decision.upper is not None
        assert decision.lower <= decision.upper
        assert decision.reason == "timeout"
    else:
        assert decision.verdict is Verdict.VERIFIED


@pytest.mark.usefixtures("no_boxes")
def test_bounds_that_do_not_fit_into_memory_leave_unknown(
    hard: tuple[Network, Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_args: object, **_kwargs: object) -> None:
        raise MemoryLimitError("crown does not fit into memory")

    monkeypatch.setattr(CaseBatch, "bound", too_large)
    decision = decide(*hard)
    assert decision.verdict is Verdict.UNKNOWN
    assert decision.reason == "memory"


@pytest.mark.usefixtures("no_boxes")
def test_a_solver_that_fails_leaves_unknown_with_its_words(
    hard: tuple[Network, Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_args: object, **_kwargs: object) -> None:
        raise SolverFailedError("the solver contradicts a replayed input")

    monkeypatch.setattr(searches, "exact_margin", failing)
    decision = decide(*hard, DecideOptions(timeout_seconds=4.0))
    assert decision.verdict is Verdict.UNKNOWN
    assert decision.reason is not None
    assert "contradicts" in decision.reason


def test_an_interval_that_leaves_a_domain_is_named() -> None:
    """log(w x) over a box that reaches 0 has no lower bound; no solver can help."""
    weights = {"w1": np.eye(2, dtype=np.float32)}
    nodes = [node("MatMul", ["x", "w1"], ["z"]), node("Log", ["z"], ["y"])]
    network = load_network(model(nodes, shape=(1, 2), weights=weights), check=False)
    box = Box(np.zeros((1, 2)), np.ones((1, 2)))
    clause = Clause(np.array([[1.0, 1.0]]), np.array([-1e9]))
    problem = Problem((Case(box, Specification((clause,))),))
    decision = decide(network, problem, DecideOptions(timeout_seconds=4.0))
    assert decision.verdict in {Verdict.UNKNOWN, Verdict.FALSIFIED}
    if decision.verdict is Verdict.UNKNOWN:
        assert decision.reason is not None
        assert "Log" in decision.reason
        assert "reaches 0" in decision.reason


@pytest.mark.parametrize("threshold", [10.0, 60.0, 1000.0])
def test_a_single_output_without_an_axis(threshold: float) -> None:
    """A sum over everything leaves a number; every member can do with that."""
    generator = np.random.default_rng(0)
    weights = {
        "w1": generator.normal(size=(30, 40)).astype(np.float32),
        "w2": generator.normal(size=(40, 20)).astype(np.float32),
    }
    nodes = [
        node("MatMul", ["x", "w1"], ["z"]),
        node("Relu", ["z"], ["h"]),
        node("MatMul", ["h", "w2"], ["q"]),
        node("Relu", ["q"], ["r"]),
        node("ReduceSum", ["r"], ["y"], keepdims=0),
    ]
    network = load_network(model(nodes, shape=(30,), weights=weights))
    centre = generator.normal(size=30)
    region = Box(centre - 0.1, centre + 0.1)
    clause = Clause(np.array([[1.0]]), np.array([threshold]))
    problem = Problem((Case(region, Specification((clause,))),))
    decision = decide(network, problem, DecideOptions(timeout_seconds=20.0))
    value = float(network(torch.from_numpy(centre[np.newaxis].astype(np.float32))))
    assert decision.verdict is not Verdict.UNKNOWN
    assert (decision.verdict is Verdict.FALSIFIED) == (threshold > value)
