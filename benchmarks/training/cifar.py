"""Regularised training beside its baseline on CIFAR-10 images that went through JPEG.

`python -m benchmarks.training.cifar --out RESULTS.csv [--seeds 0] [--images 3000] …`

The files are lossy copies of CIFAR-10 in an order of their own, so accuracies are not comparable
with published ones; both arms see the same images. Needs Pillow.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.shared import shared_folder
from benchmarks.training.paired import Data, complete, planned, plans
from models.data import Dataset

__all__ = ["cifar10", "main"]

_EPSILON = "0.00784313725490196"
"""2/255."""
_VALIDATION = 300


def cifar10(images: int, tests: int) -> Data:
    """Return random training images, further ones for validation, and random test images."""
    path = shared_folder() / "data" / "cifar10_jpeg.npz"
    with np.load(path) as file:
        stored = {name: file[name] for name in file.files}
    # The files are ordered by class.
    order = np.random.default_rng(0)
    chosen = order.permutation(len(stored["y_train"]))[: images + _VALIDATION]
    judged = order.permutation(len(stored["y_test"]))[:tests]
    return (
        _part(stored, "train", chosen[:images]),
        _part(stored, "train", chosen[images:]),
        _part(stored, "test", judged),
    )


def _part(stored: dict[str, NDArray[np.uint8]], name: str, chosen: NDArray[np.int64]) -> Dataset:
    """Decode some images."""
    files, ends = stored[f"jpeg_{name}"], stored[f"off_{name}"]
    pictures = [
        np.asarray(Image.open(io.BytesIO(files[ends[i] : ends[i + 1]].tobytes())).convert("RGB"))
        for i in chosen
    ]
    x = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    return Dataset(x, stored[f"y_{name}"][chosen].astype(np.int64), f"cifar10-jpeg-{name}")


def main() -> None:
    """Make the runs that the file does not hold yet."""
    parser = plans("Paired training runs on CIFAR-10.")
    parser.set_defaults(
        methods="crown-ibp", epsilons=_EPSILON, seeds="0", images=3000, tests=500, epochs=6
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = cifar10(arguments.images, arguments.tests)
    complete(arguments.out, planned(arguments), data, arguments.networks)


if __name__ == "__main__":
    main()
