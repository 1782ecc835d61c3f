"""Interval bounds of every node, written to be obviously right rather than tight or fast."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.graph import Node
from models.network import Network
from models.operators import Clip, LeakyRelu, MaxPool, PRelu, Relu, Sigmoid, Tanh
from solvers.problem import Box

KINKED = (LeakyRelu, PRelu)
MONOTONE = (Relu, Clip, MaxPool, Sigmoid, Tanh)

Interval = tuple[Tensor, Tensor]


def interval_bounds(
    network: Network, region: Box, *, slack: float = 1e-9
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return bounds of every node that are sound in real arithmetic, each of the node's shape."""
    wide = network.to(torch.float64)
    values: dict[str, Interval] = {}
    for node in network.graph.nodes:
        if node is network.graph.input:
            ends = (torch.from_numpy(region.lower[None]), torch.from_numpy(region.upper[None]))
        else:
            ends = _step(wide, node, [values[name] for name in node.inputs])
        values[node.name] = (ends[0] - slack, ends[1] + slack)
    return {name: (low[0].numpy(), high[0].numpy()) for name, (low, high) in values.items()}


def _step(network: Network, node: Node, inputs: list[Interval]) -> Interval:
    def forward(*tensors: Tensor) -> Tensor:
        return node.operator.forward(list(tensors), network.parameters)

    lows, highs = [low for low, _ in inputs], [high for _, high in inputs]
    if isinstance(node.operator, MONOTONE):
        return forward(*lows), forward(*highs)
    if isinstance(node.operator, KINKED):
        zero = torch.zeros_like(lows[0]).clamp(min=lows[0], max=highs[0])
        ends = torch.stack([forward(lows[0]), forward(zero), forward(highs[0])])
        return ends.amin(0), ends.amax(0)
    if not inputs:
        return forward(), forward()
    centers = tuple((low + high) / 2 for low, high in inputs)
    radius = torch.zeros_like(forward(*centers))
    jacobians = torch.autograd.functional.jacobian(forward, centers)
    for jacobian, low, high in zip(jacobians, lows, highs, strict=True):
        reach = jacobian.abs() * ((high - low) / 2)
        radius = radius + reach.flatten(radius.dim()).sum(-1)
    center = forward(*centers)
    return center - radius, center + radius
