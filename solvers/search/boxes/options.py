"""Settings of the search over boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInputError

__all__ = ["BoxSearchOptions", "LeafRecorder"]

FloatArray = NDArray[np.float64]


class LeafRecorder(Protocol):
    """Receives the boxes on which every clause is proved to fail.

    The leaves of a case that is proved cover its region: neighbours share faces and nothing else.
    """

    def leaves(self, cases: NDArray[np.int64], lower: FloatArray, upper: FloatArray) -> None:
        """Take over leaves.

        Args:
            cases: Which bracket each leaf belongs to, a position in what the search was given,
                shape `(leaves,)`.
            lower: The least corners, shape `(leaves, *input_shape)`.
            upper: The greatest corners, likewise.
        """
        ...


@dataclass(frozen=True)
class BoxSearchOptions:
    """How boxes are searched.

    Attributes:
        most_boxes: Bounded at once.
        round_seconds: Batches are sized to take about so long, which is also how late the search
            notices that it should stop.
        memory_bytes: What waiting boxes may take. Bounds of nodes that they carry are dropped
            before anything else.
        probe: Whether to look for counterexamples in the boxes.
        recorder: Told of every leaf, or None.

    Raises:
        InvalidInputError: A number is not positive.
    """

    most_boxes: int = 4096
    round_seconds: float = 0.15
    memory_bytes: int = 1 << 30
    probe: bool = True
    recorder: LeafRecorder | None = None

    def __post_init__(self) -> None:
        if self.most_boxes < 1 or self.memory_bytes < 1 or not self.round_seconds > 0:
            raise InvalidInputError(
                "most_boxes, memory_bytes and round_seconds of a search must be positive"
            )
