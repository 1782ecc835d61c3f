"""An ONNX file as a list of steps on vectors of real numbers: affine maps, and functions.

Every tensor of the graph is one vector, in row-major order of its ONNX shape with a batch of 1. An
affine map is a sum of products of matrices with vectors, and a bias. Matrices hold float64 numbers;
where the real coefficient is none, such as a factor of BatchNormalization, it lies within a stated
share of what is held.

What operators are is said by parts, which a caller names; what none of them understands is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solvers.proof.onnx_file import Graph, Node, UnsupportedProofError

if TYPE_CHECKING:
    from solvers.proof.bounds import Enclosure, Function, Region
    from solvers.proof.container import Balls, Duals, Proof

UNIT = 2.0**-53
INEXACT = 8 * UNIT
"""More than a few operations lose, such as a quotient or a factor of BatchNormalization."""
MAX_VALUES, MAX_ENTRIES = 1 << 22, 1 << 26
"""Of one vector, and of one matrix. Error bounds rely on sums of fewer than 2²⁶ numbers."""
MALFORMED = ValueError, IndexError, KeyError, TypeError, ArithmeticError, RuntimeError
NORMALIZATION = "(x - mean) / std"
"""Name of what is applied to inputs first; no operator of ONNX is called so."""

Array = NDArray[Any]
Shape = tuple[int, ...]
Matrix = Array | sparse.csr_array
Translator = Callable[["CheckedNetwork", Node], None]
Leaves = Iterator[tuple[Array, Array, int]]


@dataclass(frozen=True)
class Part:
    """What a caller adds to the core; a proof may rely on it.

    Attributes:
        name: In words.
        operators: How nodes become steps, by operator.
        balls: Puts boxes of a case into its ball.
        splits: Gives rows and bounds of leaves of a box, and how many more are empty; is told how
            to ask for `duals`, which bound a row of one, and `windows`, which cross first layers.
        watch: What is told of all leaves: bounds, rows that are positive, and their margins.
    """

    name: str
    operators: Mapping[str, Translator] = field(default_factory=dict)
    balls: Callable[[Region, Balls, int], Region] | None = None
    splits: Callable[[Enclosure, Proof, int, slice, Callable[[str], Any]], Leaves] | None = None
    duals: Callable[[Enclosure, Any, Duals, int, Array], float] | None = None
    windows: Callable[[Enclosure, Any, str], Any] | None = None
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
        forward, back = (sum(fullest(t.matrix, axis) + 1 for t in self.terms) for axis in (1, 0))
        return 8 + forward, 8 + back


@dataclass(frozen=True, eq=False)
class Nonlinear:
    """output = f(sources), element by element; all vectors have one length.

    Bounds matter for it of the named vector `read`: its source, or what sources are taken from.
    What is known of f is `function`.
    """

    output: int
    sources: tuple[int, ...]
    read: int
    function: Function
    name: str


class CheckedNetwork:
    """Steps in order; vector 0 is the input, and each step gives the next vector.

    Args:
        content: Of the ONNX file.
        parts: What operators are.
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
        table = {name: (p.name, rule) for p in parts for name, rule in p.operators.items()}
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
        self.used.add(part)
        try:
            translator(self, node)
        except MALFORMED as error:
            node.require(False, f"it is malformed: {error}")
        left = ", ".join(sorted(node.attributes))
        node.require(not left, f"attributes {left} are not understood")

    def constant(self, node: Node, position: int) -> Array | None:
        """Return an input that must be a constant, None where there is none."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        node.require(not name or name in self.constants, f"its input {name!r} is not a constant")
        return self.constants[name] if name else None

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
        """Append an affine step and return the number of its result, which no `output` may get.

        Bias and coefficients are those of the file, or there are magnitudes in `inexact` of which
        the real bias is within a share INEXACT, as real coefficients are of those held.
        """
        held = np.zeros(prod(shape)) if bias is None else np.asarray(bias, np.float64).ravel()
        error = np.zeros(prod(shape)) if inexact is None else INEXACT * inexact.ravel()
        share = 0.0 if inexact is None else INEXACT
        own = tuple(replace(t, share=max(t.share, share)) for t in terms)
        for part in (held, error, *(entries(term.matrix) for term in own)):
            node.require(np.isfinite(part).all(), "its coefficients are not finite")
            node.require(part.size <= MAX_ENTRIES, f"its matrix has {part.size} entries")
        result = self._new(node, shape, "" if output is None else node.outputs[output])
        self.operations.append(Affine(result, own, held, error, node.name))
        return result

    def nonlinear(
        self, node: Node, function: Function, sources: Sequence[int] = (), shape: Shape = ()
    ) -> None:
        """Append a function of a node's input, or of vectors that are taken from it."""
        read, own = self.vector(node)
        step = self._new(node, shape or own, node.outputs[0]), tuple(sources) or (read,), read
        self.operations.append(Nonlinear(*step, function, node.name))

    def _new(self, node: Node, shape: Shape, name: str) -> int:
        node.require(0 < prod(shape) <= MAX_VALUES, f"its result has {prod(shape)} values")
        self.sizes.append(prod(shape))
        if name:
            self.vectors[name] = len(self.sizes) - 1, tuple(map(int, shape))
        return len(self.sizes) - 1


def absolute(matrix: Matrix) -> Matrix:
    """Return the absolute value of every coefficient."""
    return abs(matrix)  # type: ignore[return-value]


def dense(matrix: Matrix) -> Array:
    """Return a matrix that is not sparse."""
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix)


def fullest(matrix: Matrix, axis: int) -> int:
    """Return the largest number of coefficients along an axis."""
    counts = matrix.count_nonzero(axis=axis) if sparse.issparse(matrix) else matrix.shape[axis]
    return int(np.max(counts))


def entries(matrix: Matrix) -> Array:
    """Return the coefficients of a matrix, without those that are known to be 0."""
    return np.asarray(matrix.data if sparse.issparse(matrix) else matrix)
