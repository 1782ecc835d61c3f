"""The backward pass: lower bounds of linear functions of one node, pulled back to the input.

Only lower bounds are computed; an upper bound is the negated lower bound of the negated function.

Shapes: `batch` examples, `rows` linear functions per example. Coefficients of a node have shape
`(batch, rows, *node_shape)`, constants `(batch, rows)`.

Source: Zhang et al. 2018 (CROWN), section 3; Xu et al. 2020, algorithm 1 for general graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from models.graph import Node
from models.network import Network
from models.operators import Reshape, Transpose
from solvers.bounds.balls import Balls, largest_gain
from solvers.bounds.crossing import Coefficients, cross_affine, whole
from solvers.bounds.interval import ROUNDING_UNITS, Interval
from solvers.bounds.patches import Patches, is_map, unit_patches
from solvers.bounds.perturbation import Drift, ParameterRadii, PerturbedAffine, drifts_of
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import AffineRule, rule_for
from solvers.budget import Budget

__all__ = [
    "Entry",
    "Rows",
    "Scene",
    "concretize",
    "lower_bounds",
    "pull_back",
    "pull_to_origins",
    "unit_rows",
]

Relaxations = Callable[[Node], Relaxation]
"""Returns what encloses a nonlinear node."""


@dataclass(frozen=True)
class Entry:
    """Where backward passes end.

    Attributes:
        node: The input, or a node that is as good.
        region: Its bounds, shape `(batch, *node_shape)`.
        balls: That its values lie in as well, or None.
    """

    node: Node
    region: Interval
    balls: Balls | None


@dataclass(frozen=True)
class Scene:
    """A network over a batch of regions.

    Attributes:
        network: Of the dtype and on the device of the region.
        region: Input bounds, shape `(batch, *input_shape)`.
        balls: L1 or L2 balls that inputs lie in as well, or None.
        parameter_radii: How far parameters may be from the network's, elementwise, by name; one
            number or one per entry of the stored tensor. None where they are what they are.
        watch: Ends backward passes in the middle once it is spent; None where each is finished.
        wanted: The values that need tight bounds, masks of shape `(1, *node_shape)` by name; those
            of nodes that are missing all do.
    """

    network: Network
    region: Interval
    balls: Balls | None = None
    parameter_radii: ParameterRadii | None = None
    watch: Budget | None = None
    wanted: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def entry(self) -> Entry:
        """The last node that is still a box or ball, and that region.

        Elementwise and structural nodes behind the input, such as a normalisation, turn a box into
        a box without loss, so backward passes may end behind them. A ball stays one as long as
        values are only put into another order.
        """
        graph, parameters = self.network.graph, self.network.parameters
        node, box, balls = graph.input, self.region, self.balls
        while True:
            consumers = [other for other in graph.nodes if node.name in other.inputs]
            if node.name == graph.output or len(consumers) != 1:
                return Entry(node, box, balls)
            (following,) = consumers
            rule = rule_for(following.operator)
            if rule.mixes or len(following.inputs) != 1:
                return Entry(node, box, balls)
            if balls is not None:
                if not isinstance(following.operator, Reshape | Transpose):
                    return Entry(node, box, balls)
                balls = balls.reordered(following.operator)
            box = rule.interval(following.operator, [box], parameters)
            node = following

    @cached_property
    def front(self) -> frozenset[str]:
        """Names of the nodes from the input to the entry, where passes end and bounds are exact."""
        graph = self.network.graph
        names = [graph.input.name]
        while names[-1] != self.entry.node.name:
            names += [node.name for node in graph.nodes if names[-1] in node.inputs]
        return frozenset(names)

    @property
    def batch(self) -> int:
        """Number of regions."""
        return self.region.batch

    @cached_property
    def drifts(self) -> Mapping[str, Drift]:
        """What perturbed parameters do, by name of the layer that uses them."""
        return drifts_of(self.network, self.parameter_radii)

    def perturbed(self, node: Node, bounds: Mapping[str, Interval]) -> PerturbedAffine:
        """Return what encloses a layer with perturbed parameters on bounds of its input."""
        shapes = [self.network.graph.node(name).shape for name in node.inputs]
        return self.drifts[node.name].relaxation(bounds, shapes, self.network.parameters)

    def __getitem__(self, index: slice | Tensor) -> Scene:
        """Return the scene of some regions."""
        balls = None if self.balls is None else self.balls[index]
        return replace(self, region=self.region[index], balls=balls)


@dataclass
class Rows:
    """Linear functions on their way back: Σ over nodes of coefficients · value, plus a constant.

    Attributes:
        coefficients: By node name.
        constant: Shape `(batch, rows)`, or a number while nothing was added.
        added: Magnitudes of all that was added up to the constant, which may cancel; likewise.
    """

    coefficients: dict[str, Coefficients] = field(default_factory=dict)
    constant: Tensor | float = 0.0
    added: Tensor | float = field(init=False)

    def __post_init__(self) -> None:
        self.added = _magnitude(self.constant)

    def shift(self, by: Tensor) -> None:
        """Add to the constant."""
        self.constant = self.constant + by
        self.added = self.added + _magnitude(by)

    def add(self, name: str, coefficients: Coefficients) -> None:
        """Add coefficients to those a node already has."""
        there = self.coefficients.get(name)
        self.coefficients[name] = coefficients if there is None else _sum(there, coefficients)

    def take(self, name: str) -> Coefficients | None:
        """Remove and return the coefficients of a node."""
        return self.coefficients.pop(name, None)

    def multiply(self, factors: Tensor) -> None:
        """Multiply every row by a number, shape `(batch, rows)`."""
        for name, value in self.coefficients.items():
            whole = value.values if isinstance(value, Patches) else value
            scaled = whole * factors.reshape(*factors.shape, *(1,) * (whole.dim() - 2))
            self.coefficients[name] = (
                value.with_values(scaled) if isinstance(value, Patches) else scaled
            )
        self.constant = self.constant * factors
        self.added = self.added * factors.detach().abs()

    def mirror(self) -> None:
        """Append every row negated."""
        first = next(iter(self.coefficients.values()))
        like = first.values if isinstance(first, Patches) else first
        constant, added = (
            value if isinstance(value, Tensor) else like.new_full(like.shape[:2], value)
            for value in (self.constant, self.added)
        )
        self.coefficients = {
            name: value.mirrored() if isinstance(value, Patches) else torch.cat([value, -value], 1)
            for name, value in self.coefficients.items()
        }
        self.constant = torch.cat([constant, -constant], dim=1)
        self.added = torch.cat([added, added], dim=1)


def _magnitude(value: Tensor | float) -> Tensor | float:
    return value.detach().abs() if isinstance(value, Tensor) else abs(value)


def _sum(one: Coefficients, other: Coefficients) -> Coefficients:
    """Add coefficients of one node, as windows where both are and their grids match."""
    if isinstance(one, Patches) and isinstance(other, Patches):
        both = one.plus(other)
        if both is not None:
            return both.dense() if both.is_wide else both
    return whole(one) + whole(other)


def unit_rows(scene: Scene, node: Node, indices: Tensor, signs: Tensor | None = None) -> Rows:
    """Return the functions that read single values of a node.

    Args:
        scene: Network and region.
        node: Whose values are read.
        indices: Flat indices into the node, shape `(batch, rows)`.
        signs: What each value is multiplied with, the same shape; None for 1.
    """
    rows = _unit_rows(scene, node, indices)
    if signs is not None:
        rows.multiply(signs)
    return rows


def _unit_rows(scene: Scene, node: Node, indices: Tensor) -> Rows:
    network = scene.network
    rule = None if node is network.graph.input else rule_for(node.operator)
    single = len(node.inputs) == 1 and node.size == node.shape[-1]
    if isinstance(rule, AffineRule) and single and node.name not in scene.drifts:
        direct = rule.rows(node.operator, indices, network.parameters)
        if direct is not None:
            coefficients, constant = direct
            shape = network.graph.node(node.inputs[0]).shape
            return Rows(
                {node.inputs[0]: coefficients.reshape(*indices.shape, *shape)},
                0.0 if constant is None else constant,
            )
    like = scene.region.lower
    if is_map(node.shape):
        return Rows({node.name: unit_patches(indices, node.shape, like)})
    unit = like.new_zeros(*indices.shape, node.size)
    unit.scatter_(2, indices.unsqueeze(-1), 1.0)
    return Rows({node.name: unit.reshape(*indices.shape, *node.shape)})


def lower_bounds(
    scene: Scene, rows: Rows, relaxations: Relaxations, *, two_sided: bool = False
) -> Tensor:
    """Bound linear functions from below over the regions.

    Args:
        scene: Network and regions.
        rows: The functions; consumed.
        relaxations: What encloses each nonlinear node.
        two_sided: Bound the negated functions too. The two share the way back to the first
            nonlinear node.

    Returns:
        Shape `(batch, rows)`, or `(batch, 2 · rows)` with the negated functions behind.
    """
    pull_back(scene, rows, relaxations, two_sided=two_sided)
    return concretize(scene, rows)


def pull_back(
    scene: Scene,
    rows: Rows,
    relaxations: Relaxations,
    *,
    two_sided: bool = False,
    end: str | None = None,
) -> None:
    """Replace linear functions by lower linear functions of the entry, in place.

    Args:
        scene: Network and regions.
        rows: The functions.
        relaxations: What encloses each nonlinear node.
        two_sided: Append the negated functions too.
        end: Name of the node to stop at, such as the input's; None for the scene's entry.

    Raises:
        StoppedError: The scene is watched, and time is up.
    """
    graph = scene.network.graph
    mirror_pending = two_sided
    entry = scene.entry.node.name if end is None else end
    for node in reversed(graph.nodes):
        # Not the end of the pass: constants may stand in front of the entry.
        if node.name == entry or node.name not in rows.coefficients:
            continue
        if scene.watch is not None:
            scene.watch.check()
        rule = rule_for(node.operator)
        if isinstance(rule, AffineRule) and node.name not in scene.drifts:
            _cross_affine(scene, node, rule, rows)
            continue
        if mirror_pending:
            rows.mirror()
            mirror_pending = False
        _cross_nonlinear(node, relaxations(node), rows)
    if mirror_pending:
        rows.mirror()


def pull_to_origins(scene: Scene, rows: Rows) -> None:
    """Write linear functions in values that are no affine functions of others, in place.

    What is left are coefficients of the entry and of outputs of nonlinear nodes: the functions are
    the same as before, nothing is bounded.

    Args:
        scene: Network and regions.
        rows: The functions.
    """
    entry = scene.entry.node.name
    for node in reversed(scene.network.graph.nodes):
        if node.name == entry or node.name not in rows.coefficients:
            continue
        rule = rule_for(node.operator)
        if isinstance(rule, AffineRule) and node.name not in scene.drifts:
            _cross_affine(scene, node, rule, rows)


def _cross_nonlinear(node: Node, relaxation: Relaxation, rows: Rows) -> None:
    """Move coefficients from a nonlinear node to its inputs, through its lines."""
    coefficients = rows.coefficients.pop(node.name)
    moved: tuple[Sequence[Coefficients], Tensor] | None = None
    if isinstance(coefficients, Patches):
        moved = relaxation.backward_patches(coefficients)
    passed, constant = relaxation.backward(whole(coefficients)) if moved is None else moved
    rows.shift(constant)
    # Constants in place of the node leave nothing for any input.
    names = (*node.inputs, *relaxation.beyond)
    for name, value in zip(names, passed, strict=bool(passed)):
        rows.add(name, value)


def _cross_affine(scene: Scene, node: Node, rule: AffineRule[Any], rows: Rows) -> None:
    """Move coefficients from an affine node to its inputs."""
    graph = scene.network.graph
    passed, added = cross_affine(
        node,
        rule,
        rows.coefficients.pop(node.name),
        shapes=[graph.node(name).shape for name in node.inputs],
        parameters=scene.network.parameters,
    )
    if added is not None:
        rows.shift(added)
    for name, value in zip(node.inputs, passed, strict=True):
        rows.add(name, value)


def concretize(scene: Scene, rows: Rows, entry: Entry | None = None) -> Tensor:
    """Minimise what is left over the entry box, or over its balls; shape `(batch, rows)`.

    Another entry than the scene's may be given, such as the input itself.
    In float64 the result is lowered by a multiple of the unit roundoff times everything that was
    added up, which exceeds the rounding error of the pass by orders of magnitude.
    """
    place = scene.entry if entry is None else entry
    region, left, constant = place.region, rows.coefficients.get(place.node.name), rows.constant
    unit = ROUNDING_UNITS * torch.finfo(torch.float64).eps
    if left is None:
        lowest = (
            constant if isinstance(constant, Tensor) else region.lower.new_full((1, 1), constant)
        )
        if lowest.dtype == torch.float64:
            lowest = lowest - unit * rows.added
        return lowest.expand(place.region.batch, -1)
    if place.balls is None:
        lowest, spread = _least_over_box(region, left)
    else:
        lowest, spread = _least_over_balls(region, place.balls, left)
    lowest = lowest + constant
    # In float32 nothing is proved, so nothing is given up.
    if spread is None:
        return lowest
    return lowest - unit * (spread + rows.added)


def _least_over_box(region: Interval, left: Coefficients) -> tuple[Tensor, Tensor | None]:
    """Return A·centre − |A|·radius, and in float64 the size of what was added up."""
    careful = region.lower.dtype == torch.float64
    fields = [region.radius]
    if careful:
        fields.append(region.center.abs() + region.radius)
    spreads = _products(left, fields, absolute=True)
    lowest = _products(left, [region.center])[0] - spreads[0]
    return lowest, spreads[1] if careful else None


def _least_over_balls(
    region: Interval, balls: Balls, left: Coefficients
) -> tuple[Tensor, Tensor | None]:
    """Return A·centre less the dual norm's gain, and in float64 the size of what was added up."""
    down, up = balls.reach(region)
    if isinstance(left, Patches):
        values = left.values.flatten(2)
        radii, down, up = (left.read(part).flatten(2) for part in (balls.radii, down, up))
    else:
        values = left.flatten(2)
        radii, down, up = (part.flatten(1).unsqueeze(1) for part in (balls.radii, down, up))
    gain = largest_gain(values.abs() * radii, torch.where(values > 0, down, up), balls.norm)
    lowest = _products(left, [balls.center])[0] - gain
    if region.lower.dtype != torch.float64:
        return lowest, None
    return lowest, _products(left, [balls.center.abs() + balls.radii], absolute=True)[0]


def _products(
    coefficients: Coefficients, fields: Sequence[Tensor], *, absolute: bool = False
) -> list[Tensor]:
    """Multiply coefficients of the entry, or their magnitudes, by maps `(batch, *entry_shape)`."""
    if isinstance(coefficients, Patches):
        values = coefficients.values.abs() if absolute else coefficients.values
        return [(values * coefficients.read(f)).flatten(2).sum(-1) for f in fields]
    flat = coefficients.flatten(2)
    columns = torch.stack([f.flatten(1) for f in fields], dim=-1)
    product = torch.matmul(flat.abs() if absolute else flat, columns)
    return list(product.unbind(-1))
