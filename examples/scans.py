"""Synthetic scans to classify: what a small imaging study could look like, without a patient.

    python -m examples.scans FOLDER

writes `scans-train.npz` and `scans-test.npz`: images of 14 x 14 pixels in [0, 1] of a round body
with two darker lungs. Class 0 is clear, class 1 has a small bright nodule in a lung, class 2 has
fluid: the lower part of a lung is bright.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASSES", "SIDE", "make", "scans"]

SIDE = 14
CLASSES = ("clear", "nodule", "fluid")
_NOISE = 0.03
_Image = NDArray[np.float32]


def scans(count: int, *, seed: int = 0) -> tuple[_Image, NDArray[np.int64]]:
    """Return images of shape (count, 1, SIDE, SIDE) in [0, 1] with their classes, evenly mixed."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % len(CLASSES))
    images = np.stack([_scan(int(label), generator) for label in labels])
    return images[:, None].astype(np.float32), labels


def _scan(label: int, generator: np.random.Generator) -> NDArray[np.float64]:
    down, across = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    middle = 0.5 + generator.uniform(-0.03, 0.03)
    body = _ellipse(across - middle, down - 0.5, 0.48, 0.5)
    lungs = [_ellipse(across - middle - shift, down - 0.5, 0.15, 0.3) for shift in (-0.21, 0.21)]
    image = 0.55 * body - 0.4 * np.maximum(*lungs)
    lung = int(generator.integers(2))
    if label == 1:
        x = middle + (0.42 * lung - 0.21) + generator.uniform(-0.04, 0.04)
        y = generator.uniform(0.35, 0.6)
        image += 0.7 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / 0.012)
    if label == 2:
        level = generator.uniform(0.55, 0.65)
        image += 0.5 * lungs[lung] * (down > level)
    return np.clip(image + generator.normal(scale=_NOISE, size=image.shape), 0, 1)


def _ellipse(
    across: NDArray[np.float64], down: NDArray[np.float64], width: float, height: float
) -> NDArray[np.float64]:
    """Return 1 inside and 0 outside, with a soft edge."""
    return 1 / (1 + np.exp(14 * ((across / width) ** 2 + (down / height) ** 2 - 1)))


def make(folder: Path) -> None:
    """Write both data sets."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", 1200, 0), ("test", 150, 1)):
        x, y = scans(count, seed=seed)
        np.savez_compressed(folder / f"scans-{name}.npz", x=x, y=y)


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "scans"))
