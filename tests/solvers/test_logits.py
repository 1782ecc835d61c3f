"""A dropped Softmax must never change what a specification means."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from models import load_network
from models.errors import SpecificationError
from models.network import Network
from solvers.logits import require_same_meaning
from solvers.problem import Box, Case, Clause, Problem, Specification


def network_ending_in(operator: str | None) -> Network:
    nodes = [helper.make_node("Relu", ["x"], ["z" if operator else "y"])]
    if operator:
        nodes.append(helper.make_node(operator, ["z"], ["y"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return load_network(model.SerializeToString())


def problem(*rows: list[float], offset: float = 0.0) -> Problem:
    clause = Clause(np.array(rows), np.full(len(rows), offset))
    box = Box(np.zeros((1, 3)), np.ones((1, 3)))
    return Problem((Case(box, Specification((clause,))),))


COMPARISON = [1.0, -1.0, 0.0]
BALANCED = [1.0, 1.0, -2.0]
VALUE = [1.0, 0.0, 0.0]
SOFTMAX = network_ending_in("Softmax")


@pytest.mark.parametrize(
    ("operator", "asked", "fits"),
    [
        ("Softmax", problem(COMPARISON), True),
        ("Softmax", problem(COMPARISON, [0.0, -2.0, 2.0]), True),
        ("Softmax", problem(COMPARISON, VALUE), False),
        ("Softmax", problem(COMPARISON, offset=0.1), False),
        ("Softmax", problem(BALANCED), False),
        ("Softmax", problem(VALUE, offset=0.5), False),
        ("LogSoftmax", problem(BALANCED, offset=0.1), True),
        ("LogSoftmax", problem(VALUE), False),
        (None, problem(VALUE, offset=0.5), True),
    ],
)
def test_only_what_survives_is_decided(operator: str | None, asked: Problem, fits: bool) -> None:
    network = network_ending_in(operator)
    if fits:
        require_same_meaning(network, asked)
        return
    with pytest.raises(SpecificationError, match=f"ends in {operator}, which import drops"):
        require_same_meaning(network, asked)


@given(
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=3, max_size=3),
    st.sampled_from([0.0, 0.25]),
)
def test_a_condition_that_is_let_through_means_the_same(
    logits: list[float], row: list[float], offset: float
) -> None:
    z = np.array(logits)
    asked = problem(row, offset=offset)
    try:
        require_same_meaning(SOFTMAX, asked)
    except SpecificationError:
        return
    (clause,) = asked.cases[0].specification.clauses
    shares = np.exp(z) / np.exp(z).sum()
    # Rounding may merge logits that differ in the last digits, so near ties are left out.
    if abs(clause.margin(z)) > 1e-9:
        assert (clause.margin(z) <= 0) == (clause.margin(shares) <= 0)


def test_nothing_said_of_a_class_number_is_decided_on_logits() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["z"]),
        helper.make_node("ArgMax", ["z"], ["y"], axis=-1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    network = load_network(model.SerializeToString())
    with pytest.raises(SpecificationError, match="ends in ArgMax"):
        require_same_meaning(network, problem([1.0, -1.0, 0.0]))
