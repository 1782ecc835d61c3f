"""The loss of one step: (1 − κ)·clean + κ·robust + λ·feasibility + γ·slack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.network import Network
from models.operators import BatchNormalization
from solvers.bounds import Interval, Scene
from training.adversary import adversarial_inputs
from training.batch_statistics import CleanPass, clean_pass
from training.methods import TrainingMethod
from training.options import TrainingOptions
from training.regions import box_around, label_margins
from training.regularizers import feasibility, slack
from training.schedules import Stage
from training.worst_case import WorstCase, worst_case

__all__ = ["Batch", "StepLoss", "step_loss"]


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        x: Raw inputs, shape `(batch, *input_shape)`.
        labels: Shape `(batch,)`.
        attack: Source of an attack's random numbers.
    """

    x: Tensor
    labels: Tensor
    attack: torch.Generator


@dataclass(frozen=True)
class StepLoss:
    """The loss of a batch.

    Attributes:
        total: What is minimised.
        parts: By name: `clean`, `robust`, `feasibility`, `slack`, each unweighted and only where
            it was computed.
        clean: The clean pass of a network with BatchNormalization, else None.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    clean: CleanPass | None


def step_loss(network: Network, batch: Batch, stage: Stage, options: TrainingOptions) -> StepLoss:
    """Compute the loss of a batch.

    Args:
        network: With parameters that require gradients.
        batch: Inputs and labels.
        stage: Epsilon and weights of this step.
        options: Method and its settings.
    """
    parts: dict[str, Tensor] = {}
    clean: CleanPass | None = None
    if any(isinstance(node.operator, BatchNormalization) for node in network.graph.nodes):
        clean = clean_pass(network, batch.x)
        network = clean.network
    robust_share = 0.0 if options.method is TrainingMethod.STANDARD else stage.kappa
    if stage.epsilon == 0:
        robust_share = 0.0
    if robust_share < 1:
        outputs = network(batch.x).flatten(1) if clean is None else clean.outputs
        parts["clean"] = functional.cross_entropy(outputs, batch.labels)
    if stage.epsilon > 0:
        task = _Task(network, batch, stage, options)
        robust, over = _ROBUST[options.method](task)
        if robust is not None and robust_share > 0:
            parts["robust"] = robust
        if stage.feasibility > 0 or stage.slack > 0:
            parts.update(task.regularizers(over or task.bounds()))
    return StepLoss(_weighted(parts, robust_share, stage), parts, clean)


def _weighted(parts: Mapping[str, Tensor], robust_share: float, stage: Stage) -> Tensor:
    """Add up the parts with their weights."""
    weights = {
        "clean": 1 - robust_share,
        "robust": robust_share,
        "feasibility": stage.feasibility,
        "slack": stage.slack,
    }
    terms = [weights[name] * value for name, value in parts.items()]
    return torch.stack(terms).sum()


@dataclass(frozen=True)
class _Task:
    network: Network
    batch: Batch
    stage: Stage
    options: TrainingOptions

    def bounds(self, region: Interval | None = None) -> WorstCase:
        """Bound the loss over regions; the whole ones unless others are given."""
        scene = Scene(self.network, self.region(self.stage.epsilon) if region is None else region)
        margins = label_margins(self.batch.labels, self.network.output_size, self.batch.x.dtype)
        fusion = self.options.loss_fusion
        return worst_case(self.options.method, scene, margins, loss_fusion=fusion)

    def region(self, radius: float) -> Interval:
        """Return boxes around the inputs."""
        return box_around(self.batch.x, radius, self.options.valid_range)

    def adversaries(self, radius: float) -> Tensor:
        """Search boxes around the inputs for adversarial ones."""
        adversary = self.options.adversary
        return adversarial_inputs(
            self.network,
            self.region(radius),
            self.batch.labels,
            steps=adversary.steps,
            step_size=adversary.step_size,
            generator=self.batch.attack,
        )

    def adversarial_loss(self) -> Tensor:
        """Return the cross-entropy of adversarial inputs."""
        outputs = self.network(self.adversaries(self.stage.epsilon)).flatten(1)
        return functional.cross_entropy(outputs, self.batch.labels)

    def regularizers(self, over: WorstCase) -> dict[str, Tensor]:
        """Return those regularizers that have a weight."""
        parts = {}
        if self.stage.feasibility > 0:
            # The order of a batch is random, so its first inputs are as good as any.
            count = max(1, round(self.options.feasibility_share * len(self.batch.x)))
            row = over.row(count)
            parts["feasibility"] = feasibility(row, self.options.feasibility_form)
        if self.stage.slack > 0:
            parts["slack"] = slack(self.network, over)
        return parts


_Robust = tuple[Tensor | None, WorstCase | None]
"""The robust loss, and the bounds it came from."""


def _standard(_task: _Task) -> _Robust:
    return None, None


def _pgd(task: _Task) -> _Robust:
    return task.adversarial_loss(), None


def _bounded(task: _Task) -> _Robust:
    over = task.bounds()
    return over.loss.mean(), over


def _sabr(task: _Task) -> _Robust:
    """Bound small boxes around adversarial inputs (Müller et al. 2023, section 3)."""
    radius = task.options.adversary.box_share * task.stage.epsilon
    center = task.adversaries(task.stage.epsilon - radius)
    over = task.bounds(box_around(center, radius, task.options.valid_range))
    return over.loss.mean(), over


def _mtl_ibp(task: _Task) -> _Robust:
    """Mix the losses of adversarial inputs and of intervals (De Palma et al. 2024, section 4)."""
    share = task.options.adversary.mixture
    over = task.bounds()
    return (1 - share) * task.adversarial_loss() + share * over.loss.mean(), over


_ROBUST: Mapping[TrainingMethod, Callable[[_Task], _Robust]] = {
    TrainingMethod.STANDARD: _standard,
    TrainingMethod.PGD: _pgd,
    TrainingMethod.IBP: _bounded,
    TrainingMethod.CROWN_IBP: _bounded,
    TrainingMethod.FAST_LIN: _bounded,
    TrainingMethod.SABR: _sabr,
    TrainingMethod.MTL_IBP: _mtl_ibp,
}
