"""From a request for a training to what the store keeps: checks that need no mathematics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from api.checking import check_fit, check_range, referenced, refused
from api.origins import origin_of
from api.schemas.trainings import TrainingCreate
from api.services import Services
from store.trainings import NewTraining
from store.uploads import UploadRow

__all__ = ["arms_of", "new_training", "stored_settings"]

_NOT_SETTINGS = {"network_id", "dataset_id", "validation_id", "priority", "webhook"}
_MLP = "mlp:"
_IMAGE_AXES = (2, 3)


def stored_settings(create: TrainingCreate) -> dict[str, Any]:
    """Return how to train, every default filled in."""
    return create.model_dump(mode="json", exclude=_NOT_SETTINGS)


def arms_of(create: TrainingCreate) -> int:
    """Return how many networks are trained."""
    return 2 if create.baseline else 1


def new_training(create: TrainingCreate, services: Services) -> NewTraining:
    """Return a request checked against its network and data sets.

    Raises:
        ApiError: They do not exist, do not fit each other, or are beyond a limit of this server.
    """
    dataset = referenced(services.datasets, "dataset_id", create.dataset_id)
    validation = (
        None
        if create.validation_id is None
        else referenced(services.datasets, "validation_id", create.validation_id)
    )
    for data in (dataset, validation):
        if data is not None:
            check_range(create.valid_range, data.details)
    if create.network_id is not None:
        network = referenced(services.networks, "network_id", create.network_id)
        _check_network(network, dataset, validation)
        parameters = network.details["parameters"]
    else:
        parameters = _check_architecture(create.architecture or "", dataset, validation)
    training = _training_count(create, dataset, validation)
    _check_limits(create, services, training=training, parameters=parameters)
    return NewTraining(
        network_id=create.network_id,
        dataset_id=dataset.id,
        validation_id=create.validation_id,
        settings=stored_settings(create),
        steps=arms_of(create) * create.epochs * math.ceil(training / create.batch_size),
        priority=create.priority,
        origin=origin_of(create.webhook, services, kind="training"),
    )


def _check_network(network: UploadRow, dataset: UploadRow, validation: UploadRow | None) -> None:
    check_fit(network, dataset)
    if validation is not None:
        check_fit(network, validation, "validation_id")
    if network.details["parameters"] == 0:
        raise refused(
            "UntrainableError",
            "network_id",
            "the network has no parameters, nothing can be trained",
        )


def _check_architecture(name: str, dataset: UploadRow, validation: UploadRow | None) -> int:
    """Return a lower limit of the number of parameters that an architecture will have."""
    shape, classes = dataset.details["input_shape"], dataset.details["classes"]
    if classes < 2:
        raise refused("DataError", "dataset_id", "all labels are 0; a classifier needs two classes")
    if validation is not None:
        other = validation.details
        if math.prod(other["input_shape"]) != math.prod(shape) or other["classes"] > classes:
            raise refused(
                "ShapeError",
                "validation_id",
                f"its inputs have shape {tuple(other['input_shape'])} and {other['classes']} "
                f"classes, those of the training data {tuple(shape)} and {classes}",
            )
    if name.startswith(_MLP):
        widths = [int(width) for width in name.removeprefix(_MLP).split(",")]
        return _dense_parameters([math.prod(shape), *widths, classes])
    if len(shape) not in _IMAGE_AXES:
        raise refused(
            "ShapeError",
            "architecture",
            f"{name} takes images of shape (channels, height, width), these inputs have shape "
            f"{tuple(shape)}; reshape them, or choose mlp:…",
        )
    return 0


def _dense_parameters(widths: Sequence[int]) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def _training_count(
    create: TrainingCreate, dataset: UploadRow, validation: UploadRow | None
) -> int:
    """Return how many inputs are trained on."""
    count: int = dataset.details["count"]
    # As the worker cuts it: at least one input validates.
    kept = 0 if validation is not None else max(1, round(create.selection.share * count))
    if count - kept < 1:
        raise refused(
            "DataError",
            "selection.share",
            f"the data set has {count} inputs; {create.selection.share:g} of them for validation "
            "leave none to train on",
        )
    return count - kept


def _check_limits(
    create: TrainingCreate, services: Services, *, training: int, parameters: int
) -> None:
    settings = services.settings
    limits = (
        ("epochs", create.epochs, settings.max_training_epochs, "epochs"),
        ("dataset_id", training, settings.max_training_inputs, "inputs to train on"),
        (
            "network_id" if create.network_id is not None else "architecture",
            parameters,
            settings.max_training_parameters,
            "parameters",
        ),
    )
    for location, value, limit, words in limits:
        if value > limit:
            raise refused(
                "ValidationError", location, f"{value} {words}; this server trains at most {limit}"
            )
