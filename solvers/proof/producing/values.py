"""The values of a network that one neuron tree speaks of, numbered through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from solvers.search.neurons.layout import Layout

__all__ = ["Values"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Values:
    """Values inside a network, node after node.

    Attributes:
        parts: Node names and flat indices, ascending, in topological order.
    """

    parts: tuple[tuple[str, IntArray], ...]

    @classmethod
    def of(cls, layout: Layout) -> Values:
        """Return the values of a layout."""
        return cls(tuple((slot.node.name, slot.indices.cpu().numpy()) for slot in layout.slots))

    def __len__(self) -> int:
        """Return the number of values."""
        return sum(len(index) for _, index in self.parts)

    @cached_property
    def _starts(self) -> Mapping[str, tuple[int, IntArray]]:
        starts = np.cumsum([0, *(len(index) for _, index in self.parts)])
        return {
            name: (int(start), index)
            for start, (name, index) in zip(starts, self.parts, strict=False)
        }

    def place(self, node: str, index: int) -> int:
        """Return the number of a value; it must be there."""
        start, indices = self._starts[node]
        found = int(np.searchsorted(indices, index))
        assert found < len(indices) and indices[found] == index  # noqa: S101
        return start + found

    def places(self, parts: Iterable[tuple[str, Tensor]]) -> IntArray:
        """Return the numbers of values given node by node; all of them must be there."""
        found = [np.zeros(0, dtype=np.int64)]
        for name, index in parts:
            start, indices = self._starts[name]
            wanted = index.cpu().numpy()
            at = np.searchsorted(indices, wanted)
            assert np.array_equal(indices[at], wanted)  # noqa: S101  a search splits no others
            found.append(start + at)
        return np.concatenate(found)

    @property
    def flat(self) -> NDArray[np.int32]:
        """Flat indices of all values, shape `(values,)`."""
        empty = np.zeros(0, dtype=np.int64)
        return np.concatenate([empty, *(index for _, index in self.parts)]).astype(np.int32)

    def layout(
        self, tensors: Mapping[str, str]
    ) -> tuple[tuple[tuple[str, int], ...], NDArray[np.int32]]:
        """Return ONNX names and counts of the values, and their flat indices, as proofs hold them.

        Args:
            tensors: ONNX names by node.
        """
        return tuple((tensors[node], len(index)) for node, index in self.parts), self.flat
