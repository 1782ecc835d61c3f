"""Training, validation and test: parts that a source has, or parts cut from it by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Dataset
from models.errors import DataError, InvalidInputError

__all__ = ["SplitOptions", "Splits", "channel_statistics", "split_dataset", "stratified"]

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SplitOptions:
    """How parts that a source does not have are cut.

    Attributes:
        validation: Share of what is left for training that validation gets.
        test: Share of all inputs that test gets.
        seed: Of the choice.

    Raises:
        InvalidInputError: A share is not between 0 and 1, or the seed is negative.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            if not 0 < getattr(self, name) < 1:
                raise InvalidInputError(
                    f"the share of {name} is {getattr(self, name)}; give a number between 0 and 1"
                )
        if self.seed < 0:
            raise InvalidInputError(f"the seed of the splits is {self.seed}; give 0 or more")


@dataclass(frozen=True, eq=False)
class Splits:
    """The three parts of a data set, which share no input.

    Attributes:
        training, validation, test: The parts.
        origin: For each of them `source` where the data set says which inputs belong to it, else
            `cut`.
        options: Of the cuts.
    """

    training: Dataset
    validation: Dataset
    test: Dataset
    origin: dict[str, str]
    options: SplitOptions

    def record(self) -> dict[str, Any]:
        """Return what a result should say of its data.

        `normalization` describes the training part; nothing here applies it.
        """
        parts = {"train": self.training, "validation": self.validation, "test": self.test}
        mean, std = channel_statistics(self.training)
        return {
            "name": self.training.name,
            "sha256": self.training.sha256,
            "input_shape": list(self.training.shape),
            "classes": list(self.training.classes),
            "splits": {
                name: {"count": len(part), "origin": self.origin[name]}
                for name, part in parts.items()
            },
            "seed": self.options.seed,
            "shares": {"validation": self.options.validation, "test": self.options.test},
            "normalization": {"mean": mean, "std": std},
        }


def split_dataset(dataset: Dataset, options: SplitOptions | None = None) -> Splits:
    """Return training, validation and test parts.

    A part that the data set has is taken as it is. The others are cut at random by the seed, with
    every class in proportion: first test, then validation, from the inputs of the training part, or
    from all that belong to no part.

    Raises:
        DataError: There are too few inputs for three parts.
    """
    chosen = options or SplitOptions()
    own = dataset.splits
    used = np.concatenate([np.empty(0, np.int64), *own.values()])
    free = np.setdiff1d(np.arange(len(dataset)), used)
    training = own.get("train", free)
    parts: dict[str, Indices] = {}
    for name, share in (("test", chosen.test), ("validation", chosen.validation)):
        if name in own:
            parts[name] = own[name]
        else:
            parts[name], training = _cut(dataset, training, share, chosen.seed)
    if not all(map(len, (training, *parts.values()))):
        raise DataError(
            f"the data set of {len(dataset)} inputs is too small for training, validation and test"
        )
    return Splits(
        dataset.take(training),
        dataset.take(parts["validation"]),
        dataset.take(parts["test"]),
        {name: "source" if name in own else "cut" for name in ("train", "validation", "test")},
        chosen,
    )


def _cut(dataset: Dataset, indices: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Return a stratified share of some inputs, and the rest."""
    inside = stratified(dataset.y[indices], share, seed)
    return indices[inside], np.delete(indices, inside)


def stratified(labels: NDArray[np.int64], share: float, seed: int) -> Indices:
    """Return positions of a random share of inputs that holds every class in proportion.

    Each class is shuffled and spread evenly over [0, 1); the inputs that come first are taken, so
    that a class of n inputs gives share · n of them, rounded one way or the other.

    Args:
        labels: Shape `(count,)`.
        share: Between 0 and 1.
        seed: Of the choice.

    Returns:
        Positions in ascending order, about `share * count`, at least one.
    """
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + generator.uniform()) / len(members)
    count = max(1, round(share * len(labels)))
    return np.sort(np.argsort(place, kind="stable")[:count])


def channel_statistics(dataset: Dataset) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel; of everything where inputs are no images.

    Inputs of shape `(channels, height, width)`, axes of size 1 in front left out, are images.
    """
    shape = dataset.shape
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    x = dataset.x.reshape(len(dataset), *shape)
    axes = (0, 2, 3) if len(shape) == 3 else None
    mean = np.atleast_1d(np.mean(x, axis=axes, dtype=np.float64))
    std = np.atleast_1d(np.std(x, axis=axes, dtype=np.float64))
    return [float(value) for value in mean], [float(value) for value in std]
