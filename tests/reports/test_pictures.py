"""Pictures: which inputs are images, and that the pixels are theirs."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from reports.pictures import Layout, image_layout, pictures


def pixels(uri: str) -> NDArray[np.uint8]:
    kind, data = uri.split(",", 1)
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 32, 32), ((3, 32, 32), True)),
        ((3, 32, 32), ((3, 32, 32), True)),
        ((1, 1, 8, 8), ((1, 8, 8), True)),
        ((1, 28, 28), ((1, 28, 28), True)),
        ((28, 28), ((1, 28, 28), True)),
        ((1, 32, 48, 3), ((32, 48, 3), False)),
        ((32, 32, 1), ((32, 32, 1), False)),
        ((1, 784, 1), ((1, 28, 28), True)),
        ((784,), ((1, 28, 28), True)),
        ((1, 3072), ((3, 32, 32), True)),
    ],
)
def test_images_are_recognised(shape: tuple[int, ...], expected: tuple[object, bool]) -> None:
    assert image_layout(shape) == Layout(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shape", [(5,), (1, 1, 1, 5), (1, 64), (12, 7, 9), (2, 2, 3, 9, 9), (1, 5), (), (4, 3)]
)
def test_tables_are_not_images(shape: tuple[int, ...]) -> None:
    assert image_layout(shape) is None


def test_gray_levels_follow_the_valid_range() -> None:
    layout = Layout((1, 4, 4), channels_first=True)
    before = np.full(16, 0.25)
    after = before.copy()
    after[5] = 0.75
    shown = pictures(before, after, layout, valid_range=(0.0, 0.5))
    assert (pixels(shown.original) == 128).all()
    assert pixels(shown.counterexample)[1, 1] == 255
    assert (shown.width, shown.height) == (4, 4)


def test_the_difference_is_red_up_blue_down_white_for_none() -> None:
    layout = Layout((1, 4, 4), channels_first=True)
    before = np.full(16, 0.5)
    after = before.copy()
    after[0], after[1] = 0.6, 0.4
    shown = pictures(before, after, layout, valid_range=(0.0, 1.0))
    assert shown.magnification == pytest.approx(5.0)
    red, blue, white = pixels(shown.difference)[0, :3].astype(int)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert np.ptp(white) == 0
    assert white[0] > 200


def test_colour_channels_keep_their_order() -> None:
    image = np.zeros((3, 4, 4))
    image[0] = 1.0
    shown = pictures(image, image, Layout((3, 4, 4), channels_first=True), valid_range=(0, 1))
    assert (pixels(shown.original) == [255, 0, 0]).all()
    last = pictures(
        image.transpose(1, 2, 0), image, Layout((4, 4, 3), channels_first=False), valid_range=(0, 1)
    )
    assert (pixels(last.original) == [255, 0, 0]).all()


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=16, max_size=16),
    st.sampled_from([None, (0.0, 1.0), (-1.0, 1.0)]),
)
def test_any_values_give_pictures(
    values: list[float], valid_range: tuple[float, float] | None
) -> None:
    layout = Layout((1, 4, 4), channels_first=True)
    shown = pictures(values, list(reversed(values)), layout, valid_range=valid_range)
    for uri in (shown.original, shown.counterexample, shown.difference):
        assert pixels(uri).shape[:2] == (4, 4)
