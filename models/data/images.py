"""Folders of images, a subfolder per class."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.data.limits import DataLimits
from models.data.npz import read_file
from models.data.part import ALL, Found, Part, scaled
from models.errors import DataError

__all__ = ["find_images", "is_image_folder"]

# Decoders for these only: every further one is code that meets untrusted bytes.
_FORMATS = ("PNG", "JPEG", "BMP", "PPM")
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"})
_PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
          "validation": "validation", "test": "test"}  # fmt: skip
_GRAY = frozenset({"1", "L"})
_COLOUR = frozenset({"RGB", "P", "CMYK", "YCbCr"})


@dataclass(frozen=True)
class _File:
    """One image: where it is, and the label of its folder."""

    path: Path
    label: int


def is_image_folder(path: Path) -> bool:
    """Return whether a folder has subfolders with images, directly or below `train`, `test`, …."""
    if not path.is_dir():
        return False
    return bool(_class_folders(path)) or any(
        _class_folders(entry) for entry in path.iterdir() if entry.name.lower() in _PARTS
    )


def find_images(path: Path, limits: DataLimits) -> Found:
    """Return the parts of a folder of images.

    Args:
        path: `CLASS/image.png` …, or `train/CLASS/image.png`, `test/CLASS/image.png` … Classes
            are numbered in the order of their names. PNG, JPEG, BMP and PPM.
        limits: Of files, of pixels, and of what is unpacked.

    Raises:
        DataError: Parts have different classes, or there are too many files.
    """
    folders = {
        _PARTS[entry.name.lower()]: entry
        for entry in sorted(path.iterdir())
        if entry.name.lower() in _PARTS and _class_folders(entry)
    }
    if not folders:
        folders = {ALL: path}
    names = {part: [entry.name for entry in _class_folders(root)] for part, root in folders.items()}
    classes = sorted({name for found in names.values() for name in found})
    parts: dict[str, Callable[[], Part]] = {
        part: partial(_read, root, _listed(root, classes, limits), limits)
        for part, root in folders.items()
    }
    return Found("images", parts, tuple(classes))


def _class_folders(root: Path) -> list[Path]:
    """Return the subfolders that hold images, by name."""
    if not root.is_dir():
        return []
    return [
        entry
        for entry in sorted(root.iterdir())
        if entry.is_dir() and any(_is_image(child) for child in entry.iterdir())
    ]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _listed(root: Path, classes: Sequence[str], limits: DataLimits) -> list[_File]:
    """Return every image with its label, in the order of classes and names."""
    files = [
        _File(child, classes.index(folder.name))
        for folder in _class_folders(root)
        for child in sorted(folder.iterdir())
        if _is_image(child)
    ]
    if len(files) > limits.max_files:
        raise DataError(
            f"{root} holds {len(files)} images, the limit is {limits.max_files}; split it"
        )
    return files


def _read(root: Path, files: Sequence[_File], limits: DataLimits) -> Part:
    """Return all images, which have one size; with one channel if all of them are gray."""
    sizes, modes = zip(*(_header(file.path, limits) for file in files), strict=True)
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise DataError(
                f"{file.path} is {size[0]} × {size[1]} pixels, {files[0].path.name} "
                f"{sizes[0][0]} × {sizes[0][1]}; scale all images to one size first"
            )
    gray = set(modes) <= _GRAY
    shape = (len(files), 1 if gray else 3, *sizes[0][::-1])
    limits.check_bytes(4 * prod(shape), str(root))
    pixels, digest = np.empty(shape, np.uint8), sha256()
    for position, file in enumerate(files):
        content = read_file(file.path, limits)
        pixels[position] = _decoded(file.path, content, "L" if gray else "RGB")
        digest.update(f"{file.path.relative_to(root)}\0".encode())
        digest.update(sha256(content).digest())
    labels = np.array([file.label for file in files], np.int64)
    return Part(scaled(pixels), labels, digest.hexdigest())


def _header(path: Path, limits: DataLimits) -> tuple[tuple[int, int], str]:
    """Return size and mode of an image without decoding it.

    Raises:
        DataError: It is no image of a known format, too large, or of a mode that would lose depth
            or transparency.
    """
    with warnings.catch_warnings():
        # Pillow warns of a bomb at a size of its own; ours is smaller and checked below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=_FORMATS) as image:
                size, mode = image.size, image.mode
        except Exception as error:  # Pillow's decoders raise whatever they meet
            raise DataError(f"cannot read the image {path}: {error}") from error
    if size[0] * size[1] > limits.max_pixels:
        raise DataError(
            f"{path} declares {size[0]} × {size[1]} pixels, the limit is {limits.max_pixels}"
        )
    if mode not in _GRAY | _COLOUR:
        raise DataError(
            f"{path} is an image of mode {mode}; save it as gray or RGB with 8 bits per channel "
            "and without transparency"
        )
    return size, mode


def _decoded(path: Path, content: bytes, mode: str) -> NDArray[np.uint8]:
    """Return the pixels of an image, shape `(channels, height, width)`."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            array = np.asarray(image.convert(mode), np.uint8)
    except Exception as error:  # as above
        raise DataError(f"cannot decode the image {path}: {error}") from error
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
