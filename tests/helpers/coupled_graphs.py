"""Random graphs whose nodes multiply, compare and normalise each other's values."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from hypothesis import strategies as st

from models import operators as ops
from models.network import Network
from models.parameters import ParameterRef
from tests.helpers.random_graphs import GraphBuilder, seeds

TOKENS, WIDTH = 2, 3


def _number(builder: GraphBuilder, value: float) -> ParameterRef:
    return builder.store(torch.tensor(value))


def product(builder: GraphBuilder) -> None:
    """Multiply the newest node by some node of its shape, itself perhaps."""
    same = [n.name for n in builder.nodes if n.shape == builder.shape(builder.last)]
    builder.add(ops.Multiply(), builder.last, builder.pick(same))


def gate(builder: GraphBuilder) -> None:
    """Multiply two layers, one of them through a sigmoid."""
    source = builder.last
    open_share = builder.linear(WIDTH, of=source)
    open_share = builder.add(ops.Sigmoid(), open_share)
    builder.add(ops.Multiply(), builder.linear(WIDTH, of=source), open_share)


def attention(builder: GraphBuilder) -> None:
    """Add what tokens read from each other."""
    source = builder.last
    queries, keys, values = (builder.linear(WIDTH, of=source) for _ in range(3))
    turned = builder.add(ops.Transpose((0, 2, 1)), keys)
    scores = builder.add(ops.MatrixProduct(), queries, turned)
    builder.add(ops.Scale(_number(builder, 1 / math.sqrt(WIDTH))), scores)
    shares = builder.add(ops.Softmax())
    read = builder.add(ops.MatrixProduct(), shares, values)
    builder.add(ops.Add((1.0, 1.0)), source, read)


def normalization(builder: GraphBuilder) -> None:
    """Standardise every token."""
    source = builder.last
    share = _number(builder, 1 / WIDTH)
    total = builder.add(ops.ReduceSum((2,), True), source)
    mean = builder.add(ops.Scale(share), total)
    mean = builder.add(ops.Expand((1, TOKENS, WIDTH)), mean)
    centered = builder.add(ops.Add((1.0, -1.0)), source, mean)
    square = builder.add(ops.Power(2.0), centered)
    total = builder.add(ops.ReduceSum((2,), True), square)
    builder.add(ops.Scale(share, _number(builder, 0.1)), total)
    scale = builder.add(ops.Power(-0.5))
    scale = builder.add(ops.Expand((1, TOKENS, WIDTH)), scale)
    builder.add(ops.Multiply(), centered, scale)


def quotient(builder: GraphBuilder) -> None:
    """Divide by one plus a square."""
    source = builder.last
    square = builder.add(ops.Power(2.0), builder.linear(WIDTH, of=source))
    builder.add(ops.Scale(offset=_number(builder, 1.0)), square)
    builder.add(ops.Multiply(), source, builder.add(ops.Power(-1.0)))


def larger(builder: GraphBuilder) -> None:
    """Take the larger of two layers."""
    source = builder.last
    one, other = builder.linear(WIDTH, of=source), builder.linear(WIDTH, of=source)
    beyond = builder.add(ops.Relu(), builder.add(ops.Add((1.0, -1.0)), one, other))
    builder.add(ops.Add((1.0, 1.0)), other, beyond)


def shares(builder: GraphBuilder) -> None:
    """Normalise exponentials."""
    builder.add(ops.Softmax())


def layer(builder: GraphBuilder) -> None:
    """Append a layer and an activation."""
    builder.linear(WIDTH)
    builder.add(builder.pick([ops.Relu(), ops.Tanh(), ops.LeakyRelu(0.2)]))


LAYERS: tuple[Callable[[GraphBuilder], None], ...] = (
    product,
    gate,
    attention,
    normalization,
    quotient,
    larger,
    shares,
    layer,
    layer,
)


def coupled_network(seed: int, layers: int) -> Network:
    """Return a random network on a few tokens."""
    builder = GraphBuilder((1, TOKENS, WIDTH), seed)
    for _ in range(layers):
        builder.pick(LAYERS)(builder)
    return builder.network()


@st.composite
def coupled_networks(draw: st.DrawFn) -> Network:
    """Draw a random small network whose nodes multiply and normalise each other's values."""
    return coupled_network(draw(seeds), draw(st.integers(1, 3)))
