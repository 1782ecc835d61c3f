"""npz files: arrays by name, measured before they are unpacked, never unpickled."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, TypeVar

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from models.data.dataset import Dataset
from models.data.limits import DataLimits
from models.data.part import ALL, Found, Part, as_inputs, as_labels
from models.errors import DataError

__all__ = ["find_npz", "load_dataset", "read_arrays", "read_file"]

_READ_HEADER = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}
_MEMBER_MAGIC = b"PK\x01\x02"
# What numpy writes; the others are unpacked without any bound on the memory for one piece.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
# What numpy's reader lets through: it evaluates the header as a literal, then mends its tokens.
_BAD_HEADER = (ValueError, SyntaxError, TypeError, TokenError, RecursionError, MemoryError)
# The layout in which Keras publishes data sets: arrays of inputs and labels for each part.
_SPLIT_NAMES = {
    "train": ("x_train", "y_train"),
    "validation": ("x_validation", "y_validation"),
    "test": ("x_test", "y_test"),
}
_CLASSES = "classes"
Answer = TypeVar("Answer")
_ADVICE = "save it with numpy.savez(file, x=inputs, y=labels)"


def load_dataset(
    source: Path | str | bytes, *, name: str | None = None, max_bytes: int = 2**32
) -> Dataset:
    """Read an npz file with arrays `x` and `y`.

    Args:
        source: A path, or the bytes of the file.
        name: For people; by default the file's name without its suffix.
        max_bytes: That both arrays may take, compared with what the file declares before
            anything is unpacked.

    Returns:
        The data set; `x` of type uint8 is scaled from 0…255 to [0, 1].

    Raises:
        DataError: The file cannot be read, or its arrays cannot be used.
    """
    limits = DataLimits(max_bytes=max_bytes)
    data = source if isinstance(source, bytes) else read_file(Path(source), limits)
    if name is None:
        name = "dataset" if isinstance(source, bytes) else Path(source).stem
    part = _part(data, ("x", "y"), limits)
    return Dataset(part.x, part.y, name, part.sha256)


def read_file(path: Path, limits: DataLimits) -> bytes:
    """Return the bytes of a file.

    Raises:
        DataError: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as stream:
            limits.check_bytes(os.fstat(stream.fileno()).st_size, path.name)
            return stream.read()
    except OSError as error:
        raise DataError(
            f"cannot read the data set {str(path)!r}: {error.strerror or error}"
        ) from error


def find_npz(path: Path, limits: DataLimits) -> Found:
    """Return what an npz file holds: `x` and `y`, or `x_train`, `y_train`, `x_test` and `y_test`.

    An array `classes` of texts names the classes.

    Raises:
        DataError: The file cannot be read, or holds neither.
    """
    data = read_file(path, limits)
    names = _open(data, lambda archive: [entry.filename for entry in archive.infolist()], limits)
    arrays = {entry.removesuffix(".npy") for entry in names if entry.endswith(".npy")}
    split = {part: pair for part, pair in _SPLIT_NAMES.items() if set(pair) <= arrays}
    chosen = split if split and "x" not in arrays else {ALL: ("x", "y")}
    parts: dict[str, Callable[[], Part]] = {
        part: partial(_part, data, pair, limits) for part, pair in chosen.items()
    }
    classes = read_arrays(data, [_CLASSES], limits)[_CLASSES] if _CLASSES in arrays else None
    return Found("npz", parts, _class_names(classes))


def _class_names(names: NDArray[Any] | None) -> tuple[str, ...]:
    if names is None or names.dtype.kind != "U" or names.ndim != 1:
        return ()  # an array of that name that means something else
    return tuple(str(name) for name in names)


def _part(data: bytes, names: tuple[str, str], limits: DataLimits) -> Part:
    arrays = read_arrays(data, names, limits)
    x, y = (arrays[name] for name in names)
    limits.check_bytes(4 * x.size, f"array {names[0]!r}")
    limits.check_bytes(8 * y.size, f"array {names[1]!r}")
    return Part(as_inputs(x, names[0]), as_labels(y, names[1]), sha256(data).hexdigest())


def _open(data: bytes, use: Callable[[zipfile.ZipFile], Answer], limits: DataLimits) -> Answer:
    members = data.count(_MEMBER_MAGIC)
    if members > limits.max_members:
        raise DataError(
            f"the data set lists about {members} arrays, the limit is {limits.max_members}; "
            f"{_ADVICE}"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return use(archive)
    except _BROKEN as error:
        raise DataError(f"the data set is not an npz file, or it is damaged: {error}") from error


def read_arrays(data: bytes, names: Sequence[str], limits: DataLimits) -> dict[str, NDArray[Any]]:
    """Return the named arrays of an npz file.

    Raises:
        DataError: One is missing, holds objects, or the file is damaged or too large.
    """

    def read(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
        members = {entry.filename: entry for entry in archive.infolist()}
        missing = [key for key in names if f"{key}.npy" not in members]
        if missing:
            found = sorted(name.removesuffix(".npy") for name in members)
            raise DataError(f"the data set has no array {missing[0]!r} (found: {found}); {_ADVICE}")
        used = {key: members[f"{key}.npy"] for key in names}
        limits.check_bytes(sum(entry.file_size for entry in used.values()), "the data set")
        return {key: _read_member(archive, entry, key) for key, entry in used.items()}

    return _open(data, read, limits)


def _read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, key: str) -> NDArray[Any]:
    """Read one array; its header is checked against the declared size before its data."""
    if entry.compress_type not in _METHODS:
        raise DataError(f"array {key!r} is compressed in a way that numpy does not use; {_ADVICE}")
    with archive.open(entry) as stream:
        shape, fortran, dtype = _read_header(stream, key)
        if dtype.hasobject:
            raise DataError(
                f"array {key!r} holds pickled Python objects, which are never loaded; "
                "save plain numbers (all inputs of one shape)"
            )
        expected = prod(shape) * dtype.itemsize
        if expected > entry.file_size:
            raise DataError(
                f"array {key!r} declares shape {shape} of {dtype}, {expected} bytes, but its "
                f"entry holds {entry.file_size}"
            )
        content = stream.read(expected)
    if len(content) != expected:
        raise DataError(f"array {key!r} ends too early; the file is damaged")
    flat = np.frombuffer(content, dtype=dtype, count=prod(shape))
    return flat.reshape(shape, order="F" if fortran else "C")


def _read_header(stream: IO[bytes], key: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy_format.read_magic(stream)
        if version not in _READ_HEADER:
            raise ValueError(f"format version {version}")
        shape, fortran, dtype = _READ_HEADER[version](stream)
    except _BAD_HEADER as error:
        raise DataError(f"array {key!r} is not in numpy's format: {error}") from error
    return tuple(int(size) for size in shape), bool(fortran), dtype
