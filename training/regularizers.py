"""The tightness regularizers, after Zhu et al. 2020.

A relaxation is tight where its optimal point is feasible for the network itself. Both regularizers
are 0 where the relaxation is exact, and differentiable in the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.graph import Node
from models.network import Network
from solvers.bounds import Interval, relaxed_minimum
from solvers.bounds.ibp import nonlinear_nodes
from solvers.bounds.observed import minimising_corner, run_from_entry
from solvers.bounds.relaxation import ElementwiseRelaxation
from solvers.bounds.rules import NonlinearRule, rule_for
from training.errors import UntrainableError
from training.methods import FeasibilityForm
from training.worst_case import BoundRow, WorstCase

__all__ = ["feasibility", "slack"]

Bounds = Mapping[str, Interval]


def feasibility(row: BoundRow, form: FeasibilityForm) -> Tensor:
    """Return how far the relaxed optimum is from the network, the mean over the regions.

    Args:
        row: The function that was bounded, and the pass that did.
        form: `distance`: Σ over nonlinear nodes of the mean over undecided neurons of
            |x* − f(z*)|, where z* and x* are the relaxed optimum's input and output of the node.
            `objective`: the row at the relaxed optimum's input minus its bound, in units of one
            margin.

    Returns:
        A number, 0 or more up to rounding.
    """
    if form is FeasibilityForm.OBJECTIVE:
        return _objective_gap(row).mean()
    return _distance(row).mean()


def _objective_gap(row: BoundRow) -> Tensor:
    """Return f(x₁*) − bound per region, shape `(batch,)`."""
    outputs = run_from_entry(row.scene, minimising_corner(row.scene, row.observed))
    reached = (row.matrix * outputs).sum(1) - row.offset
    tiny = torch.finfo(row.weight.dtype).tiny
    # A row without weight bounds nothing, and its gap is 0.
    return (reached - row.lower) / row.weight.clamp(min=tiny)


def _distance(row: BoundRow) -> Tensor:
    """Return the relaxed optimum's distance from the network's graph, shape `(batch,)`."""
    scene, graph = row.scene, row.scene.network.graph
    values = relaxed_minimum(scene, row.observed)
    total = scene.region.lower.new_zeros(scene.batch)
    for name in row.observed.relaxations:
        node = graph.node(name)
        inputs = [values[source] for source in node.inputs]
        feasible = node.operator.forward(inputs, scene.network.parameters)
        mask = _undecided(node, row.intermediate, values[name])
        total = total + _masked_mean((values[name] - feasible).abs(), mask)
    return total


def _undecided(node: Node, bounds: Bounds, value: Tensor) -> Tensor:
    """Return which values of a node have inexact lines; all where its inputs are not its own."""
    rule = rule_for(node.operator)
    if isinstance(rule, NonlinearRule) and len(node.inputs) == 1:
        mask: Tensor = rule.undecided(node.operator, bounds[node.inputs[0]])
        if mask.shape == value.shape:
            return mask
    return torch.ones_like(value, dtype=torch.bool)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over each example's masked entries, shape `(batch,)`; 0 without any."""
    kept = (values * mask).flatten(1).sum(1)
    return kept / mask.flatten(1).sum(1).clamp(min=1)


def slack(network: Network, worst: WorstCase) -> Tensor:
    """Return the largest vertical slack of the relaxations, whatever the specification.

    Σ over nodes that bend at zero of the mean over unstable neurons of −u·l/(u − l), the height
    of the chord at zero, which pushes their bounds to one side; the mean over the batch.

    Args:
        network: Whose nodes were bounded.
        worst: Its bounds and relaxations.

    Raises:
        UntrainableError: No node has such a slack.
    """
    total: Tensor | None = None
    for node in nonlinear_nodes(network.graph):
        rule = rule_for(node.operator)
        if not (isinstance(rule, NonlinearRule) and rule.bent_at_zero):
            continue
        lines = worst.relaxations(node)
        assert isinstance(lines, ElementwiseRelaxation)  # noqa: S101  two lines meet in a bend
        unstable = worst.intermediate[node.inputs[0]].unstable
        part = _masked_mean(lines.gap_at_zero().squeeze(1), unstable)
        total = part if total is None else total + part
    if total is None:
        raise UntrainableError(
            f"the network {network.name!r} has no ReLU, so its relaxations have no slack to "
            "regularise; set the slack weight to 0"
        )
    return total.mean()
