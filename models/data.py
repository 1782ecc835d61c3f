"""Labelled data sets: npz files with inputs `x` and labels `y`."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from models.errors import DataError, ShapeError
from models.network import Network

__all__ = ["Dataset", "fit_dataset", "load_dataset"]

_READ_HEADER = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs with their labels.

    Attributes:
        x: Shape `(count, *shape)`, float32, finite.
        y: Shape `(count,)`, int64, from 0.
        name: For people; usually the file's name.
        sha256: Of the file, in hexadecimal; empty for a data set built in memory.

    Raises:
        DataError: It is empty, counts differ, or a value is not finite or a label negative.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    name: str = "dataset"
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.x.ndim == 0 or self.y.ndim != 1:
            raise DataError(
                f"x has shape {self.x.shape} and y {self.y.shape}; expected (count, ...) "
                "and (count,)"
            )
        if len(self.x) != len(self.y):
            raise DataError(f"x holds {len(self.x)} inputs, y {len(self.y)} labels; give as many")
        if self.x.size == 0:
            raise DataError(f"the data set is empty: x has shape {self.x.shape}")
        finite = np.isfinite(self.x).reshape(len(self.x), -1).all(axis=1)
        if not finite.all():
            raise DataError(
                f"input {int(np.argmin(finite))} holds NaN or infinite values; remove or repair it"
            )
        if (self.y < 0).any():
            index = int(np.argmax(self.y < 0))
            raise DataError(f"label {int(self.y[index])} of input {index} is negative")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    def fit(self, network: Network) -> Dataset:
        """Return the data set in the shape the network takes; see `fit_dataset`."""
        return fit_dataset(self, network)


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
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read the data set {str(source)!r}: {error.strerror or error}"
        ) from error
    if name is None:
        name = "dataset" if isinstance(source, bytes) else Path(source).stem
    arrays = _read_archive(data, max_bytes)
    return Dataset(_inputs(arrays["x"]), _labels(arrays["y"]), name, sha256(data).hexdigest())


def _read_archive(data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {entry.filename: entry for entry in archive.infolist()}
            missing = [key for key in ("x", "y") if f"{key}.npy" not in members]
            if missing:
                found = sorted(name.removesuffix(".npy") for name in members)
                raise DataError(
                    f"the data set has no array {missing[0]!r} (found: {found}); "
                    "save it with numpy.savez(file, x=inputs, y=labels)"
                )
            used = [members["x.npy"], members["y.npy"]]
            total = sum(entry.file_size for entry in used)
            if total > max_bytes:
                raise DataError(
                    f"the data set unpacks to {total} bytes, the limit is {max_bytes}; split it"
                )
            return {key: _read_member(archive, members[f"{key}.npy"], key) for key in ("x", "y")}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"the data set is not an npz file, or it is damaged: {error}") from error


def _read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, key: str) -> NDArray[Any]:
    """Read one array; its header is checked against the declared size before its data."""
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
    except (ValueError, SyntaxError, TypeError) as error:
        raise DataError(f"array {key!r} is not in numpy's format: {error}") from error
    return tuple(int(size) for size in shape), bool(fortran), dtype


def _inputs(x: NDArray[Any]) -> NDArray[np.float32]:
    if x.dtype == np.uint8:
        return x.astype(np.float32) / np.float32(255)
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(
            f"array 'x' has type {x.dtype}; expected uint8 (0 to 255) or floating-point numbers"
        )
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which Dataset refuses
        return x.astype(np.float32, order="C")  # a copy: the file's own bytes cannot be written


def _labels(y: NDArray[Any]) -> NDArray[np.int64]:
    if not np.issubdtype(y.dtype, np.integer):
        raise DataError(f"array 'y' has type {y.dtype}; expected whole numbers (class labels)")
    if y.size and int(y.max()) > np.iinfo(np.int64).max:
        raise DataError(f"array 'y' holds the label {int(y.max())}, which is no class label")
    return y.astype(np.int64, order="C")


def fit_dataset(dataset: Dataset, network: Network) -> Dataset:
    """Return the data set with inputs in the network's shape and labels checked.

    Axes of size 1 come and go, and flat inputs take any shape (in row-major order), as any
    inputs become flat. Axes are never reordered.

    Raises:
        ShapeError: The inputs do not fit the network.
        DataError: A label is not one of the network's outputs.
    """
    wanted = network.input_shape
    if not _compatible(dataset.shape, wanted):
        raise ShapeError(
            f"the data set's inputs have shape {dataset.shape}, the network takes {wanted}"
            + _advice(dataset.shape, wanted)
        )
    outside = dataset.y >= network.output_size
    if outside.any():
        index = int(np.argmax(outside))
        raise DataError(
            f"label {int(dataset.y[index])} of input {index} is outside the network's "
            f"classes 0 to {network.output_size - 1}"
        )
    return replace(dataset, x=dataset.x.reshape(len(dataset), *wanted))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _compatible(have: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if prod(have) != prod(wanted):
        return False
    flat = min(len(_without_ones(have)), len(_without_ones(wanted))) <= 1
    return flat or _without_ones(have) == _without_ones(wanted)


def _advice(have: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Return how to fix inputs whose channels stand on the other side."""
    core, target = _without_ones(have), _without_ones(wanted)
    if len(core) < 2 or prod(have) != prod(wanted):
        return "; give inputs with as many numbers"
    if (core[-1], *core[:-1]) == target:
        return "; the channels stand last: move them with numpy.moveaxis(x, -1, 1)"
    if (*core[1:], core[0]) == target:
        return "; the channels stand first: move them with numpy.moveaxis(x, 1, -1)"
    return "; reshape or transpose the inputs before saving them"
