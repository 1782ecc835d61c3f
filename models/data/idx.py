"""MNIST's idx files, plain or compressed with gzip.

Format: two zero bytes, one for the type of the numbers (8: unsigned bytes), one for the number of
axes; the size of each axis as a big-endian 32-bit number; the numbers in row-major order.
Source: LeCun, Cortes and Burges, the MNIST database, "File formats".
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from io import BufferedIOBase
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.limits import DataLimits
from models.data.part import ALL, Found, Part, scaled
from models.errors import DataError

__all__ = ["find_idx", "find_idx_pair", "is_idx_file", "is_idx_folder"]

_UNSIGNED_BYTE = 8
_NAME = re.compile(
    r"(?:(?P<part>train|t10k|test)-)?(?P<what>images|labels)[-.]idx(?P<axes>[13])(-ubyte)?(\.gz)?"
)
_PARTS = {"train": "train", "t10k": "test", "test": "test", None: ALL}
_PIECE_BYTES = 2**24
_GZIP = b"\x1f\x8b"


def is_idx_file(path: Path) -> bool:
    """Return whether a file is called as MNIST's files are, or begins as idx files do."""
    if not path.is_file():
        return False
    if _NAME.fullmatch(path.name):
        return True
    with path.open("rb") as file:
        start = file.read(3)
    return start == bytes((0, 0, _UNSIGNED_BYTE))


def is_idx_folder(path: Path) -> bool:
    """Return whether a folder holds files that are called as MNIST's are."""
    return path.is_dir() and any(_NAME.fullmatch(entry.name) for entry in path.iterdir())


def find_idx(path: Path, limits: DataLimits) -> Found:
    """Return the parts of a folder of idx files, or the pair that a file belongs to.

    Args:
        path: A folder with `train-images-idx3-ubyte` and so on (or `train-images.idx3-ubyte`, or
            either with `.gz`), or one file of images or labels beside its other half.
        limits: Of what is unpacked.

    Raises:
        DataError: Half of a pair is missing.
    """
    if path.is_file():
        return find_idx_pair(*_both_halves(path), limits)
    halves: dict[str, dict[str, Path]] = {}
    for entry in sorted(path.iterdir()):
        found = _NAME.fullmatch(entry.name)
        if found:
            halves.setdefault(_PARTS[found["part"]], {})[found["what"]] = entry
    for part, pair in halves.items():
        missing = {"images", "labels"} - set(pair)
        if missing:
            present = next(iter(pair.values())).name
            raise DataError(
                f"{path} has {present} but no {missing.pop()} of the part {part!r}; "
                "put both files there"
            )
    parts: dict[str, Callable[[], Part]] = {
        part: partial(_read_pair, pair["images"], pair["labels"], limits)
        for part, pair in halves.items()
    }
    return Found("idx", parts)


def find_idx_pair(images: Path, labels: Path, limits: DataLimits) -> Found:
    """Return the data set of two idx files."""
    return Found("idx", {ALL: partial(_read_pair, images, labels, limits)})


def _both_halves(path: Path) -> tuple[Path, Path]:
    """Return the files of images and of labels, of which one is given."""
    swaps = (
        {"images": "labels", "idx3": "idx1"}
        if "images" in path.name
        else {"labels": "images", "idx1": "idx3"}
    )
    name = path.name
    for one, other in swaps.items():
        name = name.replace(one, other)
    for candidate in (name, name.removesuffix(".gz"), f"{name}.gz"):
        partner = path.with_name(candidate)
        if partner != path and partner.is_file():
            return (path, partner) if "images" in path.name else (partner, path)
    raise DataError(
        f"{path.name} has no file of labels or images beside it; "
        "name both, as IMAGES,LABELS, or their folder"
    )


def _read_pair(images: Path, labels: Path, limits: DataLimits) -> Part:
    pixels, image_hash = _read(images, limits)
    y, label_hash = _read(labels, limits)
    if y.ndim != 1:
        raise DataError(f"{labels.name} has {y.ndim} axes; a file of labels has 1")
    if pixels.ndim < 2:
        raise DataError(f"{images.name} has {pixels.ndim} axis; a file of images has 3")
    if len(pixels) != len(y):
        raise DataError(
            f"{images.name} holds {len(pixels)} images, {labels.name} {len(y)} labels; "
            "they do not belong together"
        )
    limits.check_bytes(4 * pixels.size, images.name)
    # One channel in front, as networks for images take it.
    x = scaled(pixels).reshape(len(pixels), 1, *pixels.shape[1:])
    digest = sha256(f"{image_hash}\0{label_hash}".encode()).hexdigest()
    return Part(x, y.astype(np.int64), digest)


def _read(path: Path, limits: DataLimits) -> tuple[NDArray[np.uint8], str]:
    """Return the array of one file and the hash of its unpacked content."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as stream:
            head = stream.read(4)
            axes = _axes(head, path)
            sizes = stream.read(4 * axes)
            if len(sizes) != 4 * axes:
                raise DataError(f"{path.name} ends within its header; it is damaged")
            shape = struct.unpack(f">{axes}I", sizes)
            limits.check_bytes(prod(shape), path.name)
            # One byte more than declared shows whether the file goes on.
            content = _up_to(stream, prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    if len(content) != prod(shape):
        raise DataError(
            f"{path.name} declares shape {shape}, {prod(shape)} bytes, but holds "
            f"{'more' if len(content) > prod(shape) else len(content)}; it is damaged"
        )
    array = np.frombuffer(content, np.uint8).reshape(shape)
    return array, sha256(head + sizes + content).hexdigest()


def _up_to(stream: BufferedIOBase, length: int) -> bytes:
    """Read so many bytes, or what there is; only what comes takes memory."""
    pieces: list[bytes] = []
    while length > 0 and (piece := stream.read(min(length, _PIECE_BYTES))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _axes(head: bytes, path: Path) -> int:
    """Return the number of axes that a file's first four bytes declare."""
    if len(head) != 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 4:
        raise DataError(f"{path.name} does not begin as an idx file does; it is something else")
    if head[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path.name} holds numbers of type {head[2]}; expected 8, unsigned bytes")
    return head[3]
