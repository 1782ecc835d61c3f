"""From bytes to an ONNX model that is safe to walk: static checks and limits, no evaluation."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.defs import onnx_opset_version

from models.errors import ModelImportError, UnsupportedOperatorError
from models.onnx_file.limits import ImportLimits
from models.onnx_file.scan import check_parts

__all__ = [
    "LOWEST_OPSET",
    "GraphInput",
    "graph_inputs",
    "in_half_precision",
    "node_label",
    "opset_of",
    "parse_model",
    "read_source",
]

LOWEST_OPSET = 7
"""The oldest operator set that is read; broadcasting had other rules before it."""

_GZIP_MAGIC = b"\x1f\x8b"
_OWN_DOMAINS = ("", "ai.onnx")
_INPUT_TYPES: Mapping[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.DOUBLE: np.dtype(np.float64),
    TensorProto.FLOAT16: np.dtype(np.float16),
}
_TENSOR_ATTRIBUTES = (AttributeProto.TENSOR, AttributeProto.TENSORS)
_SUBGRAPH_ATTRIBUTES = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


@dataclass(frozen=True)
class GraphInput:
    """An input of a network.

    Attributes:
        name: In the ONNX graph.
        shape: Symbolic axes as 1.
        dtype: Floating-point type that the file declares.
        symbolic: Axes whose size the file leaves open.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    symbolic: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


def read_source(source: Path | str | bytes, limits: ImportLimits) -> bytes:
    """Return the bytes of an ONNX file, unpacked if they are compressed with gzip.

    Raises:
        ModelImportError: The file cannot be read, or is empty or too large.
    """
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        try:
            if path.stat().st_size > limits.file_bytes:
                raise ModelImportError(_too_large(limits))
            data = path.read_bytes()
        except OSError as error:
            raise ModelImportError(
                f"cannot read the network file {str(source)!r}: {error.strerror or error}"
            ) from error
    if data.startswith(_GZIP_MAGIC):
        data = _unpack(data, limits)
    if not data:
        raise ModelImportError("the network file is empty; expected an ONNX model")
    if len(data) > limits.file_bytes:
        raise ModelImportError(_too_large(limits))
    return data


def _too_large(limits: ImportLimits) -> str:
    return (
        f"the network file is larger than the limit of {limits.file_bytes} bytes; "
        "export a smaller network"
    )


def _unpack(data: bytes, limits: ImportLimits) -> bytes:
    """Unpack gzip, but never more than the limit: a small file can claim to hold terabytes."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(data, limits.file_bytes + 1)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ModelImportError(f"the network file is damaged gzip data: {error}") from error
    if len(unpacked) <= limits.file_bytes and not unpacker.eof:
        raise ModelImportError("the network file is gzip data that ends too early")
    return unpacked


def parse_model(data: bytes, limits: ImportLimits) -> ModelProto:
    """Parse an ONNX model and refuse what is never read.

    Raises:
        ModelImportError: Not ONNX, truncated, too large, external data, or an operator set
            outside the range that is supported.
        UnsupportedOperatorError: A node of another domain, or one that holds a subgraph.
    """
    check_parts(data, limits)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ModelImportError(
            "the file is not an ONNX model, or it is truncated: it cannot be parsed as protobuf"
        ) from error
    if model.ir_version <= 0 or not model.graph.node or not model.graph.output:
        raise ModelImportError(
            "the file is not an ONNX model, or it is truncated: it holds no graph with nodes "
            "and an output"
        )
    opset = opset_of(model)
    if not LOWEST_OPSET <= opset <= onnx_opset_version():
        raise ModelImportError(
            f"the network declares opset {opset}; opsets {LOWEST_OPSET} to "
            f"{onnx_opset_version()} are read; export it again with one of these"
        )
    _refuse_functions(model, opset)
    _refuse_foreign_nodes(model.graph, opset)
    for tensor in _stored_tensors(model.graph):
        _check_stored(tensor, limits)
    return model


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's own operator set.

    Raises:
        ModelImportError: The model declares none.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in _OWN_DOMAINS]
    if not versions:
        raise ModelImportError("the network declares no ONNX operator set (opset_import)")
    return int(max(versions))


def node_label(node: NodeProto) -> str:
    """Return the node's name, or its first output where it has none."""
    return node.name or next((name for name in node.output if name), "(unnamed)")


def _refuse_functions(model: ModelProto, opset: int) -> None:
    if model.functions:
        function = model.functions[0]
        raise UnsupportedOperatorError(
            node=function.name,
            operator=function.name,
            opset=opset,
            detail="model-local functions are not read; inline them (onnx.inliner) first",
        )


def _refuse_foreign_nodes(graph: GraphProto, opset: int) -> None:
    for node in graph.node:
        detail = ""
        if node.domain not in _OWN_DOMAINS:
            detail = f"it belongs to the domain {node.domain!r}"
        elif any(attribute.type in _SUBGRAPH_ATTRIBUTES for attribute in node.attribute):
            detail = "it holds a subgraph"
        if detail:
            raise UnsupportedOperatorError(
                node=node_label(node), operator=node.op_type, opset=opset, detail=detail
            )
    if graph.sparse_initializer:
        raise ModelImportError(
            f"tensor {graph.sparse_initializer[0].values.name!r} is stored sparse, which is not "
            "read; store it dense"
        )


def _stored_tensors(graph: GraphProto) -> Iterable[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type in _TENSOR_ATTRIBUTES:
                yield from (attribute.t, *attribute.tensors)


def _check_stored(tensor: TensorProto, limits: ImportLimits) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelImportError(
            f"tensor {tensor.name!r} is stored outside the file (external data), which is not "
            "read; save the model as a single file"
        )
    if any(size < 0 for size in tensor.dims) or len(tensor.dims) > limits.rank:
        raise ModelImportError(
            f"tensor {tensor.name!r} declares the impossible shape {tuple(tensor.dims)}"
        )
    if prod(tensor.dims) > limits.elements:
        raise ModelImportError(
            f"tensor {tensor.name!r} has {prod(tensor.dims)} elements, "
            f"the limit is {limits.elements}"
        )


def graph_inputs(graph: GraphProto) -> tuple[GraphInput, ...]:
    """Return the inputs that are not initializers, in the order of the file.

    Raises:
        ModelImportError: There is none, or one is not a floating-point tensor of known rank.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in stored]
    if not inputs:
        raise ModelImportError("the network has no input besides its weights")
    return tuple(_described(entry) for entry in inputs)


def _described(entry: ValueInfoProto) -> GraphInput:
    if not entry.type.HasField("tensor_type"):
        raise ModelImportError(f"the input {entry.name!r} is not a tensor")
    kind = entry.type.tensor_type.elem_type
    if kind not in _INPUT_TYPES:
        label = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else kind
        raise ModelImportError(
            f"the input {entry.name!r} has element type {label}; only floating-point inputs "
            "(FLOAT, DOUBLE, FLOAT16) can be perturbed"
        )
    shape, symbolic = _input_shape(entry)
    return GraphInput(entry.name, shape, _INPUT_TYPES[kind], symbolic)


def in_half_precision(graph: GraphProto) -> bool:
    """Tell whether some of the network is computed in float16."""
    if any(entry.dtype == np.float16 for entry in graph_inputs(graph)):
        return True
    return any(
        attribute.name == "to" and attribute.i == TensorProto.FLOAT16
        for node in graph.node
        if node.op_type == "Cast"
        for attribute in node.attribute
    )


def _input_shape(entry: ValueInfoProto) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not entry.type.tensor_type.HasField("shape"):
        raise ModelImportError(
            f"the input {entry.name!r} declares no shape; export the network with one"
        )
    shape: list[int] = []
    symbolic: list[int] = []
    for axis, dimension in enumerate(entry.type.tensor_type.shape.dim):
        fixed = dimension.HasField("dim_value") and dimension.dim_value >= 0
        if not fixed:
            symbolic.append(axis)
        shape.append(dimension.dim_value if fixed else 1)
    if prod(shape) == 0:
        raise ModelImportError(
            f"the input {entry.name!r} has shape {tuple(shape)}: it holds no numbers"
        )
    return tuple(shape), tuple(symbolic)
