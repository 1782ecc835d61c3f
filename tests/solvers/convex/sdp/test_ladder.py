"""`sdp` as a method of `certify`: its bound, its status, its limits."""

from __future__ import annotations

import numpy as np
import pytest

from models import Dataset, OnnxRuntime, load_network
from models.network import Network
from solvers.budget import Budget
from solvers.certification import CertifyOptions, ItemResult, certify_items
from solvers.certification.per_item import ITEM_METHODS, ItemTask, MethodStatus, run_item_method
from solvers.methods import Method
from tests.helpers.graphs import mlp as built
from tests.helpers.lifted import LiftedCase, lifted_case
from tests.helpers.networks import mlp


def labelled(network: Network, count: int) -> Dataset:
    """Inputs in [0, 1] with the network's own answers."""
    x = np.random.default_rng(3).uniform(0, 1, (count, *network.input_shape)).astype(np.float32)
    return Dataset(x, OnnxRuntime(network).run(x).argmax(axis=1).astype(np.int64), "made", "")


def certified(network: Network, methods: tuple[Method, ...]) -> list[ItemResult]:
    options = CertifyOptions(0.15, methods, timeout_seconds=20.0)
    return list(certify_items(network, labelled(network, 4), options))


def task(case: LiftedCase, budget: Budget) -> ItemTask:
    return ItemTask(case.network, case.case, case.bounds, case.crown, budget)


def test_it_lies_between_crown_and_the_attack() -> None:
    network = load_network(mlp((3, 6, 4, 3), seed=2))
    items = certified(network, (Method.CROWN, Method.SDP))
    assert items
    gains = []
    for item in items:
        assert item.upper is not None
        # the attack's point is run in float32
        assert item.lower["crown"] <= item.lower["sdp"] <= item.upper + 1e-5
        assert item.seconds["sdp"] > 0.0
        assert item.gap["sdp"] <= item.gap["crown"]
        gains.append(item.lower["sdp"] - item.lower["crown"])
    assert max(gains) > 0.01


def test_a_network_it_cannot_handle_is_left_to_the_others() -> None:
    network = load_network(mlp((3, 4, 3), seed=2, activation="Sigmoid"))
    for item in certified(network, (Method.CROWN, Method.SDP)):
        assert np.isfinite(item.lower["crown"])
        assert not np.isfinite(item.lower.get("sdp", -np.inf))


@pytest.mark.parametrize(
    ("budget", "status"),
    [
        (Budget(), MethodStatus.DONE),
        (Budget(deadline=0.0), MethodStatus.TIMEOUT),
        (Budget(cancelled=lambda: True), MethodStatus.CANCELLED),
    ],
)
def test_limits_are_statuses(budget: Budget, status: MethodStatus) -> None:
    case = lifted_case(built((3, 5, 3), seed=1), 0.5)
    result = run_item_method(ITEM_METHODS[Method.SDP], task(case, budget), "sdp")
    assert result.status is status
    assert (result.clause_lower >= case.crown).all()
    assert (result.reason is None) == (status is MethodStatus.DONE)
