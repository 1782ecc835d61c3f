"""Reference solutions with scipy, to hold the project's own search against."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from models.network import Network
from models.operators import Linear
from solvers.balls import Norm
from solvers.exact import EncodedNetwork, MilpModel
from solvers.problem import Box, Clause

FloatArray = NDArray[np.float64]


def minimum(model: MilpModel) -> float:
    """Return the optimum of a program, or infinity where it is infeasible."""
    if not model.column_count:
        return model.offset
    rows = model.rows
    constraints = LinearConstraint(rows.matrix.toarray(), rows.lower, rows.upper)
    result = milp(
        model.objective,
        constraints=constraints if model.row_count else None,
        bounds=Bounds(model.column_lower, model.column_upper),
        integrality=model.integral.astype(int),
        options={"mip_rel_gap": 0.0},
    )
    return float(result.fun) + model.offset if result.success else float("inf")


def fixed(encoded: EncodedNetwork, x: FloatArray) -> MilpModel:
    """Return the program of a network with its input columns fixed at an input."""
    model = encoded.model
    lower, upper = model.column_lower.copy(), model.column_upper.copy()
    lower[encoded.columns] = upper[encoded.columns] = x.ravel()[encoded.free]
    return replace(model, column_lower=lower, column_upper=upper)


def extreme_outputs(encoded: EncodedNetwork, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and largest value of each output that the encoding allows at an input."""
    model = fixed(encoded, x)
    ends = []
    for sign in (1.0, -1.0):
        values = []
        for row in range(encoded.output.size):
            objective = sign * encoded.output.matrix[[row]].toarray()[0]
            offset = sign * float(encoded.output.offset[row])
            values.append(sign * minimum(model.minimising(objective, offset)))
        ends.append(np.array(values))
    return ends[0], ends[1]


def brute_force_margin(network: Network, region: Box, clause: Clause) -> float:
    """Return the exact worst-case margin of a small Linear-Relu network, one program per pattern.

    On each activation pattern the network is affine and its region a polytope.
    """
    layers = [
        (
            node.operator.weight.resolve(network.parameters).double().numpy(),
            node.operator.bias.resolve(network.parameters).double().numpy(),
        )
        for node in network.graph.nodes
        if isinstance(node.operator, Linear)
    ]
    hidden = sum(weight.shape[0] for weight, _ in layers[:-1])
    best = float("inf")
    for pattern in product((0.0, 1.0), repeat=hidden):
        matrix, offset = np.eye(region.lower.size), np.zeros(region.lower.size)
        rows, limits, start = [], [], 0
        for weight, bias in layers[:-1]:
            matrix, offset = weight @ matrix, weight @ offset + bias
            active = np.array(pattern[start : start + len(bias)])
            start += len(bias)
            sign = 2.0 * active - 1.0
            rows.append(-sign[:, None] * matrix)
            limits.append(sign * offset)
            matrix, offset = active[:, None] * matrix, active * offset
        weight, bias = layers[-1]
        matrix, offset = weight @ matrix, weight @ offset + bias
        best = min(best, _least(region, clause, (matrix, offset), (rows, limits)))
    return best


def _least(
    region: Box,
    clause: Clause,
    output: tuple[FloatArray, FloatArray],
    pattern: tuple[list[FloatArray], list[FloatArray]],
) -> float:
    """Minimise t subject to t ≥ each row of the clause, on one pattern's polytope."""
    rows = clause.matrix @ output[0]
    limits = clause.offset - clause.matrix @ output[1]
    facets, reach = _facets(region)
    inside = np.concatenate([*pattern[0], facets])
    matrix = np.block([[rows, -np.ones((len(rows), 1))], [inside, np.zeros((len(inside), 1))]])
    result = linprog(
        np.append(np.zeros(rows.shape[1]), 1.0),
        A_ub=matrix,
        b_ub=np.concatenate([limits, *pattern[1], reach]),
        bounds=[*zip(region.lower, region.upper, strict=True), (None, None)],
    )
    return float(result.fun) if result.success else float("inf")


def _facets(region: Box) -> tuple[FloatArray, FloatArray]:
    """Return an L1 ball as the half spaces of all sign patterns; nothing for a box."""
    if region.ball is None:
        return np.zeros((0, region.lower.size)), np.zeros(0)
    assert region.ball.norm is Norm.ONE
    signs = np.array(list(product([-1.0, 1.0], repeat=region.lower.size)))
    facets = signs / region.ball.radii.ravel()
    return facets, 1 + facets @ region.ball.center.ravel()


def margin_at(network: Network, clause: Clause, x: FloatArray) -> float:
    """Return a clause's margin at an input, in float64."""
    y = network.to(torch.float64)(torch.from_numpy(x[None]))[0].numpy().ravel()
    return float(clause.margin(y))
