"""Networks that answer otherwise in float32 than on paper, with the truth about each.

All are small ReLU networks of two inputs whose least margin is known in rational arithmetic
(`tests.helpers.rational`), and whose float32 answer is known for at least one input of the region,
in at least one order of summation.

Sources: Zombori et al. 2021, *Fooling a Complete Neural Network Verifier* (weights so large that
small ones are absorbed); Jia and Rinard 2021, *Exploiting Verified Neural Networks via Floating
Point Numerical Error* (regions whose least margin is smaller than the error of inference).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from solvers.problem import Box, Case, Clause, Problem, Specification
from tests.helpers.networks import model, node
from tests.helpers.rational import Layer, exact_margin_of

__all__ = ["Trap", "absorbed", "dense", "hidden", "order_dependent", "thin", "violated_in_float32"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Trap:
    """A network, a question, and an input at which float32 may contradict the real answer.

    Attributes:
        layers: Dense layers with ReLUs between them, float32.
        problem: One case.
        witness: Of the region, shape `(2,)`.
    """

    layers: tuple[Layer, ...]
    problem: Problem
    witness: Float32

    @property
    def network(self) -> bytes:
        """The network as ONNX."""
        weights, nodes, name = {}, [], "x"
        for number, (weight, bias) in enumerate(self.layers):
            weights[f"w{number}"], weights[f"b{number}"] = weight.T.copy(), bias
            last = number == len(self.layers) - 1
            out = "y" if last else f"z{number}"
            nodes.append(node("Gemm", [name, f"w{number}", f"b{number}"], [out]))
            if not last:
                nodes.append(node("Relu", [out], [f"h{number}"]))
            name = f"h{number}"
        return model(nodes, shape=(1, 2), weights=weights)

    @property
    def margin(self) -> Fraction:
        """The least margin of the network on paper."""
        (case,) = self.problem.cases
        return exact_margin_of(self.layers, case.region, case.specification)


def absorbed(omega: float = 2.0**26) -> Trap:
    """y = ReLU(x₀ + ω) − ω is x₀ on paper and 0 in float32; asked is whether y ≤ ¼ is possible."""
    layers = (
        dense([[1.0, 0.0]], [omega]),
        dense([[1.0]], [-omega]),
    )
    return _trap(layers, Box(np.array([[0.5, 0.0]]), np.array([[1.0, 1.0]])), 0.25, [0.5, 0.5])


def hidden(height: float = 0.51, steepness: float = 2.0**12) -> Trap:
    """As `absorbed`, but only around one point, which few samples hit.

    t = ReLU(height − steepness·|x − p|) reaches 0.51 at p, where rounding to whole numbers, by
    adding and taking away 2²³, makes it 1. Asked is whether 0.9 can be reached.
    """
    big = 2.0**23
    first = dense([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [-0.25, 0.25, -0.75, 0.75])
    peak = dense([[-steepness] * 4], [height])
    rounding = dense([[1.0]], [big])
    layers = (first, peak, rounding, dense([[-1.0]], [big]))
    region = Box(np.zeros((1, 2)), np.ones((1, 2)))
    return _trap(layers, region, -0.9, [0.25, 0.75])


def thin(seed: int, margin: Fraction = Fraction(1, 10**9)) -> Trap:
    """A random network, asked at a threshold that it misses by almost nothing."""
    generator = np.random.default_rng(seed)
    sizes = (2, 6, 6, 1)
    layers = tuple(
        dense(generator.normal(size=(after, before)), generator.normal(size=after))
        for before, after in itertools.pairwise(sizes)
    )
    centre = generator.normal(size=(1, 2)).astype(np.float32).astype(np.float64)
    region = Box(centre - 2.0**-10, centre + 2.0**-10)
    least = exact_margin_of(layers, region, _at_most(0.0))
    return _trap(layers, region, float(least - margin), centre[0])


def order_dependent(terms: int = 3) -> Trap:
    """y = Σ (2²⁵ hᵢ) − Σ (2²⁵ hᵢ) + h₀ in one layer: float32 gives 0 or h₀, by the order."""
    big = 2.0**25
    first = dense([[1.0, 0.0]] + [[0.0, 1.0]] * (2 * terms), np.zeros(2 * terms + 1))
    row = [1.0] + [big, -big] * terms
    region = Box(np.array([[0.5, 1.0]]), np.array([[1.0, 1.0]]))
    return _trap((first, dense([row], [0.0])), region, 0.25, [0.5, 1.0])


def violated_in_float32(trap: Trap) -> bool:
    """Return whether some order of summation makes the witness a counterexample in float32."""
    (case,) = trap.problem.cases
    (clause,) = case.specification.clauses
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = trap.witness
        for number, (weight, bias) in enumerate(trap.layers):
            values = _summed(weight, bias, values, generator)
            if number < len(trap.layers) - 1:
                values = np.maximum(values, np.float32(0))
        if bool((clause.matrix @ values.astype(np.float64) <= clause.offset).all()):
            return True
    return False


def _summed(weight: Float32, bias: Float32, x: Float32, generator: np.random.Generator) -> Float32:
    """Return weight · x + bias with the terms added in a random order."""
    out = np.zeros(len(bias), np.float32)
    for index, (row, shift) in enumerate(zip(weight, bias, strict=True)):
        terms = np.append(row * x, shift).astype(np.float32)
        total = np.float32(0)
        for term in generator.permutation(terms):
            total = np.float32(total + term)
        out[index] = total
    return out


def dense(weight: Sequence[Sequence[float]] | NDArray[np.float64], bias: object) -> Layer:
    """Return a layer in float32."""
    return np.array(weight, np.float32), np.array(bias, np.float32)


def _at_most(offset: float) -> Specification:
    return Specification((Clause(np.array([[1.0]]), np.array([offset])),))


def _trap(
    layers: tuple[Layer, ...], region: Box, offset: float, witness: Sequence[float] | Float32
) -> Trap:
    problem = Problem((Case(region, _at_most(offset)),))
    return Trap(layers, problem, np.asarray(witness, np.float32))
