"""The handwritten digits that come with scikit-learn: 1797 images of 8 × 8, ten classes."""

from __future__ import annotations

from hashlib import sha256
from importlib import import_module

import numpy as np

from models.data.part import ALL, Found, Part
from models.errors import DataError

__all__ = ["find_digits"]

_DARKEST = 16.0


def find_digits() -> Found:
    """Return scikit-learn's digits; shape (1, 8, 8), scaled from 0…16 to [0, 1].

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

    def read() -> Part:
        bunch = sklearn.load_digits()
        images = np.asarray(bunch.images, np.float32) / np.float32(_DARKEST)
        x = images.reshape(len(images), 1, 8, 8)
        y = np.asarray(bunch.target, np.int64)
        return Part(x, y, sha256(x.tobytes() + y.tobytes()).hexdigest())

    return Found("digits", {ALL: read}, tuple(str(digit) for digit in range(10)))
