"""An ONNX file as a list of steps on vectors of real numbers: affine maps, and functions.

Every tensor of the graph is one vector, in row-major order of its ONNX shape with a batch of 1. An
affine map is a sum of products of matrices with vectors, and a bias. Matrices hold float64 numbers;
where the real coefficient is none, such as a factor of BatchNormalization, it lies within a stated
share of what is held.

Only ReLU is known here. What other operators are is said by parts, which a caller names; what none
of them understands is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solvers.proof.onnx_file import Graph, Node, UnsupportedProofError

if TYPE_CHECKING:
    from solvers.proof.bounds import BallRule, Enclosure, Function

__all__ = [
    "UNIT", "Affine", "Array", "CheckedNetwork", "Matrix", "Nonlinear", "Part", "Shape", "Term",
    "dense", "entries",
]  # fmt: skip

UNIT = 2.0**-53
INEXACT = 8 * UNIT
"""More than a few operations lose, such as a quotient or a factor of BatchNormalization."""
MAX_VALUES, MAX_ENTRIES = 1 << 22, 1 << 26
"""Of one vector, and of one matrix. Error bounds rely on sums of fewer than 2²⁶ numbers."""
DENSE_SHARE, DENSE_ENTRIES = 0.2, 1 << 23
NORMALIZATION = "(x - mean) / std"
"""Name of what is applied to inputs first; no operator of ONNX is called so."""

Array = NDArray[Any]
Shape = tuple[int, ...]
Matrix = Array | sparse.csr_array
Translator = Callable[["CheckedNetwork", Node], None]


@dataclass(frozen=True)
class Part:
    """What a caller adds to the core; a proof may rely on it.

    Attributes:
        name: In words.
        operators: How nodes become steps, by operator.
        ball: What a proof about balls needs.
        watch: What is told of all leaves: bounds, rows that are positive, and their margins.
    """

    name: str
    operators: Mapping[str, Translator] = field(default_factory=dict)
    ball: BallRule | None = None
    watch: Callable[[Enclosure, Array, Array], None] | None = None


@dataclass(frozen=True, eq=False)
class Term:
    """One product of a matrix, `(outputs, inputs)`, with the vector of number `source`.

    Real coefficients are within `share` of those held. A `product` is a faster way to multiply
    dense rows with the matrix.
    """

    source: int
    matrix: Matrix
    share: float = 0.0
    product: Callable[[Array], Array] | None = None

    @cached_property
    def absolute(self) -> Matrix:
        """The absolute value of every coefficient."""
        return absolute(self.matrix)

    def back(self, rows: Matrix) -> Array:
        """Return rows times the matrix, shape `(rows, inputs)`."""
        if self.product is not None and not sparse.issparse(rows):
            return self.product(dense(rows))
        return dense(rows @ self.matrix)


@dataclass(frozen=True, eq=False)
class Affine:
    """output = Σ matrix · source + bias; the real bias is within `bias_error` of the one held."""

    output: int
    terms: tuple[Term, ...]
    bias: Array
    bias_error: Array
    name: str

    @cached_property
    def summed(self) -> tuple[int, int]:
        """Of how many numbers sums consist at most, forward and back, and some more."""
        most = [[_fullest(t.matrix, axis) + 1 for t in self.terms] for axis in (1, 0)]
        return 8 + sum(most[0]), 8 + sum(most[1])


@dataclass(frozen=True, eq=False)
class Nonlinear:
    """output = f(sources), element by element; all vectors have one length.

    Bounds matter for it of the named vector `read`: its source, or what sources are taken from.
    What a part says of f is `function`; None for ReLU.
    """

    output: int
    sources: tuple[int, ...]
    read: int
    function: Function | None
    name: str


class CheckedNetwork:
    """Steps in order; vector 0 is the input, and each step gives the next vector.

    Args:
        content: Of the ONNX file.
        parts: What operators are, but for ReLU.
        normalization: Mean and standard deviation, one number or one per channel, of what is
            applied to the input first, or None.

    Attributes:
        operations: Each reads vectors that stand before it.
        sizes: Of every vector.
        vectors: Number and ONNX shape by ONNX name; several names may share a vector.
        constants: Tensors that do not depend on the input, by name.
        output: Number of the vector that specifications speak of.
        dropped: Operator behind it that keeps the order of outputs (`Softmax`), or None.
        read_vectors: Vectors that nonlinear operations read: the pre-activations.
        used: Names of the parts whose operators occur.

    Raises:
        UnsupportedProofError: Something in it cannot be checked; names node and operator.
    """

    def __init__(
        self, content: bytes, parts: Sequence[Part] = (),
        normalization: Sequence[Sequence[float]] | None = None,
    ) -> None:  # fmt: skip
        graph = Graph.read(content)
        self.graph, self.input_shape = graph, graph.input_shape
        self.operations: list[Affine | Nonlinear] = []
        self.sizes, self.constants = [prod(self.input_shape)], dict(graph.constants)
        self.vectors = {graph.input_name: (0, self.input_shape)}
        self.dropped: str | None = None
        self.used: set[str] = set()
        table: dict[str, tuple[str, Translator]] = {"Relu": ("", _relu)}
        table |= {
            name: (part.name, rule) for part in parts for name, rule in part.operators.items()
        }
        if normalization is not None:
            mean, std = normalization
            names, numbers = [graph.input_name], {"mean": mean, "std": std}
            self._translate(Node(NORMALIZATION, names, names, "normalization", numbers), table)
        for node in graph.nodes:
            known = [o for o in node.outputs if o in self.constants or o in self.vectors]
            node.require(not known, f"its output {known} is the name of something else")
            self._translate(node, table)
        if graph.output_name not in self.vectors:
            raise UnsupportedProofError("the output does not depend on the input")
        self.output = self.vectors[graph.output_name][0]
        self.names = {name: vector for name, (vector, _) in self.vectors.items()}
        self.read_vectors = {o.read for o in self.operations if isinstance(o, Nonlinear)}

    def _translate(self, node: Node, table: Mapping[str, tuple[str, Translator]]) -> None:
        node.require(node.operator in table, "the operator is not supported")
        part, translator = table[node.operator]
        self.used |= {part} - {""}
        try:
            translator(self, node)
        except (
            ValueError,
            IndexError,
            KeyError,
            TypeError,
            ArithmeticError,
            RuntimeError,
        ) as error:
            node.require(False, f"it is malformed: {error}")
        left = ", ".join(sorted(node.attributes))
        node.require(not left, f"attributes {left} are not understood")

    def constant(self, node: Node, position: int) -> Array | None:
        """Return an input that must be a constant, None where there is none."""
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        name = node.inputs[position]
        node.require(name in self.constants, f"its input {name!r} is not a constant")
        return self.constants[name]

    def weight(self, node: Node, position: int) -> Array:
        """Return an input that must be there and be a constant."""
        found = self.constant(node, position)
        node.require(found is not None, f"it has no input {position}")
        return np.asarray(found)

    def vector(self, node: Node, position: int = 0) -> tuple[int, Shape]:
        """Return number and shape of an input that must depend on the network's."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        node.require(name in self.vectors, f"its input {name!r} is no vector that is known")
        return self.vectors[name]

    def affine(
        self, node: Node, shape: Shape, terms: Sequence[Term], bias: Array | None = None, *,
        inexact: Array | None = None, output: int | None = 0,
    ) -> int:  # fmt: skip
        """Append an affine step and return the number of its result.

        Args:
            node: Where it comes from.
            shape: Of the result.
            terms: What is added up.
            bias: As many values as the shape has; None for zeros.
            inexact: Where numbers are not those of the file: magnitudes of which the real bias
                is within a share INEXACT; so are coefficients of those held.
            output: Which output of the node gets it; None for none.
        """
        held = np.zeros(prod(shape)) if bias is None else np.asarray(bias, np.float64).ravel()
        error = np.zeros(prod(shape)) if inexact is None else INEXACT * inexact.ravel()
        share = 0.0 if inexact is None else INEXACT
        own = tuple(replace(t, matrix=_stored(t.matrix), share=max(t.share, share)) for t in terms)
        for part in (held, error, *(entries(term.matrix) for term in own)):
            node.require(np.isfinite(part).all(), "its coefficients are not finite")
            node.require(part.size <= MAX_ENTRIES, f"its matrix has {part.size} entries")
        result = self._new(node, shape, "" if output is None else node.outputs[output])
        self.operations.append(Affine(result, own, held, error, node.name))
        return result

    def nonlinear(
        self, node: Node, sources: Sequence[int], function: Function | None, shape: Shape
    ) -> None:
        """Append a function of vectors that are taken from the node's input."""
        read, result = self.vector(node)[0], self._new(node, shape, node.outputs[0])
        self.operations.append(Nonlinear(result, tuple(sources), read, function, node.name))

    def _new(self, node: Node, shape: Shape, name: str) -> int:
        node.require(0 < prod(shape) <= MAX_VALUES, f"its result has {prod(shape)} values")
        self.sizes.append(prod(shape))
        if name:
            self.vectors[name] = len(self.sizes) - 1, tuple(map(int, shape))
        return len(self.sizes) - 1


def _relu(network: CheckedNetwork, node: Node) -> None:
    source, shape = network.vector(node)
    network.nonlinear(node, [source], None, shape)


def absolute(matrix: Matrix) -> Matrix:
    """Return the absolute value of every coefficient."""
    return np.abs(matrix) if isinstance(matrix, np.ndarray) else sparse.csr_array(abs(matrix))


def dense(matrix: Matrix) -> Array:
    """Return a matrix that is not sparse."""
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix)


def _fullest(matrix: Matrix, axis: int) -> int:
    """Return the largest number of coefficients other than 0 along an axis."""
    if isinstance(matrix, np.ndarray):
        return int(np.count_nonzero(matrix, axis=axis).max())
    return int(matrix.count_nonzero(axis=axis).max())


def entries(matrix: Matrix) -> Array:
    """Return the coefficients of a matrix, without those that are known to be 0."""
    return np.asarray(matrix.data if sparse.issparse(matrix) else matrix)


def _stored(matrix: Matrix) -> Matrix:
    """Return a matrix in the form in which products with it are cheap."""
    size = prod(matrix.shape)
    narrow = size > DENSE_ENTRIES or np.count_nonzero(entries(matrix)) <= DENSE_SHARE * size
    return sparse.csr_array(matrix) if narrow else np.ascontiguousarray(dense(matrix), np.float64)
