"""The handwritten digits that come with scikit-learn: 1797 images of 8 × 8, ten classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from models.data.part import Found, Part
from models.data.splits import stratified
from models.errors import DataError

__all__ = ["find_digits"]

FloatArray = NDArray[np.float32]
Labels = NDArray[np.int64]

_DARKEST = 16.0
_TEST_SHARE = 0.2


def find_digits() -> Found:
    """Return scikit-learn's digits; shape (1, 8, 8), scaled from 0…16 to [0, 1].

    They come as one set; a fixed fifth of every class is the test part, so that a network trained
    on them is not certified on what it was trained on.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        sklearn = import_module("sklearn.datasets")
    except ImportError as error:
        raise DataError(
            "the data set 'digits' comes with scikit-learn, which is not installed; "
            "pip install scikit-learn"
        ) from error

    def read() -> tuple[FloatArray, Labels]:
        bunch = sklearn.load_digits()
        images = np.asarray(bunch.images, np.float32) / np.float32(_DARKEST)
        return images.reshape(len(images), 1, 8, 8), np.asarray(bunch.target, np.int64)

    def part(*, test: bool) -> Part:
        x, y = read()
        inside = np.zeros(len(y), np.bool_)
        inside[stratified(y, _TEST_SHARE, 0)] = True
        x, y = x[inside == test], y[inside == test]
        return Part(x, y, sha256(x.tobytes() + y.tobytes()).hexdigest())

    parts: dict[str, Callable[[], Part]] = {
        "train": partial(part, test=False),
        "test": partial(part, test=True),
    }
    return Found("digits", parts, tuple(str(digit) for digit in range(10)))
