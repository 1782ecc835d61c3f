"""What proofs about one network stand on: its tensors, and the checker's own bounds of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from models.fold import fold_affine
from models.network import Network, Normalization
from models.runtime import OnnxRuntime
from solvers.bounds import Interval, Scene, boxes_to_interval, regions_to_balls
from solvers.bounds.ibp import propagate
from solvers.bracket import Witness
from solvers.problem import Box
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.container import Ball, BoundGroup, NeuronTree, Planes
from solvers.proof.network import CheckedNetwork
from solvers.proof.parts import read_network
from solvers.proof.parts.balls import BallRegion
from solvers.proof.parts.float32 import float32_error
from solvers.proof.producing.tensors import tensors_of
from solvers.proof.producing.values import Values
from solvers.proof.rooting import read_side_by_side, region_of, root_bounds, tree_bounds

__all__ = ["Ground", "ball_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_HELD_VALUES = 1 << 22
"""Bounds that are held at once."""


@dataclass(frozen=True, eq=False)
class Ground:
    """A network as the search and as the checker see it.

    Attributes:
        network: As imported, with its file, behind its normalisation.
        folded: In float64 with affine operators merged, for the search.
        witness: Judges counterexamples.
        checked: As the checker reads it.
        tensors: ONNX tensors by the folded network's nodes, as far as proofs can name them.
        bounded: The same of all that the checker bounds, also beside others in one vector.
    """

    network: Network
    folded: Network
    witness: Witness
    checked: CheckedNetwork
    tensors: Mapping[str, str]
    bounded: Mapping[str, str]
    _plain: dict[bytes, Enclosure] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, network: Network, device: torch.device, normalization: Normalization | None = None
    ) -> Ground:
        """Prepare proofs about a network.

        Args:
            network: As imported, without a normalisation.
            device: For the search.
            normalization: Applied in front of it, or None.

        Raises:
            UnsupportedProofError: The checker does not know an operator.
        """
        numbers = None if normalization is None else (normalization.mean, normalization.std)
        checked = read_network(network.source, numbers)
        wide = network.to(torch.float64, device)
        if normalization is not None:
            network, wide = (net.with_normalization(normalization) for net in (network, wide))
        folded = fold_affine(wide)
        witness = Witness(wide, OnnxRuntime(network))
        # Some operators take several steps in the checker, which has no bounds of what they read.
        every, beside = tensors_of(network, folded), read_side_by_side(checked)
        tensors, bounded = (
            {node: tensor for node, tensor in every.items() if checked.names.get(tensor) in read}
            for read in (checked.read_vectors, checked.read_vectors | beside)
        )
        return cls(network, folded, witness, checked, tensors, bounded)

    def bounds(
        self,
        region: Box,
        groups: Sequence[BoundGroup] = (),
        values: Values | None = None,
        planes: Planes | None = None,
    ) -> dict[str, Interval]:
        """Return bounds of every node over a region, batch 1: the checker's, where it has any.

        Args:
            region: Of the network's input shape.
            groups: Better bounds of some tensors.
            values: That slopes of the groups belong to.
            planes: Of the groups' passes.
        """
        lower, upper = region.lower.ravel(), region.upper.ravel()
        columns = () if values is None else (values.layout(self.tensors),)
        ball = ball_of(region)
        derived = root_bounds(
            self.checked,
            lower,
            upper,
            groups,
            *columns,
            ball=ball,
            planes=planes,
            plain=self._enclosure(region_of(lower[None], upper[None], ball)),
        )
        graph, device = self.folded.graph, self.folded.device
        known = {
            name: Interval(
                *(
                    torch.from_numpy(np.array(end, dtype=np.float64))
                    .reshape(1, *graph.node(name).shape)
                    .to(device)
                    for end in derived[tensor]
                )
            )
            for name, tensor in self.bounded.items()
            if tensor in derived
        }
        scene = Scene(
            self.folded,
            boxes_to_interval([region], torch.float64, device),
            regions_to_balls([region], torch.float64, device),
        )
        with torch.no_grad():
            # Interval arithmetic on merged operators can be tighter than the checker's; the search
            # must not lean on that.
            return {**propagate(scene, known), **known}

    def box_rows(
        self,
        corners: tuple[FloatArray, FloatArray],
        matrix: FloatArray,
        offset: FloatArray,
        *,
        ball: Ball | None = None,
    ) -> FloatArray:
        """Return the checker's plain bounds of `matrix @ y − offset` over boxes.

        Args:
            corners: Of the boxes, shape `(boxes, inputs)` each.
            matrix: Shape `(rows, outputs)`.
            offset: Shape `(rows,)`.
            ball: That the inputs lie in as well, or None.

        Returns:
            Shape `(boxes, rows)`.
        """
        parts = self._enclosures(corners, ball)
        return np.concatenate([part.rows(matrix) for part in parts]) - offset

    def box_rows_and_errors(
        self,
        corners: tuple[FloatArray, FloatArray],
        matrix: FloatArray,
        offset: FloatArray,
        *,
        ball: Ball | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of `box_rows`, and how far float32 inference may move each row.

        Nothing where the checker has nothing to say of that.
        """
        rows, errors = [], []
        for part in self._enclosures(corners, ball):
            rows.append(part.rows(matrix) - offset)
            known = self.checked.graph.single and self.checked.dropped is None
            errors.append(float32_error(part, matrix) if known else np.zeros_like(rows[-1]))
        return np.concatenate(rows), np.concatenate(errors)

    def _enclosures(
        self, corners: tuple[FloatArray, FloatArray], ball: Ball | None
    ) -> Iterator[Enclosure]:
        """Yield the checker's bounds inside the network, for as many boxes as memory holds."""
        step = max(_HELD_VALUES // sum(self.checked.sizes), 1)
        for first in range(0, len(corners[0]), step):
            lower, upper = (corner[first : first + step] for corner in corners)
            yield self._enclosure(region_of(lower, upper, ball))

    def _enclosure(self, region: Region) -> Enclosure:
        """Return the checker's bounds inside the network; the last box's are not found out again.

        Proofs ask for them several times, and on large networks they take as long as all the rest.
        """
        if len(region.lower) > 1:
            return Enclosure.of(self.checked, region)
        ball = region.ball if isinstance(region, BallRegion) else None
        parts = (region.lower, region.upper, *(() if ball is None else (ball.center, ball.radius)))
        key = b"".join(part.tobytes() for part in parts) + str(ball and ball.norm).encode()
        if key not in self._plain:
            found = Enclosure.of(self.checked, region)
            self._plain.clear()
            self._plain[key] = found
        return self._plain[key]

    def tree_margins(
        self, region: Box, tree: NeuronTree, rows: tuple[FloatArray, FloatArray, IntArray]
    ) -> FloatArray:
        """Return the checker's margins in the leaves of a tree that closes a region.

        Args:
            region: Of the network's input shape.
            tree: Its leaves name rows of those given, counted from 0.
            rows: C, shape `(rows, outputs)`, d, and the clause of each row.

        Returns:
            Of every leaf that is not empty, its row's bound.

        Raises:
            ProofError: The tree does not fit the network or itself.
        """
        matrix, offset, owner = rows
        lower, upper, ball = region.lower.ravel(), region.upper.ravel(), ball_of(region)
        plain = self._enclosure(region_of(lower[None], upper[None], ball))
        row, found = tree_bounds(
            self.checked, lower, upper, tree, (matrix, owner), ball=ball, plain=plain
        )
        return np.asarray(found - offset[row])

    def region_rows(
        self, regions: Sequence[Box], matrix: FloatArray, offset: FloatArray
    ) -> FloatArray:
        """Return the checker's plain bounds of rows over regions, shape `(regions, rows)`."""
        lower = np.stack([region.lower.ravel() for region in regions])
        upper = np.stack([region.upper.ravel() for region in regions])
        if all(region.ball is None for region in regions):
            return self.box_rows((lower, upper), matrix, offset)
        parts = (slice(place, place + 1) for place in range(len(regions)))
        return np.concatenate(
            [
                self.box_rows((lower[part], upper[part]), matrix, offset, ball=ball_of(region))
                for part, region in zip(parts, regions, strict=True)
            ]
        )


def ball_of(region: Box) -> Ball | None:
    """Return the ball of a region as the checker states it."""
    ball = region.ball
    if ball is None:
        return None
    return Ball(int(ball.norm.value), ball.center.ravel(), ball.radii.ravel())
