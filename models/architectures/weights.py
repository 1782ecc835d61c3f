"""Initial weights.

Sources: He et al. 2015 for the order of magnitude of the usual ones; Shi et al. 2021, section 3.2,
for those that keep the width of intervals from growing.
"""

from __future__ import annotations

from enum import StrEnum
from math import pi, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Initialisation", "draw"]

FloatArray = NDArray[np.float32]


class Initialisation(StrEnum):
    """How weights are drawn."""

    STANDARD = "standard"
    """Uniform within ±1/√inputs, biases too."""
    IBP = "ibp"
    """Normal with deviation √(2π)/inputs: an interval's width then stays the same from layer to
    layer instead of growing with √inputs. Biases are 0."""


def draw(
    shape: tuple[int, ...], kind: Initialisation, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the weight and bias of a layer.

    Args:
        shape: Of the weight: outputs, then what one output reads.
        kind: How to draw.
        generator: Source of the numbers.
    """
    fan_in = prod(shape[1:])
    if kind is Initialisation.IBP:
        weight = generator.normal(size=shape) * (sqrt(2 * pi) / fan_in)
        return _single(weight), np.zeros(shape[0], dtype=np.float32)
    limit = 1 / sqrt(fan_in)
    weight = generator.uniform(-limit, limit, size=shape)
    return _single(weight), _single(generator.uniform(-limit, limit, size=shape[0]))


def _single(values: NDArray[Any]) -> FloatArray:
    return values.astype(np.float32)
