"""Methods that work input by input: statuses, reasons, and that one does not take others down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models import Dataset, OnnxRuntime, load_network
from models.network import Network
from solvers.budget import Budget
from solvers.certification import CertifyOptions, ItemResult, certify_items, rungs
from solvers.certification.per_item import (
    ITEM_METHODS,
    ItemMethod,
    ItemTask,
    MethodResult,
    MethodStatus,
    run_item_method,
)
from solvers.errors import (
    MemoryLimitError,
    SolverFailedError,
    SolverUnavailableError,
    UnsupportedMethodError,
)
from solvers.exact.encode import EncodingStoppedError
from solvers.exact.model import ModelTooLargeError
from solvers.methods import ITEM_METHOD_NAMES, Method
from tests.helpers.networks import mlp
from tests.solvers.convex.support import bounded, case_of, dense

ASKED = (Method.CROWN, Method.FASTC2V, Method.LP, Method.OPTC2V)


def _dataset(network: Network, count: int = 5) -> Dataset:
    wide = np.random.default_rng(3).uniform(0.2, 0.8, (count, *network.input_shape))
    x = wide.astype(np.float32)
    return Dataset(x, OnnxRuntime(network).run(x).argmax(axis=1), "made", "")


def _certified(
    network: Network, methods: tuple[Method, ...], **options: object
) -> list[ItemResult]:
    chosen = CertifyOptions(**{"epsilon": 0.08, "methods": methods, **options})  # type: ignore[arg-type]
    return list(certify_items(network, _dataset(network), chosen))


@pytest.fixture(scope="module")
def relu_network() -> Network:
    return load_network(mlp((3, 12, 12, 3), seed=2))


def _task(seed: int = 0) -> ItemTask:
    network = dense(seed)
    case = case_of(network, seed)
    step = bounded(network, case)
    return ItemTask(network, case, step.node_bounds(0), step.clause_lower[0], Budget())


def test_the_table_has_every_method_that_is_named() -> None:
    assert set(ITEM_METHODS) >= {Method.LP, Method.OPTC2V}
    assert set(ITEM_METHODS) == set(ITEM_METHOD_NAMES)


def test_every_method_reports_bound_time_gap_and_status(relu_network: Network) -> None:
    for item in _certified(relu_network, ASKED):
        names = {method.value for method in ASKED}
        assert set(item.lower) == set(item.gap) == set(item.status) == names
        assert names < set(item.seconds)
        assert set(item.status.values()) == {"done"}
        assert not item.reasons
        assert item.lower["crown"] <= item.lower["fastc2v"] + 1e-9
        assert item.lower["crown"] <= item.lower["lp"] + 1e-6
        assert item.lower["lp"] <= item.lower["optc2v"] + 1e-6
        assert item.upper is not None
        assert item.lower["optc2v"] <= item.upper + 1e-5


def test_a_method_that_does_not_apply_says_so_and_the_others_go_on() -> None:
    network = load_network(mlp((3, 6, 3), seed=1, activation="Tanh"))
    for item in _certified(network, (*ASKED, Method.EXACT)):
        assert item.status["crown"] == item.status["fastc2v"] == "done"
        assert item.status["lp"] == item.status["optc2v"] == item.status["exact"] == "unsupported"
        assert "Tanh" in item.reasons["lp"]
        assert set(item.lower) >= {"crown", "fastc2v"}
        assert "lp" not in item.lower


def test_a_deadline_is_a_status(relu_network: Network) -> None:
    for item in _certified(relu_network, ASKED, timeout_seconds=1e-6):
        assert item.status["crown"] == "done"
        assert item.status["fastc2v"] == item.status["lp"] == "timeout"
        assert item.reasons["lp"]
        assert item.lower["fastc2v"] >= item.lower["crown"] - 1e-9


def _raising(error: Exception) -> Callable[[ItemTask], MethodResult]:
    def run(_task: ItemTask) -> MethodResult:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnsupportedMethodError("no"), MethodStatus.UNSUPPORTED),
        (SolverUnavailableError("none"), MethodStatus.UNSUPPORTED),
        (ModelTooLargeError("big"), MethodStatus.MEMORY),
        (MemoryLimitError("full"), MethodStatus.MEMORY),
        (MemoryError(), MethodStatus.MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), MethodStatus.MEMORY),
        (EncodingStoppedError("late"), MethodStatus.TIMEOUT),
        (SolverFailedError("broken"), MethodStatus.FAILED),
    ],
)
def test_limits_come_back_as_statuses(error: Exception, status: MethodStatus) -> None:
    result = run_item_method(ItemMethod(_raising(error)), _task(), "made up")
    assert result.status is status
    assert result.reason
    assert np.isneginf(result.clause_lower).all()


def test_mistakes_are_not_hidden() -> None:
    for error in (RuntimeError("a bug"), ZeroDivisionError()):
        with pytest.raises(type(error)):
            run_item_method(ItemMethod(_raising(error)), _task(), "made up")


def test_not_a_number_proves_nothing() -> None:
    def run(task: ItemTask) -> MethodResult:
        return MethodResult(np.full_like(task.clause_lower, np.nan))

    result = run_item_method(ItemMethod(run), _task(), "made up")
    assert np.isneginf(result.clause_lower).all()
    assert result.seconds > 0


def test_a_bound_above_what_was_reached_verifies_nothing(
    relu_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(task: ItemTask) -> MethodResult:
        return MethodResult(np.full_like(task.clause_lower, 1e3))

    monkeypatch.setattr(rungs, "ITEM_METHODS", {Method.LP: ItemMethod(run)})
    for item in _certified(relu_network, (Method.LP,)):
        assert item.verdict != "verified"


def test_a_start_that_fails_fails_what_is_built_on_it(
    relu_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise MemoryLimitError("no room")

    monkeypatch.setattr("solvers.ladder.bound_margins", refuse)
    for item in _certified(relu_network, ASKED):
        assert set(item.status.values()) == {"memory"}
        assert set(item.reasons.values()) == {"no room"}
        assert item.verdict == "unknown" or item.counterexample is not None


def test_cuts_over_optimised_slopes_do_not_depend_on_what_else_was_asked_for(
    relu_network: Network,
) -> None:
    over = Method.ALPHA_FASTC2V.value
    alone = _certified(relu_network, (Method.ALPHA_FASTC2V,))
    both = _certified(relu_network, (Method.CROWN, Method.ALPHA_CROWN, Method.ALPHA_FASTC2V))
    for one, other in zip(alone, both, strict=True):
        assert one.lower == {over: other.lower[over]}
        assert other.lower[over] >= other.lower["alpha-crown"] >= other.lower["crown"]
        assert one.status == {over: "done"}
        assert one.seconds[over] > 0
