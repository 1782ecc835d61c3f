"""Small networks for scikit-learn's digits (8 x 8 pixels), trained in seconds.

    python -m examples.digits FOLDER

writes `digits-mlp.onnx`, `digits-conv.onnx`, `digits-conv-robust.onnx` and `digits-test.npz`. The
robust network is trained on inputs that were moved against it (fast gradient sign), so that more
of its answers can be certified.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from examples.onnx_writer import write_onnx

__all__ = ["Digits", "load", "make", "networks", "train"]

INPUT_SHAPE = (1, 8, 8)
TEST_INPUTS = 360


@dataclass(frozen=True)
class Digits:
    """The data set: `x` of shape (count, 1, 8, 8) in [0, 1], `y` of shape (count,)."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


def load(seed: int = 0) -> Digits:
    """Return the digits, shuffled and split."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x = torch.tensor(images[order] / 16.0, dtype=torch.float32).reshape(-1, *INPUT_SHAPE)
    y = torch.tensor(labels[order], dtype=torch.int64)
    return Digits(x[:-TEST_INPUTS], y[:-TEST_INPUTS], x[-TEST_INPUTS:], y[-TEST_INPUTS:])


def _mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )


def _conv() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def _moved(network: nn.Sequential, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Return the inputs moved by up to epsilon in the direction that hurts most."""
    start = (x + epsilon * (2 * torch.rand_like(x) - 1)).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(start), y), start)
    moved = start.detach() + 1.25 * epsilon * gradient.sign()
    return moved.clamp(x - epsilon, x + epsilon).clamp(0, 1)


def train(network: nn.Sequential, digits: Digits, *, epsilon: float, epochs: int = 40) -> None:
    """Train a network in place, on inputs moved by up to epsilon (0: on the inputs themselves)."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3, weight_decay=1e-4)
    for _ in range(epochs):
        for batch in torch.randperm(len(digits.y_train)).split(64):
            x, y = digits.x_train[batch], digits.y_train[batch]
            if epsilon > 0:
                x = _moved(network, x, y, epsilon)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()


def networks(digits: Digits, seed: int = 0) -> dict[str, nn.Sequential]:
    """Return the trained networks by name."""
    plans = {
        "digits-mlp": (_mlp, 0.0),
        "digits-conv": (_conv, 0.0),
        "digits-conv-robust": (_conv, 0.1),
    }
    trained = {}
    for name, (build, epsilon) in plans.items():
        torch.manual_seed(seed)
        network = build()
        train(network, digits, epsilon=epsilon)
        trained[name] = network
    return trained


def make(folder: Path, seed: int = 0) -> tuple[list[Path], Path]:
    """Write the networks and the test set into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = load(seed)
    paths = []
    for name, network in networks(digits, seed).items():
        paths.append(folder / f"{name}.onnx")
        write_onnx(network, INPUT_SHAPE, paths[-1])
    data = folder / "digits-test.npz"
    np.savez_compressed(data, x=digits.x_test.numpy(), y=digits.y_test.numpy())
    return paths, data


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(*make(Path(sys.argv[1])))
