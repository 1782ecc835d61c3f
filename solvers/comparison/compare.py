"""Certify several networks under identical conditions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.data import Dataset, fit_dataset
from models.errors import InvalidInputError, ShapeError
from models.network import Network
from solvers.budget import never_cancelled
from solvers.certification import CertifyOptions, ItemResult, certify_items
from solvers.comparison.tightness import LayerTightness, layer_tightness
from solvers.errors import MemoryLimitError

__all__ = ["Arm", "Comparison", "compare_networks", "measured_layers"]

_LOG = logging.getLogger(__name__)

Progress = Callable[[str, ItemResult], None]
"""Told the network's name and each of its answers."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One network of a comparison.

    Attributes:
        network: What was certified.
        items: One answer per input, in the order of the inputs.
        layers: How tight its relaxation is; None where `crown` does not fit into memory.
    """

    network: Network
    items: tuple[ItemResult, ...]
    layers: tuple[LayerTightness, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Return what reports of comparisons are made from."""
        return {
            "name": self.network.name,
            "sha256": self.network.sha256,
            "notes": list(self.network.notes),
            "items": [item.to_json() for item in self.items],
            "layers": None if self.layers is None else [layer.to_json() for layer in self.layers],
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """A baseline and its candidates over the same inputs.

    Attributes:
        baseline: The first.
        candidates: The others.
        complete: False where the work was cancelled; then some answers are missing.
    """

    baseline: Arm
    candidates: tuple[Arm, ...]
    complete: bool = True


def compare_networks(
    baseline: Network,
    candidates: Sequence[Network],
    dataset: Dataset,
    options: CertifyOptions,
    *,
    indices: Sequence[int] | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: Progress = lambda _name, _item: None,
) -> Comparison:
    """Certify a baseline and candidates: the same inputs, regions, methods, limits and seeds.

    Args:
        baseline: What candidates are compared with.
        candidates: At least one.
        dataset: Raw inputs with labels.
        options: For all networks alike.
        indices: Positions in the data set; None for all of it.
        cancelled: Asked often; True ends the work after the input at hand.
        progress: Called after each answer.

    Returns:
        The answers of every network; statistics are made of them in `reports.comparison`.

    Raises:
        InvalidInputError: There is no candidate, networks do not fit each other or the data, or
            options do not fit. Everything is checked before the work begins.
    """
    networks = (baseline, *candidates)
    _check(networks, dataset)
    chosen = list(range(len(dataset)) if indices is None else indices)
    arms = []
    for network in networks:
        items = []
        for item in certify_items(network, dataset, options, indices=chosen, cancelled=cancelled):
            items.append(item)
            progress(network.name, item)
        layers = measured_layers(network, dataset, options, indices=chosen, cancelled=cancelled)
        arms.append(Arm(network, tuple(items), layers))
    complete = not cancelled() and all(len(arm.items) == len(chosen) for arm in arms)
    return Comparison(arms[0], tuple(arms[1:]), complete)


def measured_layers(
    network: Network,
    dataset: Dataset,
    options: CertifyOptions,
    *,
    indices: Sequence[int],
    cancelled: Callable[[], bool] = never_cancelled,
) -> tuple[LayerTightness, ...] | None:
    """Return `layer_tightness`, or None where its bounds do not fit into memory."""
    try:
        return layer_tightness(network, dataset, options, indices=indices, cancelled=cancelled)
    except MemoryLimitError:
        _LOG.exception("crown does not fit into memory, so the slack of layers is not known")
        return None


def _check(networks: Sequence[Network], dataset: Dataset) -> None:
    """Refuse networks that do not answer the same question."""
    baseline, *candidates = networks
    if not candidates:
        raise InvalidInputError("there is no candidate to compare with the baseline; name one")
    for network in candidates:
        if network.output_size != baseline.output_size:
            raise ShapeError(
                f"the candidate {network.name!r} has {network.output_size} outputs, the baseline "
                f"{baseline.name!r} {baseline.output_size}; compare networks of the same classes"
            )
    for network in networks:
        try:
            fit_dataset(dataset, network)
        except InvalidInputError as error:
            raise type(error)(f"network {network.name!r}: {error}") from error
