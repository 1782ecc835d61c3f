"""The training loop."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.data import Dataset
from models.network import Network
from solvers.budget import never_cancelled
from solvers.devices import resolve_device
from solvers.errors import UnsupportedMethodError
from training.batch_statistics import running_statistics, statistic_names
from training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from training.data import Feed, checked_training_set, checked_validation_set
from training.errors import DivergedError, UntrainableError
from training.evaluation import Evaluation, evaluate
from training.losses import Batch, StepLoss, step_loss
from training.optimisers import build_optimiser, optimiser_tensors, restore_optimiser
from training.options import TrainingOptions
from training.record import require_same, run_settings
from training.result import EpochMetrics, StopReason, TrainingEvent, TrainingResult
from training.schedules import learning_rate, ramp_ends, stage_at
from training.seeds import stream
from training.selection import is_better
from training.state import RunState
from training.trainable import trainable_names

__all__ = ["train"]

_LOG = logging.getLogger(__name__)


def _silent(_event: TrainingEvent) -> None:
    """Take no notice."""


def train(
    network: Network,
    training: Dataset,
    validation: Dataset,
    options: TrainingOptions,
    *,
    checkpoint: Path | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: Callable[[TrainingEvent], None] = _silent,
) -> TrainingResult:
    """Train a network and return it with the parameters of its best epoch.

    The best epoch is the one with the highest certified accuracy on the validation set (for
    `standard` clean, for `pgd` empirical accuracy); ties go to the other accuracies, then to the
    later epoch.

    Args:
        network: Imported from ONNX, an upload or a named architecture.
        training: Raw inputs with labels.
        validation: The same, for choosing the best epoch.
        options: What to train by.
        checkpoint: A folder; a run that finds a checkpoint of the same settings there goes on
            from it, exactly as if it had never stopped. None for no checkpoints.
        cancelled: Asked before every step; True ends the run with the best so far.
        progress: Called after every step and every epoch. A run that goes on tells the epochs of
            its checkpoint again first: whoever listened before may have missed the last ones.

    Raises:
        UntrainableError: Network, data and options do not go together.
        DivergedError: The loss is not a number any more.
        CheckpointError: The checkpoint cannot be read, or belongs to other settings.
        InvalidInputError: Data do not fit the network, or the device is not there.
    """
    names = trainable_names(network)
    train_set = checked_training_set(training, network, options)
    valid_set = checked_validation_set(validation, network, options)
    settings = run_settings(network, (train_set, valid_set), options, names)
    with _algorithms(deterministic=options.deterministic):
        run = _Run(network, names, (train_set, valid_set), options, settings)
        run.resume(checkpoint)
        try:
            stopped = run.steps_until_done(cancelled, progress)
        except UnsupportedMethodError as error:
            raise UntrainableError(
                f"{options.method} cannot train this network: {error}"
            ) from error
        return run.result(stopped)


@contextmanager
def _algorithms(*, deterministic: bool) -> Iterator[None]:
    """Allow only repeatable algorithms while training, where that was asked for."""
    if deterministic:
        # What cuBLAS needs for it, read when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(deterministic or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


class _Run:
    """One training run on its device."""

    def __init__(
        self,
        network: Network,
        names: tuple[str, ...],
        sets: tuple[Dataset, Dataset],
        options: TrainingOptions,
        settings: Mapping[str, Any],
    ) -> None:
        device = resolve_device(options.device)
        self.origin, self.options, self.settings = network, options, settings
        self.network = network.to(network.dtype, device)
        self.leaves = {
            name: self.network.parameters[name].detach().clone().requires_grad_() for name in names
        }
        self.statistics = {
            name: self.network.parameters[name].detach().clone()
            for name in sorted(statistic_names(network))
        }
        self.validation = sets[1]
        self.feed = Feed(sets[0], options, device=device, dtype=network.dtype)
        self.steps = self.feed.batches * options.epochs
        self.optimiser = build_optimiser(list(self.leaves.values()), options.optimiser)
        self.state = RunState()
        self.best = self._tensors()
        self.folder: Path | None = None
        self._clock = self._saved = time.perf_counter()

    def _tensors(self) -> dict[str, Tensor]:
        """Return copies of everything that training changes."""
        everything = {**self.leaves, **self.statistics}
        return {name: value.detach().clone() for name, value in everything.items()}

    def steps_until_done(
        self, cancelled: Callable[[], bool], progress: Callable[[TrainingEvent], None]
    ) -> StopReason:
        """Train to the end, or until told to stop."""
        for metrics in self.state.history:
            progress(self._ending(metrics))
        while self.state.step < self.steps:
            if cancelled():
                self.save()
                return StopReason.CANCELLED
            event = self._step()
            ended = self.state.step % self.feed.batches == 0
            progress(event)
            if ended:
                progress(self._end_of_epoch(event))
                self.save()
                if self._no_longer_better():
                    return StopReason.EARLY
            elif time.perf_counter() - self._saved > self.options.checkpoint_seconds:
                self.save()
        return StopReason.COMPLETED

    def _step(self) -> TrainingEvent:
        """Make one step of the optimiser."""
        step, options = self.state.step, self.options
        stage = stage_at(step, self.steps, options)
        x, labels = self.feed.batch(step)
        batch = Batch(x, labels, stream(options.seed, "attack", step))
        network = self.network.with_parameters({**self.leaves, **self.statistics})
        loss = step_loss(network, batch, stage, options)
        parts = self._finite(loss, step)
        self._update(loss, step)
        self.state.step = step + 1
        self.state.add(parts, len(labels))
        self._tick()
        return TrainingEvent(
            step=step + 1,
            steps=self.steps,
            epoch=step // self.feed.batches + 1,
            epochs=options.epochs,
            epsilon=stage.epsilon,
            kappa=stage.kappa,
            loss=parts,
        )

    def _finite(self, loss: StepLoss, step: int) -> dict[str, float]:
        """Return the parts of the loss as numbers."""
        named = {**loss.parts, "total": loss.total}
        values = torch.stack([value.detach().double() for value in named.values()]).tolist()
        parts = dict(zip(named, values, strict=True))
        if not torch.isfinite(loss.total.detach()):
            told = ", ".join(f"{name} {value:g}" for name, value in parts.items())
            raise DivergedError(
                f"the loss is not a finite number any more at step {step + 1} ({told}); lower the "
                "learning rate or the gradient clip, or ramp epsilon up more slowly",
                step=step,
            )
        return parts

    def _update(self, loss: StepLoss, step: int) -> None:
        """Change the parameters."""
        settings = self.options.optimiser
        leaves = list(self.leaves.values())
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.steps, settings)
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        # The norm is wanted in any case: it is not finite where a gradient is not.
        limit = float("inf") if settings.gradient_clip is None else settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(leaves, limit)
        if not torch.isfinite(norm):
            raise DivergedError(
                f"the gradient is not finite any more at step {step + 1}; lower the learning "
                "rate, or ramp epsilon up more slowly",
                step=step,
            )
        self.optimiser.step()
        if loss.clean is not None:
            self.statistics.update(running_statistics(self.statistics, loss.clean))

    def _tick(self) -> None:
        """Add the time since the last call to the clocks of the run and of the epoch."""
        now = time.perf_counter()
        self.state.seconds += now - self._clock
        self.state.epoch_seconds += now - self._clock
        self._clock = now

    def _end_of_epoch(self, event: TrainingEvent) -> TrainingEvent:
        """Measure the network, and keep it if it is the best."""
        found = evaluate(
            self.network.with_parameters(self._tensors()), self.validation, self.options
        )
        self._tick()
        metrics = self._metrics(event, found)
        state = self.state
        state.history.append(metrics)
        state.sums, state.counts, state.epoch_seconds = {}, {}, 0.0
        best = state.history[state.best_epoch - 1] if state.best_epoch else None
        if best is None or not is_better(best, metrics, self.options.method):
            state.best_epoch, self.best = metrics.epoch, self._tensors()
        _LOG.info("epoch %d: certified accuracy %.4f", metrics.epoch, metrics.certified_accuracy)
        return self._ending(metrics)

    def _ending(self, metrics: EpochMetrics) -> TrainingEvent:
        """Return the event that an epoch ends with."""
        return TrainingEvent(
            step=metrics.epoch * self.feed.batches,
            steps=self.steps,
            epoch=metrics.epoch,
            epochs=self.options.epochs,
            epsilon=metrics.epsilon,
            kappa=metrics.kappa,
            loss=metrics.loss,
            metrics=metrics,
        )

    def _metrics(self, event: TrainingEvent, found: Evaluation) -> EpochMetrics:
        return EpochMetrics(
            epoch=event.epoch,
            epsilon=event.epsilon,
            kappa=event.kappa,
            learning_rate=float(self.optimiser.param_groups[0]["lr"]),
            loss=self.state.means(),
            seconds=self.state.epoch_seconds,
            **vars(found),
        )

    def _no_longer_better(self) -> bool:
        """Return whether the patience is used up, counted from the end of the ramp."""
        patience = self.options.selection.patience
        if patience is None:
            return False
        ramped = -(-ramp_ends(self.steps, self.options) // self.feed.batches)
        since = max(self.state.best_epoch, ramped)
        return len(self.state.history) - since >= patience

    def save(self) -> None:
        """Write a checkpoint, if there is a place for it."""
        if self.folder is None:
            return
        self._tick()
        tensors = {f"now/{name}": value for name, value in self._tensors().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        tensors |= optimiser_tensors(self.optimiser)
        state = {"settings": self.settings, "run": self.state.to_json()}
        write_checkpoint(self.folder, Checkpoint(tensors, state))
        self._saved = time.perf_counter()

    def resume(self, folder: Path | None) -> None:
        """Go on from the checkpoint of a folder, if it has one."""
        self.folder = folder
        found = None if folder is None else read_checkpoint(folder)
        if found is None:
            return
        require_same(found.state.get("settings", {}), self.settings)
        with torch.no_grad():
            for name, value in {**self.leaves, **self.statistics}.items():
                value.copy_(found.tensors[f"now/{name}"])
            self.best = {
                name: found.tensors[f"best/{name}"].to(value) for name, value in self.best.items()
            }
        restore_optimiser(self.optimiser, found.tensors)
        self.state = RunState.from_json(found.state["run"])
        self._clock = self._saved = time.perf_counter()

    def result(self, stopped: StopReason) -> TrainingResult:
        """Return the network with its best parameters."""
        best = {name: value.cpu() for name, value in self.best.items()}
        return TrainingResult(
            network=self.origin.to(self.origin.dtype).with_parameters(best),
            history=tuple(self.state.history),
            best_epoch=self.state.best_epoch,
            stopped=stopped,
            seconds=self.state.seconds,
            settings=self.settings,
        )
