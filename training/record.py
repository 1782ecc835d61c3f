"""What is written down of a run, so that a reader can repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import torch

from models.data import Dataset
from models.network import Network
from training.data import fingerprint
from training.errors import CheckpointError
from training.options import TrainingOptions

__all__ = ["require_same", "run_settings"]

_MAY_DIFFER = frozenset({"device", "checkpoint_seconds"})
"""Options with which a run may be continued that did not start with them."""


def run_settings(
    network: Network,
    sets: tuple[Dataset, Dataset],
    options: TrainingOptions,
    trained: Sequence[str],
) -> dict[str, Any]:
    """Return options, data sets, network and software of a run as plain values.

    Args:
        network: At the start.
        sets: For training and validation, in the network's shape.
        options: Of the run.
        trained: Names of the parameters that change.
    """
    names = ("training", "validation")
    return {
        "options": options.to_json(),
        "network": {
            "name": network.name,
            "sha256": network.sha256,
            "parameters": _parameter_digest(network),
            "trained": list(trained),
        },
        "data": {key: _described(data) for key, data in zip(names, sets, strict=True)},
        "steps_per_epoch": -(-len(sets[0]) // options.batch_size),
        "software": {"torch": str(torch.__version__)},
    }


def _described(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "count": len(dataset),
        "content": fingerprint(dataset),
    }


def _parameter_digest(network: Network) -> str:
    """Return a SHA-256 of all parameters, in hexadecimal."""
    digest = sha256()
    for name in sorted(network.parameters):
        digest.update(name.encode())
        digest.update(network.parameters[name].detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def require_same(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a checkpoint belongs to a run.

    Raises:
        CheckpointError: Network, data or options differ; the first difference is named.
    """
    for place in ("network", "data"):
        if stored.get(place) != _plain(now[place]):
            raise CheckpointError(
                f"the checkpoint belongs to a training with another {place}; choose another "
                "folder, or remove it to start afresh"
            )
    before, after = stored.get("options", {}), _plain(now["options"])
    for name in sorted(set(before) | set(after)):
        if name not in _MAY_DIFFER and before.get(name) != after.get(name):
            raise CheckpointError(
                f"the checkpoint belongs to a training with {name.replace('_', ' ')} "
                f"{before.get(name)!r}, this one has {after.get(name)!r}; choose another folder, "
                "or remove it to start afresh"
            )


def _plain(value: Any) -> Any:  # noqa: ANN401 (whatever JSON can hold)
    """Return a value as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
