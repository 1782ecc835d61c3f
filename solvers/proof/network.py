"""An ONNX file as a list of affine and nonlinear operations on vectors of real numbers.

Every tensor of the graph is one vector, in row-major order of its ONNX shape with a batch of 1.
What only moves values about (Reshape, Transpose, Slice, Concat, …) is applied to an array of
indices, and becomes a selection. Matrices hold float64 numbers; where the real coefficient is none,
such as 1/3 or a factor of BatchNormalization, it lies within a stated share of what is held.

Nothing here is shared with the import that searches use. What is not understood is refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import sparse

from solvers.proof.container import ProofError

__all__ = [
    "Affine",
    "CheckedNetwork",
    "Matrix",
    "Nonlinear",
    "Term",
    "UnsupportedProofError",
]

UNIT = 2.0**-53
MAX_VALUES, MAX_ENTRIES = 1 << 22, 1 << 26
"""Of one vector, and of one matrix. Error bounds rely on sums of fewer than 2²⁶ numbers."""
MOST = 2.0**300
"""Largest magnitude of values, and of constants and their inverses: what underflows next to such
numbers is nothing, and coefficients that are computed from constants do not underflow."""
DENSE_SHARE, DENSE_ENTRIES = 0.2, 1 << 23

Array = NDArray[Any]
Shape = tuple[int, ...]
Matrix = Array | sparse.csr_matrix
"""A diagonal (one axis), a dense matrix (two axes), or a sparse one; `(outputs, inputs)`."""


class UnsupportedProofError(ProofError):
    """The network has an operator, or a use of one, that proofs cannot be checked for."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution, kept apart from its matrix for products with many rows at once.

    Attributes:
        windows: Which input each place of the kernel meets, −1 for padding, shape
            `(places, input channels, positions)`.
        taps: Weights, shape `(places, output channels, input channels)`.
        turned: Whether the matrix is the transpose of this convolution's.
    """

    windows: Array
    taps: Array
    turned: bool

    def back(self, rows: Array, inputs: int) -> Array:
        """Return rows times the matrix, shape `(rows, inputs)`."""
        columns = np.ascontiguousarray(rows.T)
        count = columns.shape[1]
        if self.turned:
            padded = np.concatenate([columns, np.zeros((1, count))])
            total = np.zeros((self.taps.shape[1], self.windows.shape[2] * count))
            for window, tap in zip(self.windows, self.taps, strict=True):
                total += tap @ padded[window.ravel()].reshape(len(window), -1)
            return total.reshape(-1, count).T
        columns = columns.reshape(self.taps.shape[1], -1)
        result = np.zeros((inputs + 1, count))  # the last row takes what falls on padding
        for window, tap in zip(self.windows, self.taps, strict=True):
            result[window.ravel()] += (tap.T @ columns).reshape(-1, count)
        return result[:-1].T


@dataclass(frozen=True, eq=False)
class Term:
    """One product of a matrix with a vector; real coefficients are within `share` of the held."""

    source: int
    matrix: Matrix
    share: float = 0.0
    kernel: Kernel | None = None

    @cached_property
    def absolute(self) -> Term:
        """The same with the absolute value of every coefficient."""
        if sparse.issparse(self.matrix):
            return Term(self.source, sparse.csr_matrix(abs(self.matrix)), self.share)
        return Term(self.source, np.abs(self.matrix), self.share)

    def forward(self, values: Array) -> Array:
        """Return the matrix times every row of values, shape `(rows, outputs)`."""
        if sparse.issparse(self.matrix):
            return np.asarray((self.matrix @ values.T).T)
        return values * self.matrix if self.matrix.ndim == 1 else values @ self.matrix.T

    def back(self, rows: Array) -> Array:
        """Return rows times the matrix, shape `(rows, inputs)`."""
        if not sparse.issparse(self.matrix):
            return rows * self.matrix if self.matrix.ndim == 1 else rows @ self.matrix
        if self.kernel is not None:
            return self.kernel.back(rows, self.matrix.shape[1])
        return np.asarray(rows @ self.matrix)

    def chosen(self, index: NDArray[np.intp], signs: Array) -> Array:
        """Return single rows of the matrix times 1 or −1; exact."""
        if sparse.issparse(self.matrix):
            return np.asarray(self.matrix[index].toarray() * signs[:, None])
        if self.matrix.ndim == 2:
            return self.matrix[index] * signs[:, None]
        result = np.zeros((len(index), len(self.matrix)))
        result[np.arange(len(index)), index] = signs * self.matrix[index]
        return result

    @property
    def is_selection(self) -> bool:
        """Whether every output comes from one input, so that intervals lose nothing."""
        if sparse.issparse(self.matrix):
            return bool(self.matrix.getnnz(axis=1).max(initial=0) <= 1)
        return self.matrix.ndim == 1

    @property
    def is_copy(self) -> bool:
        """Whether every output is one of the inputs, its negative, or 0."""
        data = self.matrix.data if sparse.issparse(self.matrix) else self.matrix
        return self.is_selection and bool((np.abs(data) == 1.0).all())

    def terms(self, *, forward: bool) -> int:
        """Return of how many products a sum consists at most, forward or back."""
        if sparse.issparse(self.matrix):
            return int(self.matrix.getnnz(axis=1 if forward else 0).max(initial=0))
        return 1 if self.matrix.ndim == 1 else self.matrix.shape[1 if forward else 0]


@dataclass(frozen=True, eq=False)
class Affine:
    """output = Σ matrix · source + bias; the real bias is within `bias_error` of the one held.

    Where a bias is a sum of larger numbers, `bias_error` is 8 units of these at least.
    """

    output: int
    terms: tuple[Term, ...]
    bias: Array
    bias_error: Array
    name: str

    def summed(self, *, forward: bool) -> int:
        """Return of how many numbers sums consist, and some more."""
        return 8 + sum(1 + term.terms(forward=forward) for term in self.terms)


@dataclass(frozen=True, eq=False)
class Nonlinear:
    """output = f(sources), element by element; all vectors have one length.

    Attributes:
        kind: Key of the table of functions.
        read: Named vector whose bounds matter for it: its source, or what sources are taken from.
        numbers: Constants of the function.
    """

    output: int
    kind: str
    sources: tuple[int, ...]
    read: int
    numbers: tuple[float, ...]
    name: str


Operation = Affine | Nonlinear


@dataclass(frozen=True, eq=False)
class CheckedNetwork:
    """Operations in order; vector 0 is the input.

    Attributes:
        operations: Each reads vectors that stand before it.
        sizes: Of every vector.
        names: ONNX names of vectors; several may share one.
        input_shape: Of one input; symbolic dimensions count as 1.
        output: Number of the vector that specifications speak of.
        dropped: Operator behind it that keeps the order of outputs (`Softmax`), or None.
        sha256: Of the file.
        single: Whether the file computes in float32.
    """

    operations: tuple[Operation, ...]
    sizes: tuple[int, ...]
    names: Mapping[str, int]
    input_shape: Shape
    output: int
    dropped: str | None
    sha256: str
    single: bool

    @classmethod
    def read(
        cls,
        content: bytes,
        normalization: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> CheckedNetwork:
        """Read an ONNX file.

        Args:
            content: Of the file.
            normalization: Mean and standard deviation, one number or one per channel, rounded to
                float32, of what is applied to the input first.

        Raises:
            UnsupportedProofError: Something in it cannot be checked; names node and operator.
        """
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:
            raise UnsupportedProofError(f"the network is no ONNX file: {error}") from error
        builder = _Builder(model)
        if normalization is not None:
            builder.normalise(normalization)
        output = builder.run()
        return cls(
            tuple(builder.operations),
            tuple(builder.sizes),
            {name: vector for name, (vector, _) in builder.vectors.items()},
            builder.input_shape,
            output,
            builder.dropped,
            hashlib.sha256(content).hexdigest(),
            builder.single,
        )

    @cached_property
    def largest(self) -> float:
        """Largest magnitude of a coefficient or constant."""
        found = 0.0
        for operation in self.operations:
            if isinstance(operation, Affine):
                held = [t.matrix.data if sparse.issparse(t.matrix) else t.matrix
                        for t in operation.terms]  # fmt: skip
                parts = (np.abs(part).max(initial=0.0) for part in (operation.bias, *held))
                found = max(found, *map(float, parts))
        return found

    @cached_property
    def read_vectors(self) -> frozenset[int]:
        """Vectors that nonlinear operations read: the pre-activations."""
        return frozenset(o.read for o in self.operations if isinstance(o, Nonlinear))


@dataclass
class _Node:
    """A node of the graph; attributes are taken out as they are understood."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, proto: onnx.NodeProto) -> _Node:
        name = proto.name or (proto.output[0] if proto.output else "?")
        node = cls(proto.op_type, list(proto.input), list(proto.output), name)
        if proto.domain not in {"", "ai.onnx"}:
            raise node.refused(f"it belongs to the domain {proto.domain!r}")
        for attribute in proto.attribute:
            node.require(attribute.name not in node.attributes, "an attribute is given twice")
            node.attributes[attribute.name] = onnx.helper.get_attribute_value(attribute)
        return node

    def take(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an attribute, which then counts as understood."""
        return self.attributes.pop(name, default)

    def require(self, condition: object, reason: str) -> None:
        if not condition:
            raise self.refused(reason)

    def refused(self, reason: str) -> UnsupportedProofError:
        return UnsupportedProofError(
            f"node {self.name!r} ({self.operator}) cannot be checked: {reason}"
        )


class _Builder:
    """Walks the graph once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes = [_Node.of(proto) for proto in graph.node]
        if graph.sparse_initializer or model.functions:
            raise UnsupportedProofError("sparse initializers and functions cannot be checked")
        self.constants = {tensor.name: _values(tensor) for tensor in graph.initializer}
        if len(self.constants) != len(graph.initializer):
            raise UnsupportedProofError("two initializers have the same name")
        opsets = {s.version for s in model.opset_import if s.domain in {"", "ai.onnx"}}
        if len(opsets) != 1:
            raise UnsupportedProofError(f"the network states {len(opsets)} versions of operators")
        (self.opset,) = opsets
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or not graph.output:
            raise UnsupportedProofError(f"the network has {len(inputs)} inputs; one is allowed")
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}:
            raise UnsupportedProofError("the input is neither float32 nor float64")
        self.single = kind.elem_type == onnx.TensorProto.FLOAT and not _has_doubles(graph)
        self.input_shape = tuple(max(d.dim_value, 1) for d in kind.shape.dim)
        self.output_name = graph.output[0].name
        self.operations: list[Operation] = []
        self.sizes = [prod(self.input_shape)]
        self.vectors: dict[str, tuple[int, Shape]] = {inputs[0].name: (0, self.input_shape)}
        self.dropped: str | None = None
        self._plain = ""
        self._input_name = inputs[0].name
        self._readers = Counter(name for node in self.nodes for name in node.inputs)
        self._readers[self.output_name] += 1

    def normalise(self, normalization: tuple[Sequence[float], Sequence[float]]) -> None:
        """Put (x − mean) / std in front; channels are axis −3, or else the last, of their size."""
        node = _Node("Normalization", [self._input_name], [self._input_name], "normalization")
        mean, std = (
            np.asarray(part, dtype=np.float32).astype(np.float64) for part in normalization
        )
        shape, count = self.input_shape, len(mean)
        node.require(len(std) == count > 0, "mean and std differ in length")
        node.require(np.isfinite(mean).all() and np.isfinite(std).all(), "numbers are not finite")
        node.require((std > 0).all(), "a standard deviation is not positive")
        if count > 1:
            axes = [a for a in (-3, -1) if len(shape) >= -a and shape[a] == count]
            node.require(axes, f"{count} means do not fit the input's shape {shape}")
            spread = [count if a == len(shape) + axes[0] else 1 for a in range(len(shape))]
            mean, std = mean.reshape(spread), std.reshape(spread)
        mean, std = (np.broadcast_to(part, shape).ravel() for part in (mean, std))
        bias = -mean / std
        self.affine(node, shape, [Term(0, 1 / std, 2 * UNIT)], bias, 2 * UNIT * np.abs(bias))

    def run(self) -> int:
        """Translate all nodes and return the number of the output vector."""
        for node in self.nodes:
            known = [o for o in node.outputs if o in self.constants or o in self.vectors]
            node.require(not known, f"its output {known} is the name of something else")
            if node.operator in {"Softmax", "LogSoftmax"} and node.outputs[0] == self.output_name:
                self._drop(node)
            elif node.operator not in OPERATORS:
                raise node.refused("the operator is not supported")
            else:
                self._translate(node)
            left = ", ".join(sorted(node.attributes))
            node.require(not left, f"attributes {left} are not understood")
        if self.output_name not in self.vectors:
            raise UnsupportedProofError("the output does not depend on the input")
        return self.vectors[self.output_name][0]

    def _translate(self, node: _Node) -> None:
        try:
            OPERATORS[node.operator](self, node)
        except (ValueError, IndexError, KeyError, TypeError, ArithmeticError) as error:
            raise node.refused(f"it is malformed: {error}") from error

    def _drop(self, node: _Node) -> None:
        """Stop before a final Softmax over all outputs, which keeps their order."""
        vector, shape = self.vector(node)
        axis = node.take("axis", -1 if self.opset >= 13 else 1)
        size = shape[axis] if self.opset >= 13 else prod(shape[axis % len(shape) :])
        node.require(size == prod(shape), "it is not taken over all outputs")
        self.dropped = node.operator
        self.vectors[self.output_name] = vector, shape

    # What operators are made of.

    def constant(self, node: _Node, position: int) -> Array | None:
        """Return an input that must be a constant, None where there is none."""
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        name = node.inputs[position]
        node.require(name in self.constants, f"its input {name!r} is not a constant")
        return self.constants[name]

    def weight(self, node: _Node, position: int) -> Array:
        """Return an input that must be there and be a constant."""
        found = self.constant(node, position)
        if found is None:
            raise node.refused(f"it has no input {position}")
        return found

    def vector(self, node: _Node, position: int = 0) -> tuple[int, Shape]:
        name = node.inputs[position] if position < len(node.inputs) else ""
        node.require(name in self.vectors, f"its input {name!r} is no vector that is known")
        return self.vectors[name]

    def new(self, node: _Node, shape: Shape, output: int = 0, *, name: bool = True) -> int:
        """Return the number of a new vector."""
        node.require(prod(shape) <= MAX_VALUES, f"its result has {prod(shape)} values")
        node.require(prod(shape) > 0, "its result is empty")
        self.sizes.append(prod(shape))
        if name:
            self.vectors[node.outputs[output]] = len(self.sizes) - 1, tuple(map(int, shape))
        return len(self.sizes) - 1

    def affine(
        self,
        node: _Node,
        shape: Shape,
        terms: Sequence[Term],
        bias: Array | None = None,
        bias_error: Array | None = None,
        *,
        output: int = 0,
        name: bool = True,
    ) -> int:
        """Append an affine operation and return the number of its result."""
        zero = np.zeros(prod(shape))
        held = zero if bias is None else np.asarray(bias, dtype=np.float64)
        error = zero if bias_error is None else bias_error
        node.require(np.isfinite(held).all() and np.isfinite(error).all(), "its bias overflows")
        dense = tuple(Term(t.source, _dense(t.matrix), t.share, t.kernel) for t in terms)
        for term in dense:
            data = term.matrix.data if sparse.issparse(term.matrix) else term.matrix
            node.require(np.isfinite(data).all(), "its coefficients are not finite")
            node.require(data.size <= MAX_ENTRIES, f"its matrix has {data.size} entries")
        result = self.new(node, shape, output, name=name)
        self.operations.append(Affine(result, dense, held, error, node.name))
        # Under this name and no other, until anything else is made of it.
        self._plain = node.outputs[output] if name else ""
        return result

    def select(self, node: _Node, index: Array, source: int, *, output: int = 0) -> None:
        """Make a result of values of a vector, −1 for 0."""
        flat = index.ravel()
        if flat.size == self.sizes[source] and np.array_equal(flat, np.arange(flat.size)):
            self.vectors[node.outputs[output]] = source, index.shape
            return
        terms = [Term(source, _selection(flat, self.sizes[source]))]
        self.affine(node, index.shape, terms, output=output)

    def merge_bias(self, node: _Node, bias: Array) -> bool:
        """Add a constant to the operation just before, where that has none and no other reader."""
        name = node.inputs[0]
        last = self.operations[-1] if self.operations else None
        if not isinstance(last, Affine) or self._plain != name or self._readers[name] != 1:
            return False
        if np.any(last.bias) or np.any(last.bias_error) or not np.isfinite(bias).all():
            return False
        self.operations[-1] = Affine(last.output, last.terms, bias, last.bias_error, last.name)
        self.vectors[node.outputs[0]] = self.vectors.pop(name)
        self._plain = ""
        return True


def _has_doubles(graph: onnx.GraphProto) -> bool:
    """Return whether some numbers have more digits than float32, so that runtimes round them."""
    held = [tensor.data_type for tensor in graph.initializer]
    held += [a.t.data_type for n in graph.node if n.op_type == "Constant" for a in n.attribute]
    held += [a.i for n in graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"]
    return onnx.TensorProto.DOUBLE in held


def _values(tensor: onnx.TensorProto) -> Array:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise UnsupportedProofError(f"{tensor.name!r} is stored outside the network's file")
    array = np.asarray(numpy_helper.to_array(tensor))
    if array.dtype in (np.float32, np.float64):
        sizes = np.abs(array[(array != 0) & np.isfinite(array)].astype(np.float64))
        if np.any(sizes < 1 / MOST) or np.any(sizes > MOST):
            raise UnsupportedProofError(f"{tensor.name!r} holds numbers beyond {MOST:.0e}")
        return array.astype(np.float64)
    if array.dtype.kind in "iub":
        return array  # of its own type, in which runtimes compute with it
    raise UnsupportedProofError(f"{tensor.name!r} holds numbers of type {array.dtype}")


def _dense(matrix: Matrix) -> Matrix:
    """Return a matrix in the form in which products with it are cheap."""
    if not sparse.issparse(matrix):
        return np.ascontiguousarray(matrix, dtype=np.float64)
    entries = prod(matrix.shape)
    if entries <= DENSE_ENTRIES and matrix.nnz > DENSE_SHARE * entries:
        return np.ascontiguousarray(matrix.toarray())
    return matrix


def _selection(index: Array, inputs: int) -> sparse.csr_matrix:
    chosen = np.flatnonzero(index >= 0)
    entries = (np.ones(len(chosen)), (chosen, index[chosen]))
    return sparse.csr_matrix(entries, shape=(index.size, inputs))


# Operators that only move values about: each turns an array, of numbers or of indices, into others.


def _structural(move: Callable[[_Builder, _Node, Array], Any]) -> Callable[[_Builder, _Node], None]:
    def translate(builder: _Builder, node: _Node) -> None:
        name = node.inputs[0]
        known = name in builder.constants
        if known:
            array = builder.constants[name]
        else:
            source, shape = builder.vector(node)
            array = np.arange(prod(shape), dtype=np.int64).reshape(shape)
        try:
            results = move(builder, node, array)
        except (ValueError, IndexError, TypeError) as error:
            raise node.refused(str(error)) from error
        for output, result in enumerate(results if isinstance(results, list) else [results]):
            if known:
                builder.constants[node.outputs[output]] = result
            else:
                builder.select(node, result, source, output=output)

    return translate


def _reshape(builder: _Builder, node: _Node, x: Array) -> Array:
    given = builder.constant(node, 1)
    wanted = node.take("shape") if given is None else given
    node.require(node.take("allowzero", 0) == 0, "allowzero is set")
    shape = [x.shape[i] if size == 0 else int(size) for i, size in enumerate(wanted)]
    return x.reshape(shape)


def _flatten(_: _Builder, node: _Node, x: Array) -> Array:
    axis = node.take("axis", 1)
    return x.reshape(prod(x.shape[: axis + x.ndim if axis < 0 else axis]), -1)


def _axes(builder: _Builder, node: _Node, position: int = 1) -> tuple[int, ...] | None:
    given = builder.constant(node, position)
    wanted = node.take("axes") if given is None else given
    # No axes at all mean the same as an empty list of them.
    return None if wanted is None else tuple(int(axis) for axis in np.ravel(wanted)) or None


def _squeeze(builder: _Builder, node: _Node, x: Array) -> Array:
    return np.squeeze(x, _axes(builder, node))


def _unsqueeze(builder: _Builder, node: _Node, x: Array) -> Array:
    return np.expand_dims(x, _axes(builder, node) or ())


def _transpose(_: _Builder, node: _Node, x: Array) -> Array:
    return x.transpose(node.take("perm"))


def _identity(_: _Builder, node: _Node, x: Array) -> Array:
    node.require(len([o for o in node.outputs if o]) == 1, "it has a second output")
    node.take("ratio")  # of Dropout, which does nothing at inference
    node.take("seed")
    return x


def _dropout(builder: _Builder, node: _Node, x: Array) -> Array:
    training = builder.constant(node, 2)
    node.require(training is None or not np.any(training), "it is in training mode")
    node.outputs = node.outputs[:1]
    return _identity(builder, node, x)


def _cast(builder: _Builder, node: _Node, x: Array) -> Array:
    kind = node.take("to")
    floats = kind in {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
    if node.inputs[0] not in builder.constants:
        node.require(floats, "it rounds values")
        return x
    whole = kind == onnx.TensorProto.INT64 and x.dtype.kind in "iub" and x.dtype != np.uint64
    node.require(floats or whole, "unknown type")
    wide = x.astype(np.float64 if floats else np.int64)
    same = kind != onnx.TensorProto.FLOAT or np.array_equal(wide.astype(np.float32), wide)
    node.require(same, "it rounds a constant")
    return wide


def _slice(builder: _Builder, node: _Node, x: Array) -> Array:
    parts = [builder.constant(node, i) for i in range(1, 5)]
    starts, ends = (
        given if given is not None else node.take(key)
        for given, key in zip(parts, ("starts", "ends"), strict=False)
    )
    axes = parts[2] if parts[2] is not None else node.take("axes", range(len(starts)))
    steps = [1] * len(starts) if parts[3] is None else parts[3]
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Python has nothing there, ONNX the first value.
        known = step > 0 or start >= -x.shape[axis]
        node.require(known, "it goes backwards from in front of the first value")
        cut[int(axis)] = slice(int(start), int(end), int(step))
    return x[tuple(cut)]


def _gather(builder: _Builder, node: _Node, x: Array) -> Array:
    index = builder.weight(node, 1)
    node.require(index.dtype.kind == "i", "indices are not whole numbers")
    return np.take(x, index, axis=node.take("axis", 0))


def _split(builder: _Builder, node: _Node, x: Array) -> list[Array]:
    given = builder.constant(node, 1)
    sizes = node.take("split") if given is None else given
    axis, count = node.take("axis", 0), len(node.outputs)
    node.require(node.take("num_outputs", count) == count, "num_outputs is not what it has")
    if sizes is None:
        node.require(x.shape[axis] % count == 0, "parts are not equal")
        return np.split(x, count, axis)
    node.require(sum(map(int, sizes)) == x.shape[axis], "parts do not add up")
    return np.split(x, np.cumsum(sizes)[:-1].astype(int), axis)


def _pad(builder: _Builder, node: _Node, x: Array) -> Array:
    given = builder.constant(node, 1)
    pads = [int(p) for p in (node.take("pads") if given is None else given)]
    value = builder.constant(node, 2)
    fill = node.take("value", 0.0) if value is None else float(value)
    node.require(node.take("mode", b"constant") == b"constant", "only constant padding is known")
    node.require(fill == 0.0 and min(pads) >= 0 and len(node.inputs) < 4, "it pads otherwise")
    blank = 0 if node.inputs[0] in builder.constants else -1
    half = len(pads) // 2
    node.require(half == x.ndim, "its pads do not fit the axes")
    pairs = list(zip(pads[:half], pads[half:], strict=True))
    return np.pad(x, pairs, constant_values=blank)


def _upsample(builder: _Builder, node: _Node, x: Array) -> Array:
    given = builder.constant(node, 1)
    scales = np.asarray(node.take("scales") if given is None else given, dtype=float)
    node.require(node.take("mode", b"nearest") == b"nearest", "only nearest is known")
    node.require((scales == scales.round()).all() and (scales >= 1).all(), "scales are not whole")
    for axis, scale in enumerate(scales):
        x = np.repeat(x, int(scale), axis)
    return x


def _concat(builder: _Builder, node: _Node) -> None:
    axis, known = node.take("axis"), [name in builder.constants for name in node.inputs]
    node.require(axis is not None, "it has no axis")
    if all(known):
        parts = [builder.constants[name] for name in node.inputs]
        builder.constants[node.outputs[0]] = np.concatenate(parts, axis)
        return
    empty, numbers, sources = [], [], []
    for position, name in enumerate(node.inputs):
        source, shape = (-1, ()) if known[position] else builder.vector(node, position)
        constant = builder.constants[name] if known[position] else np.zeros(shape)
        empty.append(np.full(constant.shape, -1, dtype=np.int64))
        numbers.append(constant.astype(np.float64))
        sources.append(source)
    bias = np.concatenate(numbers, axis)
    terms = []
    for position, source in enumerate(sources):
        if source >= 0:
            own = np.arange(builder.sizes[source]).reshape(empty[position].shape)
            index = np.concatenate([*empty[:position], own, *empty[position + 1 :]], axis)
            terms.append(Term(source, _selection(index.ravel(), builder.sizes[source])))
    builder.affine(node, bias.shape, terms, bias.ravel())


def _constant(builder: _Builder, node: _Node) -> None:
    tensor = node.take("value")
    node.require(isinstance(tensor, onnx.TensorProto), "it holds no tensor")
    builder.constants[node.outputs[0]] = _values(tensor)


# Affine operators.


def _gemm(builder: _Builder, node: _Node) -> None:
    source, shape = builder.vector(node)
    weight, bias = builder.weight(node, 1), builder.constant(node, 2)
    alpha, beta = node.take("alpha", 1.0), node.take("beta", 1.0)
    node.require(weight.ndim == len(shape) == 2, "shapes are not 2-d")
    node.require(node.take("transA", 0) == 0, "its first input is transposed")
    matrix = (weight if node.take("transB", 0) else weight.T) * alpha  # (outputs, inputs)
    node.require(matrix.shape[1] == shape[1], "shapes do not fit")
    result = (shape[0], matrix.shape[0])
    held = np.broadcast_to(0.0 if bias is None else bias * beta, result).ravel()
    share = 0.0 if alpha == 1.0 else 2 * UNIT
    error = None if beta == 1.0 else 2 * UNIT * np.abs(held)
    terms = [Term(source, _by_row(matrix, shape[0]), share)]
    builder.affine(node, result, terms, held, error)


def _by_row(matrix: Array, rows: int) -> Matrix:
    """Return the matrix that applies another to each of several rows."""
    if rows == 1:
        return matrix
    return sparse.csr_matrix(sparse.kron(sparse.eye(rows), sparse.csr_matrix(matrix)))


def _matmul(builder: _Builder, node: _Node) -> None:
    if node.inputs[1] in builder.constants:
        source, shape = builder.vector(node)
        weight = builder.constants[node.inputs[1]]
        node.require(weight.ndim == 2 and shape[-1:] == weight.shape[:1], "shapes do not fit")
        terms = [Term(source, _by_row(weight.T, prod(shape[:-1])))]
        builder.affine(node, (*shape[:-1], weight.shape[1]), terms)
        return
    source, shape = builder.vector(node, 1)
    weight = builder.weight(node, 0)
    fits = weight.ndim == 2 and weight.shape[1] == shape[0]
    node.require(fits and len(shape) <= 2, "shapes do not fit")
    matrix = sparse.csr_matrix(sparse.kron(sparse.csr_matrix(weight), sparse.eye(prod(shape[1:]))))
    builder.affine(node, (weight.shape[0], *shape[1:]), [Term(source, matrix)])


def _windows(node: _Node, shape: Shape, kernel: Shape) -> tuple[Array, Shape]:
    """Return which input each place of a kernel meets, −1 for padding.

    Args:
        node: Whose strides, pads and dilations count.
        shape: Of channels and their axes.
        kernel: Without channels.

    Returns:
        Indices of shape `(kernel places, channels, outputs)`, and the shape of the outputs.
    """
    axes = len(kernel)
    strides = node.take("strides", [1] * axes)
    dilations = node.take("dilations", [1] * axes)
    pads = list(node.take("pads", [0] * 2 * axes))
    automatic = node.take("auto_pad", b"NOTSET").decode()
    node.require(len(shape) == axes + 1, f"its input has {len(shape)} axes")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if automatic in {"SAME_UPPER", "SAME_LOWER"}:
        for i, size in enumerate(shape[1:]):
            missing = max((-(-size // strides[i]) - 1) * strides[i] + reach[i] - size, 0)
            small, large = missing // 2, missing - missing // 2
            ends = (small, large) if automatic == "SAME_UPPER" else (large, small)
            pads[i], pads[axes + i] = ends
    else:
        node.require(automatic in {"NOTSET", "VALID"}, f"auto_pad is {automatic}")
        # Some runtimes ignore the pads then, others refuse them.
        node.require(automatic == "NOTSET" or not any(pads), "auto_pad and pads are both set")
    node.require(min(pads, default=0) >= 0, "pads are negative")
    around = [(0, 0), *((pads[i], pads[axes + i]) for i in range(axes))]
    index = np.pad(np.arange(prod(shape)).reshape(shape), around, constant_values=-1)
    sizes = tuple(
        (have - r) // s + 1 for have, r, s in zip(index.shape[1:], reach, strides, strict=True)
    )
    node.require(min(sizes) > 0, "its kernel is larger than its input")
    found = []
    for place in product(*map(range, kernel)):
        start = [p * d for p, d in zip(place, dilations, strict=True)]
        cut = tuple(
            slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(start, sizes, strides, strict=True)
        )
        found.append(index[(slice(None), *cut)].reshape(shape[0], -1))
    return np.stack(found), sizes


def _kernel_matrix(
    node: _Node, weight: Array, shape: Shape, groups: int
) -> tuple[sparse.csr_matrix, Shape, Kernel | None]:
    """Return the matrix of a convolution over `(channels, …)`, its result's shape, and its kernel.

    `weight` has the shape (output channels, input channels of one group, kernel…).
    """
    outputs, inputs = weight.shape[:2]
    node.require(shape[0] == inputs * groups and outputs % groups == 0, "channels do not fit")
    windows, sizes = _windows(node, shape, weight.shape[2:])
    node.require(windows[:, 0].size * outputs * inputs <= MAX_ENTRIES, "its matrix is too large")
    taps = np.moveaxis(weight.reshape(outputs, inputs, -1), 2, 0)  # (places, outputs, inputs)
    first = np.arange(outputs) // (outputs // groups) * inputs
    channels = first[:, None] + np.arange(inputs)  # (outputs, inputs)
    columns = windows[:, channels]  # (places, outputs, inputs, positions)
    rows = np.arange(outputs * windows.shape[2]).reshape(outputs, 1, -1)
    rows, data = (np.broadcast_to(a, columns.shape) for a in (rows, taps[..., None]))
    met = (columns >= 0) & (data != 0)
    size = (outputs * windows.shape[2], prod(shape))
    matrix = sparse.csr_matrix((data[met], (rows[met], columns[met])), shape=size)
    kernel = Kernel(windows, np.ascontiguousarray(taps), turned=False) if groups == 1 else None
    return matrix, (outputs, *sizes), kernel


def _convolution(builder: _Builder, node: _Node) -> None:
    source, shape = builder.vector(node)
    weight, bias = builder.weight(node, 1), builder.constant(node, 2)
    node.require(shape[0] == 1, "its batch is not 1")
    kernel = tuple(node.take("kernel_shape", weight.shape[2:]))
    node.require(kernel == weight.shape[2:], "kernel_shape differs from its weight")
    matrix, result, held = _kernel_matrix(node, weight, shape[1:], node.take("group", 1))
    _by_channel(builder, node, Term(source, matrix, 0.0, held), result, bias)


def _by_channel(
    builder: _Builder, node: _Node, term: Term, shape: Shape, bias: Array | None
) -> None:
    held = np.zeros(shape[0]) if bias is None else bias
    node.require(held.shape == shape[:1], "its bias does not fit")
    builder.affine(node, (1, *shape), [term], np.repeat(held, prod(shape[1:])))


def _transposed(builder: _Builder, node: _Node) -> None:
    """ConvTranspose: the transpose of the convolution from its output to its input."""
    source, shape = builder.vector(node)
    weight, bias = builder.weight(node, 1), builder.constant(node, 2)
    node.require(shape[0] == 1, "its batch is not 1")
    axes, groups = weight.ndim - 2, node.take("group", 1)
    kernel = tuple(node.take("kernel_shape", weight.shape[2:]))
    extra = node.take("output_padding", [0] * axes)
    node.require(kernel == weight.shape[2:], "kernel_shape differs from its weight")
    node.require("output_shape" not in node.attributes, "output_shape is set")
    node.require(node.attributes.get("auto_pad", b"NOTSET") == b"NOTSET", "auto_pad is set")
    strides = node.attributes.get("strides", [1] * axes)
    dilations = node.attributes.get("dilations", [1] * axes)
    pads = node.attributes.get("pads", [0] * 2 * axes)
    large = tuple(
        strides[i] * (shape[2 + i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        - pads[i] - pads[axes + i]
        for i in range(axes)
    )  # fmt: skip
    node.require(min(large) > 0, "its result is empty")
    result = (weight.shape[1] * groups, *large)
    matrix, back, held = _kernel_matrix(node, weight, result, groups)
    node.require(back == shape[1:], "its shapes do not fit")
    turned = held and Kernel(held.windows, held.taps, turned=True)
    term = Term(source, sparse.csr_matrix(matrix.T), 0.0, turned)
    _by_channel(builder, node, term, result, bias)


def _batch_normalization(builder: _Builder, node: _Node) -> None:
    source, shape = builder.vector(node)
    parts = [builder.weight(node, position) for position in range(1, 5)]
    node.require(all(part.shape == (shape[1],) for part in parts), "shapes do not fit")
    node.take("momentum")
    node.require(node.take("spatial", 1) == 1 and shape[0] == 1, "it is not over channels")
    trains = node.take("training_mode", 0) != 0 or len([o for o in node.outputs if o]) > 1
    node.require(not trains, "it is in training mode")
    gain, shift, mean, variance = parts
    spread = np.float64(node.take("epsilon", np.float32(1e-5)))
    node.require((variance + spread > 0).all(), "a variance is not positive")
    factor = gain / np.sqrt(variance + spread)
    repeats = prod(shape[2:])
    factor, size = (
        np.repeat(factor, repeats),
        np.repeat(np.abs(shift) + np.abs(mean * factor), repeats),
    )
    bias = np.repeat(shift, repeats) - np.repeat(mean, repeats) * factor
    builder.affine(node, shape, [Term(source, factor, 8 * UNIT)], bias, 8 * UNIT * size)


def _average(builder: _Builder, node: _Node) -> None:
    source, shape = builder.vector(node)
    everywhere = node.operator == "GlobalAveragePool"
    kernel = shape[2:] if everywhere else tuple(node.take("kernel_shape"))
    padded = node.take("count_include_pad", 0)
    node.require(node.take("ceil_mode", 0) == 0 and shape[0] == 1, "ceil_mode is set")
    windows, sizes = _windows(node, shape[1:], kernel)
    met = windows >= 0
    counts = np.full(met.shape[1:], len(met)) if padded else met.sum(0)
    node.require((counts > 0).all(), "a window lies in the padding")
    rows = np.broadcast_to(np.arange(counts.size).reshape(counts.shape), windows.shape)
    data = np.broadcast_to(1.0 / counts, windows.shape)
    size = (counts.size, prod(shape))
    matrix = sparse.csr_matrix((data[met], (rows[met], windows[met])), shape=size)
    builder.affine(node, (1, shape[1], *sizes), [Term(source, matrix, 2 * UNIT)])


def _reduce(builder: _Builder, node: _Node) -> None:
    source, shape = builder.vector(node)
    axes = _axes(builder, node)
    node.require(node.take("noop_with_empty_axes", 0) == 0, "noop_with_empty_axes is set")
    kept = bool(node.take("keepdims", 1))
    over = tuple(range(len(shape))) if axes is None else axes
    result = np.sum(np.zeros(shape), axis=over, keepdims=kept).shape
    flat = np.arange(prod(result)).reshape(np.sum(np.zeros(shape), axis=over, keepdims=True).shape)
    rows = np.broadcast_to(flat, shape).ravel()
    count = prod(shape) // prod(result)
    mean = node.operator == "ReduceMean"
    data = np.full(prod(shape), 1.0 / count if mean else 1.0)
    matrix = sparse.csr_matrix((data, (rows, np.arange(prod(shape)))))
    builder.affine(node, result, [Term(source, matrix, 2 * UNIT if mean else 0.0)])


def _combine(builder: _Builder, node: _Node) -> None:
    """Add and Sub, of vectors and constants."""
    sign = -1.0 if node.operator == "Sub" else 1.0
    node.require(node.take("broadcast", 0) == 0, "old broadcasting is used")
    known = [name in builder.constants for name in node.inputs]
    if all(known):
        left, right = (builder.constants[name] for name in node.inputs)
        node.require(left.dtype == right.dtype == np.int64, "it computes a constant with rounding")
        builder.constants[node.outputs[0]] = left + int(sign) * right
        return
    if known[0] and sign > 0:
        node.inputs, known = node.inputs[::-1], known[::-1]
    shapes = [
        builder.constants[name].shape if known[i] else builder.vector(node, i)[1]
        for i, name in enumerate(node.inputs)
    ]
    result = np.broadcast_shapes(*shapes)
    bias, terms = np.zeros(result), []
    for i, name in enumerate(node.inputs):
        factor = sign if i else 1.0
        if known[i]:
            bias = bias + factor * builder.constants[name]
            continue
        terms.append(_scaled(builder.vector(node, i), result, np.asarray(factor)))
    plain = known[1] and shapes[0] == result
    if not (plain and builder.merge_bias(node, bias.ravel())):
        builder.affine(node, result, terms, bias.ravel())


def _scaled(vector: tuple[int, Shape], result: Shape, factor: Array, share: float = 0.0) -> Term:
    """Return a vector, spread to another shape, times numbers of that shape."""
    source, shape = vector
    factors = np.broadcast_to(factor, result).ravel()
    if shape == result or prod(shape) == prod(result):
        return Term(source, factors, share)
    index = np.broadcast_to(np.arange(prod(shape)).reshape(shape), result).ravel()
    matrix = sparse.csr_matrix(sparse.diags_array(factors) @ _selection(index, prod(shape)))
    return Term(source, matrix, share)


def _scale(builder: _Builder, node: _Node) -> None:
    """Mul, Div and Neg by constants."""
    divides, share = node.operator == "Div", 0.0
    if node.operator == "Neg":
        node.inputs.append("")
    elif node.inputs[0] in builder.constants and not divides:
        node.inputs = node.inputs[::-1]
    factor = np.asarray(-1.0) if node.operator == "Neg" else builder.weight(node, 1)
    vector = builder.vector(node)
    if divides:
        node.require(np.all(factor != 0), "it divides by zero")
        factor, share = 1.0 / factor, 2 * UNIT
    result = np.broadcast_shapes(vector[1], factor.shape)
    builder.affine(node, result, [_scaled(vector, result, factor, share)])


# Nonlinear operators.


def _nonlinear(
    builder: _Builder, node: _Node, kind: str, sources: Sequence[int], numbers: Sequence[float] = ()
) -> None:
    """Append a function of vectors that are as long as the node's input."""
    read, shape = builder.vector(node)
    result = builder.new(node, shape)
    builder.operations.append(
        Nonlinear(result, kind, tuple(sources), read, tuple(map(float, numbers)), node.name)
    )


def _elementwise(kind: str) -> Callable[[_Builder, _Node], None]:
    return lambda builder, node: _nonlinear(builder, node, kind, [builder.vector(node)[0]])


def _leaky(builder: _Builder, node: _Node) -> None:
    slope = node.take("alpha", np.float32(0.01))
    node.require(0 <= slope <= 1, f"its slope {slope} is not in [0, 1]")
    _nonlinear(builder, node, "leaky", [builder.vector(node)[0]], [slope])


def _clip(builder: _Builder, node: _Node) -> None:
    ends = []
    for position, key, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        given = builder.constant(node, position)
        ends.append(float(node.take(key, default) if given is None else given.item()))
    node.require(ends[0] < ends[1] and np.isfinite(ends[0]), f"it clips to {ends}")
    _nonlinear(builder, node, "clip", [builder.vector(node)[0]], ends)


def _max_pool(builder: _Builder, node: _Node) -> None:
    """The maximum of as many selections as the kernel has places."""
    source, shape = builder.vector(node)
    node.take("storage_order")
    node.require(len(node.outputs) == 1, "it gives indices")
    node.require(node.take("ceil_mode", 0) == 0 and shape[0] == 1, "ceil_mode is set")
    windows, sizes = _windows(node, shape[1:], tuple(node.take("kernel_shape")))
    any_met = windows.max(axis=0)
    node.require((any_met >= 0).all(), "a window lies in the padding")
    result = (1, shape[1], *sizes)
    places = [np.where(place >= 0, place, any_met).ravel() for place in windows]
    sources = [
        builder.affine(node, result, [Term(source, _selection(p, prod(shape)))], name=False)
        for p in places
    ]
    output = builder.new(node, result)
    builder.operations.append(Nonlinear(output, "max", tuple(sources), source, (), node.name))


Translator = Callable[[_Builder, _Node], None]
OPERATORS: Mapping[str, Translator] = {
    "Reshape": _structural(_reshape),
    "Flatten": _structural(_flatten),
    "Squeeze": _structural(_squeeze),
    "Unsqueeze": _structural(_unsqueeze),
    "Transpose": _structural(_transpose),
    "Identity": _structural(_identity),
    "Dropout": _structural(_dropout),
    "Cast": _structural(_cast),
    "Slice": _structural(_slice),
    "Gather": _structural(_gather),
    "Split": _structural(_split),
    "Pad": _structural(_pad),
    "Upsample": _structural(_upsample),
    "Concat": _concat,
    "Constant": _constant,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "BatchNormalization": _batch_normalization,
    "AveragePool": _average,
    "GlobalAveragePool": _average,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Add": _combine,
    "Sub": _combine,
    "Mul": _scale,
    "Div": _scale,
    "Neg": _scale,
    "Relu": _elementwise("relu"),
    "Abs": _elementwise("abs"),
    "Sigmoid": _elementwise("sigmoid"),
    "Tanh": _elementwise("tanh"),
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "MaxPool": _max_pool,
}
