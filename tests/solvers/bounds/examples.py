"""For every operator that can be bounded, networks whose last node is that operator.

A new operator needs an entry here; `test_rules` fails until it has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from models import operators as ops
from models.network import Network
from models.operators import Operator
from tests.helpers.random_graphs import GraphBuilder

Maker = Callable[[int], Network]

VECTOR, MATRIX, IMAGE = (5,), (1, 5), (1, 2, 5, 4)


def _of(
    shape: tuple[int, ...], make: Callable[[GraphBuilder], Operator], *, of_sum: bool = False
) -> Maker:
    """Return a maker of the operator on the input, or on the input beside its mirror image."""

    def maker(seed: int) -> Network:
        builder = GraphBuilder(shape, seed)
        inputs: tuple[str, ...] = ("x",)
        if of_sum:
            turned = tuple(reversed(range(shape[-1])))
            inputs = ("x", builder.add(ops.Take(len(shape) - 1, turned)), "x")
        builder.add(make(builder), *inputs)
        return builder.network()

    return maker


def _matrix_product(left: tuple[int, ...], right: tuple[int, ...]) -> Maker:
    """Return a maker of the product of two parts of the input."""

    def maker(seed: int) -> Network:
        sizes = (math.prod(left), math.prod(right))
        builder = GraphBuilder((sum(sizes),), seed)
        builder.add(ops.Take(0, tuple(range(sizes[0]))), "x")
        one = builder.add(ops.Reshape(left))
        builder.add(ops.Take(0, tuple(range(sizes[0], sum(sizes)))), "x")
        other = builder.add(ops.Reshape(right))
        builder.add(ops.MatrixProduct(), one, other)
        return builder.network()

    return maker


def _multiply(shape: tuple[int, ...], *, square: bool = False) -> Maker:
    def maker(seed: int) -> Network:
        builder = GraphBuilder(shape, seed)
        turned = builder.add(ops.Take(len(shape) - 1, tuple(reversed(range(shape[-1])))))
        builder.add(ops.Multiply(), "x", "x" if square else turned)
        return builder.network()

    return maker


def _behind(clip: Operator, operator: Operator) -> Maker:
    """Return a maker of the operator behind a clip that keeps its input where it is defined."""

    def maker(seed: int) -> Network:
        builder = GraphBuilder(VECTOR, seed)
        builder.add(clip)
        builder.add(operator)
        return builder.network()

    return maker


def _plain(operator: Operator) -> Maker:
    return _of(VECTOR, lambda _: operator)


def _constant(seed: int) -> Network:
    builder = GraphBuilder(MATRIX, seed)
    builder.add(ops.Constant(builder.normal(1, 3)))
    return builder.network()


def _convolution(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int = 1,
) -> Maker:
    def make(builder: GraphBuilder) -> Operator:
        weight = builder.normal(4, 2 // groups, *kernel)
        bias = builder.normal(4) if groups == 1 else None
        return ops.Convolution(weight, bias, stride, padding, dilation, groups)

    return _of(IMAGE, make)


def _transposed(
    stride: tuple[int, int],
    padding: tuple[int, int],
    extra: tuple[int, int],
    dilation: tuple[int, int],
    groups: int = 1,
) -> Maker:
    def make(builder: GraphBuilder) -> Operator:
        weight, bias = builder.normal(2, 3, 3, 2), builder.normal(3 * groups)
        return ops.ConvolutionTranspose(weight, bias, stride, padding, extra, dilation, groups)

    return _of(IMAGE, make)


def _line_convolution(seed: int) -> Network:
    builder = GraphBuilder((1, 2, 7), seed)
    builder.add(ops.Convolution(builder.normal(3, 2, 3), builder.normal(3), (2,), (1,), (1,)))
    return builder.network()


def _volume_convolution(seed: int) -> Network:
    builder = GraphBuilder((1, 1, 3, 4, 3), seed)
    weight = builder.normal(2, 1, 2, 2, 2)
    builder.add(ops.Convolution(weight, None, (1, 2, 1), (0, 1, 0), (1, 1, 2)))
    return builder.network()


def _normalization(builder: GraphBuilder) -> Operator:
    channels = builder.shape("x")[1]
    return ops.BatchNormalization(
        builder.normal(channels),
        builder.normal(channels),
        builder.normal(channels),
        builder.uniform(0.1, 2.0, channels),
        1e-3,
    )


EXAMPLES: Mapping[type[Operator], tuple[Maker, ...]] = {
    ops.Linear: (
        _of(VECTOR, lambda b: ops.Linear(b.normal(3, 5), b.normal(3))),
        _of(MATRIX, lambda b: ops.Linear(b.normal(3, 5))),
        _of((2, 3, 5), lambda b: ops.Linear(b.normal(4, 5), b.normal(4))),
    ),
    ops.Convolution: (
        _convolution((3, 3), (1, 1), (1, 1), (1, 1)),
        _convolution((2, 3), (2, 3), (0, 2), (1, 1), groups=2),
        _convolution((2, 2), (3, 2), (2, 0), (2, 1)),
        _convolution((1, 1), (2, 2), (1, 0), (1, 1)),
        _line_convolution,
        _volume_convolution,
    ),
    ops.ConvolutionTranspose: (
        _transposed((1, 1), (0, 0), (0, 0), (1, 1)),
        _transposed((2, 3), (1, 0), (1, 2), (1, 1), groups=2),
        _transposed((1, 2), (1, 1), (2, 1), (3, 2)),
    ),
    ops.BatchNormalization: (_of(MATRIX, _normalization), _of(IMAGE, _normalization)),
    ops.Scale: (
        _of(IMAGE, lambda b: ops.Scale(b.normal(2, 1, 1), b.normal(4))),
        _of(VECTOR, lambda b: ops.Scale(offset=b.normal())),
        _of(VECTOR, lambda b: ops.Scale(b.normal(5))),
    ),
    ops.Add: (_of(MATRIX, lambda _: ops.Add((1.0, -2.0, 0.5)), of_sum=True),),
    ops.Constant: (_constant,),
    ops.Reshape: (_of(IMAGE, lambda _: ops.Reshape((5, 8))),),
    ops.Transpose: (_of((2, 3, 4), lambda _: ops.Transpose((2, 0, 1))),),
    ops.Take: (
        _of(MATRIX, lambda _: ops.Take(1, (3, 0, 3, 3))),
        _of(IMAGE, lambda _: ops.Take(2, (4, 1))),
    ),
    ops.Pad: (
        _of(MATRIX, lambda _: ops.Pad(((0, 0), (2, 1)), -0.7)),
        _of(IMAGE, lambda _: ops.Pad(((0, 0), (1, 0), (0, 2), (1, 1)))),
    ),
    ops.Concat: (
        _of(MATRIX, lambda _: ops.Concat(1), of_sum=True),
        _of((2, 3, 4), lambda _: ops.Concat(0), of_sum=True),
    ),
    ops.Expand: (
        _of(MATRIX, lambda _: ops.Expand((3, 1, 5))),
        _of((2, 1, 3), lambda _: ops.Expand((2, 4, 3))),
    ),
    ops.ReduceSum: (
        _of(IMAGE, lambda _: ops.ReduceSum((2, 3), False)),
        _of(IMAGE, lambda _: ops.ReduceSum((1,), True)),
        _of(VECTOR, lambda _: ops.ReduceSum((), True)),
        _of(VECTOR, lambda _: ops.ReduceSum((0,), False)),
    ),
    ops.AveragePool: (
        _of(IMAGE, lambda _: ops.AveragePool((2, 2), (2, 2), (0, 0))),
        _of(IMAGE, lambda _: ops.AveragePool((3, 2), (1, 2), (1, 1))),
        _of((1, 2, 6), lambda _: ops.AveragePool((3,), (2,), (1,))),
    ),
    ops.Relu: (_of(VECTOR, lambda _: ops.Relu()), _of(IMAGE, lambda _: ops.Relu())),
    ops.LeakyRelu: tuple(
        _of(MATRIX, lambda _, slope=slope: ops.LeakyRelu(slope))  # type: ignore[misc]
        for slope in (0.01, 0.0, 1.0, 1.8, -0.6)
    ),
    ops.PRelu: (
        _of(IMAGE, lambda b: ops.PRelu(b.uniform(-1, 2, 2, 1, 1))),
        _of(VECTOR, lambda b: ops.PRelu(b.uniform(-1, 2, 5))),
    ),
    ops.Clip: tuple(
        _of(MATRIX, lambda _, ends=ends: ops.Clip(*ends))  # type: ignore[misc]
        for ends in (
            (0.0, 6.0),
            (-0.2, 0.3),
            (0.4, 0.4),
            (-math.inf, 0.1),
            (-0.1, math.inf),
            (-math.inf, math.inf),
        )
    ),
    ops.MaxPool: (
        _of(IMAGE, lambda _: ops.MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))),
        _of(IMAGE, lambda _: ops.MaxPool((3, 2), (1, 2), ((1, 1), (0, 1)), (1, 1))),
        _of(IMAGE, lambda _: ops.MaxPool((2, 2), (1, 1), ((1, 0), (1, 1)), (2, 1))),
        _of((1, 2, 6), lambda _: ops.MaxPool((3,), (2,), ((1, 0),), (1,))),
    ),
    ops.Sigmoid: (_of(VECTOR, lambda _: ops.Sigmoid()), _of(IMAGE, lambda _: ops.Sigmoid())),
    ops.Tanh: (_of(VECTOR, lambda _: ops.Tanh()),),
    **{
        type(operator): (_plain(operator),)
        for operator in (
            ops.Atan(),
            ops.Ceil(),
            ops.Cos(),
            ops.Erf(),
            ops.Floor(),
            ops.Gelu(),
            ops.HardSwish(),
            ops.Mish(),
            ops.Round(),
            ops.Sign(),
            ops.Silu(),
            ops.Sin(),
            ops.Softplus(),
            ops.Softsign(),
            ops.TanhGelu(),
        )
    },
    ops.Elu: tuple(_plain(ops.Elu(alpha)) for alpha in (1.0, 0.4, 1.7)),
    ops.Positive: tuple(_plain(ops.Positive(inclusive)) for inclusive in (False, True)),
    ops.Exp: (_behind(ops.Clip(-math.inf, 3.0), ops.Exp()),),
    ops.Log: (_behind(ops.Clip(0.05, math.inf), ops.Log()),),
    ops.Power: (
        *(_plain(ops.Power(exponent)) for exponent in (2.0, 3.0)),
        *(
            _behind(ops.Clip(0.05, math.inf), ops.Power(exponent))
            for exponent in (0.5, 1.5, -0.5, -1.0, -2.0)
        ),
        _behind(ops.Clip(-math.inf, -0.05), ops.Power(-1.0)),
    ),
    ops.Multiply: (_multiply(VECTOR), _multiply(IMAGE), _multiply((4,), square=True)),
    ops.MatrixProduct: (
        _matrix_product((2, 3), (3, 2)),
        _matrix_product((1, 1), (1, 3)),
        _matrix_product((2, 1, 2, 3), (2, 1, 3, 1)),
    ),
    ops.Softmax: (
        _of(VECTOR, lambda _: ops.Softmax()),
        _of((2, 1, 3), lambda _: ops.Softmax()),
        _of((3, 1), lambda _: ops.Softmax()),
    ),
}
