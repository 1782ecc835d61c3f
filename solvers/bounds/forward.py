"""Linear bounds carried forward: every node between two linear functions of the input.

One pass from the input to the output bounds every node, at a cost that grows with the number of
inputs; cheap where these are few (Xu et al. 2020, section 3.1 and appendix B).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.graph import Node
from models.operators import Constant
from solvers.bounds.backward import Entry, Rows, Scene, concretize
from solvers.bounds.ibp import interval_of
from solvers.bounds.intermediate import relax_node
from solvers.bounds.interval import ROUNDING_UNITS, Interval
from solvers.bounds.memory import MemoryBudget
from solvers.bounds.relaxation import ElementwiseRelaxation
from solvers.bounds.rules import AffineRule, Slopes, rule_for
from solvers.errors import UnsupportedMethodError

__all__ = ["LinearForm", "carried", "forward_bounds", "margins_of_form"]


@dataclass(frozen=True)
class LinearForm:
    """lower_slope · x + lower_offset ≤ node ≤ upper_slope · x + upper_offset.

    Attributes:
        lower_slope, upper_slope: One map per input that `carried` names, shape
            `(batch, inputs, *shape)`.
        lower_offset, upper_offset: Shape `(batch, *shape)`.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    lower_offset: Tensor
    upper_offset: Tensor


def forward_bounds(
    scene: Scene, memory: MemoryBudget, known: Mapping[str, Interval] | None = None
) -> tuple[dict[str, Interval], LinearForm]:
    """Bound every node by linear functions of the input.

    Args:
        scene: Network and regions.
        memory: What the coefficients of one node may take.
        known: Sound bounds of some nodes over the same regions.

    Returns:
        Bounds of every node, never looser than interval arithmetic, and the linear bounds of the
        output.

    Raises:
        UnsupportedMethodError: One region's coefficients do not fit the memory limit.
    """
    _check_size(scene, memory)
    bounds: dict[str, Interval] = {}
    forms: dict[str, LinearForm] = {}
    graph = scene.network.graph
    for node in graph.nodes:
        current = interval_of(scene, node, bounds)
        form = _form_of(scene, node, forms, bounds, current)
        current = current.intersect(_concretized(scene, form).finite_or_open())
        if known is not None and node.name in known:
            current = current.intersect(known[node.name])
        bounds[node.name], forms[node.name] = current, form
    return bounds, forms[graph.output]


def margins_of_form(scene: Scene, form: LinearForm, matrix: Tensor) -> Tensor:
    """Bound linear functions of the output from below by its linear bounds.

    Args:
        scene: Network and regions.
        form: Of the output.
        matrix: Shape `(batch, rows, outputs)`.

    Returns:
        Shape `(batch, rows)`.
    """
    positive, negative = matrix.clamp(min=0), matrix.clamp(max=0)
    slope = positive @ _rows_of(form.lower_slope).transpose(1, 2)
    slope = slope + negative @ _rows_of(form.upper_slope).transpose(1, 2)
    offset = positive @ form.lower_offset.reshape(scene.batch, -1).unsqueeze(-1)
    offset = offset + negative @ form.upper_offset.reshape(scene.batch, -1).unsqueeze(-1)
    # As maps of the input with the rows behind, which is how `_concretized` wants them.
    rows = LinearForm(
        slope.transpose(1, 2), slope.transpose(1, 2), offset.squeeze(-1), offset.squeeze(-1)
    )
    return _concretized(scene, rows).lower


def carried(scene: Scene) -> Tensor:
    """Return the inputs that linear bounds are functions of, flat indices: those that vary.

    What is fixed over every region is part of the offsets.
    """
    region = scene.region
    if scene.balls is not None:
        return torch.arange(scene.network.graph.input.size, device=region.lower.device)
    varies = (region.upper > region.lower).flatten(1).any(0)
    return varies.nonzero().squeeze(1)


def _check_size(scene: Scene, memory: MemoryBudget) -> None:
    inputs = len(carried(scene))
    widest = max(node.size for node in scene.network.graph.nodes)
    needed = 2 * inputs * widest * scene.region.lower.element_size()
    if needed > memory.whole_bytes:
        raise UnsupportedMethodError(
            f"forward bounds keep {inputs} coefficients for each of {widest} values, "
            f"{needed / 2**20:.0f} MiB for one region, above the limit of "
            f"{memory.whole_bytes / 2**20:.0f} MiB; use crown, or raise the limit"
        )


def _form_of(
    scene: Scene,
    node: Node,
    forms: Mapping[str, LinearForm],
    bounds: Mapping[str, Interval],
    interval: Interval,
) -> LinearForm:
    """Return the linear bounds of one node from those of its inputs."""
    graph = scene.network.graph
    if node is graph.input:
        return _identity(scene)
    if isinstance(node.operator, Constant):
        return _flat(scene, interval)
    rule = rule_for(node.operator)
    inputs = [forms[name] for name in node.inputs]
    if isinstance(rule, AffineRule):
        form = _through_affine(scene, node, rule, inputs)
        if node.name not in scene.drifts:
            return form
        drift = scene.drifts[node.name].of(bounds[node.inputs[0]])
        return replace(
            form, lower_offset=form.lower_offset - drift, upper_offset=form.upper_offset + drift
        )
    lines = relax_node(scene, node, bounds, Slopes())
    if isinstance(lines, ElementwiseRelaxation):
        return _through_lines(lines, inputs[0])
    # Lines over several inputs are not carried forward: what is known of the values is.
    return _flat(scene, interval)


def _identity(scene: Scene) -> LinearForm:
    lower, upper = scene.region.lower, scene.region.upper
    size, varying = scene.network.graph.input.size, carried(scene)
    eye = torch.zeros(len(varying), size, dtype=lower.dtype, device=lower.device)
    eye[torch.arange(len(varying), device=lower.device), varying] = 1
    shape = (-1, len(varying), *lower.shape[1:])
    slope = eye.reshape(1, *shape[1:]).expand(scene.batch, *shape[1:])
    moves = eye.sum(0).bool().reshape(lower.shape[1:])
    return LinearForm(slope, slope, lower.masked_fill(moves, 0), upper.masked_fill(moves, 0))


def _flat(scene: Scene, interval: Interval) -> LinearForm:
    """Return constant bounds as linear functions."""
    shape = (scene.batch, len(carried(scene)), *interval.lower.shape[1:])
    zero = interval.lower.new_zeros(1).expand(shape)
    return LinearForm(zero, zero, interval.lower, interval.upper)


def _through_affine(
    scene: Scene,
    node: Node,
    rule: AffineRule[Any],
    inputs: list[LinearForm],
) -> LinearForm:
    """Send middle and half width through W and |W|; both are linear functions of the input."""
    operator, parameters = node.operator, scene.network.parameters

    def moved(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        middle = [(low + high) / 2 for low, high in pairs]
        half = [(high - low) / 2 for low, high in pairs]
        center = rule.linear(operator, middle, parameters)
        spread = rule.linear(operator, half, parameters, magnitude=True)
        return center - spread, center + spread

    slopes = [(form.lower_slope.flatten(0, 1), form.upper_slope.flatten(0, 1)) for form in inputs]
    low_slope, high_slope = moved(slopes)
    low, high = moved([(form.lower_offset, form.upper_offset) for form in inputs])
    zeros = [torch.zeros_like(form.lower_offset[:1]) for form in inputs]
    constant = operator.forward(zeros, parameters)
    leading = inputs[0].lower_slope.shape[:2]
    return LinearForm(
        low_slope.reshape(*leading, *low_slope.shape[1:]),
        high_slope.reshape(*leading, *high_slope.shape[1:]),
        low + constant,
        high + constant,
    )


def _through_lines(lines: ElementwiseRelaxation, form: LinearForm) -> LinearForm:
    """Put linear functions into the lines; a falling line swaps them."""
    low, high = lines.lower_slope, lines.upper_slope
    low_offset = low.squeeze(1).clamp(min=0) * form.lower_offset
    low_offset = low_offset + low.squeeze(1).clamp(max=0) * form.upper_offset
    high_offset = high.squeeze(1).clamp(min=0) * form.upper_offset
    high_offset = high_offset + high.squeeze(1).clamp(max=0) * form.lower_offset
    if lines.lower_intercept is not None:
        low_offset = low_offset + lines.lower_intercept.squeeze(1)
    return LinearForm(
        low.clamp(min=0) * form.lower_slope + low.clamp(max=0) * form.upper_slope,
        high.clamp(min=0) * form.upper_slope + high.clamp(max=0) * form.lower_slope,
        low_offset,
        high_offset + lines.upper_intercept.squeeze(1),
    )


def _concretized(scene: Scene, form: LinearForm) -> Interval:
    """Take the extremes of the linear functions over the region."""
    box = _over_box(scene, form)
    if scene.balls is None:
        return box
    shape = form.lower_offset.shape
    at = Entry(scene.network.graph.input, scene.region, scene.balls)
    least = [
        concretize(
            scene,
            Rows({at.node.name: _of_inputs(scene, slope)}, offset.reshape(scene.batch, -1)),
            at,
        )
        for slope, offset in (
            (form.lower_slope, form.lower_offset),
            (-form.upper_slope, -form.upper_offset),
        )
    ]
    return box.intersect(Interval(least[0].reshape(shape), -least[1].reshape(shape)))


def _of_inputs(scene: Scene, slope: Tensor) -> Tensor:
    """Return slopes with values in front of inputs, shape `(batch, values, *input_shape)`."""
    turned = _rows_of(slope).transpose(1, 2)
    return turned.reshape(*turned.shape[:2], *scene.network.input_shape)


def _over_box(scene: Scene, form: LinearForm) -> Interval:
    varying = carried(scene)
    center = scene.region.center.flatten(1)[:, varying].unsqueeze(1)
    radius = scene.region.careful_radius.flatten(1)[:, varying].unsqueeze(1)
    shape = form.lower_offset.shape
    # A node without axes has no values to flatten.
    low, high = _rows_of(form.lower_slope), _rows_of(form.upper_slope)
    lower = (center @ low - radius @ low.abs()).squeeze(1).reshape(shape) + form.lower_offset
    upper = (center @ high + radius @ high.abs()).squeeze(1).reshape(shape) + form.upper_offset
    if lower.dtype == torch.float64:
        unit = ROUNDING_UNITS * torch.finfo(torch.float64).eps
        lower = lower - unit * (lower.abs() + form.lower_offset.abs())
        upper = upper + unit * (upper.abs() + form.upper_offset.abs())
    return Interval(lower, upper)


def _rows_of(slope: Tensor) -> Tensor:
    return slope.reshape(*slope.shape[:2], math.prod(slope.shape[2:]))
