"""Reads an ONNX file into nodes and constants, or refuses it, without knowing what operators mean.

Constants are the numbers of the file, exactly. A single operator that only moves values about can
be run by the reference implementation of ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from solvers.proof.container import ProofError

__all__ = ["MOST", "Graph", "Node", "UnsupportedProofError", "evaluate", "values_of"]

MOST = 2.0**300
"""Largest magnitude of values, and of constants and their inverses: what underflows next to such
numbers is nothing, and coefficients that are computed from constants do not underflow."""
OLDEST = 7
"""Version of operators before which BatchNormalization and Dropout train unless told otherwise."""

Array = NDArray[Any]
Shape = tuple[int, ...]


class UnsupportedProofError(ProofError):
    """The network has an operator, or a use of one, that proofs cannot be checked for."""


@dataclass
class Node:
    """A node of the graph; attributes are taken out as they are understood."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, proto: onnx.NodeProto, opset: int) -> Node:
        """Return a node whose operator and attributes ONNX knows."""
        name = proto.name or (proto.output[0] if proto.output else "?")
        node = cls(proto.op_type, list(proto.input), list(proto.output), name)
        domain = proto.domain
        node.require(node.outputs and node.outputs[0], "its first output has no name")
        node.require(domain in {"", "ai.onnx"}, f"it belongs to the domain {domain!r}")
        node.require(onnx.defs.has(proto.op_type), "the operator is not supported")
        known = onnx.defs.get_schema(proto.op_type, opset, "").attributes
        for attribute in proto.attribute:
            node.require(attribute.name in known, f"attribute {attribute.name} is not understood")
            node.require(attribute.name not in node.attributes, "an attribute is given twice")
            node.attributes[attribute.name] = helper.get_attribute_value(attribute)
        return node

    def take(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an attribute, which then counts as understood."""
        return self.attributes.pop(name, default)

    def require(self, condition: object, reason: str) -> None:
        """Refuse the network unless a condition holds."""
        if not condition:
            where = f"node {self.name!r} ({self.operator})"
            raise UnsupportedProofError(f"{where} cannot be checked: {reason}")


@dataclass(frozen=True, eq=False)
class Graph:
    """What a file holds: one input, one output of interest, nodes in order.

    Attributes:
        nodes: In the order of the file.
        constants: By name, float64 or whole numbers of their own type.
        input_name, output_name: Of the first output.
        input_shape: Symbolic dimensions count as 1.
        opset: Version of the operators.
        single: Whether all numbers are held and computed in float32.
        content: Of the file.
    """

    nodes: Sequence[Node]
    constants: Mapping[str, Array]
    input_name: str
    output_name: str
    input_shape: Shape
    opset: int
    single: bool
    content: bytes

    @classmethod
    def read(cls, content: bytes) -> Graph:
        """Read the content of a file.

        Raises:
            UnsupportedProofError: It is no such file, or holds what is not understood.
        """
        try:
            return cls._of(onnx.load_model_from_string(content), content)
        except UnsupportedProofError:
            raise
        except Exception as error:  # of many kinds
            raise UnsupportedProofError(f"the network is no ONNX file: {error}") from error

    @classmethod
    def _of(cls, model: onnx.ModelProto, content: bytes) -> Graph:
        graph = model.graph
        opsets = {s.version for s in model.opset_import if s.domain in {"", "ai.onnx"}}
        _require(len(opsets) == 1, f"the network states {len(opsets)} versions of operators")
        (opset,) = opsets
        newest = onnx.defs.onnx_opset_version()
        known = OLDEST <= opset <= newest
        _require(known, f"version {opset} of operators is none of those from {OLDEST} to {newest}")
        nodes = [Node.of(proto, opset) for proto in graph.node]
        plain = not graph.sparse_initializer and not model.functions
        _require(plain, "sparse initializers and functions cannot be checked")
        constants = {tensor.name: values_of(tensor) for tensor in graph.initializer}
        once = len(constants) == len(graph.initializer)
        _require(once, "two initializers have the same name")
        inputs = [value for value in graph.input if value.name not in constants]
        one = len(inputs) == 1 and graph.output
        _require(one, f"the network has {len(inputs)} inputs; one is allowed")
        kind = inputs[0].type.tensor_type
        shaped = kind.HasField("shape") and "" not in {*constants, inputs[0].name}
        _require(shaped, "the input has no shape, or something has no name")
        floats = kind.elem_type in {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
        _require(floats, "the input is neither float32 nor float64")
        shape = tuple(max(d.dim_value, 1) for d in kind.shape.dim)
        names, single = (inputs[0].name, graph.output[0].name), not _has_doubles(graph, kind)
        return cls(nodes, constants, *names, shape, opset, single, content)


def _has_doubles(graph: onnx.GraphProto, given: onnx.TypeProto.Tensor) -> bool:
    """Return whether some numbers have more digits than float32, so that runtimes round them."""
    held = [given.elem_type, *(tensor.data_type for tensor in graph.initializer)]
    held += [a.t.data_type for n in graph.node if n.op_type == "Constant" for a in n.attribute]
    held += [a.i for n in graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"]
    return onnx.TensorProto.DOUBLE in held


def values_of(tensor: onnx.TensorProto) -> Array:
    """Return the numbers of a tensor in float64, or as whole numbers of their own type."""
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    _require(not external, f"{tensor.name!r} is stored outside the network's file")
    array = np.asarray(numpy_helper.to_array(tensor))
    if array.dtype.kind in "iub":
        return array  # of its own type, in which runtimes compute with it
    known = array.dtype in (np.float32, np.float64)
    _require(known, f"{tensor.name!r} holds numbers of type {array.dtype}")
    sizes = np.abs(array[(array != 0) & np.isfinite(array)].astype(np.float64))
    inside = np.all((sizes >= 1 / MOST) & (sizes <= MOST))
    _require(inside, f"{tensor.name!r} holds numbers beyond {MOST:.0e}")
    return array.astype(np.float64)


def evaluate(node: Node, inputs: Sequence[Array | None], opset: int) -> list[Array]:
    """Run an operator on constants by the reference implementation of ONNX.

    Args:
        node: Its operator, attributes and number of outputs count.
        inputs: None for one that is left out.
        opset: Version of the operator.
    """
    fed = {f"x{i}": value for i, value in enumerate(inputs) if value is not None}
    names = [f"x{i}" if f"x{i}" in fed else "" for i in range(len(inputs))]
    while names and not names[-1]:
        names.pop()
    results = [f"y{i}" for i in range(len(node.outputs))]
    proto = helper.make_node(node.operator, names, results, **node.attributes)
    version = helper.make_opsetid("", opset)
    function = helper.make_function("checker", "one", list(fed), results, [proto], [version])
    found = ReferenceEvaluator(function).run(None, fed, {})
    node.require(prod(np.asarray(part).size for part in found), "its result is empty")
    return [np.asarray(part) for part in found]


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise UnsupportedProofError(reason)
