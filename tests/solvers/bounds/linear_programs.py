"""Reference answers for tiny fully connected ReLU networks, by linear programs of SciPy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from models import operators as ops
from models.network import Network
from solvers.bounds import Interval

Array = NDArray[np.float64]


def layers_of(network: Network) -> list[tuple[Array, Array, str]]:
    """Return weight, bias and node name of every layer of a chain."""
    found = []
    for node in network.graph.nodes:
        if isinstance(node.operator, ops.Linear):
            bias = node.operator.bias
            assert bias is not None
            weight = node.operator.weight.resolve(network.parameters)
            offset = bias.resolve(network.parameters)
            found.append((weight.numpy(), offset.numpy(), node.name))
    return found


def _solve(cost: Array, rows: list[Array], limits: list[float], box: Array) -> float:
    """Minimise a linear function; infinite where nothing is feasible."""
    ends = [(float(low), float(high)) for low, high in box]
    result = linprog(cost, np.array(rows), np.array(limits), bounds=ends)
    return float("inf") if result.x is None else float(cost @ result.x)


def exact_minimum(network: Network, lower: Array, upper: Array, row: Array) -> float:
    """Minimise row · output over a box: one linear program per activation pattern."""
    layers = layers_of(network)
    hidden = [len(bias) for _, bias, _ in layers[:-1]]
    box = np.stack([lower, upper], axis=1)
    best = float("inf")
    for pattern in product((0.0, 1.0), repeat=sum(hidden)):
        slope, offset = np.eye(len(lower)), np.zeros(len(lower))
        rows: list[Array] = []
        limits: list[float] = []
        used = 0
        for (weight, bias, _), count in zip(layers[:-1], hidden, strict=True):
            active = np.array(pattern[used : used + count])
            used += count
            slope, offset = weight @ slope, weight @ offset + bias
            # Active: −z ≤ 0; inactive: z ≤ 0.
            sign = 1 - 2 * active
            rows.extend(sign[:, None] * slope)
            limits.extend(-sign * offset)
            slope, offset = active[:, None] * slope, active * offset
        weight, bias, _ = layers[-1]
        cost = row @ weight @ slope
        least = _solve(cost, rows, limits, box)
        best = min(best, least + float(row @ (weight @ offset + bias)))
    return best


def triangle_minimum(
    network: Network, bounds: Mapping[str, Interval], example: int, row: Array
) -> float:
    """Minimise row · output over the triangle relaxation of every ReLU (Ehlers 2017).

    Args:
        network: A chain of linear layers and ReLUs.
        bounds: Of every node; what the triangles stand on.
        example: Which region of the batch.
        row: Coefficients of the outputs.
    """
    layers = layers_of(network)
    sizes = [layers[0][0].shape[1], *(len(bias) for _, bias, _ in layers[:-1])]
    starts = np.cumsum([0, *sizes])
    region = _ends(bounds["x"], example)
    box = [*np.stack(region, axis=1), *([0.0, np.inf] for _ in range(sum(sizes[1:])))]
    rows: list[Array] = []
    limits: list[float] = []
    for number, (weight, bias, name) in enumerate(layers[:-1]):
        lower, upper = _ends(bounds[name], example)
        before = slice(starts[number], starts[number + 1])
        for neuron in range(len(bias)):
            z, y = np.zeros(starts[-1]), np.zeros(starts[-1])
            z[before] = weight[neuron]
            y[starts[number + 1] + neuron] = 1
            low, high = lower[neuron], upper[neuron]
            # y ≥ z, and y below the chord; y ≥ 0 is a bound of the variable.
            rows.append(z - y)
            limits.append(-bias[neuron])
            slope = 1.0 if low >= 0 else 0.0 if high <= 0 else high / (high - low)
            rest = slope * bias[neuron] - (slope * low if low < 0 < high else 0.0)
            rows.append(y - slope * z)
            limits.append(rest)
    weight, bias, _ = layers[-1]
    cost = np.zeros(starts[-1])
    cost[starts[-2] :] = row @ weight
    return _solve(cost, rows, limits, np.array(box, dtype=np.float64)) + float(row @ bias)


def _ends(interval: Interval, example: int) -> tuple[Array, Array]:
    lower, upper = interval.lower[example].flatten(), interval.upper[example].flatten()
    return lower.numpy(), upper.numpy()
