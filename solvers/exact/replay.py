"""Run a solver's points through the network itself: an upper bound comes from here alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InvalidInputError
from models.network import Network
from solvers.errors import SolverFailedError
from solvers.exact.context import Bounds, Splits, checked_interval
from solvers.problem import Case

__all__ = ["Replay"]

FloatArray = NDArray[np.float64]

_BOUND_SLACK = 1e-5
"""Bounds may be off by this share of their size: they may come from float32."""


class Replay:
    """Evaluates inputs in float64.

    Args:
        network: The network that the program encodes.
        case: Region and specification.
        bounds: What the encoding assumes; every replayed point is held against them, where there
            are splits every one on their sides.
        splits: As for `exact_margin`, or None.

    Raises:
        BoundsError: Bounds are not finite or empty.
        ShapeError: Bounds have another shape than their node.
    """

    def __init__(
        self, network: Network, case: Case, bounds: Bounds, splits: Splits | None = None
    ) -> None:
        self._network = network.to(torch.float64)
        self._case = case
        self._splits = splits or {}
        graph = network.graph
        self._bounds = {
            node.name: checked_interval(node, bounds)
            for node in graph.ancestors(graph.output)
            if node.name in bounds
        }

    def margins(self, x: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
        """Return the nearest input inside the region, each clause's margin there, and its side.

        Args:
            x: Any shape with as many values as one input.

        Returns:
            The input, of the region's shape; margins of shape `(clauses,)`; and whether it is on
            the sides of all splits.

        Raises:
            SolverFailedError: The point is not a number, or breaks the bounds that the encoding
                was built on.
            InvalidInputError: The network's output there is not finite.
        """
        region, specification = self._case.region, self._case.specification
        if not np.isfinite(x).all():
            raise SolverFailedError("the solver returned a point that is not finite")
        inside = region.pulled_in(x.reshape(region.shape))
        with torch.no_grad():
            tensor = torch.from_numpy(inside[None])
            values = self._network.graph.evaluate(tensor, self._network.parameters)
        inner = all(
            bool((values[name][0].numpy().ravel() * np.asarray(sides).ravel() >= 0.0).all())
            for name, sides in self._splits.items()
        )
        if inner:
            self._check_bounds({name: values[name][0].numpy() for name in self._bounds})
        y = values[self._network.graph.output][0].numpy().ravel()
        margins = np.array([float(clause.margin(y)) for clause in specification.clauses])
        if not np.isfinite(margins).all():
            raise InvalidInputError(
                "the network's output is not finite at an input of the region; "
                "check its weights for NaN and infinity"
            )
        return inside, margins, inner

    def _check_bounds(self, values: dict[str, FloatArray]) -> None:
        for name, value in values.items():
            lower, upper = self._bounds[name]
            slack = _BOUND_SLACK * (1.0 + np.abs(value))
            if (value < lower - slack).any() or (value > upper + slack).any():
                raise SolverFailedError(
                    f"an input inside the region breaks the bounds given for node {name!r}, "
                    "so the encoding would leave out inputs; nothing is proved"
                )
