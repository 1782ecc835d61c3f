"""Ways to bound every node over boxes, from cheap to tight.

Every level stands on the bounds of nodes that boxes inherit from the box they were cut from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from solvers.bounds import Interval, MemoryBudget, Scene
from solvers.bounds.forward import carried, forward_bounds
from solvers.bounds.ibp import propagate
from solvers.bounds.intermediate import tightened
from solvers.bounds.rules import Slopes
from solvers.budget import Budget
from solvers.errors import UnsupportedMethodError
from solvers.search.boxes.boxes import Boxes

__all__ = ["LEVELS", "Bounded", "Bounds", "Level"]

Bounds = dict[str, Interval]

_VALUES_PER_INPUT = 1024
"""From so many values on, for each input that varies, linear bounds forward cost next to nothing
beside passes back from all values that are undecided."""


class Level(StrEnum):
    """How boxes are bounded, in the order of cost; margins are always bounded backward.

    The last one bounds nodes backward, too, and moves the slopes of margins that are still open.
    """

    INTERVAL = "interval"
    FORWARD = "forward"
    BACKWARD = "backward"
    SLOPES = "slopes"


@dataclass(frozen=True, eq=False)
class Bounded:
    """What one level proved of some boxes.

    Attributes:
        boxes: The same boxes with better bounds and fresh scores.
        slopes: Coefficients of the row that decides the weakest clause, over the inputs that
            vary, shape `(boxes, varying)`.
    """

    boxes: Boxes
    slopes: Tensor

    def __getitem__(self, index: Tensor) -> Bounded:
        """Return some of the boxes, by mask or position."""
        where = index.nonzero().squeeze(1) if index.dtype == torch.bool else index
        return Bounded(self.boxes[where], self.slopes[where])

    @classmethod
    def joined(cls, parts: list[Bounded]) -> Bounded:
        """Put parts together."""
        if len(parts) == 1:
            return parts[0]
        boxes = Boxes.joined([part.boxes for part in parts])
        return cls(boxes, torch.cat([part.slopes for part in parts]))


_Nodes = Callable[[Scene, MemoryBudget, Mapping[str, Interval], Budget], Bounds]
"""Bounds every node over some boxes, given what they inherit."""


def _interval(
    scene: Scene, _memory: MemoryBudget, known: Mapping[str, Interval], _budget: Budget
) -> Bounds:
    return propagate(scene, known)


def _forward(
    scene: Scene, memory: MemoryBudget, known: Mapping[str, Interval], _budget: Budget
) -> Bounds:
    return forward_bounds(scene, memory, known)[0]


def _backward(
    scene: Scene, memory: MemoryBudget, known: Mapping[str, Interval], budget: Budget
) -> Bounds:
    values = sum(node.size for node in scene.network.graph.nodes)
    if values >= _VALUES_PER_INPUT * (1 + len(carried(scene))):
        # What a few columns settle, thousands of rows need not look at again.
        with contextlib.suppress(UnsupportedMethodError):
            known = forward_bounds(scene, memory, known)[0]
    return tightened(scene, Slopes(), memory, budget=budget, within=known)


LEVELS: Mapping[Level, _Nodes] = {
    Level.INTERVAL: _interval,
    Level.FORWARD: _forward,
    Level.BACKWARD: _backward,
    Level.SLOPES: _backward,
}
