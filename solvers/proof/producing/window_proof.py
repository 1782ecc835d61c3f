"""Proving one box by windows of the first layer, on the checker's own bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from solvers.bounds import Margins, Scene, boxes_to_interval, regions_to_balls
from solvers.bounds.windows import first_layer, window_inputs, window_rows
from solvers.budget import Budget
from solvers.problem import Case
from solvers.proof.container import NeuronTree, ProofError, Windows
from solvers.proof.parts.windows import window_inputs as checked_inputs
from solvers.proof.producing.box_proof import stacked_rows
from solvers.proof.producing.ground import Ground, ball_of
from solvers.proof.producing.neuron_proof import TreeWriter
from solvers.proof.producing.values import Values

__all__ = ["WindowCloser"]

FloatArray = NDArray[np.float64]

_TYPES: tuple[type[np.floating], ...] = (np.float16, np.float32)
"""Of slopes; the first one that suffices is taken."""
_SPARED = 1e-3
"""Of margins, for what rounding takes off slopes."""


class WindowCloser:
    """Proves that no clause of a case can hold by windows of the first layer, without any split.

    Args:
        ground: The network.
        case: Region and specification.
        first_row: Number of the case's first row in the file.
        budget: When to give up.
    """

    def __init__(self, ground: Ground, case: Case, first_row: int, budget: Budget) -> None:
        self._ground, self._case, self._first_row = ground, case, first_row
        self._budget = budget
        device, region = ground.folded.device, [case.region]
        self._scene = Scene(
            ground.folded,
            boxes_to_interval(region, torch.float64, device),
            regions_to_balls(region, torch.float64, device),
        )
        self._matrix, self._offset, self._owner = stacked_rows(case.specification)

    def close(self) -> NeuronTree | None:
        """Return a tree with one leaf for each clause, or None where windows do not suffice."""
        layer = first_layer(self._scene)
        tensor = None if layer is None else self._ground.tensors.get(layer.name)
        if tensor is None:
            return None
        lower, enough = self._plain()
        clauses = [np.flatnonzero(self._owner == k) for k in range(self._owner[-1] + 1)]
        open_ = [bool(lower[rows].max() <= enough) for rows in clauses]
        slopes: dict[int, FloatArray] = {}
        try:
            reads = checked_inputs(self._ground.checked, tensor).toarray() != 0
        except ProofError:
            return None
        for row, bound, found in self._climbed(np.array(open_)[self._owner], enough):
            if bound > lower[row]:
                lower[row], slopes[row] = bound, self._by_input(found)[reads]
        best = [int(rows[lower[rows].argmax()]) for rows in clauses]
        if not (lower[best] > 0).all():
            return None
        return self._written(tensor, best, slopes)

    def _plain(self) -> tuple[FloatArray, float]:
        """Return the checker's plain bounds of rows, and what float32 inference may lose."""
        region = self._case.region
        corners = region.lower.reshape(1, -1), region.upper.reshape(1, -1)
        rows, errors = self._ground.box_rows_and_errors(
            corners, self._matrix, self._offset, ball=ball_of(region)
        )
        return rows[0], float(errors.max()) if np.isfinite(errors).all() else 0.0

    def _climbed(
        self, wanted: NDArray[np.bool_], enough: float
    ) -> Iterator[tuple[int, float, FloatArray]]:
        """Yield rows that are wanted, their bounds, and slopes of windows."""
        device, bounds = self._ground.folded.device, self._ground.bounds(self._case.region)
        margins = Margins(
            *(
                torch.from_numpy(part[np.newaxis]).to(device)
                for part in (self._matrix, self._offset)
            )
        )
        some = torch.from_numpy(wanted).to(device)
        enough += _SPARED
        for row in window_rows(self._scene, margins, bounds, self._budget, some, enough=enough):
            yield row.place, float(row.lower), row.slopes.cpu().numpy()

    def _by_input(self, slopes: FloatArray) -> FloatArray:
        """Return slopes of windows at the inputs that they read, `(windows, inputs)`."""
        index = window_inputs(self._scene).cpu().numpy()
        image = np.zeros((len(index), self._case.region.lower.size))
        window, place = np.nonzero(index >= 0)
        image[window, index[window, place]] = slopes[window, place]
        return image

    def _written(
        self, tensor: str, best: Sequence[int], slopes: Mapping[int, FloatArray]
    ) -> NeuronTree | None:
        """Write a leaf for the best row of each clause; None where the checker proves less."""
        writer = TreeWriter(Values(()), self._ground.tensors)
        for row in best:
            writer.plain(row)
        leaf = [number for number, row in enumerate(best) if row in slopes]
        if not leaf:
            return None
        held = np.stack([slopes[best[number]] for number in leaf])
        for kind in _TYPES:
            windows = Windows(tensor, np.array(leaf, np.int32), held.astype(kind))
            tree = replace(writer.done((), None), windows=windows)
            if np.isfinite(windows.slope).all() and self._proves(tree):
                return replace(tree, leaf_row=tree.leaf_row + np.int32(self._first_row))
        return None

    def _proves(self, tree: NeuronTree) -> bool:
        """Return whether the checker's bounds of all leaves are positive."""
        rows = self._matrix, self._offset, self._owner
        try:
            margins = self._ground.tree_margins(self._case.region, tree, rows)
        except ProofError:
            return False
        return bool((margins > 0).all())
