"""MNIST's idx files: read as they are published, refused where they are damaged."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import DataLimits, load_source
from models.errors import DataError, TightropeError
from tests.helpers.data_files import idx, images, labels, write_mnist


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_a_folder_has_both_parts(tmp_path: Path, packed: bool, dot: bool) -> None:
    whole = load_source(write_mnist(tmp_path / "mnist", packed=packed, dot=dot))
    assert (whole.name, whole.shape, len(whole)) == ("mnist", (1, 4, 4), 15)
    assert {name: len(part) for name, part in whole.splits.items()} == {"test": 6, "train": 9}
    test = load_source(tmp_path / "mnist", split="test")
    expected = images(6, seed=len("t10k")).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(test.x[:, 0], expected)
    np.testing.assert_array_equal(test.y, labels(6))
    np.testing.assert_array_equal(whole.x[whole.splits["test"]], test.x)


def test_packing_does_not_change_the_hash(tmp_path: Path) -> None:
    plain = load_source(write_mnist(tmp_path / "a"))
    packed = load_source(write_mnist(tmp_path / "b", packed=True))
    assert plain.sha256 == packed.sha256
    assert len(plain.sha256) == 64


def test_one_file_finds_its_other_half(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "mnist", packed=True)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        assert len(load_source(folder / name)) == 6
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels(6)))
    assert len(load_source(folder / "t10k-images-idx3-ubyte.gz")) == 6


def test_two_files_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.bytes").write_bytes(idx(images(3)))
    (tmp_path / "b.bytes").write_bytes(gzip.compress(idx(labels(3))))
    assert len(load_source(f"{tmp_path}/a.bytes,{tmp_path}/b.bytes")) == 3
    with pytest.raises(DataError, match="has no file of labels or images beside it"):
        load_source(tmp_path / "a.bytes")


GOOD = idx(images(3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not begin as an idx file"),
        (b"\0\0\x08", "does not begin as an idx file"),
        (b"\0\0\x08\x09" + bytes(40), "does not begin as an idx file"),
        (b"\x01\0\x08\x03" + GOOD[4:], "does not begin as an idx file"),
        (idx(images(3), kind=13), "holds numbers of type 13; expected 8"),
        (GOOD[:9], "ends within its header"),
        (GOOD[:-1], r"declares shape \(3, 4, 4\), 48 bytes, but holds 47"),
        (GOOD + b"\0", "48 bytes, but holds more"),
        (idx(labels(3)), "a file of images has 3"),
        (idx(images(4)), "holds 4 images, .* 3 labels"),
        (gzip.compress(GOOD)[:-12], "cannot read"),
        (gzip.compress(GOOD)[:10] + bytes(20), "cannot read"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    folder = write_mnist(tmp_path / "mnist", {"train": 3})
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_source(folder)


def test_labels_have_one_axis(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "mnist", {"train": 3})
    (folder / "train-labels-idx1-ubyte").write_bytes(GOOD)
    with pytest.raises(DataError, match="has 3 axes; a file of labels has 1"):
        load_source(folder)


def test_half_of_a_part_is_named(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "mnist")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="has t10k-images-idx3-ubyte but no labels of the part"):
        load_source(folder)


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_cannot_claim_the_memory_of_the_machine(tmp_path: Path, packed: bool) -> None:
    bomb = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**15, 2**15) + bytes(100)
    folder = write_mnist(tmp_path / "mnist", {"train": 3})
    (folder / "train-images-idx3-ubyte").write_bytes(gzip.compress(bomb) if packed else bomb)
    with pytest.raises(DataError, match="the limit is 4294967296; split it"):
        load_source(folder)


@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_taken_for_what_comes_only(tmp_path: Path, packed: bool) -> None:
    claim = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**10, 2**10, 2**10) + bytes(100)
    folder = write_mnist(tmp_path / "mnist", {"train": 3})
    (folder / "train-images-idx3-ubyte").write_bytes(gzip.compress(claim) if packed else claim)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="1073741824 bytes, but holds 100"):
            load_source(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_what_becomes_of_bytes_counts(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "mnist", {"train": 3})
    with pytest.raises(DataError, match="unpacks to 192 bytes, the limit is 100"):
        load_source(folder, limits=DataLimits(max_bytes=100))


@given(position=st.floats(0.0, 0.999), value=st.integers(0, 255), packed=st.booleans())
def test_files_with_a_wrong_byte_load_or_say_why(
    tmp_path_factory: pytest.TempPathFactory, position: float, value: int, packed: bool
) -> None:
    folder = tmp_path_factory.mktemp("idx")
    content = bytearray(gzip.compress(GOOD, mtime=0) if packed else GOOD)
    content[int(len(content) * position)] = value
    (folder / "train-images-idx3-ubyte").write_bytes(bytes(content))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels(3)))
    try:
        assert len(load_source(folder)) == 3
    except TightropeError as error:
        assert str(error)
