"""Write a network back: the same ONNX graph with the tensors that changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, numpy_helper

from models.errors import InvalidInputError, ModelImportError
from models.network import Network
from models.onnx_file.session import open_session

__all__ = ["current_source", "write_network"]

_Tensors = Mapping[str, NDArray[Any]]


def write_network(network: Network) -> bytes:
    """Return the network's ONNX graph with its trainable tensors replaced by its parameters.

    Tensors keep the type they have in the file; those that did not change are left as they are.
    A `Normalization` stays outside the file, as it was.

    Raises:
        ModelImportError: The network has no ONNX file, or onnxruntime refuses the result.
        InvalidInputError: A parameter is NaN or infinite in the file's type.
    """
    data = current_source(network)
    open_session(data)
    return data


def current_source(network: Network) -> bytes:
    """Return the ONNX file of the network as its parameters are now.

    The bytes of the original file come back where no parameter changed. Parameters are compared
    in their own type, so that a float64 file is not rounded by a network that runs in float32.

    Raises:
        ModelImportError: The network has no ONNX file.
        InvalidInputError: A parameter is NaN or infinite in the file's type.
    """
    if not network.source:
        raise ModelImportError(
            f"the network {network.name!r} was built in memory and has no ONNX graph; "
            "only networks that were imported can be written or run in onnxruntime"
        )
    if not network.trainable:
        return network.source
    model = onnx.load_model_from_string(network.source)
    changed = _changed(network, dict(_stored(model)))
    if not changed:
        return network.source
    _replace(model, changed)
    return bytes(model.SerializeToString())


def _stored(model: ModelProto) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the tensors of the file, those of Constant nodes under their output's name."""
    for tensor in model.graph.initializer:
        yield tensor.name, np.asarray(numpy_helper.to_array(tensor))
    for name, attribute in _constants(model):
        if attribute.type == AttributeProto.TENSOR:
            yield name, np.asarray(numpy_helper.to_array(attribute.t))
        elif attribute.type in (AttributeProto.FLOAT, AttributeProto.FLOATS):
            yield name, np.asarray(onnx.helper.get_attribute_value(attribute), dtype=np.float32)


def _constants(model: ModelProto) -> Iterator[tuple[str, AttributeProto]]:
    for node in model.graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1:
            yield node.output[0], node.attribute[0]


def _changed(network: Network, stored: _Tensors) -> dict[str, NDArray[Any]]:
    """Return the new values of the tensors that changed, in the type of the file."""
    changed: dict[str, NDArray[Any]] = {}
    for name in sorted(network.trainable):
        value = network.parameters[name].detach().cpu().numpy()
        old = stored[name]
        if np.array_equal(old.astype(value.dtype, copy=False), value):
            continue
        with np.errstate(over="ignore"):  # an overflow becomes infinite and is refused below
            new = value.astype(old.dtype)
        if not np.isfinite(new).all():
            raise InvalidInputError(
                f"parameter {name!r} holds values that are NaN or infinite in the file's type "
                f"{old.dtype}; the network is not written"
            )
        changed[name] = new
    return changed


def _replace(model: ModelProto, changed: _Tensors) -> None:
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))
    for name, attribute in _constants(model):
        if name not in changed:
            continue
        if attribute.type == AttributeProto.TENSOR:
            attribute.t.CopyFrom(numpy_helper.from_array(changed[name], attribute.t.name))
        elif attribute.type == AttributeProto.FLOAT:
            attribute.f = float(changed[name])
        else:
            attribute.floats[:] = changed[name].tolist()
