"""Lines around one nonlinearity, on thousands of intervals against dense samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models import operators as ops
from models.operators import Operator
from models.parameters import ParameterRef
from solvers.bounds import Interval
from solvers.bounds.relaxation import (
    ConstantRelaxation,
    ElementwiseRelaxation,
    SelectionRelaxation,
)
from solvers.bounds.rules import RULES, NonlinearRule, SlopeChoice, Slopes, rule_for
from tests.solvers.bounds.support import generator, uniform

PARAMETERS = {"slopes": torch.tensor([-0.5, 0.0, 0.25, 1.0, 2.0], dtype=torch.float64)}
# Every interval is looked at by each of the five channels that PRelu has slopes for.
CHANNELS = 5

# Curves whose second derivative is nowhere beyond 2, and others.
GENTLE = [
    *(ops.Erf(), ops.Softsign(), ops.Atan(), ops.Softplus(), ops.Sin(), ops.Cos()),
    *(ops.Gelu(), ops.TanhGelu(), ops.Silu(), ops.Mish(), ops.HardSwish()),
    *(ops.Elu(alpha) for alpha in (1.0, 0.3, 1.7)),
]
CURVES = [
    *GENTLE,
    *(ops.Exp(), ops.Log()),
    *(ops.Power(p) for p in (2.0, 3.0, 4.0, 5.0, 0.5, 1.5, 2.5, -0.5, -1.0, -2.0, -3.0)),
]

FUNCTIONS = [
    ops.Relu(),
    *(ops.LeakyRelu(slope) for slope in (0.0, 0.01, 0.5, 1.0, 1.7, -0.3, -2.0)),
    ops.PRelu(ParameterRef("slopes")),
    *(ops.Clip(low, high) for low, high in ((0.0, 6.0), (-1.0, 1.0), (0.3, 0.3), (-1e-9, 1e-9))),
    ops.Clip(-math.inf, 0.5),
    ops.Clip(-0.5, math.inf),
    ops.Clip(-math.inf, math.inf),
    ops.Sigmoid(),
    ops.Tanh(),
    *CURVES,
    *(ops.Sign(), ops.Floor(), ops.Ceil(), ops.Round(), ops.Positive()),
]
BENT = [f for f in FUNCTIONS if isinstance(f, ops.Relu | ops.LeakyRelu | ops.PRelu)]
S_SHAPED = [ops.Sigmoid(), ops.Tanh()]
TOUCHING = [*S_SHAPED, *GENTLE]
CHOICES = {
    "adaptive": Slopes(SlopeChoice.ADAPTIVE),
    "parallel": Slopes(SlopeChoice.PARALLEL),
    "alpha": None,
}

every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=str)
every_choice = pytest.mark.parametrize("choice", CHOICES)


def intervals(seed: int, count: int = 120) -> Interval:
    """Return intervals of every size and place, with ends on kinks; shape `(count, CHANNELS)`."""
    source = generator(seed)
    size = 10.0 ** uniform(source, count, 1, low=-10, high=6.5)
    center = uniform(source, count, 1) * 10.0 ** uniform(source, count, 1, low=-8, high=4)
    lower = center - size * uniform(source, count, 1, low=0)
    upper = center + size * uniform(source, count, 1, low=0)
    special = torch.tensor([0.0, -1.0, 1.0, 6.0, 0.5, -0.5, 0.3, 1e-9, -1e-9, 1e-300, -1e6, 1e6])
    pairs = torch.cartesian_prod(special, special).to(torch.float64)
    pairs = pairs[pairs[:, 0] <= pairs[:, 1]]
    moderate = uniform(source, count, 1) * 4
    wider = moderate + 5 * uniform(source, count, 1, low=0)
    upper = torch.cat([upper, pairs[:, 1:], wider, lower])
    lower = torch.cat([lower, pairs[:, :1], moderate, lower])
    return Interval(lower.expand(-1, CHANNELS).clone(), upper.expand(-1, CHANNELS).clone())


def intervals_of(function: Operator, seed: int) -> Interval:
    """Return those of the intervals on which a function is defined and finite."""
    bounds = intervals(seed)
    ends = rule_for(function).interval(function, [bounds], PARAMETERS)
    known = (ends.lower.isfinite() & ends.upper.isfinite()).all(1)
    assert known.sum() > 40
    return bounds[known]


@dataclass(frozen=True)
class Lines:
    """Both lines of every interval, shape `(intervals, CHANNELS)` each."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor

    def ends_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both lines at points `(points, intervals, CHANNELS)`."""
        return (
            self.lower_slope * x + self.lower_intercept,
            self.upper_slope * x + self.upper_intercept,
        )


def lines_of(function: Operator, bounds: Interval, choice: str, seed: int = 0) -> Lines:
    """Relax and read the lines through what a backward pass sees: coefficients ±1."""
    rule = rule_for(function)
    assert isinstance(rule, NonlinearRule)
    shape = rule.alpha_start(function, [bounds]).shape
    slopes = CHOICES[choice] or Slopes(alpha=uniform(seed, *shape, low=0).unsqueeze(1))
    relaxation = rule.relax(function, [bounds], PARAMETERS, slopes)
    eye = torch.eye(CHANNELS, dtype=torch.float64).expand(bounds.batch, -1, -1)
    (below_slope,), below = relaxation.backward(eye)
    (above_slope,), above = relaxation.backward(-eye)
    diagonal = torch.diagonal(below_slope, dim1=1, dim2=2)
    return Lines(diagonal, below, -torch.diagonal(above_slope, dim1=1, dim2=2), -above)


def samples(bounds: Interval, count: int = 25) -> Tensor:
    """Return points along every interval, dense near both ends and around zero."""
    even = torch.linspace(0, 1, count, dtype=torch.float64)
    steps = torch.cat([even, even**8, 1 - even**8]).reshape(-1, 1, 1)
    inside = bounds.lower + (bounds.upper - bounds.lower) * steps
    kinks = torch.tensor([0.0, 0.5, -0.5, 1.0, -1.0, 6.0, 0.3, -3.0, 3.0, -1.5]).double()
    around = torch.cat([kinks, *(even**4 * size for size in (-1.0, 1.0, -30.0, 30.0))])
    drawn = torch.cat([inside, around.reshape(-1, 1, 1).expand(-1, *bounds.lower.shape)])
    return torch.minimum(torch.maximum(drawn, bounds.lower), bounds.upper)


def rounding(lines: Lines, x: Tensor, value: Tensor) -> Tensor:
    """Return what evaluating lines in float64 may lose: some units of the largest term."""
    terms = (value, lines.lower_slope * x, lines.upper_slope * x)
    return 1e-14 * sum((term.abs() for term in terms), torch.ones_like(value))


@every_function
@every_choice
def test_lines_enclose_the_function(function: Operator, choice: str) -> None:
    for seed in range(3):
        bounds = intervals_of(function, seed)
        lines = lines_of(function, bounds, choice, seed)
        x = samples(bounds)
        value = function.forward([x], PARAMETERS)
        below, above = lines.ends_at(x)
        slack = rounding(lines, x, value)
        assert (below - value <= slack).all()
        assert (value - above <= slack).all()


@every_function
@every_choice
def test_lines_never_leave_the_interval_bounds_at_both_ends(
    function: Operator, choice: str
) -> None:
    """Lines that cross within the interval would be contradictory, and one of them unsound."""
    bounds = intervals_of(function, 3)
    lines = lines_of(function, bounds, choice)
    for x in (bounds.lower, bounds.upper):
        below, above = lines.ends_at(x)
        assert (below <= above + rounding(lines, x, x)).all()


@every_function
@every_choice
def test_decided_values_are_exact(function: Operator, choice: str) -> None:
    rule = rule_for(function)
    assert isinstance(rule, NonlinearRule)
    bounds = intervals_of(function, 4)
    decided = ~rule.undecided(function, bounds)
    assert decided.any()
    lines = lines_of(function, bounds, choice)
    for x in (bounds.lower, bounds.center.clamp(bounds.lower, bounds.upper), bounds.upper):
        value = function.forward([x], PARAMETERS)
        slack = rounding(lines, x, value)
        for line in lines.ends_at(x):
            assert ((line - value).abs() <= slack)[decided].all()


def slopes_of(function: Operator) -> Tensor:
    """Return the slope left of 0 in every channel."""
    if isinstance(function, ops.PRelu):
        return PARAMETERS["slopes"]
    slope = function.slope if isinstance(function, ops.LeakyRelu) else 0.0
    return torch.full((CHANNELS,), slope, dtype=torch.float64)


@pytest.mark.parametrize("function", BENT, ids=str)
def test_the_chord_touches_both_ends(function: Operator) -> None:
    """Of a convex function the upper line is the chord, of a concave one the lower line."""
    bounds = intervals(5)
    lines = lines_of(function, bounds, "adaptive")
    slope = slopes_of(function)
    for x in (bounds.lower, bounds.upper):
        value = function.forward([x], PARAMETERS)
        below, above = lines.ends_at(x)
        chord = torch.where(slope <= 1, above, below)
        assert ((chord - value).abs() <= rounding(lines, x, value)).all()


@pytest.mark.parametrize("function", BENT, ids=str)
@every_choice
def test_the_free_line_passes_through_the_kink(function: Operator, choice: str) -> None:
    bounds = intervals(6)
    unstable = bounds.unstable
    lines = lines_of(function, bounds, choice)
    slope = slopes_of(function)
    at_zero = torch.where(slope <= 1, lines.lower_intercept, lines.upper_intercept)
    assert (at_zero == 0)[unstable].all()


@pytest.mark.parametrize("slope", [1e17, -1e17, 1e-17])
def test_stable_neurons_are_exact_however_large_the_slope(slope: float) -> None:
    function = ops.LeakyRelu(slope)
    bounds = intervals(6)
    stable = ~bounds.unstable
    for choice in CHOICES:
        for line in lines_of(function, bounds, choice).ends_at(bounds.center):
            assert (line == function.forward([bounds.center], {}))[stable].all()


@pytest.mark.parametrize("function", TOUCHING, ids=str)
def test_lines_of_curves_touch_the_function(function: Operator) -> None:
    source = generator(7)
    lower = uniform(source, 200, 1) * 6
    bounds = Interval(lower, lower + 8 * uniform(source, 200, 1, low=0.001))
    bounds = Interval(bounds.lower.expand(-1, CHANNELS), bounds.upper.expand(-1, CHANNELS))
    lines = lines_of(function, bounds, "adaptive")
    steps = torch.linspace(0, 1, 2001, dtype=torch.float64).reshape(-1, 1, 1)
    x = bounds.lower + (bounds.upper - bounds.lower) * steps
    value = function.forward([x], PARAMETERS)
    below, above = lines.ends_at(x)
    # The grid misses a tangent point by at most half a step, and no second derivative exceeds 2.
    missed = (bounds.upper - bounds.lower).square() / 4 / 2000**2 + 1e-14
    assert ((value - below).amin(0) <= missed).all()
    assert ((above - value).amin(0) <= missed).all()


@pytest.mark.parametrize("function", S_SHAPED, ids=str)
def test_s_shaped_lines_mirror_each_other(function: Operator) -> None:
    bounds = intervals(8)
    lines = lines_of(function, bounds, "adaptive")
    mirrored = lines_of(function, Interval(-bounds.upper, -bounds.lower), "adaptive")
    total = 1.0 if isinstance(function, ops.Sigmoid) else 0.0
    # On short intervals a chord's slope is good to a millionth, since its ends are rounded.
    torch.testing.assert_close(lines.lower_slope, mirrored.upper_slope, rtol=1e-6, atol=1e-15)
    torch.testing.assert_close(
        lines.lower_intercept, total - mirrored.upper_intercept, rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("function", S_SHAPED, ids=str)
def test_s_shaped_upper_line_is_the_chord_where_the_function_is_convex(
    function: Operator,
) -> None:
    lower = uniform(9, 500, 1, low=-5, high=-1.1)
    bounds = Interval(lower.expand(-1, CHANNELS), (lower + 1).expand(-1, CHANNELS))
    lines = lines_of(function, bounds, "adaptive")
    for x in (bounds.lower, bounds.upper):
        value = function.forward([x], PARAMETERS)
        torch.testing.assert_close(lines.ends_at(x)[1], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", [*S_SHAPED, *CURVES], ids=str)
def test_no_line_is_closer_to_a_curve_at_the_midpoint(function: Operator) -> None:
    """What is between the function and its concave envelope cannot be taken off by any line."""
    if isinstance(function, ops.Exp):
        pytest.skip("its lower line touches near the lower end by intention")
    lower = 0.1 + uniform(17, 60, 1, low=0) * 3
    if function not in (
        ops.Log(),
        *(ops.Power(p) for p in (0.5, 1.5, 2.5, -0.5, -1.0, -2.0, -3.0)),
    ):
        lower = uniform(17, 60, 1) * 5
    # Two crests are further apart than π, and lines over both are not searched for.
    wave = isinstance(function, ops.Sin | ops.Cos)
    width = uniform(18, 60, 1, low=0.01, high=3.0 if wave else 9.0)
    bounds = Interval(lower.expand(-1, CHANNELS), (lower + width).expand(-1, CHANNELS))
    lines = lines_of(function, bounds, "adaptive")
    steps = torch.linspace(0, 1, 401, dtype=torch.float64).reshape(-1, 1)
    x = lower[:, 0] + width[:, 0] * steps
    value = function.forward([x], PARAMETERS)
    left, right = slice(0, 201), slice(200, 401)
    share = torch.where(
        steps[right, None] > steps[None, left],
        (steps[right, None] - 0.5) / (steps[right, None] - steps[None, left]).clamp(min=1e-9),
        0.5 * torch.ones(201, 201, 1, dtype=torch.float64),
    )
    chords = share * value[None, left] + (1 - share) * value[right, None]
    below, above = (line[:, 0] for line in lines.ends_at(bounds.center))
    # The grid misses points of contact, and kinks, by half a step at most.
    size = value.amax(0) - value.amin(0) + width[:, 0]
    assert (above - chords.amax((0, 1)) <= 1e-3 * size).all()
    assert (chords.amin((0, 1)) - below <= 1e-3 * size).all()


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_nothing_is_not_a_number_in_float32(function: Operator) -> None:
    """Where a function is defined, its lines are numbers, however wide or short the interval."""
    for bounds in (intervals_of(function, 19), intervals(20)):
        narrow = Interval(bounds.lower.float(), bounds.upper.float())
        parameters = {name: value.float() for name, value in PARAMETERS.items()}
        rule = rule_for(function)
        assert isinstance(rule, NonlinearRule)
        relaxation = rule.relax(function, [narrow], parameters, Slopes())
        assert isinstance(relaxation, ElementwiseRelaxation)
        lines = (relaxation.lower_slope, relaxation.upper_slope, relaxation.upper_intercept)
        assert not any(line.isnan().any() for line in lines)
        ends = rule.interval(function, [narrow], parameters)
        assert (ends.lower <= ends.upper).all()


@pytest.mark.parametrize("function", CURVES, ids=str)
def test_ranges_are_exact(function: Operator) -> None:
    bounds = intervals_of(function, 21)
    ends = rule_for(function).interval(function, [bounds], PARAMETERS)
    value = function.forward([samples(bounds, 60)], PARAMETERS)
    slack = 1e-14 * (1 + value.abs().amax(0))
    assert (value.amin(0) >= ends.lower - slack).all()
    assert (value.amax(0) <= ends.upper + slack).all()
    # A short interval shows its extremes to a grid, whatever turns there are inside.
    short = ((bounds.upper - bounds.lower) < 1).squeeze()
    missed = slack + 1e-3 * (bounds.upper - bounds.lower) + 1e-3 * (ends.upper - ends.lower)
    assert (value.amin(0) <= ends.lower + missed)[short].all()
    assert (value.amax(0) >= ends.upper - missed)[short].all()


def test_adaptive_slope_takes_the_smaller_area_and_parallel_the_chord() -> None:
    bounds = Interval(torch.tensor([[-1.0, -2.0]]), torch.tensor([[2.0, 1.0]]))
    bounds = Interval(bounds.lower.double(), bounds.upper.double())
    rule = RULES[ops.Relu]
    assert isinstance(rule, NonlinearRule)
    adaptive = rule.relax(ops.Relu(), [bounds], {}, Slopes(SlopeChoice.ADAPTIVE))
    parallel = rule.relax(ops.Relu(), [bounds], {}, Slopes(SlopeChoice.PARALLEL))
    assert isinstance(adaptive, ElementwiseRelaxation)
    assert isinstance(parallel, ElementwiseRelaxation)
    assert adaptive.lower_slope.flatten().tolist() == [1.0, 0.0]
    torch.testing.assert_close(parallel.lower_slope, parallel.upper_slope)
    torch.testing.assert_close(
        parallel.upper_slope.flatten(), torch.tensor([2 / 3, 1 / 3], dtype=torch.float64)
    )


@given(
    slope=st.floats(-3, 3),
    lower=st.floats(-1e6, 1e6),
    width=st.floats(0, 1e6),
    alpha=st.floats(0, 1),
    share=st.floats(0, 1),
)
def test_any_alpha_is_sound_for_any_slope(
    slope: float, lower: float, width: float, alpha: float, share: float
) -> None:
    function = ops.LeakyRelu(slope)
    upper = lower + width
    bounds = Interval(torch.tensor([[lower]]).double(), torch.tensor([[upper]]).double())
    rule = rule_for(function)
    assert isinstance(rule, NonlinearRule)
    slopes = Slopes(alpha=torch.full((1, 1, 1), alpha, dtype=torch.float64))
    relaxation = rule.relax(function, [bounds], {}, slopes)
    x = torch.tensor([[min(max(lower + share * width, lower), upper)]]).double()
    value = float(function.forward([x], {}))
    for sign in (1.0, -1.0):
        (passed,), constant = relaxation.backward(torch.full((1, 1, 1), sign, dtype=torch.float64))
        line = float(passed * x + constant)
        assert line <= sign * value + 1e-12 * (1 + abs(value) + abs(lower) + abs(upper))


@pytest.mark.parametrize("function", [ops.Sigmoid(), ops.Tanh(), ops.Exp(), ops.Gelu()], ids=str)
def test_points_of_contact_are_chosen(function: Operator) -> None:
    bounds = Interval(torch.tensor([[0.5]]).double(), torch.tensor([[1.0]]).double())
    rule = rule_for(function)
    assert isinstance(rule, NonlinearRule)
    build = rule.adjustable(function, [bounds], PARAMETERS)
    usual = rule.relax(function, [bounds], PARAMETERS, Slopes())
    halfway = build(torch.full((1, 1, 2, 1), 0.5, dtype=torch.float64))
    assert isinstance(usual, ElementwiseRelaxation)
    assert isinstance(halfway, ElementwiseRelaxation)
    torch.testing.assert_close(halfway.lower_slope, usual.lower_slope)
    torch.testing.assert_close(halfway.upper_intercept, usual.upper_intercept)
    # one line per row, each tangent at a place of its own on the side where the function bends
    found = build(torch.tensor([0.2, 0.6, 1.0]).double().reshape(1, 3, 1, 1).expand(1, 3, 2, 1))
    assert isinstance(found, ElementwiseRelaxation)
    places = torch.tensor([0.6, 0.8, 1.0]).double()
    value = function.forward([places], PARAMETERS)
    assert found.lower_intercept is not None
    below = found.lower_slope.flatten() * places + found.lower_intercept.flatten()
    above = found.upper_slope.flatten() * places + found.upper_intercept.flatten()
    bent = below if isinstance(function, ops.Exp | ops.Gelu) else above
    torch.testing.assert_close(bent, value)


# --- maximum ----------------------------------------------------------------------------------


def max_lines(bounds: Interval, pool: ops.MaxPool) -> SelectionRelaxation:
    rule = RULES[ops.MaxPool]
    assert isinstance(rule, NonlinearRule)
    relaxation = rule.relax(pool, [bounds], {}, Slopes())
    assert isinstance(relaxation, SelectionRelaxation)
    return relaxation


def pooled(lower: list[float], upper: list[float]) -> tuple[Interval, ops.MaxPool]:
    """Return bounds of one row of values, and the maximum over all of it."""
    ends = torch.tensor([lower, upper], dtype=torch.float64).reshape(2, 1, 1, 1, 1, -1)
    return Interval(ends[0], ends[1]), ops.MaxPool(
        (1, len(lower)), (1, 1), ((0, 0), (0, 0)), (1, 1)
    )


def test_a_value_that_no_other_can_beat_is_the_maximum() -> None:
    relaxation = max_lines(*pooled([0.0, 2.0, -1.0], [1.0, 5.0, 2.0]))
    assert relaxation.selected.item() == 1
    assert relaxation.exact.item()


@pytest.mark.parametrize("rest", [0.0, -3.0])
def test_ties_between_points_are_exact(rest: float) -> None:
    relaxation = max_lines(*pooled([1.0, 1.0, rest], [1.0, 1.0, rest]))
    assert relaxation.exact.item()
    assert relaxation.ceiling.item() == 1.0


def test_ties_between_intervals_are_not_exact() -> None:
    relaxation = max_lines(*pooled([0.0, 0.0], [1.0, 1.0]))
    assert not relaxation.exact.item()
    assert relaxation.ceiling.item() == 1.0


def test_padding_is_never_selected_even_below_everything() -> None:
    lowest = -torch.inf
    bounds, _ = pooled([lowest, lowest], [1.0, 2.0])
    pool = ops.MaxPool((1, 2), (1, 1), ((0, 0), (1, 1)), (1, 1))
    relaxation = max_lines(bounds, pool)
    assert relaxation.selected.min() >= 0
    assert relaxation.selected[0, 0] == 0
    assert relaxation.selected[0, 2] == 1


def test_a_window_of_negative_values_ignores_its_padding() -> None:
    bounds, _ = pooled([-5.0, -4.0], [-5.0, -4.0])
    pool = ops.MaxPool((1, 3), (1, 1), ((0, 0), (1, 1)), (1, 1))
    relaxation = max_lines(bounds, pool)
    assert relaxation.exact.all()
    assert relaxation.ceiling.tolist() == [[-4.0, -4.0]]


def test_constants_take_the_end_that_a_sign_asks_for() -> None:
    lower, upper = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 5.0]])
    passed, constant = ConstantRelaxation(lower, upper).backward(
        torch.tensor([[[1.0, 1.0], [-1.0, 1.0], [0.0, -2.0]]])
    )
    assert passed == ()
    assert constant.tolist() == [[-1.0, -5.0, -10.0]]
