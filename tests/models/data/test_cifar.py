"""CIFAR-10's batches: binary and npz are read, pickles refused with what to use in their place."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from models.data import DataLimits, load_source
from models.errors import DataError
from tests.helpers.data_files import cifar_batch, labels, write_cifar


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_folder_of_batches(tmp_path: Path) -> None:
    whole = load_source(write_cifar(tmp_path / "cifar-10-batches-bin"))
    assert (len(whole), whole.shape) == (11, (3, 32, 32))
    assert {name: len(part) for name, part in whole.splits.items()} == {"train": 8, "test": 3}
    assert whole.classes == tuple(f"class{i}" for i in range(10))
    assert (whole.x.min(), whole.x.max()) == (0.0, 1.0)


def test_pixels_stand_in_planes(tmp_path: Path) -> None:
    record = bytearray(3073)
    record[0] = 7
    record[1 + 2 * 1024 + 3 * 32 + 5] = 255  # blue, row 3, column 5
    (tmp_path / "one.bin").write_bytes(bytes(record))
    dataset = load_source(tmp_path / "one.bin")
    assert dataset.y.tolist() == [7]
    assert np.argwhere(dataset.x[0]).tolist() == [[2, 3, 5]]


def test_batches_as_npz(tmp_path: Path) -> None:
    binary = load_source(write_cifar(tmp_path / "binary"))
    folder = tmp_path / "npz"
    folder.mkdir()
    for path in sorted((tmp_path / "binary").glob("*.bin")):
        records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073)
        content = npz(data=records[:, 1:], labels=records[:, 0].astype(np.int64))
        (folder / f"{path.stem}.npz").write_bytes(content)
    arrays = load_source(folder)
    np.testing.assert_array_equal(arrays.x, binary.x)
    np.testing.assert_array_equal(arrays.y, binary.y)


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_1.pkl", "anything"])
def test_pickles_are_refused_with_what_to_use(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    path = folder / name
    path.write_bytes(pickle.dumps({b"data": np.zeros(3), b"labels": [0]}))
    with pytest.raises(DataError, match=r"is a Python pickle.*binary version.*numpy.savez"):
        load_source(path)
    if name == "data_batch_1":
        with pytest.raises(DataError, match="is a Python pickle"):
            load_source(folder)


class Trap:
    """What would happen if it were loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the pickle was loaded",))


@pytest.mark.parametrize("name", ["test_batch", "data.pickle", "data_batch_1.bin", "x.npz"])
def test_no_pickle_is_ever_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError):
        load_source(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has 0 bytes, which is no multiple of 3073"),
        (cifar_batch(2)[:-1], "has 6145 bytes, which is no multiple"),
        (b"\x0a" + cifar_batch(1)[1:], "record 0 of .* has label 10"),
    ],
)
def test_damaged_batches_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_source(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"data": np.zeros((2, 3072), np.uint8)}, "no array 'labels'"),
        ({"data": np.zeros((2, 3072)), "labels": labels(2)}, "has type float64"),
        ({"data": np.zeros((2, 3, 32, 32), np.uint8), "labels": labels(2)}, "shape"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": labels(3)}, "one label per image"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": np.zeros(2)}, "whole numbers"),
    ],
)
def test_npz_batches_of_another_form_are_refused(
    tmp_path: Path, arrays: dict[str, object], words: str
) -> None:
    (tmp_path / "data_batch_1.npz").write_bytes(npz(**arrays))
    with pytest.raises(DataError, match=words):
        load_source(tmp_path)


def test_batches_are_measured_before_they_are_unpacked(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path / "cifar")
    with pytest.raises(DataError, match="the limit is 20000; split it"):
        load_source(folder, limits=DataLimits(max_bytes=20_000))
    with pytest.raises(DataError, match=r"data_batch_1.bin unpacks to 12292"):
        load_source(folder, limits=DataLimits(max_bytes=10_000))


def test_a_list_of_other_names_is_left_alone(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path / "cifar")
    (folder / "batches.meta.txt").write_text("one\ntwo\n")
    assert load_source(folder, split="test").classes == ()
