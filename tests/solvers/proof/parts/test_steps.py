"""Networks of products, powers, waves and Softmax: nothing crosses what the checker derives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from solvers.proof import read_network
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.onnx_file import UnsupportedProofError

FloatArray = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
Nodes = Sequence[onnx.NodeProto]
node = helper.make_node


def model(
    nodes: Nodes,
    shape: Sequence[int],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 13,
) -> bytes:
    """Return a network from `x` to `y`."""
    held = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(
        list(nodes),
        "steps",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        held,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(made.SerializeToString())


def outputs(content: bytes, x: FloatArray) -> FloatArray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    shape = [size or 1 for size in session.get_inputs()[0].shape]
    rows = [session.run(None, {"x": one.astype(np.float32).reshape(shape)})[0] for one in x]
    return np.stack([np.asarray(row, dtype=np.float64).ravel() for row in rows])


def attention() -> Nodes:
    return [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["x", "t"], ["scores"]),
        node("Softmax", ["scores"], ["weights"], axis=2),
        node("MatMul", ["weights", "x"], ["y"]),
    ]


def positive(name: str) -> list[onnx.NodeProto]:
    """Return nodes from `x` to something from 1 up."""
    return [node("Mul", ["x", "x"], [f"{name}.s"]), node("Add", [f"{name}.s", "one"], [name])]


ONE = {"one": np.ones(1, dtype=np.float32)}
HALVES = {**ONE, "sizes": np.array([2, 2], dtype=np.int64)}
NETWORKS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "square": (model([node("Mul", ["x", "x"], ["y"])], [1, 4]), (1, 4)),
    "product": (
        model(
            [node("Split", ["x", "sizes"], ["a", "b"], axis=1), node("Mul", ["a", "b"], ["y"])],
            [1, 4],
            HALVES,
        ),
        (1, 4),
    ),
    "spread": (
        model(
            [
                node("ReduceSum", ["x"], ["s"], keepdims=1),
                node("Relu", ["x"], ["r"]),
                node("Mul", ["s", "r"], ["y"]),
            ],
            [1, 4],
        ),
        (1, 4),
    ),
    "quotient": (model([*positive("p"), node("Div", ["x", "p"], ["y"])], [1, 4], ONE), (1, 4)),
    "constant over": (
        model([*positive("p"), node("Div", ["one", "p"], ["y"])], [1, 4], ONE),
        (1, 4),
    ),
    "waves": (
        model(
            [node("Sin", ["x"], ["a"]), node("Cos", ["x"], ["b"]), node("Mul", ["a", "b"], ["y"])],
            [1, 4],
        ),
        (1, 4),
    ),
    "cube": (
        model(
            [node("Pow", ["x", "three"], ["y"])],
            [1, 4],
            {"three": np.array(3.0, dtype=np.float32)},
        ),
        (1, 4),
    ),
    "exp": (model([node("Exp", ["x"], ["y"])], [1, 4]), (1, 4)),
    "inverse": (model([*positive("p"), node("Reciprocal", ["p"], ["y"])], [1, 4], ONE), (1, 4)),
    "softmax": (
        model(
            [node("Softmax", ["x"], ["s"], axis=1), node("Mul", ["s", "x"], ["y"])],
            [1, 4],
        ),
        (1, 4),
    ),
    "attention": (model(attention(), [1, 3, 2]), (1, 3, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.01, 0.5, 2.0]))
def test_no_sample_crosses_a_bound(name: str, seed: int, width: float) -> None:
    content, shape = NETWORKS[name]
    generator = np.random.default_rng(seed)
    size = int(np.prod(shape))
    lower = generator.normal(size=(1, size)).astype(np.float32).astype(np.float64)
    upper = lower + width * generator.random((1, size))
    network = read_network(content)
    enclosure = Enclosure.of(network, Region(lower, upper))
    x = lower + generator.random((40, size)) * (upper - lower)
    x[0], x[1] = lower[0], upper[0]
    y = outputs(content, x)
    slack = 1e-4 * (1 + np.abs(y))  # of float32
    low, high = enclosure.lower[network.output], enclosure.upper[network.output]
    assert (low <= y + slack).all()
    assert (y - slack <= high).all()
    rows = generator.normal(size=(3, y.shape[1]))
    least = enclosure.backward(network.output, rows)
    assert (least <= y @ rows.T + 1e-4 * (1 + np.abs(y)) @ np.abs(rows.T)).all()
    if width == 0.0:
        assert (high - low <= 1e-9 * (1 + np.abs(y[0]))).all()


def exact_product(x: list[Fraction]) -> list[Fraction]:
    return [x[0] * x[2], x[1] * x[3]]


def exact_quotient(x: list[Fraction]) -> list[Fraction]:
    return [z / (z * z + 1) for z in x]


EXACT: dict[str, Callable[[list[Fraction]], list[Fraction]]] = {
    "product": exact_product,
    "square": lambda x: [z * z for z in x],
    "cube": lambda x: [z**3 for z in x],
    "quotient": exact_quotient,
    "constant over": lambda x: [1 / (z * z + 1) for z in x],
}


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from([0.0, 1e-9, 0.3]))
def test_bounds_hold_in_rational_arithmetic(name: str, seed: int, width: float) -> None:
    """Without any allowance: rounding is the checker's own business."""
    content, _ = NETWORKS[name]
    generator = np.random.default_rng(seed)
    lower = generator.normal(size=(1, 4)) * 10.0 ** generator.integers(-3, 3)
    upper = lower + width * generator.random((1, 4)) * np.abs(lower)
    network = read_network(content)
    enclosure = Enclosure.of(network, Region(lower, upper))
    row = generator.normal(size=(1, len(EXACT[name]([Fraction(1)] * 4))))
    least = Fraction(enclosure.backward(network.output, row).item())
    for number in range(6):
        share = generator.random(4) if number < 3 else generator.random(4).round()
        ends = zip(lower[0].tolist(), upper[0].tolist(), share.tolist(), strict=True)
        x = [Fraction(a) + Fraction(s) * (Fraction(b) - Fraction(a)) for a, b, s in ends]
        y = EXACT[name](x)
        assert least <= sum(
            (Fraction(c) * value for c, value in zip(row[0], y, strict=True)), Fraction(0)
        )
        for place, value in enumerate(y):
            assert Fraction(enclosure.lower[network.output][0, place]) <= value
            assert value <= Fraction(enclosure.upper[network.output][0, place])


def test_bounds_of_products_are_as_close_as_planes_allow() -> None:
    """Planes through two corners lie half of width·width below the other two."""
    content, _ = NETWORKS["product"]
    network = read_network(content)
    enclosure = Enclosure.of(network, Region(-np.ones((1, 4)), np.ones((1, 4))))
    assert enclosure.lower[network.output] == pytest.approx(-1.0)
    narrow = Enclosure.of(network, Region(np.full((1, 4), 0.9), np.ones((1, 4))))
    least = narrow.backward(network.output, np.array([[1.0, 1.0]]))
    assert least == pytest.approx(2 * (0.81 - 0.005), abs=1e-9)


def shapes_model() -> bytes:
    """Return x + c, where c is put together from constants as exporters do it."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "first"], ["row"]),
        node("Concat", ["row", "four"], ["wanted"], axis=0),
        node("Equal", ["wanted", "minus"], ["none"]),
        node("Where", ["none", "minus", "wanted"], ["settled"]),
        node("Expand", ["c", "settled"], ["spread"]),
        node("ConstantOfShape", ["wanted"], ["zeros"]),
        node("Add", ["zeros", "spread"], ["added"]),
        node("Add", ["x", "added"], ["y"]),
    ]
    constants = {
        "zero": np.array(0, dtype=np.int64),
        "first": np.array([0], dtype=np.int64),
        "four": np.array([4], dtype=np.int64),
        "minus": np.array([-1, -1], dtype=np.int64),
        "c": np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32),
    }
    return model(nodes, [1, 4], constants)


def test_shapes_are_computed() -> None:
    content = shapes_model()
    network = read_network(content)
    x = np.array([[1.0, 2.0, 3.0, 4.0]])
    enclosure = Enclosure.of(network, Region(x, x))
    assert enclosure.lower[network.output] == pytest.approx(outputs(content, x), rel=1e-6)


def refused(nodes: Nodes, constants: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedProofError, match=reason):
        read_network(model(nodes, [1, 4], constants))


def test_what_is_not_understood_is_refused() -> None:
    half = {"e": np.array(0.5, dtype=np.float32)}
    refused([node("Pow", ["x", "e"], ["y"])], half, "its exponent is 0.5")
    several = {"e": np.array([2.0, 3.0, 2.0, 2.0], dtype=np.float32)}
    refused([node("Pow", ["x", "e"], ["y"])], several, "several exponents")
    axes = {"e": np.full((1, 1, 1), 2.0, dtype=np.float32)}
    refused([node("Pow", ["x", "e"], ["y"])], axes, "more axes")
    turned = [node("Softmax", ["x"], ["s"], axis=0), node("Relu", ["s"], ["y"])]
    refused(turned, {}, "not taken over the last axis")
    tenth = {name: np.array([value], dtype=np.float32) for name, value in (("a", 0.1), ("b", 1e9))}
    summed = [node("Add", ["a", "b"], ["c"]), node("Add", ["x", "c"], ["y"])]
    refused(summed, tenth, "computes a constant with rounding")
    multiplied = [node("Mul", ["a", "b"], ["c"]), node("Add", ["x", "c"], ["y"])]
    refused(multiplied, tenth, "computes a constant with rounding")


def test_constants_keep_their_type() -> None:
    """Whole numbers of 32 bits wrap around where those of 64 do not: they are not multiplied."""
    small = helper.make_tensor("value", TensorProto.INT32, [1], [70_000])
    nodes = [
        node("ConstantOfShape", ["size"], ["a"], value=small),
        node("Mul", ["a", "a"], ["b"]),
        node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        node("Add", ["x", "c"], ["y"]),
    ]
    refused(nodes, {"size": np.array([4], dtype=np.int64)}, "computes a constant with rounding")
