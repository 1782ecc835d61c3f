"""Specifications of the category mnist_fc of VNN-COMP 2022, made again from MNIST.

The competition drew the images with a seed that it drew itself: a shuffle of the test images, of
which the first fifteen that all three networks classify correctly are taken. Those that are at
hand tell whether what is made again is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.shared import shared_folder
from solvers.vnnlib import read_vnnlib

__all__ = ["SEED", "competition_images", "write_mnist_specifications"]

SEED = 676744409
"""Of VNN-COMP 2022."""
_RADII = (0.03, 0.05)
_IMAGES = 15
_CLOSE = 1e-6
"""The competition's files give the bounds of float32, this one those of float64."""


def write_mnist_specifications(out: Path, category: Path) -> None:
    """Write `prop_INDEX_EPSILON.vnnlib` for all images and both radii.

    Args:
        out: Folder to write into.
        category: The folder mnist_fc of the shared benchmarks, with `onnx` and `vnnlib`.

    Raises:
        ValueError: One that is at hand there, under the name `2022_prop_…`, is different.
    """
    networks = sorted((category / "onnx").glob("*.onnx"))
    images, labels = competition_images(networks)
    out.mkdir(parents=True, exist_ok=True)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        for radius in _RADII:
            name = f"prop_{index}_{radius:.2f}.vnnlib"
            lower, upper = np.clip(image - radius, 0, 1), np.clip(image + radius, 0, 1)
            _require_same(category / "vnnlib" / f"2022_{name}", lower, upper)
            (out / name).write_text(_text(lower, upper, int(label)))


def competition_images(networks: Sequence[Path]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images, 15 x 784 in [0, 1], and labels in the order of the competition."""
    with np.load(shared_folder() / "data" / "mnist.npz") as data:
        images = data["x_test"].reshape(-1, 784).astype(np.float64) / 255.0
        labels = data["y_test"].astype(np.int64)
    generator = torch.Generator().manual_seed(SEED)
    # A loader of PyTorch draws the seed of its workers before the order.
    torch.empty((), dtype=torch.int64).random_(generator=generator)
    order = torch.randperm(len(images), generator=generator).numpy()
    candidates = order[: 4 * _IMAGES]
    right = np.ones(len(candidates), dtype=bool)
    for path in networks:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        for row, image in enumerate(images[candidates].astype(np.float32)):
            scores = session.run(None, {entry.name: image.reshape(entry.shape)})[0]
            right[row] &= int(np.argmax(scores)) == labels[candidates[row]]
    chosen = candidates[right][:_IMAGES]
    return images[chosen], labels[chosen]


def _require_same(path: Path, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
    if not path.exists():
        return
    (case,) = read_vnnlib(path).cases
    made = np.stack([lower, upper])
    if not np.allclose(np.stack([case.region.lower, case.region.upper]), made, rtol=0, atol=_CLOSE):
        raise ValueError(f"{path.name} is of another image than the one drawn with the seed")


def _text(lower: NDArray[np.float64], upper: NDArray[np.float64], label: int) -> str:
    """Return a specification whose counterexamples have another class at least as high."""
    lines = [f"(declare-const X_{index} Real)" for index in range(len(lower))]
    lines += [f"(declare-const Y_{index} Real)" for index in range(10)]
    for index, (low, high) in enumerate(zip(lower.tolist(), upper.tolist(), strict=True)):
        lines += [f"(assert (>= X_{index} {low!r}))", f"(assert (<= X_{index} {high!r}))"]
    others = [f"(and (>= Y_{other} Y_{label}))" for other in range(10) if other != label]
    return "\n".join([*lines, f"(assert (or {' '.join(others)}))", ""])
