"""Proving one box by passes with cuts, on the checker's own bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.graph import Node
from solvers.bounds import Interval, MemoryBudget, Scene, boxes_to_interval, regions_to_balls
from solvers.bounds.cut_passes import (
    RowSlopes,
    Tightening,
    rows_with_cuts,
    tightened_rows,
    tightened_values,
)
from solvers.bounds.ibp import interval_of
from solvers.bounds.intermediate import Selection, select, undecided_mask
from solvers.bounds.rules import SlopeChoice, Slopes
from solvers.bounds.tightened import TightenedLines
from solvers.budget import Budget
from solvers.problem import Case
from solvers.proof.container import BoundGroup, NeuronTree, ProofError
from solvers.proof.producing.box_proof import clause_margins, stacked_rows
from solvers.proof.producing.ground import Ground, ball_of
from solvers.proof.producing.neuron_proof import TreeWriter
from solvers.proof.producing.plane_writer import PlaneWriter
from solvers.proof.producing.values import Values
from solvers.search.neurons.layout import Layout, layout_of

__all__ = ["PlaneCloser"]

FloatArray = NDArray[np.float64]
Bounds = Mapping[str, Interval]
Lines = Mapping[str, TightenedLines]
Taken = Sequence[tuple[slice, Lines]]
"""Rows, and the lines with cuts that bound them."""

_MARGINS = (
    Tightening(0),
    Tightening(),
    Tightening(4, 4, (1.0, 0.4)),
    Tightening(6, 8, (1.0, 0.7, 0.4, 0.2)),
)
"""What is tried for each row, one after the other: none is best for all, the first has no cuts."""
_ENOUGH = 0.5
"""A share of a row's best margin for which it takes an earlier try, whose planes are fewer."""
_INSIDE = (Tightening(1, 4, (1.0,)), Tightening(3, 8, (1.0, 0.4)))
"""The same for bounds inside."""


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A tree that closes the box.

    Attributes:
        tree: Its rows are counted from the case's first.
        left: Least margin of its leaves, as the checker derives it.
    """

    tree: NeuronTree
    left: float


class PlaneCloser:
    """Proves that no clause of a case can hold by planes above ReLUs, without any split.

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
        self._start: Bounds = ground.bounds(case.region)
        self._layout: Layout = layout_of(ground.folded, self._start)
        self._values = Values.of(self._layout)
        self._scene = Scene(
            ground.folded,
            boxes_to_interval(region, torch.float64, device),
            regions_to_balls(region, torch.float64, device),
        )
        self._matrix, self._offset, self._owner = stacked_rows(case.specification)
        self._slopes = RowSlopes(Slopes(SlopeChoice.ADAPTIVE))

    def close(self) -> NeuronTree | None:
        """Return a tree with one leaf for each clause, or None where planes do not suffice."""
        if not self._suits():
            return None
        wanted = self._wanted()
        best = self._best(self._start, wanted)
        for tightening in _INSIDE:
            if self._budget.exhausted or (best is not None and best.left > wanted):
                break
            writer = PlaneWriter(self._ground, self._scene, self._values)
            groups = self._groups(writer, tightening)
            bounds = self._ground.bounds(self._case.region, groups, self._values, writer.done())
            best = _better(best, self._best(bounds, wanted, groups, writer))
        if best is None:
            return None
        rows = best.tree.leaf_row + np.int32(self._first_row)
        return replace(best.tree, leaf_row=rows)

    def _wanted(self) -> float:
        """Return the margin beyond which the verdict holds for what runs in float32, too."""
        region = self._case.region
        corners = region.lower.reshape(1, -1), region.upper.reshape(1, -1)
        _, errors = self._ground.box_rows_and_errors(
            corners, self._matrix, self._offset, ball=ball_of(region)
        )
        return float(errors.max()) if np.isfinite(errors).all() else 0.0

    def _suits(self) -> bool:
        """Return whether planes can be about what the checker bounds."""
        return all(name in self._ground.tensors for name, _ in self._values.parts)

    def _best(
        self,
        bounds: Bounds,
        wanted: float,
        groups: Sequence[BoundGroup] = (),
        inside: PlaneWriter | None = None,
    ) -> _Attempt | None:
        """Bound all rows with cuts, harder and harder, until the least margin is as wanted.

        Args:
            bounds: Of every node, as the checker derives them.
            wanted: The margin.
            groups: That the bounds come from.
            inside: Holds the groups' planes.
        """
        best: _Attempt | None = None
        found: list[tuple[FloatArray, Taken]] = []
        for tightening in _MARGINS:
            found.append(self._rows(bounds, tightening))
            highest = np.max([lower for lower, _ in found], axis=0)
            if (clause_margins(highest[np.newaxis], self._owner) > 0).all():
                tree = self._tree(found, wanted, groups=groups, inside=inside)
                best = _better(best, self._judged(tree))
            if self._budget.exhausted or (best is not None and best.left > wanted):
                break
        return best

    def _tree(
        self,
        found: Sequence[tuple[FloatArray, Taken]],
        wanted: float,
        *,
        groups: Sequence[BoundGroup],
        inside: PlaneWriter | None,
    ) -> NeuronTree:
        """Write a leaf for the best row of each clause.

        Args:
            found: Bounds of all rows and what passes took for them, of each try.
            wanted: Least margin, where it can be had.
            groups: Of bounds inside.
            inside: Holds the groups' planes.
        """
        writer = PlaneWriter(self._ground, self._scene, self._values)
        if inside is not None:
            writer.take(inside)
        tree, first = TreeWriter(self._values, self._ground.tensors), 0
        lower = np.stack([bounds for bounds, _ in found])
        passes, users = sum(len(group.index) for group in groups), np.full(lower.shape, -1)
        for clause, count in enumerate(np.bincount(self._owner)):
            row = first + int(lower[:, first : first + count].max(0).argmax())
            best = lower[:, row].max()
            enough = lower[:, row] >= max(_ENOUGH * best, min(wanted, best))
            users[enough.argmax(), row] = passes + clause
            tree.plain(row)
            first += count
        for (_, parts), own in zip(found, users, strict=True):
            for part, lines in parts:
                writer.add(own[part], lines)
        return replace(tree.done(groups, None), planes=writer.done())

    def _rows(self, bounds: Bounds, tightening: Tightening) -> tuple[FloatArray, Taken]:
        """Return the bounds of all rows by passes with cuts, and what these took."""
        step, output = rows_with_cuts(MemoryBudget(), self._scene), self._scene.network.graph.output
        shape, device = self._scene.network.output_shape, self._scene.region.lower.device
        matrix, offset = (
            torch.from_numpy(part).to(device) for part in (self._matrix, self._offset)
        )
        found, taken = [], []
        for first in range(0, len(matrix), step):
            part = slice(first, first + step)
            best, lines = tightened_rows(
                self._scene,
                {output: matrix[part].reshape(1, -1, *shape)},
                -offset[part].unsqueeze(0),
                bounds,
                slopes=self._slopes,
                tightening=tightening,
                budget=self._budget,
            )
            found.append(best[0].cpu().numpy())
            taken.append((part, lines))
        return np.concatenate(found), taken

    def _judged(self, tree: NeuronTree) -> _Attempt | None:
        """Return a tree with what the checker derives from it, if that proves the case."""
        rows = self._matrix, self._offset, self._owner
        try:
            left = float(self._ground.tree_margins(self._case.region, tree, rows).min())
        except ProofError:
            return None
        return _Attempt(tree, left) if left > 0 else None

    def _groups(self, writer: PlaneWriter, tightening: Tightening) -> list[BoundGroup]:
        """Improve bounds inside the network by passes with cuts, node after node."""
        groups: list[BoundGroup] = []
        bounds: dict[str, Interval] = {}
        inside = {slot.node.name for slot in self._layout.slots[1:]}
        for node in self._scene.network.graph.nodes:
            current = interval_of(self._scene, node, bounds).intersect(self._start[node.name])
            if node.name in inside:
                for part, found, lines in self._refined(node, current, bounds, tightening):
                    passes = sum(len(group.index) for group in groups)
                    writer.add(passes + np.arange(2 * part.rows), lines)
                    groups.append(self._group(node, part.indices[0]))
                    current = part.write(current, found[:, : part.rows], -found[:, part.rows :])
            bounds[node.name] = current
        return groups

    def _refined(
        self, node: Node, current: Interval, bounds: Bounds, tightening: Tightening
    ) -> Iterator[tuple[Selection, Tensor, Lines]]:
        """Bound the undecided values of a node: lower ones, and the negatives of upper ones."""
        selection = select(undecided_mask(self._scene.network.graph, node, current))
        step = max(1, rows_with_cuts(MemoryBudget(), self._scene) // 2)
        for first in range(0, selection.rows, step):
            if self._budget.exhausted:
                break
            part = selection[first : first + step]
            both, lines = tightened_values(
                self._scene,
                node,
                part.indices,
                bounds,
                slopes=self._slopes,
                tightening=tightening,
                budget=self._budget,
            )
            yield part, both, lines

    def _group(self, node: Node, index: Tensor) -> BoundGroup:
        """Return both bounds of values, by passes with adaptive slopes."""
        every = np.tile(index.cpu().numpy().astype(np.int32), 2)
        sides = np.repeat(np.array([0, 1], np.uint8), len(index))
        return BoundGroup(self._ground.tensors[node.name], every, sides)


def _better(one: _Attempt | None, other: _Attempt | None) -> _Attempt | None:
    """Return that of two attempts that leaves more, if there is one."""
    if one is None or other is None:
        return one or other
    return one if one.left >= other.left else other
