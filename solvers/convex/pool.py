"""Cuts of one region's program: where they come from, and when they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.network import Network
from solvers.convex.cuts import Cuts, Neurons, separate
from solvers.convex.layers import ReluLayer, relu_layers
from solvers.exact.model import Rows

if TYPE_CHECKING:
    from solvers.convex.program import Program, Solution
    from solvers.exact import EncodedNetwork
    from solvers.exact.affine import Affine
    from solvers.exact.context import Bounds

__all__ = ["CutPool", "CutSettings", "LayerInProgram", "layers_in_program"]

FloatArray = NDArray[np.float64]


class CutSettings(Protocol):
    """What the pool has to know; see `margins.CutOptions`."""

    @property
    def least_violation(self) -> float:
        """Share of 1 + a neuron's largest value."""

    @property
    def oldest(self) -> int:
        """Solves without a multiplier after which a cut goes."""

    @property
    def negligible(self) -> float:
        """Share of a neuron's range below which an input is left out."""


@dataclass(frozen=True, eq=False)
class LayerInProgram:
    """The unstable neurons of a ReLU layer, and where a program has their values.

    Attributes:
        neurons: y = max(0, w·x + b) over the box of x.
        inputs: x as a function of the program's columns.
        outputs: y as a function of the program's columns.
        scale: 1 + the largest value of every y, shape `(neurons,)`.
    """

    neurons: Neurons
    inputs: Affine
    outputs: Affine
    scale: FloatArray

    def separate(self, columns: FloatArray, settings: CutSettings) -> Cuts:
        """Return the cuts that a point of the program violates.

        Args:
            columns: The point, shape `(columns,)`.
            settings: How much it must violate them.
        """
        x = _values(self.inputs, columns)
        y = _values(self.outputs, columns)
        cuts = separate(self.neurons, x, y, negligible=settings.negligible)
        enough = settings.least_violation * self.scale[cuts.neurons]
        return cuts.taken(np.flatnonzero(cuts.violation(x, y) >= enough))

    def rows(self, cuts: Cuts) -> Rows:
        """Return cuts as rows of the program: y − c·x ≤ offset."""
        left = self.outputs.taken(cuts.neurons).plus(self.inputs.mapped(-cuts.coefficients))
        open_side = np.full(cuts.count, -np.inf)
        return Rows(left.matrix, open_side, cuts.offset - left.offset)


def layers_in_program(
    network: Network,
    bounds: Bounds,
    encoded: EncodedNetwork,
    *,
    layers: Sequence[ReluLayer] | None = None,
) -> tuple[LayerInProgram, ...]:
    """Return the ReLU layers that cuts can be about; works for exact programs as for relaxed ones.

    Args:
        network: As it was encoded.
        bounds: Those that it was encoded with, with bounds of every node.
        encoded: Columns of the network over one region.
        layers: The network's, where they are known already.
    """
    found = []
    for layer in relu_layers(network) if layers is None else layers:
        at = layer.unstable(bounds) if layer.source in bounds else np.zeros(0, dtype=np.int64)
        if at.size and layer.node in encoded.values:
            upper = bounds[layer.source][1].ravel()[at]
            found.append(
                LayerInProgram(
                    layer.neurons(bounds).taken(at),
                    layer.inputs(encoded.values),
                    encoded.values[layer.node].taken(at),
                    1.0 + upper,
                )
            )
    return tuple(found)


class CutPool:
    """What separates cuts for the programs of one region.

    The program itself holds them, with the number of solves that each has been idle for.

    Args:
        layers: What can be cut.
        settings: When to cut and when to let go.
    """

    def __init__(self, layers: tuple[LayerInProgram, ...], settings: CutSettings) -> None:
        self._layers, self._settings = layers, settings
        self.added = 0

    @classmethod
    def of(
        cls, network: Network, bounds: Bounds, encoded: EncodedNetwork, settings: CutSettings
    ) -> CutPool:
        """Return the empty pool of a region's program."""
        return cls(layers_in_program(network, bounds, encoded), settings)

    def cut(self, program: Program, solution: Solution) -> int:
        """Add the cuts that a solution violates; return how many there were."""
        columns = solution.answer.values
        found = 0
        for layer in self._layers:
            cuts = layer.separate(columns, self._settings)
            if cuts.count:
                program.add(layer.rows(cuts))
                found += cuts.count
        self.added += found
        return found

    def drop_idle(self, program: Program, solution: Solution) -> None:
        """Remove the cuts of a program that have had no part in its last solves."""
        program.remove_idle(solution.answer.duals, self._settings.oldest)


def _values(function: Affine, columns: FloatArray) -> FloatArray:
    """Return what a function is at a point; columns that came later count as 0."""
    matrix: sp.csr_array = function.matrix
    return np.asarray(matrix @ columns[: matrix.shape[1]] + function.offset)
