"""Training, validation and test: disjoint, in proportion, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import Dataset, SplitOptions, channel_statistics, split_dataset
from models.data.splits import stratified
from models.errors import DataError, InvalidInputError


def dataset(labels: list[int], **changes: object) -> Dataset:
    x = np.arange(len(labels), dtype=np.float32).reshape(-1, 1)
    return Dataset(x, np.array(labels, np.int64), "d", **changes)  # type: ignore[arg-type]


def numbers(part: Dataset) -> set[int]:
    return {int(value) for value in part.x[:, 0]}


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_every_class_is_there_in_proportion(labels: list[int], share: float, seed: int) -> None:
    y = np.array(labels, np.int64)
    chosen = stratified(y, share, seed)
    assert len(chosen) == max(1, round(share * len(y)))
    assert len(set(chosen.tolist())) == len(chosen)
    for label in set(labels):
        members = np.count_nonzero(y == label)
        found = np.count_nonzero(y[chosen] == label)
        # Rounding each class, and the whole, may move one input each way.
        assert abs(found - share * members) < 2 or len(chosen) == 1


def test_parts_cut_by_a_seed() -> None:
    data = dataset([0] * 60 + [1] * 40)
    splits = split_dataset(data, SplitOptions(validation=0.25, test=0.2, seed=3))
    parts = [numbers(part) for part in (splits.training, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [60, 20, 20]
    assert set.union(*parts) == set(range(100))
    assert np.count_nonzero(splits.test.y) == 8
    assert np.count_nonzero(splits.validation.y) == 8
    again = split_dataset(data, SplitOptions(validation=0.25, test=0.2, seed=3))
    assert numbers(again.test) == parts[2]
    other = split_dataset(data, SplitOptions(validation=0.25, test=0.2, seed=4))
    assert numbers(other.test) != parts[2]


def test_parts_of_the_source_stay_as_they_are() -> None:
    own = {"train": np.arange(8), "test": np.arange(8, 12)}
    splits = split_dataset(dataset([0, 1] * 6, splits=own), SplitOptions(validation=0.25))
    assert numbers(splits.test) == {8, 9, 10, 11}
    assert len(splits.validation) == 2
    assert numbers(splits.training) | numbers(splits.validation) == set(range(8))
    assert splits.origin == {"train": "source", "validation": "cut", "test": "source"}
    assert splits.training.splits == {}


def test_what_belongs_to_no_part_is_trained_on() -> None:
    splits = split_dataset(dataset([0, 1] * 10, splits={"test": np.array([0, 1])}))
    assert numbers(splits.test) == {0, 1}
    assert len(splits.training) + len(splits.validation) == 18


def test_a_record_says_what_was_split() -> None:
    record = split_dataset(dataset([0, 1] * 10, sha256="ab", classes=("no", "yes"))).record()
    assert record["splits"] == {
        "train": {"count": 14, "origin": "cut"},
        "validation": {"count": 2, "origin": "cut"},
        "test": {"count": 4, "origin": "cut"},
    }
    assert (record["sha256"], record["classes"], record["seed"]) == ("ab", ["no", "yes"], 0)
    assert len(record["normalization"]["mean"]) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_inputs(count: int) -> None:
    with pytest.raises(DataError, match="too small for training, validation and test"):
        split_dataset(dataset([0] * count))


@pytest.mark.parametrize(
    "options", [{"validation": 0.0}, {"test": 1.0}, {"test": -0.5}, {"seed": -1}]
)
def test_bad_options(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="give"):
        SplitOptions(**options)  # type: ignore[arg-type]


def test_splits_and_names_of_a_data_set_are_checked() -> None:
    with pytest.raises(DataError, match="the split 'test' points outside the 2 inputs"):
        dataset([0, 1], splits={"test": np.array([2])})
    with pytest.raises(DataError, match="label 1 has no name: 1 classes are named"):
        dataset([0, 1], classes=("only",))


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 3, 4, 4)])
def test_statistics_per_channel(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(50, *shape)).astype(np.float32)
    mean, std = channel_statistics(Dataset(x, np.zeros(50, np.int64)))
    flat = x.reshape(50, 3, -1)
    np.testing.assert_allclose(mean, flat.mean(axis=(0, 2)), atol=1e-6)
    np.testing.assert_allclose(std, flat.std(axis=(0, 2)), rtol=1e-5)


def test_statistics_of_what_is_no_image() -> None:
    mean, std = channel_statistics(dataset([0, 0, 0]))
    assert (mean, std) == ([1.0], [pytest.approx(np.sqrt(2 / 3))])
