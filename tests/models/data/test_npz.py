"""Data sets: what is read, what is refused, and how it meets a network."""

from __future__ import annotations

import io
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import DataError, Dataset, ShapeError, TightropeError, load_dataset, load_network
from models.data import fit_dataset
from tests.helpers.networks import Array, cnn, mlp, model, node


def saved(*, pickled: bool = False, **arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=pickled, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


X = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
Y = np.asarray([0, 1, 2, 1])


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    path.write_bytes(saved(x=X, y=Y))
    dataset = load_dataset(path)
    assert (dataset.name, len(dataset), dataset.shape) == ("digits", 4, (6,))
    assert dataset.sha256 == sha256(path.read_bytes()).hexdigest()
    assert (dataset.x.dtype, dataset.y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(dataset.x, X)
    np.testing.assert_array_equal(dataset.y, Y)
    assert load_dataset(str(path), name="mine").name == "mine"


def test_bytes_are_scaled_to_the_unit_interval() -> None:
    pixels = np.asarray([[0, 51, 255]], dtype=np.uint8)
    dataset = load_dataset(saved(x=pixels, y=[0]))
    np.testing.assert_array_equal(dataset.x, pixels.astype(np.float32) / np.float32(255))
    assert dataset.x.max() == 1.0


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.dtype(">f4")])
def test_other_floating_point_types(dtype: np.dtype[np.floating]) -> None:
    x = np.asarray([[0.25, -3.0]], dtype=dtype)
    np.testing.assert_array_equal(load_dataset(saved(x=x, y=[0])).x, [[0.25, -3.0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_labels_of_any_whole_type(dtype: type[np.integer]) -> None:
    y = Y.astype(dtype)
    np.testing.assert_array_equal(load_dataset(saved(x=X, y=y)).y, Y)


def test_column_major_arrays() -> None:
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(load_dataset(saved(x=x, y=[0, 1])).x, x)


def test_compressed_files_and_further_arrays() -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=X, y=Y, names=np.asarray(["a", "b"]))
    assert len(load_dataset(stream.getvalue())) == 4


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:0], Y[:0], "is empty"),
        (X[:, :0], Y, "is empty"),
        (X, Y[:3], "4 inputs, y 3 labels"),
        (X, Y.reshape(4, 1), "expected \\(count, ...\\)"),
        (np.float32(1), Y, "expected \\(count, ...\\)"),
        (X, np.asarray([0, 1, -1, 0]), "label -1 of input 2 is negative"),
        (X, Y.astype(np.float32), "'y' has type float32; expected whole numbers"),
        (X.astype(np.int64), Y, "'x' has type int64; expected uint8"),
        (X.astype(str), Y, "'x' has type <U"),
        (X > 0, Y, "'x' has type bool"),
        (np.full((4, 6), 1e300), Y, "input 0 holds NaN or infinite"),
        (X, np.full(4, 2**63, np.uint64), "no class label"),
    ],
)
def test_arrays_that_cannot_be_used(x: Array, y: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(saved(x=x, y=y))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_counted(value: float) -> None:
    x = X.copy()
    x[2, 3] = value
    with pytest.raises(DataError, match="input 2 holds NaN or infinite"):
        load_dataset(saved(x=x, y=Y))


def test_pickled_objects_are_never_loaded() -> None:
    x = np.asarray([np.ones(2), np.ones(3), None, None], dtype=object)
    with pytest.raises(DataError, match="'x' holds pickled Python objects"):
        load_dataset(saved(pickled=True, x=x, y=Y))


@pytest.mark.parametrize("missing", ["x", "y"])
def test_a_missing_array_is_named(missing: str) -> None:
    arrays = {"x": X, "y": Y, "z": Y}
    del arrays[missing]
    with pytest.raises(DataError, match=f"no array '{missing}' \\(found: .*'z'"):
        load_dataset(saved(**arrays))


@pytest.mark.parametrize("data", [b"", b"text", npy(X), saved(x=X, y=Y)[:-30]])
def test_files_that_are_no_archive(data: bytes) -> None:
    with pytest.raises(DataError, match="not an npz file, or it is damaged"):
        load_dataset(data)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npz.*No such file"):
        load_dataset(tmp_path / "absent.npz")


def test_an_archive_of_something_else() -> None:
    with pytest.raises(DataError, match="'x' is not in numpy's format"):
        load_dataset(zipped(x=b"not an array at all", y=npy(Y)))


def test_an_archive_is_measured_before_it_is_unpacked() -> None:
    bomb = zipped(x=npy(np.zeros((1000, 1000), np.uint8)), y=npy(np.zeros(1000, np.int64)))
    assert len(bomb) < 10_000
    with pytest.raises(DataError, match="unpacks to 1008256 bytes, the limit is 100000"):
        load_dataset(bomb, max_bytes=100_000)


def test_a_header_cannot_claim_more_than_there_is() -> None:
    huge = npy(np.zeros(10, np.float32)).replace(b"(10,), }    ", b"(10000000,),}")
    assert huge != npy(np.zeros(10, np.float32))
    with pytest.raises(DataError, match="declares shape \\(10000000,\\)"):
        load_dataset(zipped(x=huge, y=npy(Y)))


@given(position=st.floats(0.0, 0.999), value=st.integers(0, 255))
def test_damaged_files_load_or_say_why(position: float, value: int) -> None:
    data = bytearray(saved(x=X, y=Y))
    data[int(len(data) * position)] = value
    try:
        load_dataset(bytes(data))
    except TightropeError as error:
        assert str(error)


def dataset(*shape: int, labels: int = 3) -> Dataset:
    count = 5
    x = np.random.default_rng(0).uniform(size=(count, *shape)).astype(np.float32)
    return Dataset(x, np.arange(count) % labels)


@pytest.mark.parametrize("shape", [(36,), (6, 6), (1, 6, 6), (1, 1, 6, 6), (6, 6, 1), (1, 36)])
def test_inputs_take_the_shape_of_the_network(shape: tuple[int, ...]) -> None:
    network = load_network(cnn())
    fitted = dataset(*shape).fit(network)
    assert fitted.shape == network.input_shape == (1, 1, 6, 6)
    np.testing.assert_array_equal(fitted.x.reshape(5, -1), dataset(*shape).x.reshape(5, -1))


def test_images_become_flat() -> None:
    network = load_network(mlp((12, 4, 3)))
    assert fit_dataset(dataset(3, 2, 2), network).shape == (1, 12)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 6, 2), r"\(6, 6, 2\), the network takes \(1, 2, 6, 6\); the channels stand last"),
        ((1, 6, 6, 2), "numpy.moveaxis\\(x, -1, 1\\)"),
        ((12, 6), "reshape or transpose"),
        ((36, 2), "reshape or transpose"),
        ((2, 6, 7), "as many numbers"),
        ((35,), "as many numbers"),
    ],
)
def test_inputs_are_never_reordered(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        fit_dataset(dataset(*shape), load_network(cnn(channels=2)))


def test_channels_first_towards_a_network_with_channels_last() -> None:
    network = load_network(channels_last())
    with pytest.raises(ShapeError, match="stand first"):
        fit_dataset(dataset(2, 6, 5), network)
    assert fit_dataset(dataset(6, 5, 2), network).shape == (1, 6, 5, 2)


def channels_last() -> bytes:
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    weights: dict[str, NDArray[np.float32]] = {"w": np.ones((60, 3), np.float32)}
    return model(nodes, shape=(1, 6, 5, 2), weights=weights)


def test_labels_beyond_the_outputs_are_named() -> None:
    with pytest.raises(
        DataError, match="label 3 of input 3 is outside the network's classes 0 to 2"
    ):
        fit_dataset(dataset(36, labels=4), load_network(cnn()))


def test_an_archive_of_very_many_members_is_not_opened() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for index in range(1001):
            archive.writestr(f"{index}.npy", b"")
    with pytest.raises(DataError, match="about 1001 arrays, the limit is 1000"):
        load_dataset(stream.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_numpy_does_not_write_is_refused(method: int) -> None:
    """Python unpacks a whole piece of it at once, whatever that comes to."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, array in (("x", X), ("y", Y)):
            archive.writestr(f"{name}.npy", npy(array))
    with pytest.raises(DataError, match="in a way that numpy does not use"):
        load_dataset(stream.getvalue())


@pytest.mark.parametrize(
    "header",
    [
        "(" * 5000,
        "-" * 9000 + "1",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2.0), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (1099511627776,), }",
        "{'descr': ('<f4', (1073741824,)), 'fortran_order': False, 'shape': (9,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
        "__import__('os').abort()",
    ],
)
def test_headers_with_tricks_are_refused(header: str) -> None:
    text = header.encode() + b"\n"
    member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)
    with pytest.raises(DataError):
        load_dataset(zipped(x=member, y=npy(Y)))


def test_few_bytes_cannot_stand_for_many_labels() -> None:
    with pytest.raises(DataError, match=r"'y' unpacks to 32000 bytes, the limit is 20000"):
        load_dataset(saved(x=X, y=np.zeros(4000, np.int8)), max_bytes=20_000)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(saved(x=X, y=Y))
    with pytest.raises(DataError, match=r"d\.npz unpacks to"):
        load_dataset(path, max_bytes=100)
