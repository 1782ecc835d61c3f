"""Batches: their order, augmentation, and what a data set must have to be trained on."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data import Dataset, fit_dataset
from models.network import Network
from training.errors import UntrainableError
from training.options import AugmentationOptions, TrainingOptions
from training.seeds import stream

__all__ = ["Feed", "checked_training_set", "checked_validation_set", "fingerprint"]


def checked_training_set(dataset: Dataset, network: Network, options: TrainingOptions) -> Dataset:
    """Return the data set in the network's shape.

    Raises:
        UntrainableError: A class has no input, values leave the valid range, or images that
            should be augmented are none.
        ShapeError: Inputs do not fit the network.
        DataError: A label is out of range.
    """
    fitted = checked_validation_set(dataset, network, options)
    present = np.bincount(fitted.y, minlength=network.output_size)
    absent = [int(index) for index in np.flatnonzero(present == 0)]
    if absent:
        raise UntrainableError(
            f"the training set {dataset.name!r} has no input of class {absent[0]}, one of the "
            f"network's {network.output_size}; add some, or take a network with fewer outputs"
        )
    if options.augmentation.is_on and len(network.input_shape) != 4:
        raise UntrainableError(
            f"inputs of shape {network.input_shape} are no images with channels, height and "
            "width, so they cannot be cropped or flipped; leave augmentation out"
        )
    return fitted


def checked_validation_set(dataset: Dataset, network: Network, options: TrainingOptions) -> Dataset:
    """Return the data set in the network's shape, its values within the valid range.

    Raises:
        UntrainableError: Values leave the valid range.
        ShapeError: Inputs do not fit the network.
        DataError: A label is out of range.
    """
    fitted = fit_dataset(dataset, network)
    if options.valid_range is not None:
        low, high = options.valid_range
        least, most = float(fitted.x.min()), float(fitted.x.max())
        if least < low or most > high:
            raise UntrainableError(
                f"values of the data set {dataset.name!r} span [{least:g}, {most:g}], outside the "
                f"valid range [{low:g}, {high:g}]; scale the data or state its range"
            )
    return fitted


def fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 of the inputs and labels themselves, in hexadecimal."""
    digest = sha256(repr((dataset.x.shape, dataset.y.shape)).encode())
    digest.update(np.ascontiguousarray(dataset.x).data)
    digest.update(np.ascontiguousarray(dataset.y).data)
    return digest.hexdigest()


class Feed:
    """The batches of a run, each known by its number alone.

    An epoch is cut into batches whose sizes differ by one at most, so that none is a small rest.

    Args:
        dataset: In the network's shape.
        options: Batch size, seed, augmentation.
        device: Where batches go.
        dtype: Of inputs.
    """

    def __init__(
        self,
        dataset: Dataset,
        options: TrainingOptions,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._options = options
        # On an accelerator the whole set stays there: moving every batch would cost more.
        self._x = torch.from_numpy(dataset.x).to(device=device, dtype=dtype)
        self._y = torch.from_numpy(dataset.y).to(device)
        self.batches = -(-len(dataset) // options.batch_size)
        self._epoch = -1
        self._parts: tuple[Tensor, ...] = ()

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a step, counted from 0 over the whole run."""
        epoch, place = divmod(step, self.batches)
        if epoch != self._epoch:
            order = torch.randperm(len(self._y), generator=self._stream("order", epoch))
            self._parts, self._epoch = order.tensor_split(self.batches), epoch
        index = self._parts[place].to(self._y.device)
        x = self._x[index]
        if self._options.augmentation.is_on:
            x = augmented(x, self._options.augmentation, self._stream("augmentation", step))
        return x, self._y[index]

    def _stream(self, purpose: str, number: int) -> torch.Generator:
        return stream(self._options.seed, purpose, number)


def augmented(x: Tensor, options: AugmentationOptions, generator: torch.Generator) -> Tensor:
    """Return images cropped and mirrored at random.

    Args:
        x: Shape `(batch, 1, channels, height, width)`.
        options: What to do.
        generator: Source of the random numbers, on the CPU.
    """
    batch, height, width = x.shape[0], x.shape[-2], x.shape[-1]
    if options.flip:
        flip = torch.rand(batch, generator=generator) < 0.5
        x = torch.where(flip.to(x.device).reshape(-1, 1, 1, 1, 1), x.flip(-1), x)
    if options.crop == 0:
        return x
    pad = options.crop
    moves = torch.randint(0, 2 * pad + 1, (2, batch), generator=generator).to(x.device)
    padded = functional.pad(x, (pad, pad, pad, pad))
    rows = (moves[0].unsqueeze(1) + torch.arange(height, device=x.device))[:, None, None, :, None]
    columns = moves[1].unsqueeze(1) + torch.arange(width, device=x.device)
    examples = torch.arange(batch, device=x.device).reshape(-1, 1, 1, 1, 1)
    ones = torch.zeros(1, 1, 1, 1, 1, dtype=torch.long, device=x.device)
    channels = torch.arange(x.shape[2], device=x.device).reshape(1, 1, -1, 1, 1)
    return padded[examples, ones, channels, rows, columns[:, None, None, None, :]]
