"""Small networks built directly from operators: a builder, and random graphs of every operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor

from models import operators as ops
from models.graph import Graph, Node
from models.network import Network
from models.operators import Operator
from models.parameters import ParameterRef

Shape = tuple[int, ...]
ChoiceT = TypeVar("ChoiceT")


@dataclass
class GraphBuilder:
    """Adds nodes one by one; shapes come from running each operator on zeros.

    Attributes:
        input_shape: Of the network's input, without the leading batch axis.
        seed: Of the generator that every random number comes from.
    """

    input_shape: Shape
    seed: int = 0
    nodes: list[Node] = field(default_factory=list)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.nodes.append(Node("x", ops.Input(), (), self.input_shape))

    @property
    def last(self) -> str:
        """Name of the newest node."""
        return self.nodes[-1].name

    def shape(self, name: str) -> Shape:
        """Return the shape of a node."""
        return next(node.shape for node in self.nodes if node.name == name)

    def add(self, operator: Operator, *inputs: str) -> str:
        """Append a node that reads `inputs`, by default the newest node; return its name."""
        names = inputs or (() if isinstance(operator, ops.Constant) else (self.last,))
        zeros = [torch.zeros(1, *self.shape(name), dtype=torch.float64) for name in names]
        shape = tuple(operator.forward(zeros, self.parameters).shape[1:])
        name = f"{type(operator).__name__.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(name, operator, names, shape))
        return name

    def store(self, tensor: Tensor) -> ParameterRef:
        """Keep a parameter and return a reference to it."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = tensor.to(torch.float64)
        return ParameterRef(name)

    def normal(self, *shape: int, scale: float = 1.0) -> ParameterRef:
        """Keep a parameter of normal numbers."""
        draw = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return self.store(draw * scale)

    def uniform(self, low: float, high: float, *shape: int) -> ParameterRef:
        """Keep a parameter of uniform numbers."""
        draw = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return self.store(low + (high - low) * draw)

    def integer(self, low: int, high: int) -> int:
        """Return a random integer from `low` to `high`, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def pick(self, choices: Sequence[ChoiceT]) -> ChoiceT:
        """Return a random choice."""
        return choices[self.integer(0, len(choices) - 1)]

    def linear(self, outputs: int, *, bias: bool = True, of: str | None = None) -> str:
        """Append a fully connected layer over the last axis."""
        name = of or self.last
        fan_in = self.shape(name)[-1]
        weight = self.normal(outputs, fan_in, scale=1.5 / math.sqrt(fan_in))
        offset = self.normal(outputs, scale=0.5) if bias else None
        return self.add(ops.Linear(weight, offset), name)

    def network(self, output: str | None = None, *, name: str = "random") -> Network:
        """Return the network that ends in `output`, by default the newest node."""
        graph = Graph(tuple(self.nodes), output or self.last)
        return Network(graph, dict(self.parameters), name=name)


def relu_chain(sizes: Sequence[int], seed: int) -> Network:
    """Return a fully connected ReLU network on inputs of shape `(1, sizes[0])`."""
    builder = GraphBuilder((1, sizes[0]), seed)
    for outputs in sizes[1:-1]:
        builder.linear(outputs)
        builder.add(ops.Relu())
    builder.linear(sizes[-1])
    return builder.network()


# --- activations and shape-keeping layers, for any shape --------------------------------------


def _prelu(builder: GraphBuilder) -> Operator:
    shape = builder.shape(builder.last)
    return ops.PRelu(builder.uniform(-0.5, 2.0, *builder.pick([(), shape[-1:], shape])))


def _scale(builder: GraphBuilder) -> Operator:
    shape = builder.shape(builder.last)
    parts = builder.integer(1, 3)
    factor = builder.normal(*builder.pick([(), shape[-1:], shape])) if parts & 1 else None
    offset = builder.normal(*builder.pick([(), shape[-1:], shape])) if parts & 2 else None
    return ops.Scale(factor, offset)


def _batch_normalization(builder: GraphBuilder) -> Operator:
    channels = builder.shape(builder.last)[1]
    return ops.BatchNormalization(
        builder.normal(channels),
        builder.normal(channels),
        builder.normal(channels),
        builder.uniform(0.2, 2.0, channels),
        1e-5,
    )


PIECEWISE: tuple[Callable[[GraphBuilder], Operator], ...] = (
    lambda _: ops.Relu(),
    lambda _: ops.Relu(),
    lambda _: ops.Relu(),
    lambda b: ops.LeakyRelu(b.pick([-0.5, 0.0, 0.1, 1.0, 1.7])),
    _prelu,
    lambda b: ops.Clip(*b.pick([(0.0, 1.0), (-1.0, 0.5), (0.2, 0.2), (0.0, 6.0)])),
    lambda b: ops.Clip(*b.pick([(-math.inf, 0.3), (-0.4, math.inf), (-math.inf, math.inf)])),
)
SMOOTH: tuple[Callable[[GraphBuilder], Operator], ...] = (
    lambda _: ops.Sigmoid(),
    lambda _: ops.Tanh(),
    lambda b: b.pick([ops.Gelu(), ops.TanhGelu(), ops.Silu(), ops.Mish(), ops.HardSwish()]),
    lambda b: b.pick([ops.Erf(), ops.Softsign(), ops.Atan(), ops.Softplus(), ops.Elu(1.5)]),
    lambda b: b.pick([ops.Sin(), ops.Cos(), ops.Elu(), ops.Elu(0.3)]),
)
ACTIVATIONS = PIECEWISE + SMOOTH


# --- layers of vectors --------------------------------------------------------------------------


def _vector_residual(builder: GraphBuilder) -> None:
    last = builder.last
    same = [n.name for n in builder.nodes if n.shape == builder.shape(last)]
    factors = tuple(builder.pick([1.0, -1.0, 0.5]) for _ in range(2))
    builder.add(ops.Add(factors), last, builder.pick(same))


def _vector_concat(builder: GraphBuilder) -> None:
    last = builder.last
    rank = len(builder.shape(last))
    fits = [n.name for n in builder.nodes if len(n.shape) == rank and n.size < 12]
    parts = [last, builder.pick(fits or [last])]
    if builder.integer(0, 1):
        shape = (*builder.shape(last)[:-1], 2)
        parts.append(builder.add(ops.Constant(builder.normal(*shape))))
    builder.add(ops.Concat(rank - 1), *parts)


def _vector_take(builder: GraphBuilder) -> None:
    shape = builder.shape(builder.last)
    indices = tuple(builder.integer(0, shape[-1] - 1) for _ in range(builder.integer(1, 6)))
    builder.add(ops.Take(len(shape) - 1, indices))


def _vector_pad(builder: GraphBuilder) -> None:
    rank = len(builder.shape(builder.last))
    ends = (builder.integer(0, 2), builder.integer(0, 2))
    builder.add(ops.Pad((*((0, 0),) * (rank - 1), ends), builder.pick([0.0, 0.7])))


def _vector_sum(builder: GraphBuilder) -> None:
    last = builder.last
    shape = builder.shape(last)
    total = builder.add(ops.ReduceSum((len(shape) - 1,), True), last)
    spread = builder.add(ops.Expand(shape), total)
    builder.add(ops.Add((1.0, -1.0 / shape[-1])), last, spread)


def _vector_norm(builder: GraphBuilder) -> None:
    if len(builder.shape(builder.last)) > 1:
        builder.add(_batch_normalization(builder))


VECTOR_LAYERS: tuple[Callable[[GraphBuilder], object], ...] = (
    lambda b: b.linear(b.integer(1, 6), bias=bool(b.integer(0, 1))),
    lambda b: b.linear(b.integer(2, 6)),
    lambda b: b.add(b.pick(ACTIVATIONS)(b)),
    lambda b: b.add(b.pick(ACTIVATIONS)(b)),
    lambda b: b.add(b.pick(PIECEWISE)(b)),
    lambda b: b.add(_scale(b)),
    _vector_residual,
    _vector_residual,
    _vector_concat,
    _vector_take,
    _vector_pad,
    _vector_sum,
    _vector_norm,
)


# --- layers of images ---------------------------------------------------------------------------


def convolution(builder: GraphBuilder) -> Operator | None:
    """Return a random convolution that fits the newest node, or None."""
    _, channels, height, width = builder.shape(builder.last)
    groups = builder.pick([g for g in (1, 2) if channels % g == 0])
    kernel = (builder.integer(1, 3), builder.integer(1, 3))
    stride = (builder.integer(1, 2), builder.integer(1, 3))
    padding = (builder.integer(0, 2), builder.integer(0, 1))
    dilation = (builder.integer(1, 2), builder.integer(1, 2))
    sizes = zip((height, width), kernel, padding, dilation, strict=True)
    if any(size + 2 * p < d * (k - 1) + 1 for size, k, p, d in sizes):
        return None
    outputs = groups * builder.integer(1, 2)
    weight = builder.normal(outputs, channels // groups, *kernel, scale=0.7)
    bias = builder.normal(outputs, scale=0.3) if builder.integer(0, 1) else None
    return ops.Convolution(weight, bias, stride, padding, dilation, groups)


def convolution_transpose(builder: GraphBuilder) -> Operator | None:
    """Return a random transposed convolution that fits the newest node, or None."""
    _, channels, height, width = builder.shape(builder.last)
    groups = builder.pick([g for g in (1, 2) if channels % g == 0])
    kernel = (builder.integer(1, 3), builder.integer(1, 3))
    stride = (builder.integer(1, 2), builder.integer(1, 3))
    dilation = (builder.integer(1, 3), builder.integer(1, 2))
    padding = (builder.integer(0, 1), builder.integer(0, 1))
    extra = tuple(builder.integer(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
    sizes = zip((height, width), kernel, stride, padding, dilation, extra, strict=True)
    result = [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, d, e in sizes]
    if min(result) < 1 or max(result) > 8:
        return None
    weight = builder.normal(channels, builder.integer(1, 2), *kernel, scale=0.7)
    outputs = builder.parameters[weight.name].shape[1] * groups
    bias = builder.normal(outputs, scale=0.3) if builder.integer(0, 1) else None
    return ops.ConvolutionTranspose(weight, bias, stride, padding, extra, dilation, groups)


def average_pool(builder: GraphBuilder) -> Operator | None:
    """Return a random average pool that fits the newest node, or None."""
    _, _, height, width = builder.shape(builder.last)
    kernel = (builder.integer(1, 3), builder.integer(1, 3))
    stride = (builder.integer(1, 2), builder.integer(1, 2))
    padding = tuple(builder.integer(0, k // 2) for k in kernel)
    sizes = zip((height, width), kernel, padding, strict=True)
    if any(size + 2 * p < k for size, k, p in sizes):
        return None
    return ops.AveragePool(kernel, stride, padding)


def max_pool(builder: GraphBuilder) -> Operator | None:
    """Return a random maximum pool, no window of which is padding alone, or None."""
    _, _, height, width = builder.shape(builder.last)
    kernel = (builder.integer(1, 3), builder.integer(1, 3))
    stride = (builder.integer(1, 2), builder.integer(1, 2))
    dilation = (1, builder.integer(1, 2))
    padding = tuple((builder.integer(0, k // 2), builder.integer(0, k // 2)) for k in kernel)
    sizes = zip((height, width), kernel, dilation, padding, strict=True)
    if any(n + sum(p) < d * (k - 1) + 1 or n < d * k for n, k, d, p in sizes):
        return None
    return ops.MaxPool(kernel, stride, padding, dilation)


def _image(maker: Callable[[GraphBuilder], Operator | None]) -> Callable[[GraphBuilder], None]:
    def layer(builder: GraphBuilder) -> None:
        operator = maker(builder)
        if operator is not None:
            builder.add(operator)

    return layer


def _image_pad(builder: GraphBuilder) -> None:
    if max(builder.shape(builder.last)[2:]) < 7:
        ends = [(builder.integer(0, 1), builder.integer(0, 1)) for _ in range(2)]
        builder.add(ops.Pad(((0, 0), (0, 0), *ends), builder.pick([0.0, -0.4])))


def _image_concat(builder: GraphBuilder) -> None:
    last = builder.last
    shape = builder.shape(last)
    fits = [n.name for n in builder.nodes if n.shape[2:] == shape[2:] and n.shape[1] + shape[1] < 5]
    if fits:
        builder.add(ops.Concat(1), last, builder.pick(fits))


IMAGE_LAYERS: tuple[Callable[[GraphBuilder], object], ...] = (
    _image(convolution),
    _image(convolution),
    _image(convolution_transpose),
    _image(average_pool),
    _image(max_pool),
    lambda b: b.add(b.pick(ACTIVATIONS)(b)),
    lambda b: b.add(b.pick(PIECEWISE)(b)),
    lambda b: b.add(_batch_normalization(b)),
    lambda b: b.add(ops.Transpose((0, 1, 3, 2))),
    _vector_residual,
    _image_pad,
    _image_concat,
)


def random_vector_network(seed: int, layers: int) -> Network:
    """Return a random network on a few numbers; its output may be any kind of node."""
    inputs = 1 + seed % 4
    builder = GraphBuilder((inputs,) if seed % 3 == 0 else (1, inputs), seed)
    for _ in range(layers):
        builder.pick(VECTOR_LAYERS)(builder)
    return builder.network()


def random_image_network(seed: int, layers: int) -> Network:
    """Return a random network on a tiny image, flattened and fully connected at the end."""
    builder = GraphBuilder((1, 1 + seed % 2, 4, 3 + seed % 3), seed)
    for _ in range(layers):
        builder.pick(IMAGE_LAYERS)(builder)
    size = math.prod(builder.shape(builder.last))
    builder.add(ops.Reshape((1, size)))
    builder.linear(builder.integer(1, 3))
    if builder.integer(0, 1):
        builder.add(builder.pick(ACTIVATIONS)(builder))
    return builder.network()


seeds = st.integers(0, 2**32 - 1)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Draw a random small network, of vectors or of images."""
    maker = draw(st.sampled_from([random_vector_network, random_image_network]))
    return maker(draw(seeds), draw(st.integers(0, 9)))
