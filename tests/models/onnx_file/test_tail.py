"""Where a graph ends, which nodes it needs, and the sessions that run it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto

from models import ModelImportError
from models.onnx_file.reader import in_half_precision
from models.onnx_file.session import open_session
from models.onnx_file.tail import find_tail, needed_nodes
from tests.helpers.networks import mlp, model, node, parse


def graph(*nodes: NodeProto, outputs: tuple[str, ...] = ("y",)) -> GraphProto:
    return parse(model(nodes, shape=(1, 3), outputs=outputs)).graph


def test_an_ordinary_end() -> None:
    tail = find_tail(graph(node("Relu", ["x"], ["y"])))
    assert (tail.output, tail.dropped, tail.declared, tail.ignored) == ("y", (), "y", ())


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end(operator: str) -> None:
    tail = find_tail(graph(node("Relu", ["x"], ["z"]), node(operator, ["z"], ["y"])))
    assert tail.output == "z"
    assert [last.op_type for last in tail.dropped] == [operator]


def test_an_argmax_behind_a_softmax() -> None:
    nodes = [node("Softmax", ["x"], ["p"]), node("Identity", ["p"], ["i"])]
    nodes += [node("ArgMax", ["i"], ["c"], axis=-1), node("Squeeze", ["c"], ["y"])]
    tail = find_tail(graph(*nodes))
    assert tail.output == "x"
    assert [last.op_type for last in tail.dropped] == ["Softmax", "ArgMax"]


def test_a_softmax_behind_an_argmax_is_not_looked_behind() -> None:
    tail = find_tail(graph(node("ArgMax", ["x"], ["c"]), node("Softmax", ["c"], ["y"])))
    assert tail.output == "c"


@pytest.mark.parametrize("passive", ["Identity", "Flatten", "Squeeze", "Dropout"])
def test_passive_nodes_behind_a_softmax(passive: str) -> None:
    tail = find_tail(graph(node("Softmax", ["x"], ["p"]), node(passive, ["p"], ["y"])))
    assert (tail.output, tail.declared) == ("x", "y")


def test_passive_nodes_without_a_softmax_stay() -> None:
    tail = find_tail(graph(node("Relu", ["x"], ["z"]), node("Flatten", ["z"], ["y"])))
    assert tail.output == "y"


def test_a_transpose_behind_a_softmax_is_not_passive() -> None:
    tail = find_tail(graph(node("Softmax", ["x"], ["p"]), node("Transpose", ["p"], ["y"])))
    assert (tail.output, tail.dropped) == ("y", ())


def test_circles_and_nodes_without_inputs_come_to_an_end() -> None:
    circle = graph(node("Identity", ["y"], ["z"]), node("Identity", ["z"], ["y"]))
    assert find_tail(circle).dropped == ()
    assert len(needed_nodes(circle, "y")) == 2
    assert find_tail(graph(node("Identity", [], ["y"]))).output == "y"
    assert find_tail(graph(node("Softmax", [], ["y"]))).output == "y"


def test_needed_nodes_keep_their_order() -> None:
    found = needed_nodes(
        graph(
            node("Relu", ["x"], ["a"]),
            node("Tanh", ["x"], ["unused"]),
            node("Neg", ["a"], ["b"]),
            node("Add", ["a", "b"], ["y"]),
        ),
        "y",
    )
    assert [entry.op_type for entry in found] == ["Relu", "Neg", "Add"]


def test_further_outputs_are_listed() -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["z"])]
    assert find_tail(graph(*nodes, outputs=("z", "y"))).ignored == ("y",)


def test_half_precision_is_recognised() -> None:
    assert not in_half_precision(parse(mlp()).graph)
    assert in_half_precision(parse(mlp(dtype=np.float16)).graph)
    to_half = node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16)
    to_single = node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)
    assert in_half_precision(graph(to_half, to_single))
    assert not in_half_precision(graph(node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)))


def test_sessions_run_on_one_thread() -> None:
    session = open_session(mlp())
    assert session.get_session_options().intra_op_num_threads == 1
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_what_a_session_refuses_is_one_line() -> None:
    with pytest.raises(ModelImportError, match="onnxruntime cannot run this network") as caught:
        open_session(b"nothing")
    assert "\n" not in str(caught.value)
