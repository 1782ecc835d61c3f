"""Each operator's forward rule against a slow, plain definition of it in numpy."""

from __future__ import annotations

import math
from itertools import product
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.operators import (
    Add,
    Atan,
    AveragePool,
    BatchNormalization,
    Ceil,
    Clip,
    Concat,
    Constant,
    Convolution,
    ConvolutionTranspose,
    Cos,
    Elu,
    Erf,
    Exp,
    Expand,
    Floor,
    Gelu,
    HardSwish,
    Input,
    LeakyRelu,
    Linear,
    Log,
    MatrixProduct,
    MaxPool,
    Mish,
    Multiply,
    Operator,
    Pad,
    Positive,
    Power,
    PRelu,
    ReduceSum,
    Relu,
    Reshape,
    Round,
    Scale,
    Sigmoid,
    Sign,
    Silu,
    Sin,
    Softmax,
    Softplus,
    Softsign,
    Take,
    Tanh,
    TanhGelu,
    Transpose,
)
from models.parameters import ParameterRef

Array = NDArray[np.float64]
BATCH = 2


def values(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def run(operator: Operator, *inputs: Array, **parameters: Array) -> Array:
    stored = {name: torch.from_numpy(np.asarray(value)) for name, value in parameters.items()}
    y = operator.forward([torch.from_numpy(x) for x in inputs], stored)
    named = {reference.name for reference in operator.references()}
    assert named == set(parameters)
    return np.asarray(y)


def ref(name: str) -> ParameterRef:
    return ParameterRef(name)


def test_products() -> None:
    x, y = values(BATCH, 2, 3), values(BATCH, 2, 3, seed=1)
    np.testing.assert_allclose(run(Multiply(), x, y), x * y)
    constant = values(1, 2, 3, seed=2)  # a constant node has a batch axis of 1
    np.testing.assert_allclose(run(Multiply(), x, constant), x * constant)
    right = values(BATCH, 3, 4, seed=3)
    expected = np.einsum("bij,bjk->bik", x, right)
    np.testing.assert_allclose(run(MatrixProduct(), x, right), expected)


def test_softmax_normalises_the_last_axis() -> None:
    x = values(BATCH, 2, 3)
    powers = np.exp(x)
    np.testing.assert_allclose(run(Softmax(), x), powers / powers.sum(-1, keepdims=True))
    far = x + 1e4
    np.testing.assert_allclose(run(Softmax(), far), run(Softmax(), x))


X = values(BATCH, 2, 3, 4)
_erf = np.vectorize(math.erf)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Input(), X),
        (Relu(), np.maximum(X, 0)),
        (LeakyRelu(-0.5), np.where(X >= 0, X, -0.5 * X)),
        (Clip(-0.5, 0.25), np.minimum(np.maximum(X, -0.5), 0.25)),
        (Clip(-inf, 0.25), np.minimum(X, 0.25)),
        (Clip(-0.5, inf), np.maximum(X, -0.5)),
        (Sigmoid(), 1 / (1 + np.exp(-X))),
        (Gelu(), X * (1 + _erf(X / np.sqrt(2))) / 2),
        (TanhGelu(), X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))),
        (TanhGelu(0.1), X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.1 * X**3)))),
        (Silu(), X / (1 + np.exp(-X))),
        (Mish(), X * np.tanh(np.log(1 + np.exp(X)))),
        (HardSwish(), X * np.minimum(np.maximum(X + 3, 0), 6) / 6),
        (Erf(), _erf(X)),
        (Softsign(), X / (1 + np.abs(X))),
        (Atan(), np.arctan(X)),
        (Softplus(), np.log(1 + np.exp(X))),
        (Elu(), np.where(X > 0, X, np.exp(X) - 1)),
        (Elu(1.5), np.where(X > 0, X, 1.5 * (np.exp(X) - 1))),
        (Exp(), np.exp(X)),
        (Power(2.0), X * X),
        (Power(3.0), X * X * X),
        (Power(-1.0), 1 / X),
        (Power(-2.0), 1 / (X * X)),
        (Sin(), np.sin(X)),
        (Cos(), np.cos(X)),
        (Sign(), np.where(X > 0, 1.0, -1.0)),
        (Floor(), np.floor(X)),
        (Ceil(), np.ceil(X)),
        (Round(), np.rint(X)),
        (Positive(), np.where(X > 0, 1.0, 0.0)),
        (Tanh(), np.tanh(X)),
        (Reshape((4, 6)), X.reshape(BATCH, 4, 6)),
        (Transpose((2, 0, 1)), X.transpose(0, 3, 1, 2)),
        (Take(1, (2, 0, 0)), X[:, :, [2, 0, 0]]),
        (
            Pad(((0, 1), (2, 0), (0, 0)), 0.5),
            np.pad(X, ((0, 0), (0, 1), (2, 0), (0, 0)), constant_values=0.5),
        ),
        (Expand((5, 2, 3, 4)), np.broadcast_to(X[:, None], (BATCH, 5, 2, 3, 4))),
        (ReduceSum((0, 2), keepdims=True), X.sum(axis=(1, 3), keepdims=True)),
        (ReduceSum((1,), keepdims=False), X.sum(axis=2)),
        (ReduceSum((), keepdims=True), X),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Operator) else "",
)
def test_operators_of_one_input(operator: Operator, expected: Array) -> None:
    np.testing.assert_allclose(run(operator, X), expected, atol=1e-12)


def test_functions_of_positive_numbers() -> None:
    x = np.abs(X) + 0.1
    for operator, expected in (
        (Log(), np.log(x)),
        (Power(0.5), np.sqrt(x)),
        (Power(1.5), x * np.sqrt(x)),
        (Power(-0.5), 1 / np.sqrt(x)),
    ):
        np.testing.assert_allclose(run(operator, x), expected, atol=1e-12)


def test_steps_at_their_jumps() -> None:
    x = np.asarray([[-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5]])
    np.testing.assert_array_equal(run(Sign(), x)[0], [-1, -1, -1, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(run(Round(), x)[0], [-2, -1, 0, 0, 0, 1, 2, 2])
    np.testing.assert_array_equal(run(Positive(), x)[0], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(run(Positive(inclusive=True), x)[0], [0, 0, 0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("operator", "low", "high"),
    [
        (Gelu(), 0.0, 1e30),
        (TanhGelu(), 0.0, 1e30),
        (Silu(), 0.0, 1e30),
        (Mish(), 0.0, 1e30),
        (HardSwish(), 0.0, 1e30),
        (Softplus(), 0.0, 1e30),
        (Elu(2.0), -2.0, 1e30),
        (Softsign(), -1.0, 1.0),
        (Erf(), -1.0, 1.0),
    ],
)
def test_functions_far_out(operator: Operator, low: float, high: float) -> None:
    far = np.asarray([[-1e30, 1e30]])
    np.testing.assert_allclose(run(operator, far), [[low, high]], atol=1e-12)


def test_add_and_concat() -> None:
    other = values(BATCH, 2, 3, 4, seed=1)
    np.testing.assert_allclose(run(Add((1.0, -0.5)), X, other), X - 0.5 * other)
    np.testing.assert_allclose(run(Concat(1), X, other), np.concatenate([X, other], axis=2))


def test_concat_repeats_constants_over_the_batch() -> None:
    constant = run(Constant(ref("c")), c=values(2, 1, 4))
    assert constant.shape == (1, 2, 1, 4)
    joined = run(Concat(1), X, constant)
    np.testing.assert_allclose(joined[:, :, 3:], np.broadcast_to(constant, (BATCH, 2, 1, 4)))


def test_operators_with_parameters() -> None:
    weight, bias = values(5, 4), values(5, seed=1)
    np.testing.assert_allclose(
        run(Linear(ref("w"), ref("b")), X, w=weight, b=bias), X @ weight.T + bias
    )
    np.testing.assert_allclose(run(Linear(ref("w")), X, w=weight), X @ weight.T)
    factor, offset = values(3, 1), values(2, 1, 4, seed=1)
    np.testing.assert_allclose(
        run(Scale(ref("f"), ref("o")), X, f=factor, o=offset), X * factor + offset
    )
    np.testing.assert_allclose(run(Scale(offset=ref("o")), X, o=offset), X + offset)
    np.testing.assert_allclose(run(Scale(), X), X)
    np.testing.assert_allclose(run(PRelu(ref("s")), X, s=factor), np.where(X >= 0, X, factor * X))


@pytest.mark.parametrize("shape", [(1, 3), (2, 3, 2), (1, 3, 2, 2)])
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    x = values(BATCH, *shape)
    scale, bias, mean = values(3), values(3, seed=1), values(3, seed=2)
    variance = np.asarray([0.5, 1.0, 2.0])
    operator = BatchNormalization(ref("s"), ref("b"), ref("m"), ref("v"), 0.1)
    spread = (1, 1, 3, *(1,) * (len(shape) - 2))
    s, b, m, v = (p.reshape(spread) for p in (scale, bias, mean, variance))
    np.testing.assert_allclose(
        run(operator, x, s=scale, b=bias, m=mean, v=variance),
        s * (x - m) / np.sqrt(v + 0.1) + b,
    )


def windows(
    x: Array, kernel: int, stride: int, pads: tuple[int, int], dilation: int, fill: float
) -> Array:
    """Lay out the windows over the last axis, one after another."""
    padded = np.pad(x, (*[(0, 0)] * (x.ndim - 1), pads), constant_values=fill)
    reach = dilation * (kernel - 1) + 1
    starts = range(0, padded.shape[-1] - reach + 1, stride)
    return np.stack([padded[..., s : s + reach : dilation] for s in starts], axis=-2)


geometries = {
    "size": st.integers(5, 8),
    "kernel": st.integers(1, 3),
    "stride": st.integers(1, 3),
    "before": st.integers(0, 1),
    "after": st.integers(0, 2),
    "dilation": st.integers(1, 2),
}


@given(**geometries)
def test_max_pool(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int
) -> None:
    x = values(BATCH, 1, 2, size)
    found = run(MaxPool((kernel,), (stride,), ((before, after),), (dilation,)), x)
    expected = windows(x, kernel, stride, (before, after), dilation, -inf).max(axis=-1)
    np.testing.assert_allclose(found, expected)


@given(
    size=st.integers(4, 7),
    kernel=st.integers(2, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 1),
)
def test_average_pool(size: int, kernel: int, stride: int, pad: int) -> None:
    x = values(BATCH, 1, 2, size)
    found = run(AveragePool((kernel,), (stride,), (pad,)), x)
    np.testing.assert_allclose(found, windows(x, kernel, stride, (pad, pad), 1, 0.0).mean(axis=-1))


@given(
    **{key: value for key, value in geometries.items() if key != "after"}, groups=st.integers(1, 2)
)
def test_convolution(
    size: int, kernel: int, stride: int, before: int, dilation: int, groups: int
) -> None:
    x, weight = values(BATCH, 1, 4, size), values(6, 4 // groups, kernel)
    bias = values(6, seed=1)
    operator = Convolution(ref("w"), ref("b"), (stride,), (before,), (dilation,), groups)
    laid = windows(x, kernel, stride, (before, before), dilation, 0.0)
    parts = [
        np.einsum("bncok,dck->bndo", laid_group, weight_group)
        for laid_group, weight_group in zip(
            np.split(laid, groups, axis=2), np.split(weight, groups, axis=0), strict=True
        )
    ]
    expected = np.concatenate(parts, axis=2) + bias[:, None]
    np.testing.assert_allclose(run(operator, x, w=weight, b=bias), expected, atol=1e-12)


@given(
    size=st.integers(2, 5),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 1),
    extra=st.integers(0, 1),
    groups=st.integers(1, 2),
)
def test_transposed_convolution(
    size: int, kernel: int, stride: int, pad: int, extra: int, groups: int
) -> None:
    """Each input entry adds its kernel to the output, from `stride` times its position on."""
    length = stride * (size - 1) + kernel - 2 * pad + extra
    if extra >= stride or length < 1:
        return
    x, weight = values(BATCH, 1, 4, size), values(4, 3, kernel)
    operator = ConvolutionTranspose(ref("w"), None, (stride,), (pad,), (extra,), (1,), groups)
    full = np.zeros((BATCH, 1, 3 * groups, length + 2 * pad))
    for position, tap, channel in product(range(size), range(kernel), range(4)):
        group = channel // (4 // groups)
        target = full[:, :, 3 * group : 3 * group + 3, stride * position + tap]
        target += x[:, :, channel, position, None] * weight[channel, :, tap]
    expected = full[..., pad : pad + length]
    np.testing.assert_allclose(run(operator, x, w=weight), expected, atol=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_windows_in_several_dimensions(axes: int) -> None:
    """Maxima and means over a box are maxima and means over one axis after another."""
    x = values(BATCH, 1, 2, *(5, 4, 6)[:axes])
    pooled = run(MaxPool((2,) * axes, (2,) * axes, ((0, 1),) * axes, (1,) * axes), x)
    averaged = run(AveragePool((2,) * axes, (1,) * axes, (0,) * axes), x)
    expected_max, expected_mean = x, x
    for axis in range(3, 3 + axes):
        laid = windows(np.moveaxis(expected_max, axis, -1), 2, 2, (0, 1), 1, -inf)
        expected_max = np.moveaxis(laid.max(axis=-1), -1, axis)
        laid = windows(np.moveaxis(expected_mean, axis, -1), 2, 1, (0, 0), 1, 0.0)
        expected_mean = np.moveaxis(laid.mean(axis=-1), -1, axis)
    np.testing.assert_allclose(pooled, expected_max)
    np.testing.assert_allclose(averaged, expected_mean)
