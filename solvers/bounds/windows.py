"""Margins over a first layer of small windows, whose neurons are bounded together.

The channels of a convolution see the same few inputs. Neuron by neuron, each of them loses its
triangle; a sum of them over a window is a function of few inputs, which can be bounded in
small cells. With h the sum of all ReLUs of a window, weighted as a margin weights them, and any
slopes a,

    h(x) ≥ a·x + min over cells of min over the cell of (h(x) − a·x),

and what is left are linear functions of the inputs. Slopes climb along the margin: windows
that share inputs have to agree on them (dual decomposition, Geoffrion 1974; of neurons that are
relaxed jointly, Singh et al. 2019, kPoly).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.graph import Node
from models.operators import Convolution, Relu
from solvers.bounds.backward import Rows, Scene, pull_back
from solvers.bounds.crossing import whole
from solvers.bounds.ibp import nonlinear_nodes
from solvers.bounds.intermediate import relaxations_of
from solvers.bounds.interval import ROUNDING_UNITS, Interval
from solvers.bounds.margins import Bounds, Margins, rounding_allowance
from solvers.bounds.rules import Slopes
from solvers.budget import Budget

__all__ = [
    "WindowRow",
    "first_layer",
    "has_windows",
    "window_inputs",
    "window_margins",
    "window_rows",
]

_MOST_INPUTS = 9
"""Of a window; each is halved, so that cells are 2 to that power."""
_HELD = 1 << 22
"""Numbers that describe all cells."""
_FORMED = 1 << 21
"""Neurons in cells whose lines are formed at once."""
_STEPS = 60
_RATE = 0.06
"""Of the first step, in mean slopes of cells."""


def has_windows(scene: Scene) -> bool:
    """Return whether a network begins with windows that are small enough."""
    return _first(scene) is not None


def first_layer(scene: Scene) -> Node | None:
    """Return the convolution whose windows these are, None where there is none."""
    relu = _first(scene)
    return None if relu is None else scene.network.graph.node(relu.inputs[0])


class WindowRow(NamedTuple):
    """What the climb of one margin came to.

    Attributes:
        place: Which margin.
        lower: The best bound.
        slopes: That gave it, shape `(windows, kernel's places)`: 0 for windows that are not read.
    """

    place: int
    lower: Tensor
    slopes: Tensor


def window_inputs(scene: Scene) -> Tensor:
    """Return which inputs windows read, shape `(windows, kernel's places)`, −1 beyond the edge."""
    layer = first_layer(scene)
    assert layer is not None  # noqa: S101  asked before
    lower = scene.entry.region.lower[0]
    numbers = torch.arange(1, lower.numel() + 1, dtype=torch.float64).reshape(lower.shape)
    operator = layer.operator
    assert isinstance(operator, Convolution)  # noqa: S101  asked before
    shape = _unfolding(operator, operator.weight.resolve(scene.network.parameters))
    return functional.unfold(numbers, **shape)[0].T.long() - 1


def window_margins(
    scene: Scene, margins: Margins, bounds: Bounds, budget: Budget, wanted: Tensor
) -> Tensor:
    """Bound margins from below with neurons of each window of the first layer bounded together.

    Args:
        scene: Of a network with windows, in float64 if bounds are to be proved, and one region.
        margins: Of the region.
        bounds: Sound bounds of every node.
        budget: When to stop.
        wanted: Which margins, shape `(rows,)`; each until it is positive.

    Returns:
        Shape `(rows,)`, −∞ where a margin is not wanted, or there was no time.
    """
    found = torch.full_like(margins.offset[0], -torch.inf)
    for row in window_rows(scene, margins, bounds, budget, wanted):
        found[row.place] = row.lower
    return found


def window_rows(
    scene: Scene,
    margins: Margins,
    bounds: Bounds,
    budget: Budget,
    wanted: Tensor,
    *,
    enough: float = 0.0,
) -> list[WindowRow]:
    """Return what `window_margins` bounds margins by, with the slopes of windows.

    Args:
        scene: As there.
        margins: As there.
        bounds: As there.
        budget: As there.
        wanted: As there.
        enough: What each margin is to exceed.
    """
    relu, found = _first(scene), list[WindowRow]()
    if relu is None or budget.exhausted:
        return found
    output, shape = scene.network.graph.output, scene.network.output_shape
    index = wanted.nonzero().squeeze(1)
    matrix = margins.matrix[:, index]
    rows = Rows(
        {output: matrix.reshape(*matrix.shape[:2], *shape)}, -margins.offset[:, index].clone()
    )
    with torch.no_grad():
        pull_back(scene, rows, relaxations_of(scene, bounds, Slopes()), end=relu.name)
        left = rows.take(relu.name)
        if left is None:
            return found
        weights = whole(left)[0].squeeze(1).flatten(2)
        size = torch.maximum(bounds[output].lower.abs(), bounds[output].upper.abs())
        spared = rounding_allowance(matrix[0], margins.offset[0, index], size.reshape(1, -1))
        assert isinstance(rows.constant, Tensor)  # noqa: S101  offsets are
        assert isinstance(rows.added, Tensor)  # noqa: S101
        fixed, added = rows.constant[0] - spared, rows.added[0]
        layer = scene.network.graph.node(relu.inputs[0])
        for row, place in enumerate(index.tolist()):
            if budget.exhausted:
                break
            climb = _Climb(scene, layer, weights[row])
            best, slopes = climb.best(fixed[row] - enough, added[row], budget)
            found.append(WindowRow(place, best + enough, slopes))
    return found


def _first(scene: Scene) -> Node | None:
    """Return the ReLU behind a convolution of the input that all else reads, if there is one."""
    graph, entry = scene.network.graph, scene.entry
    relu = next(iter(nonlinear_nodes(graph)), None)
    if relu is None or not isinstance(relu.operator, Relu) or scene.drifts:
        return None
    before = graph.node(relu.inputs[0])
    operator = before.operator
    if not isinstance(operator, Convolution) or operator.groups != 1:
        return None
    if before.inputs[0] != entry.node.name or len(before.shape) != 4 or before.shape[0] != 1:
        return None
    weight = operator.weight.resolve(scene.network.parameters)
    inputs, positions = weight[0].numel(), before.size // before.shape[1]
    if inputs > _MOST_INPUTS or positions * 2**inputs * (inputs + 1) > _HELD:
        return None
    behind = {relu.name}
    for node in graph.nodes[graph.nodes.index(relu) + 1 :]:
        if not behind.issuperset(node.inputs):
            return None
        behind.add(node.name)
    return relu


def _unfolding(operator: Convolution, weight: Tensor) -> dict[str, Any]:
    """Return how a convolution's windows are cut out of an image."""
    return {
        "kernel_size": tuple(weight.shape[2:]),
        "stride": operator.stride,
        "padding": operator.padding,
        "dilation": operator.dilation,
    }


class _Climb:
    """The ascent of the slopes of one margin.

    Args:
        scene: Of one region.
        layer: The convolution.
        channels: The margin's coefficients of the ReLUs, shape `(channels, positions)`.
    """

    def __init__(self, scene: Scene, layer: Node, channels: Tensor) -> None:
        operator, parameters = layer.operator, scene.network.parameters
        assert isinstance(operator, Convolution)  # noqa: S101  asked before
        weight, bias = operator.weight.resolve(parameters), operator.bias
        self._weight = weight.flatten(1)
        self._bias = weight.new_zeros(len(weight)) if bias is None else bias.resolve(parameters)
        self._shape = _unfolding(operator, weight)
        self._box = Interval(scene.entry.region.lower[0], scene.entry.region.upper[0])
        # Positions that a margin does not read have no cells, but one has in any case.
        read = (channels != 0).any(0)
        read[0] = True
        self._read = read.nonzero().squeeze(1)
        self._positions = channels.shape[1]
        self._factors = channels[:, self._read].T.contiguous()
        self._lower, self._upper = self._windows(self._box.lower), self._windows(self._box.upper)
        self._cells()

    def best(self, constant: Tensor, added: Tensor, budget: Budget) -> tuple[Tensor, Tensor]:
        """Climb until the margin is positive; return the best bound and its slopes.

        Args:
            constant: Added to the windows' bounds.
            added: Magnitudes of all that was added up to it.
            budget: Ends the climb.
        """
        slopes = self._slope.mean(1)
        rate = _RATE * self._slope.abs().mean()
        mean, square = torch.zeros_like(slopes), torch.zeros_like(slopes)
        best, chosen = constant.new_full((), -torch.inf), slopes
        for step in range(1, _STEPS + 1):
            value, move = self._bound(slopes, constant, added)
            if value > best:
                best, chosen = value, slopes
            if float(best) > 0 or budget.exhausted:
                break
            mean, square = 0.9 * mean + 0.1 * move, 0.99 * square + 0.01 * move * move
            ahead = (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)).sqrt() + 1e-12)
            slopes = slopes + (1 - (step - 1) / _STEPS) * rate * ahead
        return best, self._every(chosen)

    def _windows(self, image: Tensor) -> Tensor:
        """Return the inputs of every window that is read, shape `(windows, inputs)`."""
        found = functional.unfold(image, **self._shape)[0]
        return found.T[self._read]

    def _image(self, windows: Tensor) -> Tensor:
        """Add up what windows say of each input: the transpose of `_windows`."""
        size = tuple(self._box.lower.shape[-2:])
        return functional.fold(self._every(windows).T.unsqueeze(0), size, **self._shape)

    def _every(self, windows: Tensor) -> Tensor:
        """Return numbers of windows that are read among those of all, 0 for the others."""
        every = windows.new_zeros(self._positions, windows.shape[1])
        every[self._read] = windows
        return every

    def _cells(self) -> None:
        """Put linear functions below the sum of each window, one in each cell."""
        inputs = self._weight.shape[1]
        halves = torch.tensor(
            list(itertools.product((0.0, 1.0), repeat=inputs)), dtype=self._lower.dtype
        ).to(self._lower.device)
        half = (self._upper - self._lower).unsqueeze(1) / 2
        # What is rounded here, the margin's allowance for rounding makes up for.
        self._center = self._lower.unsqueeze(1) + (halves + 0.5) * half
        self._radius = half / 2
        size = max(1, _FORMED // (len(halves) * len(self._weight)))
        parts = [
            self._below(slice(first, first + size)) for first in range(0, len(self._factors), size)
        ]
        self._slope = torch.cat([slope for slope, _ in parts])
        self._offset = torch.cat([offset for _, offset in parts])
        reach = torch.maximum(self._lower.abs(), self._upper.abs())
        neurons = reach @ self._weight.abs().T + self._bias.abs()
        self._size = 4 * (self._factors.abs() * neurons).sum()
        self._reach = reach

    def _below(self, part: slice) -> tuple[Tensor, Tensor]:
        """Return slopes and offsets of some windows' cells, by the lines of every ReLU there."""
        weight, factors = self._weight, self._factors[part].unsqueeze(1)
        middle = self._center[part] @ weight.T + self._bias
        spread = self._radius[part] @ weight.abs().T
        low, high = middle - spread, middle + spread
        open_ = (low < 0) & (high > 0)
        above = torch.where(open_, high / (high - low).clamp(min=1e-300), (low >= 0).to(low.dtype))
        below = torch.where(open_, (high > -low).to(low.dtype), above)
        chosen = factors * torch.where(factors > 0, below, above)
        intercept = torch.where(open_, -above * low, torch.zeros_like(low))
        offset = chosen @ self._bias + (factors.clamp(max=0) * intercept).sum(-1)
        return chosen @ weight, offset

    def _bound(self, slopes: Tensor, constant: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bound of the margin, and which way it rises."""
        left = self._slope - slopes.unsqueeze(1)
        value = self._offset + (left * self._center).sum(-1) - (left.abs() * self._radius).sum(-1)
        least, cell = value.min(1)
        at = torch.arange(len(cell), device=cell.device)
        place = self._center[at, cell] - self._radius[:, 0] * left[at, cell].sign()
        image = self._image(slopes)
        corner = torch.where(image > 0, self._box.lower, self._box.upper)
        total = constant + least.sum() + (image * corner).sum()
        magnitude = added + self._size + 2 * (slopes.abs() * self._reach).sum()
        unit = ROUNDING_UNITS * torch.finfo(torch.float64).eps
        return total - unit * magnitude, self._windows(corner) - place
