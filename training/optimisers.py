"""torch's optimisers, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from training.errors import CheckpointError
from training.options import OptimiserKind, OptimiserOptions

__all__ = ["build_optimiser", "optimiser_tensors", "restore_optimiser"]

_PREFIX = "optimiser"


def build_optimiser(parameters: Sequence[Tensor], options: OptimiserOptions) -> Optimizer:
    """Return an optimiser over leaves."""
    rate, decay = options.learning_rate, options.weight_decay
    match options.kind:
        case OptimiserKind.ADAM:
            return Adam(parameters, lr=rate, weight_decay=decay)
        case OptimiserKind.ADAMW:
            return AdamW(parameters, lr=rate, weight_decay=decay)
        case OptimiserKind.SGD:
            return SGD(parameters, lr=rate, weight_decay=decay, momentum=options.momentum)


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser remembers of each parameter, by name."""
    state: Mapping[int, Mapping[str, Any]] = optimiser.state_dict()["state"]
    return {
        f"{_PREFIX}/{index}/{name}": value
        for index, entries in state.items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the memory that `optimiser_tensors` returned.

    Raises:
        CheckpointError: The tensors are those of another optimiser.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        prefix, _, rest = key.partition("/")
        if prefix == _PREFIX:
            index, _, name = rest.partition("/")
            state.setdefault(int(index), {})[name] = value
    full = optimiser.state_dict()
    full["state"] = state
    try:
        optimiser.load_state_dict(full)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the optimiser's state in the checkpoint cannot be used: {error}"
        ) from error
    with torch.no_grad():
        for entries in optimiser.state.values():
            for name, value in entries.items():
                entries[name] = value.clone() if isinstance(value, Tensor) else value
