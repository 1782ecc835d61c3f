"""Brackets of minimum distortions: on networks worked out by hand, and against brute force."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from models import Dataset, load_dataset, load_network
from models.errors import BoundsError, InvalidInputError
from models.network import Network, Normalization
from models.runtime import OnnxRuntime
from solvers.balls import Norm
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Case, Problem, linf_ball, norm_ball, robustness
from solvers.radius import RadiusItem, RadiusOptions, RadiusStatus, radius_items
from solvers.radius import search as search_module
from solvers.replay import confirm
from solvers.results import Counterexample, Decision, Evidence, Verdict
from tests.helpers.programs import brute_force_margin
from tests.helpers.small_files import write_data, write_mlp, write_two_class

OPTIONS = RadiusOptions(timeout_seconds=20, device="cpu")
INPUTS = [[0.8, 0.2], [0.5, 0.42], [0.1, 0.9]]
# y0 − y1 = 2 x0 − 2 x1 − 0.1 all the way to the nearest tie
RADII = {"inf": (1.1 / 4, 0.06 / 4), "2": (1.1 / 8**0.5, 0.06 / 8**0.5), "1": (0.55, 0.03)}


def dataset(folder: Path, x: ArrayLike, y: ArrayLike) -> Dataset:
    return load_dataset(write_data(folder / "data.npz", np.asarray(x, np.float32), y))


@pytest.fixture
def two_class(tmp_path: Path) -> tuple[Network, Dataset]:
    network = load_network(write_two_class(tmp_path / "two.onnx"))
    return network, dataset(tmp_path, INPUTS, [0, 0, 0])


def items(
    problem: tuple[Network, Dataset], options: RadiusOptions = OPTIONS, **settings: object
) -> list[RadiusItem]:
    return list(radius_items(*problem, options, **settings))  # type: ignore[arg-type]


def random_problem(folder: Path, seed: int) -> tuple[Network, Dataset]:
    """Return a 3-3-3-3 network and three inputs, labelled as it answers."""
    generator = np.random.default_rng(seed)
    layers = [
        (generator.normal(size=(after, before)), 0.3 * generator.normal(size=after))
        for before, after in ((3, 3), (3, 3), (3, 3))
    ]
    network = load_network(write_mlp(folder / "random.onnx", layers))
    x = generator.uniform(0.2, 0.8, (3, 3)).astype(np.float32)
    labels = OnnxRuntime(network).run(x[:, None] if network.input_shape[0] == 1 else x)
    return network, dataset(folder, x, labels.argmax(axis=-1).ravel())


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_brackets_hold_what_was_worked_out(two_class: tuple[Network, Dataset], norm: str) -> None:
    results = items(two_class, RadiusOptions(norm=norm, timeout_seconds=20, device="cpu"))
    assert [item.index for item in results] == [0, 1, 2]
    for item, truth in zip(results, RADII[norm], strict=False):
        assert item.status is RadiusStatus.BRACKETED
        assert item.lower <= truth + 1e-6 <= item.upper + 2e-6
        assert item.upper - item.lower <= max(1e-4, 0.01 * item.upper)
        assert item.evidence is Evidence.SOLVER
        assert item.reason is None
    wrong = results[2]
    assert wrong.status is RadiusStatus.MISCLASSIFIED
    assert (wrong.lower, wrong.upper, wrong.predicted) == (0.0, 0.0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_brute_force_agrees_at_both_ends(tmp_path: Path, seed: int) -> None:
    network, data = random_problem(tmp_path, seed)
    for item in items((network, data)):
        x, clauses = data.x[item.index].ravel(), robustness(item.label, 3).clauses

        def margin(epsilon: float, x: np.ndarray = x, clauses: tuple = clauses) -> float:
            region = linf_ball(x, epsilon)
            return min(brute_force_margin(network, region, clause) for clause in clauses)

        assert item.status in {RadiusStatus.BRACKETED, RadiusStatus.MAXIMUM}
        assert margin(item.lower) > -1e-7
        assert not math.isfinite(item.upper) or margin(item.upper) <= 1e-5


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_both_ends_can_be_shown_again(tmp_path: Path, norm: str) -> None:
    network, data = random_problem(tmp_path, 11)
    runtime = OnnxRuntime(network)
    for item in items((network, data), RadiusOptions(norm=norm, timeout_seconds=20)):
        x, specification = (
            data.x[item.index].reshape(network.input_shape),
            robustness(item.label, 3),
        )
        if math.isfinite(item.upper):
            region = norm_ball(x, item.upper, Norm(norm))
            assert item.counterexample is not None
            assert confirm(runtime, region, specification, item.counterexample.x) is not None
        region = norm_ball(x, item.lower, Norm(norm))
        again = decide(network, Problem((Case(region, specification),)), DecideOptions(30.0, "cpu"))
        assert again.verdict is Verdict.VERIFIED


def test_a_network_that_never_changes_its_mind_is_proved_to_the_maximum(tmp_path: Path) -> None:
    layers = [(np.zeros((2, 2)), [1.0, 1.0]), (np.eye(2), [1.0, 0.0])]
    network = load_network(write_mlp(tmp_path / "constant.onnx", layers))
    (item,) = items((network, dataset(tmp_path, [[0.5, 0.5]], [0])))
    assert item.status is RadiusStatus.MAXIMUM
    assert (item.lower, item.upper, item.counterexample) == (1.0, math.inf, None)
    assert item.to_json()["upper"] is None


def test_no_larger_radius_than_asked_for_is_reported(two_class: tuple[Network, Dataset]) -> None:
    options = RadiusOptions(max_epsilon=0.1, timeout_seconds=20, device="cpu")
    first, second, _ = items(two_class, options)
    assert first.status is RadiusStatus.MAXIMUM
    assert (first.lower, first.upper) == (0.1, math.inf)
    assert second.status is RadiusStatus.BRACKETED
    assert second.upper <= 0.1


@pytest.mark.parametrize(("absolute", "relative"), [(0.05, 0.0), (0.0, 0.2), (1e-3, 0.0)])
def test_tolerances_are_met(
    two_class: tuple[Network, Dataset], absolute: float, relative: float
) -> None:
    options = RadiusOptions(
        tolerance=absolute, relative_tolerance=relative, timeout_seconds=20, device="cpu"
    )
    for item in items(two_class, options, indices=[0, 1]):
        assert item.upper - item.lower <= max(absolute, relative * item.upper)


def test_targets_and_normalisation_are_heeded(tmp_path: Path) -> None:
    # three constant-free classes: x0, x1 and x0 − 1: the third can only win outside the range
    layers = [(np.eye(2), [0.0, 0.0]), ([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0.0, 0.0, -1.0])]
    problem = (
        load_network(write_mlp(tmp_path / "three.onnx", layers)),
        dataset(tmp_path, [[0.75, 0.25]], [0]),
    )
    (free,) = items(problem)
    assert free.lower <= 0.25 + 1e-6 <= free.upper + 2e-6
    (targeted,) = items(problem, RadiusOptions(targets=(2,), timeout_seconds=20, device="cpu"))
    assert targeted.status is RadiusStatus.MAXIMUM
    scaled = RadiusOptions(
        normalization=Normalization((0.0,), (0.5,)), timeout_seconds=20, device="cpu"
    )
    (normalised,) = items(problem, scaled)
    assert normalised.lower <= 0.25 + 1e-6 <= normalised.upper + 2e-6


def test_what_is_known_survives_cancellation(two_class: tuple[Network, Dataset]) -> None:
    calls = []

    def cancelled() -> bool:
        calls.append(None)
        return len(calls) > 25

    results = items(two_class, cancelled=cancelled)
    for item, truth in zip(results, RADII["inf"], strict=False):
        assert item.lower <= truth + 1e-6 <= item.upper + 2e-6
    assert not items(two_class, cancelled=lambda: True)


def undecided(*_: object, **__: object) -> Decision:
    return Decision(Verdict.UNKNOWN, Evidence.NONE, 0.0, reason="timeout")


def no_bisection(*_: object) -> None:
    """Bound nothing."""


def test_decisions_without_an_answer_leave_it_open(
    two_class: tuple[Network, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "decide", undecided)
    monkeypatch.setattr(search_module._Search, "_bisect", no_bisection)
    (item,) = items(two_class, indices=[0])
    assert item.status is RadiusStatus.OPEN
    assert item.reason == "timeout"
    assert (item.lower, item.evidence) == (0.0, Evidence.NONE)
    assert item.upper >= RADII["inf"][0] - 1e-6
    assert item.decisions > 2, "other radii are tried when one cannot be decided"


def test_an_unconfirmed_counterexample_is_not_believed(
    two_class: tuple[Network, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lying(*_: object, **__: object) -> Decision:
        x = np.array([[0.79, 0.21]], np.float32)
        example = Counterexample(x, np.zeros(2, np.float32))
        return Decision(Verdict.FALSIFIED, Evidence.CHECKED, 0.0, counterexample=example)

    monkeypatch.setattr(search_module, "decide", lying)
    (item,) = items(two_class, indices=[0])
    assert item.upper >= RADII["inf"][0] - 1e-6


def test_a_wrong_proof_is_noticed(
    two_class: tuple[Network, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def overclaiming(states: list, method: object, rounds: int, budget: object) -> None:
        for state in states:
            state.prove(0.9)

    monkeypatch.setattr(search_module._Search, "_bisect", lambda _, *rest: overclaiming(*rest))
    (item,) = items(two_class, indices=[0])
    assert item.status is RadiusStatus.OPEN
    assert item.lower == 0.0
    assert "please report" in str(item.reason)


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "3"},
        {"max_epsilon": 0.0},
        {"max_epsilon": math.inf},
        {"timeout_seconds": 0.0},
        {"tolerance": -1.0},
        {"relative_tolerance": math.nan},
        {"tolerance": 0.0, "relative_tolerance": 0.0},
        {"valid_range": None},
    ],
)
def test_options_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        RadiusOptions(**settings)  # type: ignore[arg-type]


def test_inputs_that_cannot_be_measured_are_refused_before_any_work(
    two_class: tuple[Network, Dataset], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="outside the data set"):
        radius_items(*two_class, OPTIONS, indices=[0, 3])
    outside = dataset(tmp_path, [[0.5, 1.5]], [0])
    with pytest.raises(BoundsError):
        radius_items(two_class[0], outside, OPTIONS)


@pytest.mark.parametrize(("norm", "size", "limit"), [("inf", 4, 2.0), ("2", 4, 4.0), ("1", 4, 8.0)])
def test_the_valid_range_limits_the_radius(norm: str, size: int, limit: float) -> None:
    assert RadiusOptions(norm=norm, valid_range=(-1.0, 1.0)).limit(size) == limit


def test_progress_says_what_is_under_way(two_class: tuple[Network, Dataset]) -> None:
    words: list[str] = []
    items(two_class, indices=[0], progress=words.append)
    assert words[:2] == ["attacking", "bounding"]
