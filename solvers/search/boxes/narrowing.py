"""A network of the inputs that vary alone: what is fixed becomes part of its first layers.

Specifications of generators fix hundreds of inputs and vary a few. Every row that is pulled back
would carry coefficients of all of them, and be minimised over all of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from models.graph import Graph, Node
from models.network import Network
from models.operators import Linear
from models.parameters import ParameterRef
from solvers.search.boxes.layout import Layout

__all__ = ["narrowed"]

_LARGEST = 2.0**480
"""Of numbers up to this size, products and their sums stay far below overflow."""
_SPLITTER = 2.0**27 + 1.0
"""Cuts a float64 number in two halves of its digits."""


def narrowed(network: Network, layout: Layout) -> tuple[Network, Layout]:
    """Return a network of the varying inputs that equals another one over all regions of a layout.

    Args:
        network: In float64, affine parts folded.
        layout: Of its cases.

    Returns:
        The same network and layout where all inputs vary, where cases fix inputs at different
        values, where something else than dense layers reads the inputs, or where numbers are huge.
    """
    graph, start = network.graph, network.graph.input
    fixed = torch.ones(start.size, dtype=torch.bool, device=layout.base.device)
    fixed[layout.active] = False
    values = layout.base[:, fixed]
    readers = {node.name for node in graph.nodes if start.name in node.inputs}
    dense = all(_foldable(network, name) for name in readers) and graph.output != start.name
    same = bool((values == values[:1]).all()) and _small(values)
    if not fixed.any() or not readers or not dense or not same:
        return network, layout
    known = torch.where(fixed, layout.base[0], torch.zeros_like(layout.base[0]))
    parameters = dict(network.parameters)
    nodes: list[Node] = []
    for node in graph.nodes:
        operator = node.operator
        if node.name in readers and isinstance(operator, Linear):
            operator = _absorbed(node.name, operator, parameters, layout.active, known)
        nodes.append(replace(node, operator=operator))
    shape = (*start.shape[:-1], len(layout.active))
    nodes[0] = replace(start, shape=shape)
    narrow = replace(network, graph=Graph(tuple(nodes), graph.output), parameters=parameters)
    active = torch.arange(len(layout.active), device=layout.active.device)
    return narrow, replace(layout, shape=shape, active=active, base=layout.base[:, layout.active])


def _foldable(network: Network, name: str) -> bool:
    """Return whether a layer that reads the inputs has one column of weights for each of them."""
    start, operator = network.graph.input, network.graph.node(name).operator
    if not isinstance(operator, Linear) or start.size != start.shape[-1]:
        return False
    return _small(operator.weight.resolve(network.parameters))


def _small(values: Tensor) -> bool:
    return bool((values.abs() < _LARGEST).all())


def _absorbed(
    name: str, operator: Linear, parameters: dict[str, Tensor], active: Tensor, values: Tensor
) -> Linear:
    """Return a dense layer of the inputs that vary, and add its parameters.

    Args:
        name: Of the layer.
        operator: The layer.
        parameters: Added to.
        active: Flat indices of the inputs that vary.
        values: Of all inputs, those that vary at zero.
    """
    weight = operator.weight.resolve(parameters)
    bias = weight.new_zeros(len(weight))
    if operator.bias is not None:
        bias = operator.bias.resolve(parameters)
    names = (f"{name}/narrow/weight", f"{name}/narrow/bias")
    parameters[names[0]] = weight[:, active].contiguous()
    parameters[names[1]] = _rounded_once(weight, values, bias)
    return Linear(ParameterRef(names[0]), ParameterRef(names[1]))


def _rounded_once(weight: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Return weight · values + bias, rounded to the nearest float64.

    Terms may cancel, and bounds know nothing of what went into a bias. Products are split into two
    numbers each, whose sum is exact (Dekker 1971).
    """
    product = weight * values
    (w, w_rest), (v, v_rest) = _split(weight), _split(values)
    error = w_rest * v_rest - (((product - w * v) - w_rest * v) - w * v_rest)
    terms = torch.cat([product, error, bias.unsqueeze(1)], dim=1)
    # Row by row: lists of numbers take several times the memory of a tensor.
    return bias.new_tensor([math.fsum(row.tolist()) for row in terms])


def _split(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return two numbers of half the digits each whose sum is a number."""
    scaled = value * _SPLITTER
    head = scaled - (scaled - value)
    return head, value - head
