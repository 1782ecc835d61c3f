"""Lower bounds of margins by a method of the ladder: the entry point of this package."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.errors import ShapeError
from models.graph import Node
from solvers.bounds.alpha import optimised
from solvers.bounds.backward import Rows, Scene, lower_bounds
from solvers.bounds.cut_passes import RowSlopes
from solvers.bounds.fastc2v import Effort, FastC2V
from solvers.bounds.forward import forward_bounds, margins_of_form
from solvers.bounds.ibp import propagate
from solvers.bounds.intermediate import relaxations_of, tightened
from solvers.bounds.interval import ROUNDING_UNITS, Interval
from solvers.bounds.memory import MemoryBudget, out_of_memory
from solvers.bounds.options import BoundOptions
from solvers.bounds.relaxation import ConstantRelaxation, Relaxation
from solvers.bounds.rules import SlopeChoice, Slopes
from solvers.bounds.wanted import wanted_values
from solvers.budget import Budget
from solvers.errors import MemoryLimitError, UnsupportedMethodError
from solvers.methods import Method

__all__ = ["MarginBounds", "Margins", "bound_margins", "rounding_allowance"]

_LOG = logging.getLogger(__name__)

Bounds = Mapping[str, Interval]


@dataclass(frozen=True)
class Margins:
    """Linear functions of the output: matrix · y − offset.

    Attributes:
        matrix: Shape `(batch, rows, outputs)`.
        offset: Shape `(batch, rows)`.
    """

    matrix: Tensor
    offset: Tensor

    def __post_init__(self) -> None:
        if self.matrix.dim() != 3 or self.offset.shape != self.matrix.shape[:2]:
            raise ShapeError(
                f"margins have a matrix of shape {tuple(self.matrix.shape)} and an offset of "
                f"shape {tuple(self.offset.shape)}; they must be (batch, rows, outputs) and "
                "(batch, rows)"
            )

    def __getitem__(self, index: slice) -> Margins:
        """Return the margins of some examples."""
        return Margins(self.matrix[index], self.offset[index])


@dataclass(frozen=True)
class MarginBounds:
    """What a method proved.

    Attributes:
        lower: Of every margin over its region, shape `(batch, rows)`.
        intermediate: Sound bounds of every node, shape `(batch, *node_shape)`; of values that no
            margin depends on, those of interval arithmetic.
    """

    lower: Tensor
    intermediate: Bounds


def bound_margins(
    scene: Scene,
    margins: Margins,
    method: Method,
    *,
    options: BoundOptions | None = None,
    known: Bounds | None = None,
    budget: Budget | None = None,
) -> MarginBounds:
    """Bound margins from below over a batch of regions.

    Args:
        scene: Network and regions, of one dtype on one device.
        margins: One set of linear functions per region.
        method: Any of `BOUND_METHODS`.
        options: Work and memory limits.
        known: Sound bounds of some nodes over the same regions, from an earlier method; nodes
            found here are not tightened again.
        budget: Time limit, which only methods that iterate heed within a batch.

    Returns:
        Sound lower bounds; not a number becomes −∞.

    Raises:
        ShapeError: Regions or margins do not fit the network, or there are none.
        UnsupportedMethodError: An operator has no rule, or the method is not a bound.
        MemoryLimitError: Memory ran out even with the smallest pieces.
    """
    if method not in _METHODS:
        raise UnsupportedMethodError(f"method {method} is not a bound; use {sorted(_METHODS)}")
    _check_fit(scene, margins)
    chosen = options or BoundOptions()
    memory = chosen.memory_on(scene.region.lower.device)
    scene = _with_wanted(scene, margins)
    task = _Task(scene, margins, chosen, memory, known, budget or Budget())
    while True:
        try:
            return _in_batches(task, _METHODS[method])
        except (RuntimeError, MemoryError) as error:
            smaller = task.memory.halved()
            if not out_of_memory(error):
                raise
            if smaller is None:
                raise MemoryLimitError(
                    f"{method} of a network of {scene.network.graph.input.size} inputs does not "
                    "fit into memory, however small its pieces; use a cheaper method, such as ibp"
                ) from error
            _LOG.warning("out of memory; retrying with %d bytes", smaller.limit_bytes)
            task = replace(task, memory=smaller)


def _with_wanted(scene: Scene, margins: Margins) -> Scene:
    """Return a scene that wants what margins depend on."""
    # A weight that is 0 may be perturbed.
    wanted = {} if scene.drifts else wanted_values(scene.network, margins.matrix)
    return replace(scene, wanted=wanted) if wanted else scene


def _in_batches(task: _Task, method: Callable[[_Task], MarginBounds]) -> MarginBounds:
    """Run a method on as many regions at a time as memory allows."""
    rows = max(64, int(task.margins.matrix.shape[1]))
    size = task.memory.examples(task.scene[:1], rows)
    parts = [task.part(slice(first, first + size)) for first in range(0, task.scene.batch, size)]
    return _joined([_lowered(part, method(part)) for part in parts])


def rounding_allowance(matrix: Tensor, offset: Tensor, outputs: Tensor) -> Tensor:
    """Return what rounding of margins' own terms may amount to.

    Passes allow for what they add up from the last layer on, and know of it as one number per
    coefficient; where outputs cancel in a margin, its terms are larger than that.

    Args:
        matrix: Of the margins, shape `(..., outputs)`, float64.
        offset: Of the margins, shape `(...)`.
        outputs: The size that every output may have, of a shape that broadcasts to the matrix.

    Returns:
        Shape `(...)`; infinite where an output that counts has no bound.
    """
    # An output without a bound that a margin does not read costs it nothing.
    terms = torch.where(matrix == 0, torch.zeros_like(matrix), matrix.abs() * outputs)
    return ROUNDING_UNITS * torch.finfo(torch.float64).eps * (terms.sum(-1) + offset.abs())


def _lowered(task: _Task, found: MarginBounds) -> MarginBounds:
    """Take off what rounding of the margins' own terms may amount to; in float32 nothing."""
    margins = task.margins
    if margins.matrix.dtype != torch.float64:
        return found
    output = found.intermediate[task.scene.network.graph.output].detach()
    size = torch.maximum(output.lower.abs(), output.upper.abs())
    # A single output may have no axis of its own.
    whole = size.reshape(len(size), 1, -1)
    allowed = rounding_allowance(margins.matrix, margins.offset, whole)
    return replace(found, lower=found.lower - allowed)


def _check_fit(scene: Scene, margins: Margins) -> None:
    """Refuse regions that do not fit the network, and margins that do not fit either."""
    there, wanted = tuple(scene.region.lower.shape[1:]), scene.network.input_shape
    if there != wanted:
        raise ShapeError(f"regions have shape {there}, the network takes {wanted}")
    batch, rows, outputs = margins.matrix.shape
    if batch != scene.batch or outputs != scene.network.output_size:
        raise ShapeError(
            f"margins of shape {tuple(margins.matrix.shape)} do not fit {scene.batch} regions of "
            f"a network with {scene.network.output_size} outputs"
        )
    if batch == 0 or rows == 0:
        raise ShapeError("there is no margin to bound; give at least one region and one row")


@dataclass(frozen=True)
class _Task:
    scene: Scene
    margins: Margins
    options: BoundOptions
    memory: MemoryBudget
    known: Bounds | None
    budget: Budget

    def part(self, index: slice) -> _Task:
        """Return the task of some regions."""
        known = self.known
        if known is not None:
            known = {name: interval[index] for name, interval in known.items()}
        return replace(self, scene=self.scene[index], margins=self.margins[index], known=known)

    @property
    def coefficients(self) -> Tensor:
        """The margins' matrix in the shape of the output node."""
        matrix = self.margins.matrix
        return matrix.reshape(*matrix.shape[:2], *self.scene.network.output_shape)

    def tightened(self, slopes: Slopes) -> dict[str, Interval]:
        """Return intermediate bounds by backward passes with such slopes."""
        return tightened(self.scene, slopes, self.memory, self.known, self.budget)

    def pass_with(self, relaxations: Callable[[Node], Relaxation]) -> Tensor:
        """Make one backward pass from the margins, in chunks of rows."""
        size = self.memory.rows(self.scene)
        output = self.scene.network.graph.output
        coefficients, offset = self.coefficients, self.margins.offset
        parts = [
            lower_bounds(
                self.scene,
                Rows({output: coefficients[:, i : i + size]}, -offset[:, i : i + size]),
                relaxations,
            )
            for i in range(0, coefficients.shape[1], size)
        ]
        return torch.cat(parts, dim=1)


def _ibp(task: _Task) -> MarginBounds:
    bounds = propagate(task.scene, task.known)

    def constants(node: Node) -> Relaxation:
        return ConstantRelaxation(bounds[node.name].lower, bounds[node.name].upper)

    # The affine tail is merged into the margins, which interval arithmetic alone would not do.
    return MarginBounds(task.pass_with(constants), bounds)


def _forward(task: _Task) -> MarginBounds:
    bounds, form = forward_bounds(task.scene, task.memory, task.known)
    matrix = task.margins.matrix
    lower = margins_of_form(task.scene, form, matrix) - task.margins.offset
    return MarginBounds(lower, bounds)


def _forward_backward(task: _Task) -> MarginBounds:
    bounds, _ = forward_bounds(task.scene, task.memory, task.known)
    return MarginBounds(task.pass_with(relaxations_of(task.scene, bounds, Slopes())), bounds)


def _crown_ibp(task: _Task) -> MarginBounds:
    bounds = propagate(task.scene, task.known)
    return MarginBounds(task.pass_with(relaxations_of(task.scene, bounds, Slopes())), bounds)


def _backward(choice: SlopeChoice) -> Callable[[_Task], MarginBounds]:
    def method(task: _Task) -> MarginBounds:
        slopes = Slopes(choice)
        bounds = task.tightened(slopes)
        return MarginBounds(task.pass_with(relaxations_of(task.scene, bounds, slopes)), bounds)

    return method


def _fastc2v(task: _Task) -> MarginBounds:
    slopes = Slopes(SlopeChoice.ADAPTIVE)
    bounds = task.tightened(slopes)
    start = task.pass_with(relaxations_of(task.scene, bounds, slopes))
    return _with_cuts(task, MarginBounds(start, bounds), RowSlopes(slopes))


def _with_cuts(task: _Task, start: MarginBounds, slopes: RowSlopes) -> MarginBounds:
    """Tighten margins and bounds by passes with cuts."""
    # A cut is a function of values behind perturbed weights, so it would be wrong for some of them.
    if task.scene.drifts:
        return start
    offset = task.margins.offset
    effort = Effort.inside_first() if task.options.cuts_inside else Effort()
    method = FastC2V(
        task.scene,
        task.coefficients,
        offset,
        slopes,
        task.memory,
        task.budget,
        effort,
    )
    return MarginBounds(*method.run(start.intermediate, start.lower))


def _alpha_crown(task: _Task) -> MarginBounds:
    return _optimised(task, keep_alphas=False)[0]


def _alpha_fastc2v(task: _Task) -> MarginBounds:
    start, alphas = _optimised(task, keep_alphas=True)
    return _with_cuts(task, start, RowSlopes(Slopes(SlopeChoice.ADAPTIVE), alphas))


def _optimised(task: _Task, *, keep_alphas: bool) -> tuple[MarginBounds, Mapping[str, Tensor]]:
    """Return what optimised slopes prove, and those of the margins if they are wanted."""
    slopes = Slopes(SlopeChoice.ADAPTIVE)
    with torch.no_grad():
        bounds = task.tightened(slopes)
        # Tighter bounds inside move lines that are chosen by them, and can cost a margin.
        start = task.pass_with(relaxations_of(task.scene, bounds, slopes))
    final = (task.coefficients, task.margins.offset)
    with torch.enable_grad():
        options = replace(task.options, memory=task.memory)
        found = optimised(task.scene, final, bounds, options, task.budget, keep_alphas=keep_alphas)
    return MarginBounds(torch.fmax(found.lower, start), found.bounds), found.alphas


_METHODS: Mapping[Method, Callable[[_Task], MarginBounds]] = {
    Method.IBP: _ibp,
    Method.CROWN_IBP: _crown_ibp,
    Method.FORWARD: _forward,
    Method.FORWARD_BACKWARD: _forward_backward,
    Method.FAST_LIN: _backward(SlopeChoice.PARALLEL),
    Method.CROWN: _backward(SlopeChoice.ADAPTIVE),
    Method.ALPHA_CROWN: _alpha_crown,
    Method.FASTC2V: _fastc2v,
    Method.ALPHA_FASTC2V: _alpha_fastc2v,
}


def _joined(parts: Sequence[MarginBounds]) -> MarginBounds:
    """Put the chunks of a batch together again."""
    lower = torch.cat([part.lower for part in parts])
    lower = torch.where(lower.isnan(), torch.full_like(lower, -torch.inf), lower)
    names = parts[0].intermediate
    joined = {
        name: Interval(
            torch.cat([part.intermediate[name].lower for part in parts]),
            torch.cat([part.intermediate[name].upper for part in parts]),
        )
        for name in names
    }
    return MarginBounds(lower, joined)
