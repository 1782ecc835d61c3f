"""How tight the relaxation of each layer is: its unstable neurons and their slack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from models.data import Dataset, fit_dataset
from models.fold import fold_affine
from models.graph import Node
from models.network import Network
from models.operators import Relu
from solvers.balls import Norm
from solvers.bounds import BoundOptions, Interval
from solvers.budget import never_cancelled
from solvers.certification import CertifyOptions
from solvers.devices import resolve_device
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Case, norm_ball, robustness

__all__ = ["LayerTightness", "layer_tightness", "relu_slack"]

_BATCH = 16


@dataclass(frozen=True)
class LayerTightness:
    """One layer of ReLUs over the regions of a set, from the bounds of `crown`.

    Attributes:
        name: Of the node.
        neurons: Of the layer.
        unstable: How many of them are unstable, the mean over all inputs.
        slack: Mean of −ul/(u − l) over the unstable ones of all inputs; 0 where there is none, not
            a number where a bound is infinite.
    """

    name: str
    neurons: int
    unstable: float
    slack: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def relu_slack(bounds: Interval) -> Tensor:
    """Return the largest vertical gap of each ReLU's relaxation, −ul/(u − l); 0 where stable.

    Args:
        bounds: Of the pre-activations, any shape.

    Source: Ehlers 2017, the linear relaxation of ReLU: the height of its upper line at 0.
    """
    lower, upper = bounds.lower, bounds.upper
    unstable = (lower < 0) & (upper > 0)
    width = torch.where(unstable, upper - lower, torch.ones_like(lower))
    return torch.where(unstable, -upper * lower / width, torch.zeros_like(lower))


def layer_tightness(
    network: Network,
    dataset: Dataset,
    options: CertifyOptions,
    *,
    indices: Sequence[int] | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
) -> tuple[LayerTightness, ...]:
    """Measure every layer of ReLUs over the regions of a set, by the bounds of `crown`.

    Args:
        network: Imported from ONNX, without a normalisation if the options give one.
        dataset: Raw inputs with labels.
        options: Of the regions, and the device.
        indices: Positions in the data set; None for all of it.
        cancelled: Asked between batches; True ends the work with what was measured so far.

    Returns:
        The layers in the order of the graph; none where there is no ReLU, or nothing was measured.

    Raises:
        InvalidInputError: Data and network do not fit each other.
        MemoryLimitError: The bounds do not fit into memory.
    """
    wide = network.to(torch.float64, resolve_device(options.device))
    if options.normalization is not None:
        wide = wide.with_normalization(options.normalization)
    folded = fold_affine(wide)
    fitted = fit_dataset(dataset, wide)
    chosen = range(len(fitted)) if indices is None else indices
    layers = [node for node in folded.graph.nodes if isinstance(node.operator, Relu)]
    sums = _Sums(layers)
    for first in range(0, len(chosen), _BATCH):
        if cancelled() or not layers:
            break
        cases = [_case(fitted, index, folded, options) for index in chosen[first : first + _BATCH]]
        step = CaseBatch(folded, cases).bound(Method.CROWN, options=BoundOptions())
        sums.add([step.intermediate[node.inputs[0]] for node in layers])
    return sums.means()


def _case(dataset: Dataset, index: int, network: Network, options: CertifyOptions) -> Case:
    region = norm_ball(
        dataset.x[index], options.epsilon, Norm(options.norm), valid_range=options.valid_range
    )
    return Case(region, robustness(int(dataset.y[index]), network.output_size))


class _Sums:
    """What has been measured so far of each layer."""

    def __init__(self, layers: Sequence[Node]) -> None:
        self._layers = layers
        self._inputs = 0
        self._unstable = [0] * len(layers)
        self._slack = [0.0] * len(layers)
        self._neurons = [0] * len(layers)

    def add(self, bounds: Sequence[Interval]) -> None:
        """Add a batch, one interval of shape `(batch, *shape)` for each layer."""
        for position, interval in enumerate(bounds):
            unstable = (interval.lower < 0) & (interval.upper > 0)
            self._unstable[position] += int(unstable.sum())
            self._slack[position] += float(relu_slack(interval).sum())
            self._neurons[position] = interval.lower[0].numel()
        self._inputs += len(bounds[0].lower) if bounds else 0

    def means(self) -> tuple[LayerTightness, ...]:
        """Return the means over all inputs."""
        if not self._inputs:
            return ()
        return tuple(
            LayerTightness(
                node.name,
                neurons,
                unstable / self._inputs,
                slack / unstable if unstable else 0.0,
            )
            for node, neurons, unstable, slack in zip(
                self._layers, self._neurons, self._unstable, self._slack, strict=True
            )
        )
