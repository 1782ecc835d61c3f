"""Labelled data sets: read from files, folders and built-in sources, split, fitted to networks."""

from __future__ import annotations

from models.data.dataset import Dataset, fit_dataset
from models.data.limits import DataLimits
from models.data.npz import load_dataset
from models.data.sources import BUILT_IN, SPLITS, load_source
from models.data.splits import SplitOptions, Splits, channel_statistics, split_dataset

__all__ = [
    "BUILT_IN",
    "SPLITS",
    "DataLimits",
    "Dataset",
    "SplitOptions",
    "Splits",
    "channel_statistics",
    "fit_dataset",
    "load_dataset",
    "load_source",
    "split_dataset",
]
