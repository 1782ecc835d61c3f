"""Cuts of the tightened relaxation at the root of an exact search.

The relaxation of a clause's program is solved, cut and solved again; the cuts that still have a
part in its last optimum stay in the program that is searched. A cut is about one neuron and holds
at every input within the bounds that it was separated with, so that the program's answer stays.

Source: Anderson et al. 2020, for cuts of single neurons in mixed-integer programs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from models.operators import Relu
from solvers.budget import Budget
from solvers.convex.layers import ReluLayer, relu_layers
from solvers.convex.margins import CutOptions
from solvers.convex.pool import CutPool, layers_in_program
from solvers.convex.program import Program, Solution
from solvers.convex.programs import SessionMaker, session_maker
from solvers.exact import EncodedNetwork, MilpModel, SolverName
from solvers.exact.model import range_over

if TYPE_CHECKING:
    from solvers.exact.context import Bounds

__all__ = ["RootCuts", "origin_boxes"]

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RootCuts:
    """What `ExactOptions.root_cuts` takes.

    Attributes:
        cuts: How to cut.
        share: Of a clause's time, between 0 and 1, for all rounds together.
        solver: Of the linear programs.
        maker: Opens sessions in place of those of `solver`.
    """

    cuts: CutOptions = field(default_factory=lambda: CutOptions(rounds=4))
    share: float = 0.1
    solver: SolverName = SolverName.AUTO
    maker: SessionMaker | None = None

    def __call__(self, network: Network) -> RootCutting:
        """Return what cuts the programs of a network."""
        maker = self.maker or session_maker(self.solver)
        return RootCutting(network, relu_layers(network), self, maker)


@dataclass(frozen=True, eq=False)
class RootCutting:
    """Cuts programs of one network; see `Strengthening`.

    Attributes:
        network: As it was encoded.
        layers: Its ReLU layers.
        options: How to cut.
        maker: Opens sessions of linear programs.
    """

    network: Network
    layers: Sequence[ReluLayer]
    options: RootCuts
    maker: SessionMaker

    def __call__(
        self, model: MilpModel, encoded: EncodedNetwork, bounds: Bounds, budget: Budget
    ) -> MilpModel:
        """Return the program with cuts; see `Strengthening`.

        Raises:
            SolverFailedError: The solver of linear programs broke down.
        """
        share = budget.share(self.options.share)
        boxes = origin_boxes(self.layers, self.network, bounds, encoded)
        layers = layers_in_program(self.network, boxes, encoded, layers=self.layers)
        if not layers or share.exhausted:
            return model
        pool = CutPool(layers, self.options.cuts)
        program = Program(model, self.maker)
        first = last = program.minimum(model.objective, model.offset, share)
        for _ in range(self.options.cuts.rounds):
            if not last.finished or share.exhausted or not pool.cut(program, last):
                break
            before, last = last, program.minimum(model.objective, model.offset, share)
            if last.lower - before.lower < self.options.cuts.least_gain * (1.0 + abs(last.lower)):
                break
        return self._kept(model, program, first, last)

    def _kept(
        self, model: MilpModel, program: Program, first: Solution, last: Solution
    ) -> MilpModel:
        """Return the program with the cuts that the last optimum rests on."""
        if not program.cuts or not last.finished:
            return model
        program.remove_idle(last.answer.duals, 1)
        _LOG.info("root: %g to %g with %d cuts", first.lower, last.lower, program.cuts)
        return replace(model, rows=program.model.rows)


def origin_boxes(
    layers: Sequence[ReluLayer], network: Network, bounds: Bounds, encoded: EncodedNetwork
) -> Mapping[str, tuple[FloatArray, FloatArray]]:
    """Return bounds of the nodes that layers read, from those of pre-activations and of columns.

    Exact search has bounds of pre-activations alone, and tightens them: those that nodes behind
    them once had would be missing or loose.

    Args:
        layers: Of the network.
        network: As it was encoded.
        bounds: That it was encoded with.
        encoded: Its program.
    """
    model = encoded.model
    boxes = dict(bounds)
    for name in {name for layer in layers for name in layer.origins} & set(encoded.values):
        value, node = encoded.values[name], network.graph.node(name)
        lower, upper = range_over(
            value.matrix, value.offset, model.column_lower, model.column_upper
        )
        known = [bounds[name]] if name in bounds else []
        if type(node.operator) is Relu and node.inputs[0] in bounds:
            low, high = bounds[node.inputs[0]]
            known.append((np.maximum(low, 0.0), np.maximum(high, 0.0)))
        for low, high in known:
            below, above = np.maximum(lower, low.ravel()), np.minimum(upper, high.ravel())
            # crossed by rounding only: then the wider interval stands
            crossed = below > above
            lower, upper = np.where(crossed, lower, below), np.where(crossed, upper, above)
        boxes[name] = (lower.reshape(node.shape), upper.reshape(node.shape))
    return boxes
