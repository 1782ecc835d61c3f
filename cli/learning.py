"""What `train` and `tune` have in common: data, the network to start from, settings."""

from __future__ import annotations

from dataclasses import replace

from cli.arguments import LearnArguments
from cli.console import percent
from models import Dataset, load_network
from models.architectures import Initialisation, build_architecture
from models.data import SplitOptions, Splits, load_source, split_dataset
from models.network import Network, Normalization
from training import TrainingEvent, TrainingOptions

__all__ = ["read_splits", "start_network", "step_note", "training_options"]


def read_splits(arguments: LearnArguments) -> Splits:
    """Return training, validation and test data."""
    share = training_options(arguments).selection.share
    whole = load_source(arguments.data)
    splits = split_dataset(whole, SplitOptions(validation=share))
    if arguments.count is None:
        return splits
    first = slice(0, arguments.count)
    training = splits.training
    return replace(splits, training=replace(training, x=training.x[first], y=training.y[first]))


def training_options(arguments: LearnArguments) -> TrainingOptions:
    """Return the settings of the engine."""
    common = {"seed": arguments.seed, "device": arguments.device}
    return TrainingOptions.from_json({**arguments.settings, **common})


def start_network(arguments: LearnArguments, training: Dataset) -> Network:
    """Return the network to start from."""
    normalization = None
    if arguments.mean is not None and arguments.std is not None:
        normalization = Normalization(arguments.mean, arguments.std)
    if arguments.network is not None:
        network = load_network(arguments.network)
        return network if normalization is None else network.with_normalization(normalization)
    assert arguments.architecture is not None  # noqa: S101  the command asks for one of the two
    return build_architecture(
        arguments.architecture,
        training.shape,
        max(len(training.classes), int(training.y.max()) + 1, 2),
        seed=arguments.seed,
        initialisation=Initialisation(arguments.initialisation),
        normalization=normalization,
    )


def step_note(event: TrainingEvent) -> str:
    """Return what stands beside the progress bar."""
    text = f"epoch {event.epoch}, ε {event.epsilon:.3g}, loss {event.loss['total']:.3g}"
    if event.metrics is not None:
        text += f", certified {percent(event.metrics.certified_accuracy)}"
    return text
