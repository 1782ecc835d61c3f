"""What proofs about one network stand on: its tensors, and the checker's own bounds of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.fold import fold_affine
from models.network import Network
from models.runtime import OnnxRuntime
from solvers.bounds import Interval, Scene, boxes_to_interval, regions_to_balls
from solvers.bounds.ibp import propagate
from solvers.bracket import Witness
from solvers.problem import Box, Case
from solvers.proof.checker import CheckedNetwork, bound_boxes, root_bounds
from solvers.proof.container import BoundGroup
from solvers.proof.producing.tensors import tensors_of

__all__ = ["Ground"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ground:
    """A network as the search and as the checker see it.

    Attributes:
        network: As imported, with its file.
        folded: In float64 with affine operators merged, for the search.
        witness: Judges counterexamples.
        checked: As the checker reads it.
        tensors: ONNX tensors by the folded network's nodes.
    """

    network: Network
    folded: Network
    witness: Witness
    checked: CheckedNetwork
    tensors: Mapping[str, str]

    @classmethod
    def of(cls, network: Network, device: torch.device) -> Ground:
        """Prepare proofs about a network.

        Raises:
            UnsupportedProofError: The checker does not know an operator.
        """
        checked = CheckedNetwork.read(network.source)
        wide = network.to(torch.float64, device)
        folded = fold_affine(wide)
        witness = Witness(wide, OnnxRuntime(network))
        return cls(network, folded, witness, checked, tensors_of(network, folded))

    def bounds(self, region: Box, groups: Sequence[BoundGroup]) -> dict[str, Interval]:
        """Return bounds of every node over a region, batch 1: the checker's, where it has any.

        Args:
            region: Of the network's input shape.
            groups: Better bounds of some tensors.
        """
        derived = root_bounds(self.checked, region.lower.ravel(), region.upper.ravel(), groups)
        graph, device = self.folded.graph, self.folded.device
        known = {
            name: Interval(
                *(
                    torch.from_numpy(np.asarray(end, dtype=np.float64))
                    .reshape(1, *graph.node(name).shape)
                    .to(device)
                    for end in derived[tensor]
                )
            )
            for name, tensor in self.tensors.items()
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

    def row_bounds(
        self, lower: FloatArray, upper: FloatArray, matrix: FloatArray, offset: FloatArray
    ) -> FloatArray:
        """Return the checker's plain bounds of `matrix @ y − offset` over boxes.

        Args:
            lower: Corners, shape `(boxes, inputs)`.
            upper: The same.
            matrix: Shape `(rows, outputs)`.
            offset: Shape `(rows,)`.

        Returns:
            Shape `(boxes, rows)`.
        """
        return np.asarray(bound_boxes(self.checked, lower, upper, matrix, offset))

    def region_rows(
        self, regions: Sequence[Box], matrix: FloatArray, offset: FloatArray
    ) -> FloatArray:
        """Return the checker's plain bounds of rows over regions, shape `(regions, rows)`."""
        lower = np.stack([region.lower.ravel() for region in regions])
        upper = np.stack([region.upper.ravel() for region in regions])
        return self.row_bounds(lower, upper, matrix, offset)

    def float32_error(self, case: Case) -> float:
        """Return how far float32 arithmetic may move a margin over a region; 0 if not known."""
        return 0.0
