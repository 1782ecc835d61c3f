"""The engine of trainings: files and settings in, a network out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from models.architectures import Initialisation, build_architecture
from models.data import Dataset, load_dataset
from models.data.splits import stratified
from models.errors import DataError, InvalidInputError
from models.export import write_network
from models.network import Network, Normalization
from models.onnx_import import load_network
from training import StopReason, TrainingEvent, TrainingOptions, TrainingResult, train
from training.checkpoint import FILE_NAME
from worker.inspection import network_details
from worker.work import BASELINE, ArmOutcome, TrainingWork

__all__ = ["options_of", "train_arm"]

_OPTIONS = frozenset(entry.name for entry in fields(TrainingOptions))


def train_arm(
    work: TrainingWork,
    cancelled: Callable[[], bool],
    progress: Callable[[Mapping[str, Any]], None],
) -> ArmOutcome:
    """Train one arm, from its checkpoint where there is one.

    Raises:
        TightropeError: Network, data and settings do not go together, or the loss diverged.
    """
    options = options_of(work.settings, arm=work.arm, device=work.device)
    data = load_dataset(work.dataset, name=work.dataset_name)
    training, validation, kept = _split(data, work, options)
    network = _start(work, data)
    parameters = sum(value.numel() for value in network.parameters.values())
    if parameters > work.max_parameters:
        raise InvalidInputError(
            f"the network has {parameters} parameters; this server trains at most "
            f"{work.max_parameters}"
        )
    result = train(
        network,
        training,
        validation,
        options,
        checkpoint=work.checkpoint,
        cancelled=cancelled,
        progress=lambda event: progress(_plain(event)),
    )
    stored = work.checkpoint / FILE_NAME
    onnx = write_network(result.network)
    return ArmOutcome(
        cancelled=result.stopped is StopReason.CANCELLED,
        result=_told(result, work, options),
        onnx=onnx,
        details=network_details(load_network(onnx, name=network.name)),
        checkpoint=stored.read_bytes() if stored.is_file() else None,
        validation_indices=kept,
    )


def options_of(settings: Mapping[str, Any], *, arm: str, device: str) -> TrainingOptions:
    """Return the options that a stored request stands for; a baseline has no regularizers.

    Args:
        settings: Those of the training engine, among others.
        arm: Which of the networks.
        device: Where to compute.
    """
    chosen = {name: value for name, value in settings.items() if name in _OPTIONS}
    options = TrainingOptions.from_json({**chosen, "device": device})
    if arm == BASELINE:
        return replace(options, feasibility_weight=0.0, slack_weight=0.0)
    return options


def _split(
    data: Dataset, work: TrainingWork, options: TrainingOptions
) -> tuple[Dataset, Dataset, tuple[int, ...] | None]:
    """Return what to train on, what to validate on, and where in the data set that comes from."""
    if work.validation is not None:
        return data, load_dataset(work.validation, name=work.validation_name), None
    kept = stratified(data.y, options.selection.share, options.seed)
    rest = np.setdiff1d(np.arange(len(data)), kept)
    if not len(rest):
        raise DataError(
            f"the data set has {len(data)} inputs; {options.selection.share:g} of them for "
            "validation leave none to train on"
        )
    return data.take(rest), data.take(kept), tuple(int(index) for index in kept)


def _start(work: TrainingWork, data: Dataset) -> Network:
    """Return the network to start from; an architecture takes the data set's shape and classes."""
    stated = work.settings["normalization"]
    normalization = (
        None if stated is None else Normalization(tuple(stated["mean"]), tuple(stated["std"]))
    )
    if work.network is None:
        return build_architecture(
            work.settings["architecture"],
            data.shape,
            int(data.y.max()) + 1,
            seed=work.settings["seed"],
            initialisation=Initialisation(work.settings["initialisation"]),
            normalization=normalization,
        )
    network = load_network(work.network, name=work.network_name)
    return network if normalization is None else network.with_normalization(normalization)


def _plain(event: TrainingEvent) -> dict[str, Any]:
    return {
        "step": event.step,
        "steps": event.steps,
        "epoch": event.epoch,
        "epochs": event.epochs,
        "epsilon": event.epsilon,
        "kappa": event.kappa,
        "loss": dict(event.loss),
        "metrics": None if event.metrics is None else event.metrics.to_json(),
    }


def _told(result: TrainingResult, work: TrainingWork, options: TrainingOptions) -> dict[str, Any]:
    """Return what is told of a result; its epochs are among the metrics."""
    own = {
        name: work.settings[name] for name in ("architecture", "initialisation", "normalization")
    }
    split = (
        {"share": options.selection.share, "seed": options.seed}
        if work.validation is None
        else {"validation": work.validation_name}
    )
    return {
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "stopped": result.stopped.value,
        "seconds": result.seconds,
        "best": None if result.best is None else result.best.to_json(),
        "record": {**own, "split": split, **result.settings},
    }
