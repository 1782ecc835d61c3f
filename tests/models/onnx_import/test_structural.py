"""Operators that move, select, join or pad values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models import ModelImportError, UnsupportedOperatorError, load_network
from models.operators import Constant, Pad, Take
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node


def whole(*numbers: int) -> Array:
    return np.asarray(numbers, dtype=np.int64)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2])
def test_flatten(axis: int) -> None:
    assert_agrees(model([node("Flatten", ["x"], ["y"], axis=axis)], shape=(2, 3, 4)))


@pytest.mark.parametrize(
    ("target", "allowzero"),
    [((24,), 0), ((-1,), 0), ((4, -1), 0), ((0, -1), 0), ((0, 0, 2, -1), 0), ((6, 4), 1)],
)
def test_reshape(target: tuple[int, ...], allowzero: int) -> None:
    nodes = [node("Reshape", ["x", "s"], ["y"], allowzero=allowzero)]
    assert_agrees(model(nodes, shape=(2, 3, 4), weights={"s": whole(*target)}, opset=14))


@pytest.mark.parametrize("target", [(5,), (5, -1), (-1, -1), (-2, 12)])
def test_impossible_reshapes(target: tuple[int, ...]) -> None:
    data = model(
        [node("Reshape", ["x", "s"], ["y"])], shape=(2, 3, 4), weights={"s": whole(*target)}
    )
    with pytest.raises(ModelImportError, match="'n_y' \\(Reshape\\) is malformed"):
        load_network(data)


@pytest.mark.parametrize("permutation", [None, [0, 2, 1], [2, 0, 1], [0, 1, 2]])
def test_transpose(permutation: list[int] | None) -> None:
    attributes: dict[str, Any] = {} if permutation is None else {"perm": permutation}
    assert_agrees(model([node("Transpose", ["x"], ["y"], **attributes)], shape=(2, 3, 4)))


@pytest.mark.parametrize("axes", [None, [0], [0, 2], [-2]])
@pytest.mark.parametrize("opset", [11, 13])
def test_squeeze(opset: int, axes: list[int] | None) -> None:
    data = with_axes("Squeeze", axes, opset, (1, 3, 1, 4))
    assert_agrees(data)


@pytest.mark.parametrize("axes", [[0], [0, 3], [-1], [1, -1]])
@pytest.mark.parametrize("opset", [11, 13])
def test_unsqueeze(opset: int, axes: list[int]) -> None:
    if opset < 13 and min(axes) < 0:
        axes = [axis % (2 + len(axes)) for axis in axes]
    assert_agrees(with_axes("Unsqueeze", axes, opset, (3, 4)))


def with_axes(operator: str, axes: list[int] | None, opset: int, shape: tuple[int, ...]) -> bytes:
    if axes is None:
        return model([node(operator, ["x"], ["y"])], shape=shape, opset=opset)
    if opset < 13:
        return model([node(operator, ["x"], ["y"], axes=axes)], shape=shape, opset=opset)
    nodes = [node(operator, ["x", "axes"], ["y"])]
    return model(nodes, shape=shape, opset=opset, weights={"axes": whole(*axes)})


def test_squeezing_a_long_axis_is_malformed() -> None:
    with pytest.raises(ModelImportError, match="not all of size 1"):
        load_network(with_axes("Squeeze", [1], 13, (1, 3)))


@pytest.mark.parametrize("axes", [[0, 0], []])
def test_impossible_unsqueezes(axes: list[int]) -> None:
    with pytest.raises(ModelImportError, match="Unsqueeze"):
        load_network(with_axes("Unsqueeze", axes, 13, (1, 3)))


@given(
    starts=st.tuples(st.integers(-7, 7), st.integers(-7, 7)),
    ends=st.tuples(st.integers(-7, 7), st.sampled_from([-(2**31), -7, -1, 0, 3, 2**31])),
    steps=st.tuples(st.sampled_from([-2, -1, 1, 2]), st.sampled_from([-3, -1, 1, 3])),
    axes=st.sampled_from([(0, 1), (1, 0), (-1, 0)]),
)
def test_slice(
    starts: Sequence[int], ends: Sequence[int], steps: Sequence[int], axes: Sequence[int]
) -> None:
    shape = (5, 4)
    assume(
        all(
            range(shape[axis])[start:end:step]
            for start, end, step, axis in zip(starts, ends, steps, axes, strict=True)
        )
    )
    weights = {
        "s": whole(*starts), "e": whole(*ends), "a": whole(*axes), "t": whole(*steps)
    }  # fmt: skip
    assert_agrees(model([node("Slice", ["x", *weights], ["y"])], shape=shape, weights=weights))


def test_slice_by_attributes_before_opset_10() -> None:
    nodes = [node("Slice", ["x"], ["y"], starts=[1, -3], ends=[1000, -1], axes=[0, 2])]
    assert assert_agrees(model(nodes, shape=(3, 2, 5), opset=9)).output_shape == (2, 2, 2)


def test_slice_without_axes() -> None:
    weights = {"s": whole(0, 1), "e": whole(2, 3)}
    assert_agrees(model([node("Slice", ["x", "s", "e"], ["y"])], shape=(3, 4, 2), weights=weights))


def test_a_full_slice_leaves_no_node() -> None:
    weights = {"s": whole(0), "e": whole(99)}
    nodes = [node("Slice", ["x", "s", "e"], ["z"]), node("Relu", ["z"], ["y"])]
    network = assert_agrees(model(nodes, shape=(3, 4), weights=weights))
    assert [entry.name for entry in network.graph.nodes] == ["x", "y"]


def test_an_empty_slice_is_refused() -> None:
    weights = {"s": whole(2), "e": whole(2)}
    with pytest.raises(ModelImportError, match="selects nothing"):
        load_network(model([node("Slice", ["x", "s", "e"], ["y"])], shape=(3, 4), weights=weights))


@pytest.mark.parametrize(
    ("opset", "attributes", "sizes"),
    [
        (11, {"axis": 1, "split": [1, 3, 2]}, None),
        (11, {"axis": -1}, None),
        (13, {"axis": 1}, [2, 2, 2]),
        (13, {"axis": 1}, [4, 1, 1]),
        (18, {"axis": 1, "num_outputs": 3}, None),
    ],
)
def test_split(opset: int, attributes: dict[str, Any], sizes: list[int] | None) -> None:
    weights = {} if sizes is None else {"sizes": whole(*sizes)}
    nodes = [
        node("Split", ["x", *weights], ["a", "b", "c"], **attributes),
        node("Concat", ["c", "a", "b"], ["y"], axis=1),
    ]
    assert_agrees(model(nodes, shape=(2, 6), weights=weights, opset=opset))


def test_split_with_a_short_last_part() -> None:
    nodes = [
        node("Split", ["x"], ["a", "b", "c"], axis=1, num_outputs=3),
        node("Concat", ["c", "a", "b"], ["y"], axis=1),
    ]
    network = assert_agrees(model(nodes, shape=(1, 7), opset=18))
    assert network.graph.node("c").shape == (1, 1)


def test_split_into_wrong_sizes_is_malformed() -> None:
    data = model([node("Split", ["x"], ["y", "b"], axis=1, split=[1, 3])], shape=(2, 6), opset=11)
    with pytest.raises(ModelImportError, match="do not split"):
        load_network(data)


@pytest.mark.parametrize(
    ("indices", "axis"),
    [
        (np.asarray(2), 1),
        (np.asarray([0, -1, 1]), 1),
        (np.asarray([[0, 1], [1, 0]]), 0),
        (np.asarray([[3]]), -1),
        (np.asarray(-1), 0),
    ],
)
def test_gather(indices: Array, axis: int) -> None:
    data = model(
        [node("Gather", ["x", "i"], ["y"], axis=axis)], shape=(2, 4), weights={"i": indices}
    )
    assert_agrees(data)


def test_gather_outside_the_axis_is_malformed() -> None:
    data = model([node("Gather", ["x", "i"], ["y"])], shape=(2, 4), weights={"i": whole(2)})
    with pytest.raises(ModelImportError, match="outside axis 0"):
        load_network(data)


def test_gather_by_computed_indices_is_refused() -> None:
    data = model(
        [node("Gather", ["c", "x"], ["y"])], shape=(2,), weights={"c": np.ones((3, 2), np.float32)}
    )
    with pytest.raises(UnsupportedOperatorError, match="expected an activation"):
        load_network(data)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_with_a_constant(axis: int) -> None:
    weights = {"c": np.arange(6, dtype=np.float32).reshape(2, 3)}
    network = assert_agrees(
        model([node("Concat", ["c", "x", "c"], ["y"], axis=axis)], shape=(2, 3), weights=weights)
    )
    assert any(isinstance(entry.operator, Constant) for entry in network.graph.nodes)
    assert network.trainable == {"c"}


def test_concat_of_one() -> None:
    nodes = [node("Concat", ["x"], ["c"], axis=0), node("Relu", ["c"], ["y"])]
    assert_agrees(model(nodes, shape=(2, 3)))


@pytest.mark.parametrize("pads", [[0, 1, 2, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, -1, 2, -1]])
@pytest.mark.parametrize("opset", [9, 11, 13])
def test_pad(opset: int, pads: list[int]) -> None:
    if opset < 11:
        data = model([node("Pad", ["x"], ["y"], pads=pads, value=0.5)], shape=(3, 4), opset=opset)
    else:
        weights = {"p": whole(*pads), "v": np.asarray(0.5, np.float32)}
        nodes = [node("Pad", ["x", "p", "v"], ["y"], mode="constant")]
        data = model(nodes, shape=(3, 4), opset=opset, weights=weights)
    assert_agrees(data)


def test_pad_of_named_axes() -> None:
    weights = {"p": whole(1, 2), "v": np.asarray(0.0, np.float32), "a": whole(-1)}
    network = assert_agrees(
        model([node("Pad", ["x", *weights], ["y"])], shape=(3, 4), opset=18, weights=weights)
    )
    assert network.graph.node("y").operator == Pad(((0, 0), (1, 2)), 0.0)


def test_cropping_pad_selects() -> None:
    nodes = [node("Pad", ["x"], ["y"], pads=[0, -1, 0, 0])]
    network = assert_agrees(model(nodes, shape=(3, 4), opset=9))
    assert network.graph.node("y").operator == Take(1, (1, 2, 3))


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_other_ways_of_padding_are_refused(mode: str) -> None:
    nodes = [node("Pad", ["x"], ["y"], pads=[0, 1, 0, 1], mode=mode)]
    with pytest.raises(UnsupportedOperatorError, match=mode):
        load_network(model(nodes, shape=(3, 4), opset=9))


def test_padding_with_infinity_is_refused() -> None:
    nodes = [node("Pad", ["x"], ["y"], pads=[0, 1, 0, 1], value=float("-inf"))]
    with pytest.raises(UnsupportedOperatorError, match="inf"):
        load_network(model(nodes, shape=(3, 4), opset=9))


@pytest.mark.parametrize("axis", [2, -3])
def test_axes_that_do_not_exist(axis: int) -> None:
    nodes = [node("Concat", ["x", "x"], ["y"], axis=axis)]
    with pytest.raises(ModelImportError, match="does not exist"):
        load_network(model(nodes, shape=(3, 4)))
