"""A linear program's duals as the slopes of one backward pass: a proof that can be checked.

In the dual of the triangle relaxation the multiplier of the row that ties a neuron's parts to its
pre-activation is the coefficient that a backward pass sends through that neuron. Where the neuron's
own coefficient is positive, their quotient is the slope of its lower line; where it is negative the
upper line is the only choice. So the pass needs no solver, and with optimal duals it proves the
program's optimum.

Source: Salman et al. 2019, section 4 (the relaxation's dual is a backward pass); Wong and Kolter
2018, theorem 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.graph import Node
from models.network import Network
from solvers.bounds import Interval, Scene, boxes_to_interval, regions_to_balls
from solvers.bounds.backward import Rows, lower_bounds
from solvers.bounds.intermediate import relax_node
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules import Slopes
from solvers.exact.context import Bounds, Hinge
from solvers.problem import Box

__all__ = ["PropagationProof", "slopes_from_duals"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PropagationProof:
    """What one backward pass needs, and what it proves.

    Attributes:
        alpha: By node that bends, where its lower line lies between its extremes, in [0, 1], of
            the node's shape.
        lower: Lower bound that the engine's own pass gives with these, in float64.
    """

    alpha: Mapping[str, FloatArray]
    lower: float


def slopes_from_duals(
    network: Network,
    region: Box,
    bounds: Bounds,
    *,
    row: tuple[FloatArray, float],
    hinges: Sequence[Hinge],
    duals: FloatArray,
) -> PropagationProof:
    """Map the duals of a triangle relaxation to slopes, and run the pass that they stand for.

    Args:
        network: In float64.
        region: Of the network's input shape.
        bounds: Those that the program was encoded with, of every node.
        row: The margin `coefficients @ output − offset` that was minimised.
        hinges: Of the encoded program.
        duals: Of its rows; anything at all gives slopes that are sound.
    """
    scene = Scene(
        network,
        boxes_to_interval([region], torch.float64),
        regions_to_balls([region], torch.float64),
    )
    intervals = {
        name: Interval(torch.from_numpy(low)[None], torch.from_numpy(high)[None])
        for name, (low, high) in bounds.items()
    }
    passed = _passed_on(network, hinges, np.where(np.isfinite(duals), duals, 0.0))
    lines = _Lines(scene, intervals, passed)
    coefficients = torch.from_numpy(row[0]).reshape(1, 1, *network.output_shape)
    constant = torch.tensor([[-row[1]]], dtype=torch.float64)
    with torch.no_grad():
        rows = Rows({network.graph.output: coefficients}, constant)
        lower = float(lower_bounds(scene, rows, lines))
    return PropagationProof(lines.alpha(), lower)


def _passed_on(network: Network, hinges: Sequence[Hinge], duals: FloatArray) -> dict[str, Tensor]:
    """Return the coefficient that the duals send through every undecided value, by node."""
    found = {}
    for hinge in hinges:
        values = np.zeros(network.graph.node(hinge.node).size)
        values[hinge.at] = duals[hinge.ties]
        found[hinge.node] = torch.from_numpy(values).reshape(1, 1, -1)
    return found


@dataclass
class _FromDual(Relaxation):
    """Lines of which the lower one is chosen when the coefficient comes that it has to pass on.

    Attributes:
        at_zero, at_one: The relaxation at either end of α.
        passed: The coefficient to send on, shape `(1, 1, values)`.
        alpha: What was chosen, the same shape.
    """

    at_zero: ElementwiseRelaxation
    at_one: ElementwiseRelaxation
    passed: Tensor
    alpha: Tensor | None = field(default=None)

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor], Tensor]:
        """Choose, then pass on as ever."""
        own = coefficients.flatten(2)
        first, second = self.at_zero.lower_slope.flatten(2), self.at_one.lower_slope.flatten(2)
        span = second - first
        usable = (own > 0) & (span != 0)
        wanted = self.passed / torch.where(usable, own, torch.ones_like(own))
        share = (wanted - first) / torch.where(usable, span, torch.ones_like(span))
        self.alpha = torch.where(usable, share.clamp(0, 1), torch.zeros_like(share))
        slope = (first + self.alpha * span).reshape(self.at_zero.lower_slope.shape)
        lines = ElementwiseRelaxation(
            slope, self.at_zero.upper_slope, None, self.at_zero.upper_intercept
        )
        return lines.backward(coefficients)


class _Lines:
    """Relaxations of the pass, built on first use."""

    def __init__(
        self, scene: Scene, bounds: Mapping[str, Interval], passed: Mapping[str, Tensor]
    ) -> None:
        self._scene, self._bounds, self._passed = scene, bounds, passed
        self._chosen: dict[str, _FromDual] = {}

    def __call__(self, node: Node) -> Relaxation:
        passed = self._passed.get(node.name)
        if passed is not None:
            shape = (1, 1, *node.shape)
            low, high = (
                relax_node(
                    self._scene,
                    node,
                    self._bounds,
                    Slopes(alpha=torch.full(shape, end, dtype=torch.float64)),
                )
                for end in (0.0, 1.0)
            )
            if _is_hinge(low) and _is_hinge(high):
                self._chosen[node.name] = _FromDual(low, high, passed)
                return self._chosen[node.name]
        return relax_node(self._scene, node, self._bounds, Slopes())

    def alpha(self) -> dict[str, FloatArray]:
        """Return the slopes of every node that the pass crossed."""
        graph = self._scene.network.graph
        return {
            name: lines.alpha.reshape(graph.node(name).shape).numpy()
            for name, lines in self._chosen.items()
            if lines.alpha is not None
        }


def _is_hinge(lines: Relaxation) -> TypeGuard[ElementwiseRelaxation]:
    """Return whether lower lines run through the origin, as those of convex hinges do."""
    if not isinstance(lines, ElementwiseRelaxation):
        return False
    return lines.lower_intercept is None or not bool(lines.lower_intercept.any())
