"""A sweep over the weights of the regularizers, and the front between two accuracies.

Optuna proposes λ and γ so that clean and certified accuracy on the validation set grow, both at
once. What a sweep has found is the set of trials that no other beats in both: the trade-off front.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from models.data import Dataset
from models.errors import InvalidInputError
from models.export import write_network
from models.network import Network
from solvers.budget import never_cancelled
from training.errors import DivergedError
from training.options import TrainingOptions
from training.result import StopReason, TrainingEvent, TrainingResult
from training.sweep import SweepEvent, SweepOptions, SweepResult, SweepTrial, pareto_front
from training.trainer import train

__all__ = ["tune"]

_LOG = logging.getLogger(__name__)

_STUDY = "sweep"
_DATABASE = "sweep.sqlite3"
_CHECKPOINTS = "checkpoints"
_ARMS = ("both", "feasibility", "slack")
_FIGURES = ("empirical_accuracy", "mean_gap", "unstable", "best_epoch", "seconds")
# Trials drawn at random before the sampler learns from those it has seen.
_STARTUP = 6
_SEED_STEP = 1_000_003


def tune(
    network: Network,
    training: Dataset,
    validation: Dataset,
    *,
    options: TrainingOptions,
    sweep: SweepOptions,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: Callable[[SweepEvent], None] = lambda _event: None,
) -> SweepResult:
    """Train with several weights of the regularizers and return the trade-off front.

    Every trial starts from the same network, seed and data order, so that trials differ by their
    weights alone. The first has none. A training that diverges is a trial without accuracies.

    Args:
        network: What to start from.
        training: Raw inputs with labels.
        validation: What accuracies are measured on; a test set has to stay out of a sweep.
        options: Of every training; their two weights are replaced.
        sweep: What to search.
        cancelled: Asked before every step; True ends the sweep, and in a folder the trial at hand
            is gone on with later.
        progress: Called after every step.

    Raises:
        InvalidInputError: The folder holds a sweep with other settings.
        TrainingError: Network, data and options do not go together.
    """
    with _opened(sweep) as storage:
        study = optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            directions=["maximize", "maximize"],
            load_if_exists=True,
        )
        _same_settings(study, _settings(network, training, validation, options, sweep))
        runner = _Runner(network, training, validation, options, sweep, study)
        complete = runner.run(cancelled, progress)
        trials = tuple(_trials(study))
    points = [
        (trial.number, (trial.clean_accuracy, trial.certified_accuracy))
        for trial in trials
        if trial.clean_accuracy is not None and trial.certified_accuracy is not None
    ]
    front = pareto_front([point for _, point in points])
    return SweepResult(trials, tuple(points[i][0] for i in front), complete)


@contextmanager
def _opened(sweep: SweepOptions) -> Iterator[BaseStorage]:
    """Open where trials are kept, and give back the connections."""
    if sweep.folder is None:
        yield InMemoryStorage()
        return
    sweep.folder.mkdir(parents=True, exist_ok=True)
    storage = RDBStorage(f"sqlite:///{(sweep.folder / _DATABASE).resolve()}")
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _settings(
    network: Network,
    training: Dataset,
    validation: Dataset,
    options: TrainingOptions,
    sweep: SweepOptions,
) -> dict[str, Any]:
    """Return what has to be equal for a sweep to go on."""
    fixed = replace(options, feasibility_weight=0.0, slack_weight=0.0).to_json()
    return {
        **fixed,
        "network": [network.name, network.sha256],
        "training": [training.sha256, len(training)],
        "validation": [validation.sha256, len(validation)],
        "feasibility": list(sweep.feasibility),
        "slack": list(sweep.slack),
        "sweep seed": sweep.seed,
    }


def _same_settings(study: optuna.Study, settings: Mapping[str, Any]) -> None:
    """Note the settings of a new sweep; refuse to go on with others."""
    wanted: dict[str, Any] = json.loads(json.dumps(settings))
    known = study.user_attrs.get("settings")
    if known is None:
        study.set_user_attr("settings", wanted)
        return
    changed = sorted(
        name for name in wanted.keys() | known.keys() if wanted.get(name) != known.get(name)
    )
    if changed:
        raise InvalidInputError(
            f"the folder holds a sweep with other settings ({', '.join(changed)}); "
            "name another folder, or give the same settings to go on with it"
        )


class _Runner:
    """Runs the trials of a study that are missing."""

    def __init__(
        self,
        network: Network,
        training: Dataset,
        validation: Dataset,
        options: TrainingOptions,
        sweep: SweepOptions,
        study: optuna.Study,
    ) -> None:
        self._network, self._training, self._validation = network, training, validation
        self._options, self._sweep, self._study = options, sweep, study

    def run(self, cancelled: Callable[[], bool], progress: Callable[[SweepEvent], None]) -> bool:
        """Run until there are as many trials as asked for; return whether there are."""
        self._requeue()
        while (ended := len(_ended(self._study))) < self._sweep.trials:
            if cancelled():
                return False
            # The proposals depend on the seed and on the trials so far, not on how often the sweep
            # was interrupted.
            seed = self._sweep.seed * _SEED_STEP + ended
            self._study.sampler = TPESampler(seed=seed % 2**32, n_startup_trials=_STARTUP)
            trial = self._study.ask()
            options = self._propose(trial, plain=ended == 0)

            def report(
                event: TrainingEvent, shown: TrainingOptions = options, at: int = ended
            ) -> None:
                progress(SweepEvent(at + 1, self._sweep.trials, shown, event))

            if not self._try(trial, options, cancelled, report):
                return False
        return True

    def _requeue(self) -> None:
        """Propose again what a sweep that was killed or cancelled had begun."""
        begun = [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state is TrialState.RUNNING
        ]
        for trial in begun:
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)

    def _propose(self, trial: Trial, *, plain: bool) -> TrainingOptions:
        """Return the options of a trial; those of the first have no regularizer."""
        if plain:
            return replace(self._options, feasibility_weight=0.0, slack_weight=0.0)
        arm = trial.suggest_categorical("regularizers", _ARMS)
        weights = {"feasibility": 0.0, "slack": 0.0}
        for name in weights:
            if arm in ("both", name):
                low, high = getattr(self._sweep, name)
                weights[name] = trial.suggest_float(f"{name}_weight", low, high, log=True)
        return replace(
            self._options,
            feasibility_weight=weights["feasibility"],
            slack_weight=weights["slack"],
        )

    def _try(
        self,
        trial: Trial,
        options: TrainingOptions,
        cancelled: Callable[[], bool],
        report: Callable[[TrainingEvent], None],
    ) -> bool:
        """Train once and note what came out; return False where that was cut short."""
        weights = {"feasibility": options.feasibility_weight, "slack": options.slack_weight}
        trial.set_user_attr("weights", weights)
        checkpoint = self._checkpoint(options)
        try:
            result = train(
                self._network,
                self._training,
                self._validation,
                options,
                checkpoint=checkpoint,
                cancelled=cancelled,
                progress=report,
            )
        except DivergedError as error:
            _LOG.warning("λ %g, γ %g: %s", weights["feasibility"], weights["slack"], error)
            trial.set_user_attr("reason", str(error))
            self._study.tell(trial, state=TrialState.FAIL)
            return True
        if result.stopped is StopReason.CANCELLED:
            return False
        self._note(trial, result, checkpoint)
        return True

    def _checkpoint(self, options: TrainingOptions) -> Path | None:
        """Return where an unfinished trial goes on from; it is found again by its weights."""
        if self._sweep.folder is None:
            return None
        name = f"{options.feasibility_weight!r}-{options.slack_weight!r}"
        return self._sweep.folder / _CHECKPOINTS / name

    def _note(self, trial: Trial, result: TrainingResult, checkpoint: Path | None) -> None:
        """Store the figures of a trial, and its network where there is a folder."""
        best = result.best
        if best is None:
            raise InvalidInputError("a training of the sweep has no epoch; give at least one")
        figures = (
            best.empirical_accuracy,
            best.mean_gap,
            best.unstable_total,
            result.best_epoch,
            result.seconds,
        )
        trial.set_user_attr("figures", dict(zip(_FIGURES, map(float, figures), strict=True)))
        if self._sweep.folder is not None:
            name = f"trial-{len(_ended(self._study)):03d}.onnx"
            (self._sweep.folder / name).write_bytes(write_network(result.network))
            trial.set_user_attr("network", name)
        self._study.tell(trial, [best.clean_accuracy, best.certified_accuracy])
        if checkpoint is not None:
            shutil.rmtree(checkpoint, ignore_errors=True)


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have an answer: accuracies, or the reason why there are none."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state is TrialState.COMPLETE or "reason" in trial.user_attrs
    ]


def _trials(study: optuna.Study) -> Iterator[SweepTrial]:
    """Yield the trials of a study in the order in which they ended."""
    for number, trial in enumerate(_ended(study)):
        weights = trial.user_attrs["weights"]
        done = trial.state is TrialState.COMPLETE
        clean, certified = trial.values if done else (None, None)
        yield SweepTrial(
            number,
            weights["feasibility"],
            weights["slack"],
            clean,
            certified,
            trial.user_attrs.get("figures", {}),
            trial.user_attrs.get("reason"),
            trial.user_attrs.get("network"),
        )
