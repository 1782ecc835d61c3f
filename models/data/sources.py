"""One way to every data source: files and folders of known formats, and built-in data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np

from models.data.cifar import find_cifar, is_cifar, is_pickle, refuse_pickle
from models.data.dataset import Dataset
from models.data.digits import find_digits
from models.data.idx import find_idx, find_idx_pair, is_idx_file, is_idx_folder
from models.data.images import find_images, is_image_folder
from models.data.limits import DataLimits
from models.data.npz import find_npz
from models.data.part import ALL, Found, Part
from models.data.splits import SplitOptions, split_dataset
from models.errors import DataError, InvalidInputError

__all__ = ["BUILT_IN", "SPLITS", "load_source"]

BUILT_IN: Mapping[str, Callable[[], Found]] = {"digits": find_digits}
"""Data sets that need no file, by name."""

SPLITS = ("auto", "all", "train", "validation", "test")
"""What `load_source` can be asked for."""

_Reader = Callable[[Path, DataLimits], Found]


def _is_npz(path: Path) -> bool:
    return path.is_file() and path.suffix == ".npz"


# The first that recognises a path reads it.
_FORMATS: tuple[tuple[Callable[[Path], bool], _Reader], ...] = (
    (_is_npz, find_npz),
    (is_idx_folder, find_idx),
    (is_cifar, find_cifar),
    (is_idx_file, find_idx),
    (is_image_folder, find_images),
)
_KNOWN = (
    "an .npz with x and y, MNIST's idx files or their folder, CIFAR-10's binary batches or their "
    "folder, a folder of images with a subfolder per class, or the name "
    + " or ".join(repr(name) for name in BUILT_IN)
)


def load_source(
    spec: str | Path,
    *,
    split: str | None = None,
    options: SplitOptions | None = None,
    name: str | None = None,
    limits: DataLimits | None = None,
) -> Dataset:
    """Read a data source, whatever its format; nothing is ever unpickled.

    Args:
        spec: A file, a folder, two idx files as `IMAGES,LABELS`, or the name of a built-in set.
        split: None for everything with `Dataset.splits` filled in; `train`, `validation` or `test`
            for one part, which is cut by `options` where the source has none of its own; `all`;
            `auto` for the source's own test part, or everything if it has none.
        options: Of cuts.
        name: For people; by default the last part of the path without its suffix.
        limits: Of what is unpacked.

    Returns:
        The inputs, in [0, 1] where they come as bytes; images as `(channels, height, width)`.

    Raises:
        DataError: There is nothing, it is of no known format, damaged or too large.
        InvalidInputError: There is no such split.
    """
    if split is not None and split not in SPLITS:
        raise InvalidInputError(f"there is no split {split!r}; give one of {', '.join(SPLITS)}")
    found = _find(str(spec), limits or DataLimits())
    title = name or _title(str(spec))
    wanted = ("test" if "test" in found.parts else "all") if split == "auto" else split
    if wanted is not None and wanted in found.parts and wanted != ALL:
        return _assembled(found, title, [wanted])
    whole = _assembled(found, title, list(found.parts))
    if wanted in (None, "all"):
        return whole
    splits = split_dataset(whole, options)
    return {"train": splits.training, "validation": splits.validation, "test": splits.test}[
        str(wanted)
    ]


def _title(spec: str) -> str:
    return Path(spec.partition(",")[0]).name.partition(".")[0] or "dataset"


def _find(spec: str, limits: DataLimits) -> Found:
    """Return what a source holds, read as little as that takes."""
    path = Path(spec)
    if spec in BUILT_IN and not path.exists():
        return BUILT_IN[spec]()
    if "," in spec and not path.exists():
        images, _, labels = spec.partition(",")
        return find_idx_pair(Path(images.strip()), Path(labels.strip()), limits)
    if not path.exists():
        raise DataError(f"there is no data source {spec!r}: No such file or folder; give {_KNOWN}")
    try:
        for recognises, find in _FORMATS:
            if recognises(path):
                return find(path, limits)
        if path.is_file() and is_pickle(path):
            raise refuse_pickle(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if path.is_file():
        return find_npz(path, limits)  # which says what it misses
    raise DataError(f"the folder {spec!r} holds no data of a known format; give {_KNOWN}")


def _assembled(found: Found, name: str, wanted: list[str]) -> Dataset:
    """Return some parts as one data set; several become its splits."""
    parts: dict[str, Part] = {part: found.parts[part]() for part in wanted}
    only = next(iter(parts.values()))
    if len(parts) == 1:
        return Dataset(only.x, only.y, name, only.sha256, found.classes)
    shapes = {part: loaded.x.shape[1:] for part, loaded in parts.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"the parts of {name!r} have inputs of different shapes: {shapes}")
    ends = np.cumsum([0, *(len(part.y) for part in parts.values())])
    return Dataset(
        np.concatenate([part.x for part in parts.values()]),
        np.concatenate([part.y for part in parts.values()]),
        name,
        sha256("\0".join(part.sha256 for part in parts.values()).encode()).hexdigest(),
        found.classes,
        {part: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(parts)},
    )
