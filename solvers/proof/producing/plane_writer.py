"""Cuts of passes, as the planes that proofs hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.graph import Node
from solvers.bounds import Scene
from solvers.bounds.backward import pull_to_origins, unit_rows
from solvers.bounds.crossing import whole
from solvers.bounds.tightened import TightenedLines
from solvers.proof.container import Planes
from solvers.proof.parts.planes import support
from solvers.proof.producing.ground import Ground
from solvers.proof.producing.values import Values

__all__ = ["PlaneWriter"]

IntArray = NDArray[np.int64]

_MOST = 255


class _Written(NamedTuple):
    """Planes of one set of rows above ReLUs of one node; one element or row for each."""

    user: IntArray
    value: IntArray
    part: NDArray[np.uint8]
    sizes: IntArray
    share: NDArray[np.uint8]


@dataclass
class PlaneWriter:
    """Collects planes, pass after pass.

    Attributes:
        ground: The network.
        scene: Where it is bounded.
        values: Of the tree that the planes belong to.
    """

    ground: Ground
    scene: Scene
    values: Values
    _written: list[_Written] = field(default_factory=list)

    def add(self, passes: IntArray, lines: Mapping[str, TightenedLines]) -> None:
        """Write what rows of one region were bounded with.

        Args:
            passes: Number of every row's pass; −1 where its planes are not wanted.
            lines: By node, as passes with cuts leave them.
        """
        for name, mixture in lines.items():
            self._add(passes, self.ground.folded.graph.node(name), mixture)

    def take(self, other: PlaneWriter) -> None:
        """Take over all planes of another writer."""
        self._written.extend(other._written)

    def done(self) -> Planes | None:
        """Return all of them, or None where there are none."""
        if not self._written:
            return None
        user, value, part, sizes = (
            np.concatenate([written[k] for written in self._written]) for k in range(4)
        )
        shares = [
            piece
            for written in self._written
            for piece in np.split(written.share, np.cumsum(written.sizes)[:-1])
        ]
        order = np.lexsort((value, user))
        return Planes(
            user=user[order].astype(np.int32),
            value=value[order].astype(np.int32),
            part=part[order],
            start=np.cumsum([0, *sizes[order]], dtype=np.int64),
            share=np.concatenate([shares[k] for k in order]),
        )

    def _add(self, passes: IntArray, relu: Node, mixture: TightenedLines) -> None:
        source = self.ground.folded.graph.node(relu.inputs[0])
        wanted = torch.from_numpy(passes >= 0).to(self.scene.region.lower.device)
        taken, total, slopes = _merged(mixture, source.size, wanted)
        if not len(taken):
            return
        row, neuron = taken // source.size, taken % source.size
        shares = {}
        for name, weight in self._weights(source, neuron).items():
            usable = weight != 0
            held = torch.where(usable, weight, torch.ones_like(weight)) * total.unsqueeze(1)
            shares[name] = torch.where(usable, slopes[name] / held, 0.0)
        places = neuron.cpu().numpy()
        found = self._ordered(source, places, shares)
        if found is None:
            return
        self._written.append(
            _Written(
                passes[row.cpu().numpy()],
                np.array([self.values.place(source.name, int(at)) for at in places]),
                _fractions(total),
                *found,
            )
        )

    def _weights(self, source: Node, neuron: Tensor) -> dict[str, Tensor]:
        """Return by origin what each neuron depends on, shape `(neurons, values)`."""
        functions = unit_rows(self.scene, source, neuron.unsqueeze(0))
        pull_to_origins(self.scene, functions)
        named = functions.coefficients.items()
        return {name: whole(part).flatten(2)[0] for name, part in named}

    def _ordered(
        self, source: Node, neuron: IntArray, shares: Mapping[str, Tensor]
    ) -> tuple[IntArray, NDArray[np.uint8]] | None:
        """Return how many shares each plane has, and all of them in the order of the file.

        None where the checker counts values that neurons are made of in another way.
        """
        checked, entry = self.ground.checked, self.scene.entry.node.name
        vector = checked.names[self.ground.tensors[source.name]]
        origins, pattern = support(checked, vector, neuron)
        held = {
            0 if name == entry else checked.names.get(name, -1): part
            for name, part in shares.items()
        }
        known = [held[origin].shape[1] if origin in held else 0 for origin in origins]
        if known != [checked.sizes[origin] for origin in origins]:
            return None
        sizes = np.diff(pattern.indptr)
        every = _fractions(torch.cat([held[origin] for origin in origins], dim=1))
        return sizes, every[np.repeat(np.arange(len(neuron)), sizes), pattern.indices]


def _fractions(numbers: Tensor) -> NDArray[np.uint8]:
    """Return numbers from 0 to 1 as the nearest fractions of 255."""
    whole_numbers = (numbers.clamp(0, 1) * _MOST).round().to(torch.uint8)
    return np.asarray(whole_numbers.cpu().numpy())


def _merged(
    mixture: TightenedLines, size: int, wanted: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return what cuts of one neuron in one row that is wanted come to together.

    Returns:
        Row times the node's size plus neuron, ascending; the sum of their cuts' shares of the upper
        line; by origin, the sum of their coefficients by these shares, shape `(pairs, values)`.
    """
    keys, weights, parts = [], [], []
    for cuts in mixture.cuts:
        rows = torch.arange(len(cuts.index), device=cuts.index.device).unsqueeze(1)
        used = (cuts.weight > 0) & wanted.unsqueeze(1)
        keys.append((rows * size + cuts.index)[used])
        weights.append(cuts.weight[used])
        parts.append({name: whole(lines).flatten(2)[used] for name, lines in cuts.lines})
    taken, place = torch.unique(torch.cat(keys), return_inverse=True)
    weight = torch.cat(weights)
    total = weight.new_zeros(len(taken)).index_add(0, place, weight)
    slopes = {}
    for name in parts[0]:
        every = torch.cat([part[name] for part in parts]) * weight.unsqueeze(1)
        slopes[name] = every.new_zeros(len(taken), every.shape[1]).index_add(0, place, every)
    return taken, total, slopes
