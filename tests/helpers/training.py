"""Small things to train: networks, data sets and options that suit tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.architectures import build_architecture
from models.data import Dataset
from models.network import Network
from training import OptimiserOptions, TrainingMethod, TrainingOptions

__all__ = ["batch_of", "blobs", "digits", "options", "small_network", "trained_parameters"]

CLASSES = 3


def small_network(name: str = "mlp:8,6", *, side: int = 6, seed: int = 0) -> Network:
    """Return a small architecture for square images of one channel and three classes."""
    return build_architecture(name, (1, side, side), CLASSES, seed=seed)


def blobs(count: int = 48, *, side: int = 6, seed: int = 0) -> Dataset:
    """Return images with a bright third, top, middle or bottom, which is the class."""
    source = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    x = source.uniform(0, 0.4, (count, 1, side, side))
    third = side // CLASSES
    for index, label in enumerate(y):
        x[index, 0, label * third : (label + 1) * third] += 0.5
    order = source.permutation(count)
    return Dataset(x[order].astype(np.float32), y[order].astype(np.int64), "blobs")


def digits() -> tuple[Dataset, Dataset]:
    """Return scikit-learn's digits, some for training and some for validation."""
    from models.data import load_source  # noqa: PLC0415  needs scikit-learn

    whole = load_source("digits")
    parts = (slice(0, 1200), slice(1200, 1500))
    first, second = (replace(whole, x=whole.x[p], y=whole.y[p], splits={}) for p in parts)
    return first, second


def options(
    method: TrainingMethod | str = TrainingMethod.CROWN_IBP,
    **changes: Any,  # noqa: ANN401 (each setting has a type of its own)
) -> TrainingOptions:
    """Return options of a short run on the processor."""
    plain: dict[str, Any] = {
        "epsilon": 0.05,
        "epochs": 2,
        "batch_size": 16,
        "device": "cpu",
        "optimiser": OptimiserOptions(learning_rate=0.01),
    }
    return TrainingOptions(method=TrainingMethod(method), **{**plain, **changes})


def batch_of(dataset: Dataset, network: Network, count: int = 6) -> tuple[Tensor, Tensor]:
    """Return the first inputs, in the network's shape and type, and their labels."""
    x = torch.from_numpy(dataset.x[:count]).to(network.dtype)
    return x.reshape(-1, *network.input_shape), torch.from_numpy(dataset.y[:count])


def trained_parameters(network: Network) -> dict[str, Tensor]:
    """Return leaves of the parameters that an ONNX file stores."""
    return {
        name: network.parameters[name].detach().clone().requires_grad_()
        for name in sorted(network.trainable)
    }
