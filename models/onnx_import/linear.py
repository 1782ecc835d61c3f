"""Gemm and MatMul: matrix products."""

from __future__ import annotations

from math import prod

from models.onnx_import.call import Call
from models.onnx_import.products import matrix_product
from models.onnx_import.values import Activation, Known, Value
from models.operators import Add, Linear, Transpose
from models.parameters import MultiplyBy, ParameterRef, Permute, ReshapeTo

__all__ = ["gemm", "matmul"]

_SWAP = Permute((1, 0))


def gemm(call: Call) -> list[Activation]:
    """Import alpha · A' B' + beta · C, where A' and B' may be transposed."""
    alpha = float(call.attributes.get("alpha", 1.0))
    beta = float(call.attributes.get("beta", 1.0))
    left, right = call.input(0), call.input(1)
    if isinstance(left, Activation) and isinstance(right, Activation):
        return [_add_bias(call, _of_two(call, left, right, alpha), beta)]
    if isinstance(left, Activation):
        y = _activation_left(call, alpha, beta)
        return [y]
    product = _constant_left(call, alpha)
    return [_add_bias(call, product, beta)]


def _activation_left(call: Call, alpha: float, beta: float) -> Activation:
    x, matrix = call.activation(0), call.known(1)
    if call.attributes.get("transA", 0):
        x = call.emit(Transpose((1, 0)), x)
    weight = _scaled(_matrix(call, matrix, transpose=not call.attributes.get("transB", 0)), alpha)
    outputs = matrix.shape[0 if call.attributes.get("transB", 0) else 1]
    bias = call.input(2)
    if isinstance(bias, Known) and beta != 0.0 and _is_vector(bias, outputs):
        reference = _scaled(call.parameter(bias), beta)
        if bias.shape != (outputs,):
            reference = reference.then(ReshapeTo((outputs,)))
        return call.emit(Linear(weight, reference), x)
    return _add_bias(call, call.emit(Linear(weight), x), beta)


def _is_vector(value: Known, size: int) -> bool:
    return value.array.size == size and value.shape[-1:] == (size,)


def _constant_left(call: Call, alpha: float) -> Activation:
    """A B = (Bᵀ Aᵀ)ᵀ: the activation's rows become the last axis that `Linear` maps."""
    matrix, x = call.known(0), call.activation(1)
    if not call.attributes.get("transB", 0):
        x = call.emit(Transpose((1, 0)), x)
    weight = _scaled(_matrix(call, matrix, transpose=bool(call.attributes.get("transA", 0))), alpha)
    return call.emit(Transpose((1, 0)), call.emit(Linear(weight), x))


def _of_two(call: Call, left: Activation, right: Activation, alpha: float) -> Activation:
    """Return alpha · A' B' of two activations."""
    sides = [
        call.emit(Transpose((1, 0)), side) if call.attributes.get(swap, 0) else side
        for side, swap in ((left, "transA"), (right, "transB"))
    ]
    product = matrix_product(call, sides[0], sides[1])
    return product if alpha == 1.0 else call.scale(product, call.constant(alpha), None)


def _is_stack(value: Value) -> bool:
    """Tell whether a constant holds several matrices, which is not one linear map."""
    return isinstance(value, Known) and prod(value.shape[:-2]) > 1


def _add_bias(call: Call, product: Activation, beta: float) -> Activation:
    bias = call.input(2)
    if bias is None or beta == 0.0:
        return product
    if isinstance(bias, Known):
        return call.scale(product, None, _scaled(call.parameter(bias), beta))
    return call.emit(Add((1.0, beta)), product, call.expand(bias, product.shape))


def _matrix(call: Call, value: Known, *, transpose: bool) -> ParameterRef:
    if value.array.ndim != 2:
        raise call.malformed(f"{value.name!r} has shape {value.shape}, expected a matrix")
    return call.parameter(value, _SWAP) if transpose else call.parameter(value)


def _scaled(reference: ParameterRef, factor: float) -> ParameterRef:
    return reference if factor == 1.0 else reference.then(MultiplyBy(factor))


def matmul(call: Call) -> list[Activation]:
    """Import a product by numpy's rules."""
    left, right = call.input(0), call.input(1)
    if left is None or right is None:
        raise call.malformed("a factor is missing")
    both = isinstance(left, Activation) and isinstance(right, Activation)
    if both or _is_stack(left) or _is_stack(right):
        return [matrix_product(call, left, right)]
    if isinstance(left, Activation):
        return [_times_constant(call, left, call.known(1))]
    return [_constant_times(call, call.known(0), call.activation(1))]


def _times_constant(call: Call, x: Activation, matrix: Known) -> Activation:
    """X W: a linear map of the last axis."""
    if matrix.array.ndim == 1:
        weight = call.parameter(matrix, ReshapeTo((1, matrix.array.size)))
        return call.reshape(call.emit(Linear(weight), x), x.shape[:-1])
    y = call.emit(Linear(_last_two(call, matrix, transpose=True)), x)
    # numpy gives the product as many axes as the factor with more of them
    missing = max(0, matrix.array.ndim - max(2, x.rank))
    return call.reshape(y, (1,) * missing + y.shape)


def _constant_times(call: Call, matrix: Known, x: Activation) -> Activation:
    """W x: a linear map of the last axis but one, which is moved to the end for it."""
    if matrix.array.ndim == 1:
        weight = call.parameter(matrix, ReshapeTo((1, matrix.array.size)))
    else:
        weight = _last_two(call, matrix, transpose=False)
    if x.rank == 1:
        y = call.emit(Linear(weight), x)
    else:
        swap = Transpose((*range(x.rank - 2), x.rank - 1, x.rank - 2))
        y = call.emit(swap, call.emit(Linear(weight), call.emit(swap, x)))
    if matrix.array.ndim == 1:
        dropped = 1 if x.rank == 1 else 2
        return call.reshape(
            y, y.shape[: len(y.shape) - dropped] + y.shape[len(y.shape) - dropped + 1 :]
        )
    missing = max(0, matrix.array.ndim - max(2, x.rank))
    return call.reshape(y, (1,) * missing + y.shape)


def _last_two(call: Call, matrix: Known, *, transpose: bool) -> ParameterRef:
    """Return the only matrix, which stands in the last two axes."""
    rows, columns = matrix.shape[-2:]
    flat = () if matrix.array.ndim == 2 else (ReshapeTo((rows, columns)),)
    return call.parameter(matrix, *flat, *((_SWAP,) if transpose else ()))
