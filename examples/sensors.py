"""Synthetic readings of a machine's sensors, to classify how the machine is.

    python -m examples.sensors FOLDER

writes `sensors-train.npz` and `sensors-test.npz`: the strength of vibrations in eight bands of
frequency, scaled to [0, 1]. Class 0 is healthy, class 1 a worn bearing, class 2 an imbalance. A
fault that has just begun looks much like none, so that some readings stand between two classes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["BANDS", "CLASSES", "make", "readings"]

BANDS = 8
CLASSES = ("healthy", "worn bearing", "imbalance")
_SHAPES = (
    (0.30, 0.32, 0.30, 0.26, 0.24, 0.20, 0.18, 0.16),
    (0.30, 0.30, 0.32, 0.38, 0.52, 0.60, 0.48, 0.36),
    (0.66, 0.52, 0.36, 0.28, 0.24, 0.20, 0.18, 0.16),
)
_NOISE = 0.03


def readings(count: int, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return readings of shape (count, BANDS) in [0, 1] with their classes, evenly mixed."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % len(CLASSES))
    healthy, shapes = np.asarray(_SHAPES[0]), np.asarray(_SHAPES)[labels]
    strength = generator.uniform(0.55, 1.0, size=(count, 1))
    plain = healthy + strength * (shapes - healthy)
    noisy = plain + generator.normal(scale=_NOISE, size=plain.shape)
    return np.clip(noisy, 0, 1).astype(np.float32), labels


def make(folder: Path) -> None:
    """Write both data sets."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", 1200, 0), ("test", 150, 1)):
        x, y = readings(count, seed=seed)
        np.savez_compressed(folder / f"sensors-{name}.npz", x=x, y=y)


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "sensors"))
