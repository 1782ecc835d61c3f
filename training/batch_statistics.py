"""BatchNormalization in training: statistics come from clean inputs, and bounds use the same.

A clean pass computes mean and variance of every normalised channel and puts them in place of the
stored ones, differentiably. The network it returns is an ordinary one, so that bounds need no
rule of their own for training (as in Gowal et al. 2018 and Shi et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from models.errors import InvalidInputError
from models.graph import Node
from models.network import Network
from models.operators import BatchNormalization
from training.errors import UntrainableError

__all__ = ["CleanPass", "clean_pass", "running_statistics", "statistic_names"]

_MOMENTUM = 0.1
"""Share of a new batch in the running statistics."""


@dataclass(frozen=True)
class CleanPass:
    """A clean pass over a batch.

    Attributes:
        outputs: Shape `(batch, classes)`.
        network: With the statistics of this batch.
        mean, variance: Of each channel by name of the stored tensor, detached; the variance is
            the unbiased one.
    """

    outputs: Tensor
    network: Network
    mean: Mapping[str, Tensor]
    variance: Mapping[str, Tensor]


def statistic_names(network: Network) -> frozenset[str]:
    """Return the parameters that hold running means and variances.

    Raises:
        UntrainableError: Two normalisations share one, or one is not stored as it is used.
    """
    names: list[str] = []
    for node in network.graph.nodes:
        if isinstance(node.operator, BatchNormalization):
            for reference in (node.operator.mean, node.operator.variance):
                if reference.steps:
                    raise UntrainableError(
                        f"the statistics of node {node.name!r} are computed in the file; export "
                        "the network with plain BatchNormalization nodes, or folded"
                    )
                names.append(reference.name)
    if len(set(names)) < len(names):
        raise UntrainableError(
            "two BatchNormalization nodes share their statistics; export the network with one "
            "set each, or folded"
        )
    return frozenset(names)


def clean_pass(network: Network, x: Tensor) -> CleanPass:
    """Run a batch, normalising by its own statistics.

    Args:
        network: With at least one BatchNormalization.
        x: Raw inputs, shape `(batch, *input_shape)`, at least 2 values per channel.
    """
    parameters = dict(network.parameters)
    values: dict[str, Tensor] = {}
    mean: dict[str, Tensor] = {}
    variance: dict[str, Tensor] = {}
    for node in network.graph.nodes:
        inputs = [x] if node is network.graph.input else [values[name] for name in node.inputs]
        if isinstance(node.operator, BatchNormalization):
            center, spread, count = _statistics(node, inputs[0])
            names = node.operator.mean.name, node.operator.variance.name
            parameters[names[0]], parameters[names[1]] = center, spread
            mean[names[0]] = center.detach()
            variance[names[1]] = spread.detach() * (count / (count - 1))
        values[node.name] = node.operator.forward(inputs, parameters)
    outputs = values[network.graph.output].flatten(1)
    return CleanPass(outputs, network.with_parameters(parameters), mean, variance)


def _statistics(node: Node, value: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return mean, biased variance and number of values of each channel."""
    # Axis 0 is the batch, 1 the ONNX graph's own, 2 the channels.
    axes = [axis for axis in range(value.dim()) if axis != 2]
    count = value.numel() // value.shape[2]
    if count < 2:
        raise InvalidInputError(
            f"node {node.name!r} normalises a single value per channel; train with a batch of at "
            "least 2"
        )
    return value.mean(axes), value.var(axes, unbiased=False), count


def running_statistics(stored: Mapping[str, Tensor], batch: CleanPass) -> dict[str, Tensor]:
    """Return the stored statistics moved towards those of a batch."""
    fresh = {**batch.mean, **batch.variance}
    return {name: stored[name].lerp(value, _MOMENTUM) for name, value in fresh.items()}
