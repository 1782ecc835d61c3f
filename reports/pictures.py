"""Inputs as pictures: PNG data URIs of an input, its counterexample and their difference."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

__all__ = ["Layout", "Pictures", "image_layout", "pictures"]

FloatArray = NDArray[np.float64]
# Flat inputs of these sizes are, in practice, the two data sets that everybody uses.
_FLAT_IMAGES = {784: (1, 28, 28), 3072: (3, 32, 32)}
_CHANNELS = (1, 3)
# A smaller side than this is a table rather than a picture.
_SMALLEST_SIDE = 4


@dataclass(frozen=True)
class Layout:
    """How a flat input is an image: `shape` of three axes, and which of them is the channel."""

    shape: tuple[int, int, int]
    channels_first: bool

    def arrange(self, flat: FloatArray) -> FloatArray:
        """Return the values as an array of shape (height, width, channels)."""
        image = flat.reshape(self.shape)
        return image.transpose(1, 2, 0) if self.channels_first else image


@dataclass(frozen=True)
class Pictures:
    """Three data URIs, and by how much the difference is magnified."""

    original: str
    counterexample: str
    difference: str
    magnification: float
    width: int
    height: int


def image_layout(shape: tuple[int, ...]) -> Layout | None:
    """Return how an input of this shape is an image of one or three channels, if it is one."""
    axes = shape
    while len(axes) > 2 and axes[0] == 1 and not (len(axes) == 3 and axes[-1] not in _CHANNELS):
        axes = axes[1:]
    if prod(axes) in _FLAT_IMAGES and sum(axis > 1 for axis in axes) == 1:
        return Layout(_FLAT_IMAGES[prod(axes)], channels_first=True)
    if len(axes) == 2:
        axes = (1, *axes)
    if len(axes) != 3:
        return None
    channels, height, width = axes
    if channels in _CHANNELS and min(height, width) >= _SMALLEST_SIDE:
        return Layout((channels, height, width), channels_first=True)
    height, width, channels = axes
    if channels in _CHANNELS and min(height, width) >= _SMALLEST_SIDE:
        return Layout((height, width, channels), channels_first=False)
    return None


def pictures(
    original: ArrayLike,
    counterexample: ArrayLike,
    layout: Layout,
    *,
    valid_range: tuple[float, float] | None,
) -> Pictures:
    """Return an input, its counterexample and their magnified difference as PNG data URIs.

    Args:
        original: Raw input, any shape of the layout's size.
        counterexample: As many values.
        layout: How they are an image.
        valid_range: Shown as black and white; None takes the range of the values.
    """
    before, after = (_flat(values) for values in (original, counterexample))
    low, high = valid_range or (
        float(min(before.min(), after.min())),
        float(max(before.max(), after.max())),
    )
    span = high - low if high > low else 1.0
    change = after - before
    largest = float(np.abs(change).max())
    magnification = span / (2 * largest) if largest > 0 else 1.0
    shown = layout.arrange(0.5 + change * magnification / span)
    gray = layout.arrange(before)
    return Pictures(
        original=_data_uri((gray - low) / span),
        counterexample=_data_uri((layout.arrange(after) - low) / span),
        difference=_data_uri(_diverging(shown) if shown.shape[2] == 1 else shown),
        magnification=magnification,
        width=gray.shape[1],
        height=gray.shape[0],
    )


def _flat(values: ArrayLike) -> FloatArray:
    """Return the values in row-major order, those that are not finite as 0."""
    return np.nan_to_num(np.asarray(values, dtype=np.float64).ravel(), posinf=0.0, neginf=0.0)


def _diverging(shares: FloatArray) -> FloatArray:
    """Return colours for shares in [0, 1] of one channel: blue below 0.5, white, red above."""
    signed = np.clip(2 * shares[..., 0] - 1, -1, 1)
    down, up = np.clip(-signed, 0, 1), np.clip(signed, 0, 1)
    white, blue, red = (np.array(c) / 255 for c in ((245, 245, 245), (33, 84, 170), (186, 36, 44)))
    mixed = white + down[..., None] * (blue - white) + up[..., None] * (red - white)
    return np.asarray(mixed)


def _data_uri(image: FloatArray) -> str:
    """Return an image of shape (height, width, 1 or 3) with values in [0, 1] as a data URI."""
    bytes_ = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    picture = Image.fromarray(bytes_[..., 0] if bytes_.shape[2] == 1 else bytes_)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
