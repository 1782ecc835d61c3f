"""CIFAR-10's binary batches, and batches saved as npz; Python's pickled batches are refused.

A record of the binary version is one byte for the label and 3072 for the pixels: red, green and
blue planes of 32 × 32, row by row.
Source: Krizhevsky, "The CIFAR-10 dataset", the section on the binary version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.limits import DataLimits
from models.data.npz import read_arrays, read_file
from models.data.part import ALL, Found, Part, as_labels, scaled
from models.errors import DataError

__all__ = ["find_cifar", "is_cifar", "is_pickle", "refuse_pickle"]

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_RECORD = 1 + _PIXELS
_BATCH = re.compile(r"(data_batch_\d+|test_batch)(\.bin|\.npz)?")
_NAMES_FILE = "batches.meta.txt"
_CLASSES = 10
# What files of Python's pickle module begin with, from protocol 2 on.
_LONGEST_LIST = 2**16
_PICKLE = b"\x80"


def is_cifar(path: Path) -> bool:
    """Return whether a folder or a file is called as CIFAR-10's batches are."""
    if path.is_dir():
        return any(_BATCH.fullmatch(entry.name) for entry in path.iterdir())
    return path.suffix == ".bin" or _BATCH.fullmatch(path.name) is not None


def find_cifar(path: Path, limits: DataLimits) -> Found:
    """Return the parts of a folder of batches, or of one batch.

    Args:
        path: A folder with `data_batch_1.bin` … and `test_batch.bin` (or `.npz` with `data`, shape
            `(count, 3072)`, and `labels`), or one such file.
        limits: Of what is unpacked.

    Raises:
        DataError: The batches are pickled.
    """
    if path.is_file():
        if is_pickle(path):
            raise refuse_pickle(path)
        return Found("cifar10", {ALL: partial(_read, [path], limits)})
    batches = sorted(entry for entry in path.iterdir() if _BATCH.fullmatch(entry.name))
    for batch in batches:
        if is_pickle(batch):
            raise refuse_pickle(batch)
    groups = {
        "train": [batch for batch in batches if batch.name.startswith("data")],
        "test": [batch for batch in batches if batch.name.startswith("test")],
    }
    parts: dict[str, Callable[[], Part]] = {
        part: partial(_read, group, limits) for part, group in groups.items() if group
    }
    return Found("cifar10", parts, _class_names(path / _NAMES_FILE))


def is_pickle(path: Path) -> bool:
    """Return whether a file begins as Python's pickle files do."""
    if path.suffix in (".bin", ".npz"):
        return False
    with path.open("rb") as file:
        return path.suffix in (".pkl", ".pickle") or file.read(1) == _PICKLE


def refuse_pickle(path: Path) -> DataError:
    """Return the error that says what to use in place of a pickled file."""
    return DataError(
        f"{path.name} is a Python pickle, which can run any code when it is loaded and is never "
        "read; use CIFAR-10's binary version (data_batch_1.bin …), or save the arrays with "
        "numpy.savez(file, x=inputs, y=labels)"
    )


def _class_names(path: Path) -> tuple[str, ...]:
    """Return the names in CIFAR-10's own list, or none."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LONGEST_LIST)
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    return names if len(names) == _CLASSES else ()


def _read(paths: Sequence[Path], limits: DataLimits) -> Part:
    """Return the inputs and labels of several batches, one after the other."""
    read = [_READERS.get(path.suffix, _read_binary)(path, limits) for path in paths]
    limits.check_bytes(4 * sum(pixels.size for pixels, _, _ in read), "the batches")
    digest = sha256("\0".join(sha for _, _, sha in read).encode()).hexdigest()
    x = np.concatenate([pixels for pixels, _, _ in read]).reshape(-1, *_SHAPE)
    return Part(scaled(x), np.concatenate([labels for _, labels, _ in read]), digest)


_Batch = tuple[NDArray[np.uint8], NDArray[np.int64], str]


def _read_binary(path: Path, limits: DataLimits) -> _Batch:
    data = read_file(path, limits)
    if not data or len(data) % _RECORD:
        raise DataError(
            f"{path.name} has {len(data)} bytes, which is no multiple of {_RECORD}, "
            "the size of a record of CIFAR-10's binary version"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= _CLASSES:
        index = int(np.argmax(labels >= _CLASSES))
        raise DataError(
            f"record {index} of {path.name} has label {labels[index]}; CIFAR-10 has classes 0 to 9"
        )
    return records[:, 1:], labels, sha256(data).hexdigest()


def _read_npz(path: Path, limits: DataLimits) -> _Batch:
    data = read_file(path, limits)
    arrays: dict[str, NDArray[Any]] = read_arrays(data, ("data", "labels"), limits)
    pixels = arrays["data"]
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise DataError(
            f"array 'data' of {path.name} has type {pixels.dtype} and shape {pixels.shape}; "
            f"expected uint8 and (count, {_PIXELS})"
        )
    labels = as_labels(arrays["labels"], "labels")
    if labels.shape != pixels.shape[:1]:
        raise DataError(
            f"{path.name} holds {len(pixels)} images and labels of shape {labels.shape}; give one "
            "label per image"
        )
    return pixels, labels, sha256(data).hexdigest()


_READERS: Mapping[str, Callable[[Path, DataLimits], _Batch]] = {".npz": _read_npz}
