"""Nodes whose inputs are all constants are evaluated during the import.

Views (a transposed weight, a reshaped bias, a negated offset) keep their link to the stored
tensor, so that it stays trainable; everything else is computed by onnxruntime, one node at a
time, and becomes a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from models.onnx_file.session import open_session, run_session
from models.onnx_import.call import Call
from models.onnx_import.values import Known
from models.onnx_import.views import RESHAPES, transpose_axes
from models.parameters import MultiplyBy, Permute, ReshapeTo

__all__ = ["FOLDED", "fold"]

_Arrays = Sequence[NDArray[Any]]
_OLDEST_IR = 8


def fold(call: Call, proto: NodeProto) -> list[Known]:
    """Evaluate a node whose inputs are all constants.

    Returns:
        One constant per output of the node.

    Raises:
        UnsupportedOperatorError: The operator is not one that is evaluated.
        ModelImportError: Its result would be too large, or onnxruntime refuses it.
    """
    view = _view(call)
    if view is not None:
        return [view]
    estimate = _SIZES.get(call.operator)
    if estimate is None:
        raise call.unsupported("it is not evaluated on constants")
    values = [value for value in call.inputs if isinstance(value, Known)]
    call.builder.count_folded(call.name, estimate(call, [value.array for value in values]))
    arrays = _run(call, proto)
    origins = frozenset[str]().union(*(value.origins for value in values))
    return [
        Known(name, array, None, origins) for name, array in zip(call.outputs, arrays, strict=True)
    ]


def _view(call: Call) -> Known | None:
    """Return the result where it is a view of the first input, else None."""
    value = call.input(0)
    if not isinstance(value, Known):
        return None
    name = call.outputs[0]
    if call.operator in RESHAPES:
        shape = RESHAPES[call.operator](call, value.shape)
        return value.view(name, value.array.reshape(shape), ReshapeTo(shape))
    special = _VIEWS.get(call.operator)
    return None if special is None else special(call, value, name)


def _transpose(call: Call, value: Known, name: str) -> Known:
    axes = transpose_axes(call, value.array.ndim)
    return value.view(name, value.array.transpose(axes), Permute(axes))


def _same(call: Call, value: Known, name: str) -> Known:  # noqa: ARG001 (one signature for all)
    return value.view(name, value.array)


def _cast(call: Call, value: Known, name: str) -> Known:
    """Cast; the link to the stored tensor survives where the cast keeps every value."""
    target = helper.tensor_dtype_to_np_dtype(int(call.attributes["to"]))
    array = value.array.astype(target)
    exact = np.issubdtype(target, np.floating) and np.can_cast(value.array.dtype, target, "safe")
    return value.view(name, array) if exact else Known(name, array, None, value.origins)


def _negate(call: Call, value: Known, name: str) -> Known:  # noqa: ARG001
    return value.view(name, -value.array, MultiplyBy(-1.0))


def _multiply(call: Call, value: Known, name: str) -> Known | None:
    """Multiply a stored tensor by a number, keeping the link to it."""
    other = call.known(1)
    stored, factor = (other, value) if value.array.size == 1 else (value, other)
    if factor.array.size != 1 or stored.array.ndim < factor.array.ndim:
        return None
    call.builder.freeze(factor)
    number = factor.array.reshape(())
    return stored.view(name, stored.array * number, MultiplyBy(float(number)))


def _divide(call: Call, value: Known, name: str) -> Known | None:
    """Divide a stored tensor by a number, keeping the link to it."""
    divisor = call.known(1).array
    if divisor.size != 1 or not np.issubdtype(divisor.dtype, np.floating):
        return None
    if value.array.ndim < divisor.ndim or float(divisor.reshape(())) == 0.0:
        return None
    call.builder.freeze(call.known(1))
    number = divisor.reshape(())
    return value.view(name, value.array / number, MultiplyBy(1.0 / float(number)))


_VIEWS: Mapping[str, Callable[[Call, Known, str], Known | None]] = {
    "Cast": _cast,
    "Div": _divide,
    "Dropout": _same,
    "Identity": _same,
    "Mul": _multiply,
    "Neg": _negate,
    "Transpose": _transpose,
}


def _run(call: Call, proto: NodeProto) -> list[NDArray[Any]]:
    """Evaluate one node in onnxruntime."""
    feeds = {
        name: value.array
        for name, value in zip(proto.input, call.inputs, strict=True)
        if isinstance(value, Known)
    }
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)
        )
        for name, array in feeds.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in proto.output if name]
    graph = helper.make_graph([proto], "constant", inputs, outputs)
    opset = helper.make_opsetid("", call.opset)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_OLDEST_IR)
    found = iter(run_session(open_session(model.SerializeToString()), None, feeds))
    return [np.asarray(next(found)) if name else np.zeros(0) for name in proto.output]


def _total(call: Call, arrays: _Arrays) -> int:  # noqa: ARG001 (one signature for all)
    return sum(array.size for array in arrays)


def _broadcast(call: Call, arrays: _Arrays) -> int:  # noqa: ARG001
    return prod(np.broadcast_shapes(*(array.shape for array in arrays)))


def _filled(call: Call, arrays: _Arrays) -> int:  # noqa: ARG001
    return prod(int(size) for size in arrays[0].reshape(-1))


def _expanded(call: Call, arrays: _Arrays) -> int:  # noqa: ARG001
    wanted = tuple(int(size) for size in arrays[1].reshape(-1))
    return prod(np.broadcast_shapes(arrays[0].shape, wanted))


def _tiled(call: Call, arrays: _Arrays) -> int:  # noqa: ARG001
    return arrays[0].size * prod(int(count) for count in arrays[1].reshape(-1))


def _counted(call: Call, arrays: _Arrays) -> int:  # noqa: ARG001
    start, limit, step = (float(array.reshape(())) for array in arrays)
    return max(0, ceil((limit - start) / step))


def _gathered(call: Call, arrays: _Arrays) -> int:
    axis = call.axis(arrays[0].ndim, 0)
    return int(arrays[0].size // max(1, arrays[0].shape[axis]) * arrays[1].size)


def _multiplied(call: Call, arrays: _Arrays) -> int:  # noqa: ARG001
    return arrays[0].size * (arrays[1].shape[-1] if arrays[1].ndim > 1 else 1)


_ELEMENTWISE = (
    "Abs Add And Ceil Clip Div Equal Exp Floor Greater GreaterOrEqual Less LessOrEqual Log Max "
    "Mean Min Mod Mul Neg Not Or Pow Reciprocal Relu Round Sigmoid Sign Sqrt Sub Sum Tanh Where Xor"
)
_NOT_LARGER = (
    "ArgMax ArgMin Concat ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Shape Size Slice "
    "Split Trilu"
)
_SIZES: Mapping[str, Callable[[Call, _Arrays], int]] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _broadcast),
    **dict.fromkeys(_NOT_LARGER.split(), _total),
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "Gather": _gathered,
    "MatMul": _multiplied,
    "Range": _counted,
    "Tile": _tiled,
}
"""Operators that are evaluated, and how many elements the result has at most."""
FOLDED = frozenset({*_SIZES, *_VIEWS, *RESHAPES})
"""Operators that are understood where all inputs are constants."""
