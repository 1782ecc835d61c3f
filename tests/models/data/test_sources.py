"""One function for every source: what it recognises, which part it gives, what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from cli.options import BUILT_IN_DATA, SPLIT_NAMES
from models.data import BUILT_IN, SPLITS, SplitOptions, load_source
from models.errors import DataError, InvalidInputError
from tests.helpers.data_files import write_mnist

X = np.linspace(0, 1, 40, dtype=np.float32).reshape(10, 4)
Y = np.arange(10) % 2


def test_an_npz_of_one_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    for split in (None, "all", "auto"):
        assert len(load_source(tmp_path / "d.npz", split=split)) == 10
    counts = [
        len(load_source(str(tmp_path / "d.npz"), split=split))
        for split in ("train", "validation", "test")
    ]
    assert counts == [7, 1, 2]
    other = load_source(tmp_path / "d.npz", split="test", options=SplitOptions(test=0.5))
    assert len(other) == 5


def test_an_npz_with_parts_and_names(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "d.npz", x_train=X[:6], y_train=Y[:6], x_test=X[6:], y_test=Y[6:],
        classes=np.array(["even", "odd"]),
    )  # fmt: skip
    whole = load_source(tmp_path / "d.npz")
    assert {name: part.tolist() for name, part in whole.splits.items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "test": [6, 7, 8, 9],
    }
    assert whole.classes == ("even", "odd")
    np.testing.assert_array_equal(load_source(tmp_path / "d.npz", split="auto").x, X[6:])
    assert len(load_source(tmp_path / "d.npz", split="validation")) == 1


def test_an_array_called_classes_that_names_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=Y, classes=np.array([2]))
    assert load_source(tmp_path / "d.npz").classes == ()


def test_parts_of_different_shapes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, x_test=X[:, :3], y_test=Y)
    with pytest.raises(DataError, match="inputs of different shapes"):
        load_source(tmp_path / "d.npz")


def test_only_the_part_that_is_asked_for_is_read(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "mnist")
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    assert len(load_source(folder, split="test")) == 6
    with pytest.raises(DataError, match="ends within its header"):
        load_source(folder)


def test_digits_are_built_in() -> None:
    whole = load_source("digits")
    assert (len(whole), whole.shape, whole.name) == (1797, (1, 8, 8), "digits")
    assert (whole.x.min(), whole.x.max()) == (0.0, 1.0)
    assert whole.classes == tuple("0123456789")
    test = load_source("digits", split="auto")
    assert len(test) == 359
    assert np.bincount(test.y).min() >= 34
    np.testing.assert_array_equal(load_source("digits", split="test").x, test.x)
    train = {row.tobytes() for row in load_source("digits", split="train").x}
    assert len(whole.splits["train"]) == 1797 - 359
    assert not train & {row.tobytes() for row in test.x}


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load_source("digits")


def test_a_file_called_as_a_built_in_set_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_mnist(tmp_path / "digits")
    assert len(load_source("digits", split="all")) == 15


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such file or folder; give an \.npz"):
        load_source(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no data of a known format; give an \.npz"):
        load_source(tmp_path / "empty")
    (tmp_path / "a.csv").write_text("x,y\n")
    with pytest.raises(DataError, match="not an npz file"):
        load_source(tmp_path / "a.csv")
    with pytest.raises(InvalidInputError, match="there is no split 'dev'; give one of auto, all"):
        load_source("digits", split="dev")


def test_a_name_of_choice(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    assert load_source(tmp_path / "d.npz", name="mine").name == "mine"


def test_the_command_line_knows_the_same_names() -> None:
    assert tuple(BUILT_IN) == BUILT_IN_DATA
    assert SPLITS == SPLIT_NAMES
