"""Sweeps: repeatable, resumable, and the front is what no trial beats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Dataset, Network, load_network
from models.errors import InvalidInputError
from tests.helpers.networks import mlp
from training import (
    DivergedError,
    EpochMetrics,
    StopReason,
    TrainingEvent,
    TrainingMethod,
    TrainingOptions,
    TrainingResult,
)
from training import tuning as module
from training.sweep import SweepOptions, SweepResult, pareto_front
from training.tuning import tune

OPTIONS = TrainingOptions(method=TrainingMethod.IBP, epsilon=0.05, epochs=1, batch_size=16)


@given(
    points=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25),
)
def test_the_front_is_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] >= other[0] and one[1] >= other[1]

    wanted = {i for i, p in enumerate(points) if not any(beats(q, p) for q in points)}
    found = pareto_front(points)
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


@pytest.fixture
def network() -> Network:
    return load_network(mlp((4, 6, 3)), name="n")


@pytest.fixture
def data() -> Dataset:
    x = np.random.default_rng(0).uniform(size=(40, 4)).astype(np.float32)
    return Dataset(x, (x[:, :3].argmax(axis=1)).astype(np.int64), "d", "0" * 64)


def metrics(clean: float, certified: float) -> EpochMetrics:
    return EpochMetrics(
        epoch=1, epsilon=0.05, kappa=1.0, learning_rate=0.1, loss={"total": 1.0},
        clean_accuracy=clean, empirical_accuracy=clean, certified_accuracy=certified,
        mean_bound=0.0, mean_gap=0.5, unstable={"a1": 1.0, "a2": 0.5}, seconds=1.0,
    )  # fmt: skip


class FakeTraining:
    """Trains nothing: accuracies are functions of the weights.

    Args:
        stop_after: Behave as cancelled in the training of this number, from 0.
        diverge: For which options the loss is not a number.
    """

    def __init__(
        self,
        *,
        stop_after: int | None = None,
        diverge: Callable[[TrainingOptions], bool] = lambda _options: False,
    ) -> None:
        self.asked: list[TrainingOptions] = []
        self.checkpoints: list[Path | None] = []
        self.stop_after = stop_after
        self.stopped = False
        self._diverge = diverge

    def __call__(
        self,
        network: Network,
        _training: Dataset,
        _validation: Dataset,
        options: TrainingOptions,
        *,
        checkpoint: Path | None,
        progress: Callable[[TrainingEvent], None],
        **_others: object,
    ) -> TrainingResult:
        self.asked.append(options)
        self.checkpoints.append(checkpoint)
        if checkpoint is not None:
            checkpoint.mkdir(parents=True, exist_ok=True)
        if self._diverge(options):
            raise DivergedError("the loss is nan at step 3", step=3)
        progress(TrainingEvent(1, 1, 1, 1, options.epsilon, 1.0, {"total": 1.0}))
        self.stopped = len(self.asked) - 1 == self.stop_after
        weight = math.log1p(options.feasibility_weight + options.slack_weight)
        return TrainingResult(
            network=network,
            history=(metrics(1 / (1 + weight), weight / (1 + weight)),),
            best_epoch=1,
            stopped=StopReason.CANCELLED if self.stopped else StopReason.COMPLETED,
            seconds=2.0,
        )


@pytest.fixture
def sweep(
    network: Network, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[SweepResult, FakeTraining]]]:
    """Run a sweep with a fake training."""

    def run(
        options: TrainingOptions = OPTIONS, *, fake: FakeTraining | None = None, **search: object
    ) -> tuple[SweepResult, FakeTraining]:
        trainer = fake or FakeTraining()
        monkeypatch.setattr(module, "train", trainer)
        searched: dict[str, Any] = {"trials": 8, "seed": 3, **search}
        result = tune(
            network,
            data,
            data,
            options=options,
            sweep=SweepOptions(**searched),
            cancelled=lambda: trainer.stopped,
        )
        return result, trainer

    yield run


Sweep = Callable[..., tuple[SweepResult, FakeTraining]]


def weights(result: SweepResult) -> list[tuple[float, float]]:
    return [(trial.feasibility_weight, trial.slack_weight) for trial in result.trials]


def test_trials_differ_by_their_weights_alone(sweep: Sweep) -> None:
    result, trainer = sweep()
    assert result.complete
    assert [trial.number for trial in result.trials] == list(range(8))
    assert weights(result)[0] == (0.0, 0.0)
    assert all(pair != (0.0, 0.0) for pair in weights(result)[1:])
    assert len(set(weights(result))) == 8
    for options in trainer.asked:
        assert replace(options, feasibility_weight=0.0, slack_weight=0.0) == OPTIONS
    assert trainer.checkpoints == [None] * 8
    # Clean accuracy falls as certified accuracy grows: every trial is on the front.
    assert sorted(result.front) == list(range(8))
    clean = [result.trials[number].clean_accuracy for number in result.front]
    assert clean == sorted(clean, key=lambda value: value or 0.0)


def test_weights_stay_in_their_ranges(sweep: Sweep) -> None:
    result, _ = sweep(trials=25, feasibility=(0.5, 2.0), slack=(0.01, 0.02))
    first, second = zip(*weights(result)[1:], strict=True)
    assert all(value == 0 or 0.5 <= value <= 2.0 for value in first)
    assert all(value == 0 or 0.01 <= value <= 0.02 for value in second)
    assert any(first)
    assert any(second)
    assert not all(first)
    assert not all(second)


def test_the_seed_decides(sweep: Sweep) -> None:
    once, again, other = (weights(sweep(seed=seed)[0]) for seed in (1, 1, 2))
    assert once == again
    assert once != other


@pytest.mark.parametrize("stop_after", [0, 3])
def test_a_sweep_goes_on_as_if_it_had_never_stopped(
    sweep: Sweep, tmp_path: Path, stop_after: int
) -> None:
    whole, _ = sweep()  # in memory, which decides nothing
    folder = tmp_path / "parts"
    part, trainer = sweep(folder=folder, fake=FakeTraining(stop_after=stop_after))
    assert not part.complete
    assert len(part.trials) == stop_after
    begun = trainer.checkpoints[-1]
    assert begun is not None
    assert begun.is_dir()
    rest, trainer = sweep(folder=folder)
    assert rest.complete
    # The trial that had begun is taken up first, from its checkpoint.
    assert trainer.checkpoints[0] == begun
    assert len(trainer.asked) == 8 - stop_after
    assert weights(rest) == weights(whole)
    assert rest.front == whole.front
    assert list((folder / "checkpoints").iterdir()) == []
    assert sorted(path.name for path in folder.glob("*.onnx")) == [
        trial.network for trial in rest.trials
    ]


def test_a_finished_sweep_is_read_or_made_longer(sweep: Sweep, tmp_path: Path) -> None:
    first, _ = sweep(folder=tmp_path / "s", trials=4)
    again, trainer = sweep(folder=tmp_path / "s", trials=4)
    assert (again, trainer.asked) == (first, [])
    longer, trainer = sweep(folder=tmp_path / "s", trials=6)
    assert len(trainer.asked) == 2
    assert longer.trials[:4] == first.trials


@pytest.mark.parametrize(
    ("changes", "search", "words"),
    [
        ({"epsilon": 0.1}, {}, "epsilon"),
        ({"seed": 5}, {}, "seed"),
        ({}, {"slack": (0.1, 0.2)}, "slack"),
        ({}, {"seed": 9}, "sweep seed"),
    ],
)
def test_a_folder_of_another_sweep_is_refused(
    sweep: Sweep, tmp_path: Path, changes: dict[str, Any], search: dict[str, Any], words: str
) -> None:
    sweep(folder=tmp_path / "s", trials=2)
    with pytest.raises(InvalidInputError, match=rf"with other settings \({words}\); name another"):
        sweep(replace(OPTIONS, **changes), folder=tmp_path / "s", trials=2, **search)


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_training_that_diverges_is_a_trial_without_accuracies(
    sweep: Sweep, tmp_path: Path, in_folder: bool
) -> None:
    fake = FakeTraining(diverge=lambda options: options.feasibility_weight > 0)
    folder = tmp_path / "s" if in_folder else None
    result, _ = sweep(fake=fake, folder=folder, trials=5)
    assert len(result.trials) == 5
    bad = [trial for trial in result.trials if trial.reason]
    assert bad
    assert all(trial.feasibility_weight > 0 for trial in bad)
    assert {trial.reason for trial in bad} == {"the loss is nan at step 3"}
    assert all(trial.clean_accuracy is None and not trial.figures for trial in bad)
    assert not {trial.number for trial in bad} & set(result.front)


def test_other_failures_end_the_sweep(sweep: Sweep) -> None:
    def fail(_options: TrainingOptions) -> bool:
        raise InvalidInputError("these data cannot be used")

    with pytest.raises(InvalidInputError, match="these data cannot be used"):
        sweep(fake=FakeTraining(diverge=fail))


def test_plain_values(sweep: Sweep) -> None:
    found = sweep(trials=2)[0].to_json()
    assert set(found) == {"trials", "front", "complete"}
    assert found["trials"][0]["unstable"] == 1.5
    assert found["trials"][0]["empirical_accuracy"] == 1.0
    assert "figures" not in found["trials"][0]


@pytest.mark.parametrize(
    "options",
    [
        {"trials": 1},
        {"seed": -1},
        {"feasibility": (0.0, 1.0)},
        {"slack": (2.0, 1.0)},
        {"slack": (1.0, math.inf)},
        {"feasibility": (math.nan, 1.0)},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="give"):
        SweepOptions(**options)


def test_real_trainings_report_their_progress(
    network: Network, data: Dataset, tmp_path: Path
) -> None:
    seen: list[tuple[int, int, float]] = []
    result = tune(
        network,
        data,
        data,
        options=OPTIONS,
        sweep=SweepOptions(trials=2, folder=tmp_path / "s"),
        progress=lambda at: seen.append((at.trial, at.trials, at.event.loss["total"])),
    )
    assert result.complete
    assert {at[:2] for at in seen} == {(1, 2), (2, 2)}
    assert all(math.isfinite(total) for _, _, total in seen)
    for trial in result.trials:
        assert trial.network is not None
        trained = load_network(tmp_path / "s" / trial.network)
        assert trained.output_size == 3
        assert trial.clean_accuracy is not None
        assert trial.certified_accuracy is not None
        assert trial.certified_accuracy <= trial.clean_accuracy
