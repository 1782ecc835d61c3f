"""Folders of images: classes by folder, one size, no bombs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data import DataLimits, load_source
from models.errors import DataError
from tests.helpers.data_files import write_images


def test_a_class_per_folder(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", {"dog": 2, "cat": 3})
    (folder / "readme.txt").write_text("not an image")
    (folder / "dog" / "notes.txt").write_text("not an image")
    dataset = load_source(folder)
    assert (dataset.name, dataset.shape) == ("pets", (3, 4, 5))
    assert dataset.classes == ("cat", "dog")
    assert dataset.y.tolist() == [0, 0, 0, 1, 1]
    with Image.open(folder / "dog" / "1.png") as image:
        expected = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(dataset.x[4], expected)


def test_parts_by_folder(tmp_path: Path) -> None:
    for part, counts in (("train", {"a": 4, "b": 2}), ("val", {"a": 1}), ("test", {"b": 3})):
        write_images(tmp_path / part, counts)
    whole = load_source(tmp_path)
    assert {name: len(part) for name, part in whole.splits.items()} == {
        "train": 6,
        "validation": 1,
        "test": 3,
    }
    # Labels are those of all parts together, though `test` lacks a class.
    assert load_source(tmp_path, split="test").y.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [("L", "png", 1), ("1", "png", 1), ("P", "png", 3), ("RGB", "bmp", 3), ("L", "pgm", 1)],
)
def test_modes(tmp_path: Path, mode: str, suffix: str, channels: int) -> None:
    folder = write_images(tmp_path / "x", {"a": 1, "b": 1}, mode=mode, suffix=suffix)
    assert load_source(folder).shape == (channels, 4, 5)


def test_gray_beside_colour_becomes_colour(tmp_path: Path) -> None:
    write_images(tmp_path / "x", {"a": 1}, mode="L")
    write_images(tmp_path / "x", {"b": 1})
    dataset = load_source(tmp_path / "x")
    assert dataset.shape == (3, 4, 5)
    np.testing.assert_array_equal(dataset.x[0, 0], dataset.x[0, 2])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_modes_that_would_lose_something_are_refused(tmp_path: Path, mode: str) -> None:
    folder = write_images(tmp_path / "x", {"a": 1})
    Image.new(mode, (5, 4)).save(folder / "a" / "0.png")
    with pytest.raises(DataError, match=f"of mode {mode}.*8 bits per channel"):
        load_source(folder)


def test_images_of_several_sizes_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "x", {"a": 1})
    write_images(tmp_path / "x", {"b": 1}, size=(6, 4))
    with pytest.raises(DataError, match=r"is 6 × 4 pixels, 0\.png 5 × 4; scale all images"):
        load_source(tmp_path / "x")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_files_that_are_no_images_are_named(tmp_path: Path, content: bytes) -> None:
    folder = write_images(tmp_path / "x", {"a": 2})
    (folder / "a" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read the image .*1\.png"):
        load_source(folder)


def test_an_image_that_breaks_off_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "x", {"a": 2}, size=(40, 40))
    whole = (folder / "a" / "1.png").read_bytes()
    (folder / "a" / "1.png").write_bytes(whole[:-600])
    with pytest.raises(DataError, match=r"cannot decode the image .*1\.png"):
        load_source(folder)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that is tiny and declares a great many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [5_000, 12_000, 60_000])
def test_bombs_are_not_unpacked(tmp_path: Path, side: int) -> None:
    folder = write_images(tmp_path / "x", {"a": 1})
    (folder / "a" / "0.png").write_bytes(bomb(side, side))
    with pytest.raises(DataError, match=r"pixels, the limit is 16777216|exceeds limit"):
        load_source(folder)


def test_limits_of_files_and_of_memory(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "x", {"a": 3})
    with pytest.raises(DataError, match="holds 3 images, the limit is 2; split it"):
        load_source(folder, limits=DataLimits(max_files=2))
    with pytest.raises(DataError, match="unpacks to 720 bytes, the limit is 700"):
        load_source(folder, limits=DataLimits(max_bytes=700))


def test_the_hash_is_that_of_names_and_contents(tmp_path: Path) -> None:
    first = load_source(write_images(tmp_path / "a", {"a": 2})).sha256
    again = load_source(write_images(tmp_path / "b", {"a": 2})).sha256
    assert first == again
    (tmp_path / "b" / "a" / "1.png").rename(tmp_path / "b" / "a" / "7.png")
    assert load_source(tmp_path / "b").sha256 != first
