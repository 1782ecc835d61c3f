"""Networks as the checker reads them compute what onnxruntime computes, up to float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy import sparse

from solvers.proof import CheckedNetwork, UnsupportedProofError, read_network
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.network import Affine, dense
from solvers.proof.parts.float32 import float32_error
from tests.helpers.networks import mlp, model, node, parse

Array = NDArray[Any]
BENCHMARKS = Path(__file__).parents[4] / "shared" / "benchmarks"
LARGEST = 60_000
"""Values of a network; two generators of images are larger and take long to bound."""


def networks_of_benchmarks() -> list[Path]:
    files = sorted(BENCHMARKS.glob("*/onnx/*.onnx"))
    return [f for f in files if "ACASXU" not in f.name or "_1_1_" in f.name]


def run_onnx(content: bytes, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return np.asarray(session.run([session.get_outputs()[0].name], {given.name: x})[0])


def assert_agrees(content: bytes, network: CheckedNetwork, x: Array) -> None:
    """Compare the result for one float32 input with bounds at that point and the float32 error."""
    point = x.astype(np.float64).reshape(1, -1)
    enclosure = Enclosure.of(network, Region(point, point))
    low, high = enclosure.lower[network.output][0], enclosure.upper[network.output][0]
    assert np.max(high - low) <= 1e-6 * (1 + np.abs(low).max())
    rows = np.eye(len(low))[np.linspace(0, len(low) - 1, min(len(low), 12), dtype=int)]
    error = float32_error(enclosure, rows)[0]
    got = run_onnx(content, x.astype(np.float32).reshape(network.input_shape)).ravel()
    assert got.size == low.size
    chosen = rows @ got.astype(np.float64)
    assert np.all(rows @ low - error <= chosen)
    assert np.all(chosen <= rows @ high + error)
    # An error that allows everything would make the comparison empty.
    assert np.max(np.abs(chosen - rows @ low)) <= 1e-3 * (1 + np.abs(low).max())


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the shared benchmarks are not here")
@pytest.mark.parametrize("path", networks_of_benchmarks(), ids=lambda path: path.stem[:40])
def test_benchmark_networks_agree_with_onnxruntime(path: Path) -> None:
    content = path.read_bytes()
    network = read_network(content)
    if sum(network.sizes) > LARGEST:
        pytest.skip("the network is too large to be bounded in a test")
    rng = np.random.default_rng(0)
    assert_agrees(content, network, rng.uniform(0, 1, network.sizes[0]))


W = np.random.default_rng(1)


def normal(*shape: int) -> Array:
    return W.normal(size=shape).astype(np.float32)


CASES: Mapping[str, tuple[tuple[int, ...], list[onnx.NodeProto], dict[str, Array]]] = {
    "gemm": ((1, 3), [node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0, transB=1)],
             {"w": normal(4, 3), "b": normal(4)}),
    "gemm rows": ((2, 3), [node("Gemm", ["x", "w"], ["y"])], {"w": normal(3, 4)}),
    "matmul left": ((3, 2), [node("MatMul", ["w", "x"], ["y"])], {"w": normal(4, 3)}),
    "matmul rows": ((1, 2, 3), [node("MatMul", ["x", "w"], ["y"])], {"w": normal(3, 4)}),
    "conv": ((1, 4, 5, 6), [node("Conv", ["x", "w", "b"], ["y"], group=2, strides=[2, 1],
             pads=[1, 0, 2, 1], dilations=[1, 2])], {"w": normal(6, 2, 3, 2), "b": normal(6)}),
    "conv 1d": ((1, 2, 7), [node("Conv", ["x", "w"], ["y"], pads=[1, 1])], {"w": normal(3, 2, 3)}),
    "conv same": ((1, 1, 5, 5), [node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER",
                  strides=[2, 2])], {"w": normal(2, 1, 4, 4)}),
    "conv same lower": ((1, 1, 5, 5), [node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER")],
                        {"w": normal(2, 1, 2, 2)}),
    "transposed": ((1, 4, 3, 4), [node("ConvTranspose", ["x", "w", "b"], ["y"], group=2,
                   strides=[2, 3], pads=[1, 0, 1, 1], output_padding=[1, 0], dilations=[2, 1])],
                   {"w": normal(4, 3, 2, 3), "b": normal(6)}),
    "batch normalization": ((1, 3, 2, 2), [node("BatchNormalization", ["x", "g", "s", "m", "v"],
                            ["y"], epsilon=0.01)],
                            {"g": normal(3), "s": normal(3), "m": normal(3), "v": normal(3) ** 2}),
    "average": ((1, 2, 5, 5), [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2],
                strides=[2, 2], pads=[1, 1, 1, 0])], {}),
    "average padded": ((1, 2, 4, 4), [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3],
                       pads=[1, 1, 1, 1], count_include_pad=1)], {}),
    "global average": ((1, 2, 3, 4), [node("GlobalAveragePool", ["x"], ["y"])], {}),
    "max pool": ((1, 2, 5, 5), [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 1],
                 pads=[1, 0, 0, 1])], {}),
    "reduce mean": ((1, 2, 3, 4), [node("ReduceMean", ["x"], ["y"], axes=[1, 3], keepdims=0)], {}),
    "reduce sum": ((1, 2, 3), [node("ReduceSum", ["x", "a"], ["y"])], {"a": np.array([2])}),
    "add spread": ((1, 3, 1), [node("Add", ["b", "x"], ["y"])], {"b": normal(1, 3, 4)}),
    "sub from": ((1, 3), [node("Sub", ["b", "x"], ["y"])], {"b": normal(1, 3)}),
    "mul": ((1, 3, 2), [node("Mul", ["b", "x"], ["y"])], {"b": normal(3, 1)}),
    "div": ((1, 3), [node("Div", ["x", "b"], ["y"])], {"b": np.array([3.0, -7.0, 0.1], "f")}),
    "neg": ((1, 3), [node("Neg", ["x"], ["y"])], {}),
    "residual": ((1, 3), [node("Relu", ["x"], ["r"]), node("Add", ["r", "x"], ["s"]),
                 node("Sub", ["s", "r"], ["y"])], {}),
    "concat": ((1, 3), [node("Relu", ["x"], ["r"]),
               node("Concat", ["x", "b", "r"], ["y"], axis=1)],
               {"b": normal(1, 2)}),
    "split": ((1, 6), [node("Split", ["x", "s"], ["a", "b"], axis=1),
              node("Concat", ["b", "a"], ["y"], axis=1)],
              {"s": np.array([2, 4])}),
    "slice": ((1, 6), [node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
              {"s": np.array([-1]), "e": np.array([-9]), "a": np.array([1]), "t": np.array([-2])}),
    "gather": ((2, 3), [node("Gather", ["x", "i"], ["y"], axis=1)], {"i": np.array([2, -3])}),
    "pad": ((1, 2, 3), [node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 1, 0, 0, 0, 2])}),
    "shapes": ((1, 2, 3), [node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
               node("Unsqueeze", ["t", "a"], ["u"]), node("Squeeze", ["u", "a"], ["q"]),
               node("Reshape", ["q", "s"], ["r"]), node("Identity", ["r"], ["d"]),
               node("Dropout", ["d"], ["f"]), node("Cast", ["f"], ["c"], to=TensorProto.FLOAT),
               node("Flatten", ["c"], ["y"], axis=0)],
               {"a": np.array([0]), "s": np.array([0, -1])}),
    "flatten from the end": ((1, 2, 3), [node("Flatten", ["x"], ["f"], axis=-1),
                             node("Transpose", ["f"], ["y"])], {}),
    "reduce sum over no axes": ((1, 2, 3), [node("ReduceSum", ["x", "a"], ["s"]),
                                node("Relu", ["s"], ["y"])], {"a": np.zeros(0, np.int64)}),
    "squeeze no axes": ((1, 2, 1), [node("Squeeze", ["x", "a"], ["s"]),
                        node("Add", ["s", "b"], ["y"])],
                        {"a": np.zeros(0, np.int64), "b": normal(2)}),
    "large whole numbers": ((1, 2), [node("Cast", ["u"], ["c"], to=TensorProto.FLOAT),
                            node("Mul", ["x", "c"], ["y"])], {"u": np.array([2**63, 5], "u8")}),
    "average same": ((1, 1, 4, 4), [node("AveragePool", ["x"], ["y"], auto_pad="SAME_LOWER",
                     kernel_shape=[3, 3], strides=[2, 2])], {}),
    "leaky": ((1, 5), [node("LeakyRelu", ["x"], ["y"], alpha=0.2)], {}),
    "clip": ((1, 5), [node("Clip", ["x", "l", "u"], ["y"])],
             {"l": np.array(-0.3, "f"), "u": np.array(0.4, "f")}),
    "abs": ((1, 5), [node("Abs", ["x"], ["y"])], {}),
    "sign": ((1, 5), [node("Sign", ["x"], ["y"])], {}),
    "sigmoid": ((1, 5), [node("Sigmoid", ["x"], ["y"])], {}),
    "tanh": ((1, 5), [node("Tanh", ["x"], ["y"])], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_operator_agrees_with_onnxruntime(name: str) -> None:
    shape, nodes, weights = CASES[name]
    content = model(nodes, shape=shape, weights=weights)
    network = read_network(content)
    rng = np.random.default_rng(2)
    for scale in (1.0, 30.0):
        assert_agrees(content, network, scale * rng.normal(size=network.sizes[0]))


@pytest.mark.parametrize("axes", [[2, 0], [-2, -1], [0, 2], [-1, 0], [3, 0, -4]])
def test_axes_are_put_in_where_the_result_has_them(axes: list[int]) -> None:
    content = model([node("Unsqueeze", ["x"], ["y"], axes=axes)], shape=(2, 3), opset=11)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert read_network(content).vectors["y"] == (0, run_onnx(content, x).shape)


@pytest.mark.parametrize("operator", ["Gather", "Split", "Flatten"])
def test_axes_that_are_left_out_are_those_of_onnx(operator: str) -> None:
    given = {"Gather": ["x", "i"], "Split": ["x", "s"], "Flatten": ["x"]}[operator]
    outputs = ["a", "b"] if operator == "Split" else ["a"]
    nodes = [node(operator, given, outputs), node("Relu", ["a"], ["y"])]
    weights = {"i": np.array([1, 0, 1]), "s": np.array([1, 2])}
    used = {name: value for name, value in weights.items() if name in given}
    content = model(nodes, shape=(3, 2, 2), weights=used)
    assert_agrees(content, read_network(content), np.random.default_rng(4).normal(size=12))


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_rows_times_a_convolution_are_rows_times_its_matrix(operator: str) -> None:
    weight = normal(3, 4, 2, 3) if operator == "ConvTranspose" else normal(4, 3, 2, 3)
    nodes = [node(operator, ["x", "w"], ["y"], strides=[2, 1], pads=[1, 0, 0, 2])]
    network = read_network(model(nodes, shape=(1, 3, 6, 5), weights={"w": weight}))
    (operation,) = network.operations
    assert isinstance(operation, Affine)
    (term,) = operation.terms
    assert (term.product is None) == (operator == "ConvTranspose")
    rows = np.random.default_rng(0).normal(size=(5, network.sizes[1]))
    np.testing.assert_allclose(term.back(rows), rows @ dense(term.matrix), atol=1e-12)
    index, signs = np.array([3, 0, 7]), np.array([1.0, -1.0, 1.0])
    single = sparse.csr_array((signs, index, np.arange(4)), shape=(3, network.sizes[1]))
    np.testing.assert_array_equal(term.back(single), dense(term.matrix)[index] * signs[:, None])


def test_a_constant_is_not_added_where_something_else_reads_the_sum_before_it() -> None:
    """Reshape gives the same vector another name; Relu must not see what is added under that."""
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Reshape", ["m", "s"], ["r"]),
        node("Add", ["r", "b"], ["a"]),
        node("Relu", ["m"], ["p"]),
        node("Sub", ["a", "p"], ["y"]),
    ]
    weights = {"w": normal(3, 4), "s": np.array([1, 4]), "b": normal(1, 4)}
    content = model(nodes, shape=(1, 3), weights=weights)
    assert_agrees(content, read_network(content), np.array([0.3, -1.0, 2.0]))


def test_a_constant_is_added_in_place_where_nothing_else_reads_the_sum_before_it() -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])]
    content = model(nodes, shape=(1, 3), weights={"w": normal(3, 4), "b": normal(1, 4)})
    network = read_network(content)
    _, added = network.operations
    assert isinstance(added, Affine)
    assert [term.source for term in added.terms] == [0]
    assert_agrees(content, network, np.array([0.3, -1.0, 2.0]))


def test_one_name_for_two_tensors_is_refused() -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Abs", ["x"], ["r"]), node("Neg", ["r"], ["y"])]
    with pytest.raises(UnsupportedProofError, match="name of something else"):
        read_network(model(nodes, shape=(1, 3)))


@pytest.mark.parametrize("operator", ["Sigmoid", "Tanh"])
def test_the_stated_error_of_curves_holds_for_onnxruntime(operator: str) -> None:
    content = model([node(operator, ["x"], ["y"])], shape=(1, 40_001))
    x = np.linspace(-40, 40, 40_001).astype(np.float32)
    got = run_onnx(content, x[None])[0].astype(np.float64)
    wide = x.astype(np.float64)
    exact = np.tanh(wide) if operator == "Tanh" else 1 / (1 + np.exp(-wide))
    assert np.max(np.abs(got - exact)) <= 4 * 2.0**-23


def test_normalisation_goes_in_front_per_channel() -> None:
    content = model([node("Relu", ["x"], ["y"])], shape=(1, 2, 1, 2))
    network = read_network(content, ([0.5, 0.25], [0.5, 2.0]))
    x = np.array([[1.0, 0.5, 1.25, 0.25]])
    enclosure = Enclosure.of(network, Region(x, x))
    np.testing.assert_allclose(enclosure.lower[network.output], [[1, 0, 0.5, 0]], atol=1e-15)
    with pytest.raises(UnsupportedProofError, match="3 means do not fit"):
        read_network(content, ([0.5] * 3, [1.0] * 3))
    with pytest.raises(UnsupportedProofError, match="not positive"):
        read_network(content, ([0.5], [0.0]))


def test_a_final_softmax_is_dropped_and_named() -> None:
    nodes = [node("Gemm", ["x", "w"], ["z"]), node("Softmax", ["z"], ["y"])]
    network = read_network(model(nodes, shape=(1, 3), weights={"w": normal(3, 4)}))
    assert network.dropped == "Softmax"
    assert network.output == network.names["z"]
    inside = [*nodes, node("Relu", ["y"], ["r"])]
    kept = read_network(model(inside, shape=(1, 3), weights={"w": normal(3, 4)}, outputs=("r",)))
    assert kept.dropped is None
    assert "the rule of Softmax" in kept.used


REFUSED = {
    "operator": ([node("Erf", ["x"], ["y"])], {}, "Erf.*not supported"),
    "attribute": ([node("Relu", ["x"], ["y"], mystery=1)], {}, "mystery.*not understood"),
    "division by zero": ([node("Div", ["x", "b"], ["y"])], {"b": np.zeros(3, "f")}, "by zero"),
    "rounded constant": (
        [node("Add", ["a", "b"], ["c"]), node("Add", ["x", "c"], ["y"])],
        {"a": np.full((1, 3), 0.1, "f"), "b": np.full((1, 3), 1e9, "f")},
        "constant with rounding",
    ),
    "whole numbers that overflow": (
        [node("Add", ["u", "u"], ["s"]), node("Cast", ["s"], ["c"], to=TensorProto.FLOAT),
         node("Mul", ["x", "c"], ["y"])],
        {"u": np.full((1, 3), 2**31 - 1, np.int32)},
        "may overflow",
    ),
    "factors that overflow": (
        [node("Mul", ["u", "u"], ["s"]), node("Cast", ["s"], ["c"], to=TensorProto.FLOAT),
         node("Mul", ["x", "c"], ["y"])],
        {"u": np.full((1, 3), 2**40, np.int64)},
        "may overflow",
    ),
    "pads beside auto_pad": (
        [node("Reshape", ["x", "s"], ["r"]),
         node("AveragePool", ["r"], ["y"], auto_pad="VALID", pads=[1, 1], kernel_shape=[2])],
        {"s": np.array([1, 1, 3])},
        "auto_pad and pads",
    ),
    "statistics of the batch": (
        [node("BatchNormalization", ["x", *"gsmv"], ["y", "a", "b"])],
        {name: np.ones(3, "f") for name in "gsmv"},
        "training mode",
    ),
    "a step back from nowhere": (
        [node("Slice", ["x", *"seat"], ["y"])],
        {"s": np.array([-9]), "e": np.array([-19]), "a": np.array([1]), "t": np.array([-1])},
        "empty",
    ),
    "a split into more parts than it has names for": (
        [node("Split", ["x", "s"], ["y"], axis=1)], {"s": np.array([1, 1, 1])}, "malformed",
    ),
    "constants beyond what is bounded": (
        [node("Mul", ["x", "b"], ["y"])], {"b": np.array([1e-100])}, "beyond",
    ),
    "infinite weight": (
        [node("Gemm", ["x", "w"], ["y"])], {"w": np.full((3, 2), np.inf, "f")}, "not finite",
    ),
    "reflection": (
        [node("Pad", ["x", "p"], ["y"], mode="reflect")],
        {"p": np.array([0, 1, 0, 1])},
        "constant padding",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(name: str) -> None:
    nodes, weights, reason = REFUSED[name]
    with pytest.raises(UnsupportedProofError, match=reason):
        read_network(model(nodes, shape=(1, 3), weights=weights))


def test_names_and_versions_that_mean_two_things_are_refused() -> None:
    twice = parse(mlp())
    twice.graph.initializer.append(twice.graph.initializer[0])
    with pytest.raises(UnsupportedProofError, match="same name"):
        read_network(twice.SerializeToString())
    versions = parse(mlp())
    versions.opset_import.append(helper.make_opsetid("ai.onnx", 7))
    with pytest.raises(UnsupportedProofError, match="2 versions"):
        read_network(versions.SerializeToString())
    attributes = parse(mlp())
    (first, *_) = attributes.graph.node
    first.attribute.append(first.attribute[0])
    with pytest.raises(UnsupportedProofError, match="given twice"):
        read_network(attributes.SerializeToString())


def test_a_network_that_computes_in_float64_in_between_is_not_one_of_float32() -> None:
    """What is rounded on the way back is not part of the error of float32 inference."""
    nodes = [
        node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        node("Clip", ["d", "l"], ["c"]),
        node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    content = model(nodes, shape=(1, 1), weights={"l": np.array(0.1)})
    assert not read_network(content).graph.single
    assert read_network(mlp()).graph.single


def test_a_file_that_is_no_network_is_refused() -> None:
    with pytest.raises(UnsupportedProofError):
        read_network(b"\xff not a network")


def test_data_outside_the_file_is_refused() -> None:
    proto = parse(mlp())
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    with pytest.raises(UnsupportedProofError, match="outside"):
        read_network(proto.SerializeToString())


def test_operators_of_other_domains_are_refused() -> None:
    proto = parse(mlp())
    proto.graph.node[0].domain = "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedProofError, match=r"com\.example"):
        read_network(proto.SerializeToString())
