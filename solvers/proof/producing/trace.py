"""What a decision leaves behind for whoever proves it again."""

from __future__ import annotations

from dataclasses import dataclass, field

from solvers.proof.producing.box_tree import BoxLeaves

__all__ = ["Trace"]


@dataclass
class Trace:
    """What decided the cases of a problem.

    Attributes:
        boxes: Leaves of the search over boxes, by the positions of cases.
        by_boxes: Cases that it decided.
        hard: Cases that no bounds with adaptive slopes decided, so far as is known.
    """

    boxes: BoxLeaves = field(default_factory=BoxLeaves)
    by_boxes: set[int] = field(default_factory=set)
    hard: set[int] = field(default_factory=set)
