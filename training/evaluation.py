"""How good a network is on a data set, measured as certification measures it.

Bounds are computed in float64 on the folded network over the very boxes that `certify_items`
takes, so that certified accuracy in training is what certification reports afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.data import Dataset, fit_dataset
from models.fold import fold_affine
from models.network import Network
from solvers.bounds import Interval, Scene, bound_margins
from solvers.bounds.ibp import nonlinear_nodes
from solvers.methods import Method
from solvers.problem import linf_ball
from training.adversary import adversarial_inputs
from training.options import TrainingOptions
from training.regions import box_around, label_margins
from training.seeds import stream

__all__ = ["Evaluation", "evaluate"]

_BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """A network on a data set.

    Attributes:
        clean_accuracy, empirical_accuracy, certified_accuracy: Shares in [0, 1].
        mean_bound: Mean lower bound of the worst-case margin.
        mean_gap: Mean of the least margin that the attack found, minus the bound.
        unstable: Mean number of unstable neurons per input, by nonlinear node.
    """

    clean_accuracy: float
    empirical_accuracy: float
    certified_accuracy: float
    mean_bound: float
    mean_gap: float
    unstable: Mapping[str, float]


def evaluate(
    network: Network,
    dataset: Dataset,
    options: TrainingOptions,
    *,
    certified_by: Method | None = None,
) -> Evaluation:
    """Measure a network on a data set at the full epsilon.

    Args:
        network: On the device to compute with.
        dataset: Raw inputs with labels.
        options: Epsilon, valid range, attack and seed.
        certified_by: Method of the bounds; None for that of the options.
    """
    fitted = fit_dataset(dataset, network)
    judge = _Judge(network, options, certified_by or options.certified_by)
    count = min(len(dataset), options.selection.count or len(dataset))
    parts = []
    for first in range(0, count, _BATCH):
        chosen = slice(first, min(count, first + _BATCH))
        parts.append(judge.batch(fitted.x[chosen], fitted.y[chosen], first))
    return _joined(parts)


@dataclass(frozen=True)
class _Part:
    """One entry per input of a batch."""

    clean: Tensor
    empirical: Tensor
    certified: Tensor
    bound: Tensor
    gap: Tensor
    unstable: Mapping[str, Tensor]


class _Judge:
    """A network in the forms that measuring needs."""

    def __init__(self, network: Network, options: TrainingOptions, method: Method) -> None:
        self.options, self.method = options, method
        # The ONNX file plays no part here, and writing it anew would cost time.
        plain = replace(network, source=b"", sha256="")
        self.network = plain
        self.wide = fold_affine(plain.to(torch.float64, network.device))

    @torch.no_grad()
    def batch(self, x: np.ndarray, y: np.ndarray, first: int) -> _Part:
        """Measure some inputs."""
        device = self.network.device
        labels = torch.from_numpy(y).to(device)
        box = linf_ball(x, self.options.epsilon, valid_range=self.options.valid_range)
        region = Interval(
            torch.from_numpy(box.lower).to(device), torch.from_numpy(box.upper).to(device)
        )
        margins = label_margins(labels, self.wide.output_size, torch.float64)
        bounds = bound_margins(Scene(self.wide, region), margins, self.method)
        lower = bounds.lower.amin(1)
        clean = self._margins(torch.from_numpy(x).to(device), labels)
        attacked = self._attack(torch.from_numpy(x).to(device), labels, first)
        least = torch.minimum(clean, attacked)
        return _Part(
            clean=clean > 0,
            empirical=least > 0,
            certified=(clean > 0) & (lower > 0),
            bound=lower,
            gap=least - lower,
            unstable=_unstable(self.wide, bounds.intermediate),
        )

    def _margins(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the least margin of each input, in float64."""
        y = self.wide(x.to(torch.float64)).flatten(1)
        margins = label_margins(labels, y.shape[1], torch.float64)
        return torch.einsum("bro,bo->br", margins.matrix, y).amin(1)

    def _attack(self, x: Tensor, labels: Tensor, first: int) -> Tensor:
        """Return the least margin that the attack finds for each input."""
        options = self.options
        region = box_around(x.to(self.network.dtype), options.epsilon, options.valid_range)
        found = adversarial_inputs(
            self.network,
            region,
            labels,
            steps=options.adversary.evaluation_steps,
            step_size=options.adversary.step_size,
            generator=stream(options.seed, "evaluation", first),
        )
        return self._margins(found, labels)


def _unstable(network: Network, bounds: Mapping[str, Interval]) -> dict[str, Tensor]:
    """Count the unstable neurons of each input, by node."""
    return {
        node.name: bounds[node.inputs[0]].unstable.flatten(1).sum(1)
        for node in nonlinear_nodes(network.graph)
        if len(node.inputs) == 1
    }


def _joined(parts: list[_Part]) -> Evaluation:
    def mean(name: str) -> float:
        return float(torch.cat([getattr(part, name) for part in parts]).double().mean())

    return Evaluation(
        clean_accuracy=mean("clean"),
        empirical_accuracy=mean("empirical"),
        certified_accuracy=mean("certified"),
        mean_bound=mean("bound"),
        mean_gap=mean("gap"),
        unstable={
            name: float(torch.cat([part.unstable[name] for part in parts]).double().mean())
            for name in parts[0].unstable
        },
    )
