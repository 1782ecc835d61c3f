"""Walk an ONNX graph and build the canonical one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper
from torch import Tensor

from models.errors import ModelImportError, TightropeError, UnsupportedOperatorError
from models.network import Network
from models.onnx_file.limits import ImportLimits
from models.onnx_file.reader import GraphInput, graph_inputs, node_label, opset_of
from models.onnx_file.tail import Tail, find_tail, needed_nodes
from models.onnx_import.builder import Builder
from models.onnx_import.call import Call
from models.onnx_import.folding import fold
from models.onnx_import.table import HANDLERS
from models.onnx_import.values import Activation, Known, Value
from models.operators import Reshape, Take

__all__ = ["import_model"]

_WEIGHT_TYPES = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})


def import_model(model: ModelProto, data: bytes, *, name: str, limits: ImportLimits) -> Network:
    """Build the canonical network of a parsed model.

    Args:
        model: What `parse_model` returned.
        data: The bytes it was parsed from; they stay with the network.
        name: For people.
        limits: On computed tensors.

    Raises:
        UnsupportedOperatorError: A node, or an attribute of one, is not supported.
        ModelImportError: The graph breaks ONNX's rules or holds values that cannot be used.
    """
    entries = graph_inputs(model.graph)
    tail = find_tail(model.graph)
    nodes = needed_nodes(model.graph, tail.output)
    reserved = {name for node in model.graph.node for name in node.output}
    reserved.update(entry.name for entry in entries)
    builder = Builder(_entry(entries), limits, reserved)
    for entry in entries:
        if any(axis > 0 for axis in entry.symbolic):
            builder.note(f"open axes of the input {entry.name!r} count as 1: shape {entry.shape}")
    if any(entry.dtype == np.float16 for entry in entries):
        builder.note("the network computes in float16; its rounding is not part of the bounds")
    values = _stored_values(model, builder)
    values.update(_inputs(builder, entries))
    _Walk(builder, values, nodes, opset=opset_of(model), output=tail.output).run()
    result = values.get(tail.output)
    if not isinstance(result, Activation):
        raise ModelImportError(f"the network's output {tail.output!r} does not depend on its input")
    _note_tail(builder, tail, result, opset=opset_of(model))
    return Network(
        graph=builder.graph(result.node),
        parameters=_parameters(builder),
        trainable=frozenset(builder.trainable - builder.frozen),
        name=name,
        sha256=sha256(data).hexdigest(),
        source=data,
        notes=tuple(builder.notes),
        dropped=str(tail.dropped[-1].op_type) if tail.dropped else None,
    )


def _entry(entries: Sequence[GraphInput]) -> GraphInput:
    """Return the input of the new graph: the only one, or all of them in one flat tensor."""
    if len(entries) == 1:
        return entries[0]
    dtype = np.result_type(*(entry.dtype for entry in entries))
    joined = "+".join(entry.name for entry in entries)
    return GraphInput(joined, (sum(entry.size for entry in entries),), dtype, ())


def _inputs(builder: Builder, entries: Sequence[GraphInput]) -> dict[str, Value]:
    """Return the value of every ONNX input, cut out of the flat one where there are several."""
    if len(entries) == 1:
        return {entries[0].name: builder.input}
    values: dict[str, Value] = {}
    parts, first = [], 0
    for entry in entries:
        end = first + entry.size
        stem = f"{entry.name}/part"
        part = builder.emit(
            stem, Take(0, tuple(range(first, end))), [builder.input.node], dtype=entry.dtype
        )
        values[entry.name] = builder.emit(
            stem, Reshape(entry.shape), [part.node], dtype=entry.dtype
        )
        parts.append(f"{entry.name!r} {entry.shape} from {first}")
        first = end
    builder.note(
        f"the network has {len(entries)} inputs; they are one flat input of {first} values, each "
        f"in row-major order: {', '.join(parts)}"
    )
    return values


def _stored_values(model: ModelProto, builder: Builder) -> dict[str, Value]:
    """Return the initializers as constants."""
    values: dict[str, Value] = {}
    for tensor in model.graph.initializer:
        if tensor.name in values:
            raise ModelImportError(f"two initializers are named {tensor.name!r}")
        values[tensor.name] = builder.file_tensor(tensor.name, read_tensor(tensor, tensor.name))
    return values


def read_tensor(tensor: TensorProto, name: str) -> NDArray[Any]:
    """Return a stored tensor as an array.

    Raises:
        ModelImportError: Its data do not fit its shape, or its type is unknown.
    """
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelImportError(f"tensor {name!r} is damaged: {error}") from error


class _Walk:
    """One pass over the nodes."""

    def __init__(
        self,
        builder: Builder,
        values: dict[str, Value],
        nodes: Sequence[NodeProto],
        *,
        opset: int,
        output: str,
    ) -> None:
        self.builder = builder
        self.opset = opset
        self.values = values
        self.nodes = nodes
        self.wanted = {name for node in nodes for name in node.input} | {output}

    def run(self) -> None:
        """Import every node in turn."""
        for proto in self.nodes:
            call = self._call(proto)
            mark = len(self.builder.nodes)
            try:
                results = self._results(call, proto)
            except TightropeError:
                raise
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise call.malformed(reason[0]) from error
            self._keep(call, results, mark)

    def _call(self, proto: NodeProto) -> Call:
        label = node_label(proto)
        inputs: list[Value | None] = []
        for source in proto.input:
            if source and source not in self.values:
                raise ModelImportError(
                    f"node {label!r} ({proto.op_type}) reads {source!r}, which no earlier node "
                    "computes"
                )
            inputs.append(self.values[source] if source else None)
        return Call(
            name=label,
            operator=proto.op_type,
            opset=self.opset,
            attributes={entry.name: _attribute(entry) for entry in proto.attribute},
            inputs=tuple(inputs),
            outputs=tuple(proto.output),
            builder=self.builder,
        )

    def _results(self, call: Call, proto: NodeProto) -> Sequence[Value]:
        if call.operator == "Constant":
            return [self._constant(call, proto)]
        if all(not isinstance(value, Activation) for value in call.inputs):
            return fold(call, proto)
        handler = HANDLERS.get(call.operator)
        if handler is None:
            raise call.unsupported(_REASONS.get(call.operator, ""))
        return handler(call)

    def _constant(self, call: Call, proto: NodeProto) -> Known:
        """Return the value of a Constant node; one that holds weights can be trained."""
        name = call.outputs[0]
        value = next(iter(call.attributes.values()), None)
        if isinstance(value, TensorProto):
            array = read_tensor(value, name)
            return self.builder.file_tensor(name, array)
        if proto.attribute and proto.attribute[0].name in _CONSTANT_TYPES:
            array = np.asarray(value, dtype=_CONSTANT_TYPES[proto.attribute[0].name])
            return self.builder.file_tensor(name, array)
        raise call.unsupported(f"attributes {sorted(call.attributes)}")

    def _keep(self, call: Call, results: Sequence[Value], mark: int) -> None:
        """Give the results their ONNX names, and refuse outputs that no handler computes."""
        fresh = {node.name for node in self.builder.nodes[mark:]}
        names: dict[str, str] = {}
        for output, value in zip(call.outputs, results, strict=False):
            if output and isinstance(value, Activation) and value.node in fresh:
                names.setdefault(value.node, output)
        self.builder.rename_from(mark, names)
        for position, output in enumerate(call.outputs):
            if not output:
                continue
            if position >= len(results):
                if output in self.wanted:
                    raise call.unsupported(f"its output {position} ({output!r}) is used")
                continue
            value = results[position]
            if isinstance(value, Activation):
                value = Activation(names.get(value.node, value.node), value.shape, value.dtype)
            if output in self.values:
                raise ModelImportError(f"two nodes compute {output!r}")
            self.values[output] = value


_CONSTANT_TYPES: Mapping[str, Any] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}
_REASONS: Mapping[str, str] = {
    "ArgMax": "take the scores in front of it as the output instead",
}


def _attribute(entry: AttributeProto) -> Any:  # noqa: ANN401 (an attribute holds any of ten types)
    try:
        value = onnx.helper.get_attribute_value(entry)
    except ValueError as error:
        raise ModelImportError(f"attribute {entry.name!r} cannot be read: {error}") from error
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _note_tail(builder: Builder, tail: Tail, result: Activation, *, opset: int) -> None:
    if tail.ignored:
        builder.note(
            f"the network has several outputs; {tail.declared!r} is used, "
            f"ignored: {', '.join(repr(name) for name in tail.ignored)}"
        )
    for last in tail.dropped:
        _check_one_group(last, result, opset=opset)
        builder.note(
            f"the final {last.op_type} is dropped: outputs are its inputs (logits), whose order "
            "decides the class"
        )


def _check_one_group(last: NodeProto, result: Activation, *, opset: int) -> None:
    """Refuse a Softmax or ArgMax that treats the outputs in several groups."""
    argmax = last.op_type == "ArgMax"
    axis = next((entry.i for entry in last.attribute if entry.name == "axis"), None)
    if axis is None:
        axis = 0 if argmax else -1 if opset >= 13 else 1
    shape = result.shape
    axis = axis % max(1, len(shape))
    # before opset 13 Softmax normalises all axes from `axis` on together
    together = opset < 13 and not argmax
    over = shape[axis:] if together else shape[axis : axis + 1]
    if int(np.prod(over)) != result.size:
        raise UnsupportedOperatorError(
            node=node_label(last),
            operator=last.op_type,
            opset=opset,
            detail=f"it treats shape {shape} in several groups (axis {axis})",
        )


def _parameters(builder: Builder) -> dict[str, Tensor]:
    """Return the parameters in one floating-point type.

    Half precision is widened, because torch computes bounds in float32 at least; a file with any
    float64 tensor is computed in float64.
    """
    wide = any(
        array.dtype == np.float64
        for name, array in builder.stored.items()
        if name not in builder.generated
    )
    dtype = np.float64 if wide or builder.entry.dtype == np.float64 else np.float32
    # copies: arrays of the file are views of read-only memory
    return {
        name: torch.from_numpy(np.array(array, dtype=dtype, order="C"))
        for name, array in builder.stored.items()
    }
