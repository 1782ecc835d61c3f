"""Planes around operators of several values: random intervals of all sizes against samples."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import operators as ops
from models.operators import Operator
from solvers.bounds import Interval
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import NonlinearRule, Slopes, rule_for
from tests.solvers.bounds.support import generator, points_in, uniform

BATCH = 12
# Operator, and the shapes of its inputs.
CASES: Sequence[tuple[Operator, tuple[tuple[int, ...], ...]]] = (
    (ops.Multiply(), ((3,), (3,))),
    (ops.MatrixProduct(), ((2, 3), (3, 2))),
    (ops.MatrixProduct(), ((2, 1, 2), (2, 2, 3))),
    (ops.Softmax(), ((4,),)),
    (ops.Softmax(), ((2, 2),)),
)
every_case = pytest.mark.parametrize(("operator", "shapes"), CASES, ids=str)
seeds = st.integers(0, 2**32 - 1)


def intervals(seed: int, shape: tuple[int, ...], exponent: float) -> Interval:
    """Return intervals of every size up to 10^exponent: points, one-sided ones, far-off ones."""
    source = generator(seed)
    full = (BATCH, *shape)
    size = 10.0 ** uniform(source, *full, low=-9, high=exponent)
    center = uniform(source, *full) * 10.0 ** uniform(source, BATCH, *shape, low=-3, high=exponent)
    kind = (uniform(source, *full, low=0) * 5).floor()
    down = torch.where((kind == 0) | (kind == 1), 0.0, size)
    up = torch.where((kind == 0) | (kind == 2), 0.0, size)
    center = torch.where(kind == 3, 0.0, center)
    return Interval(center - down, center + up)


def relaxed(
    operator: Operator, inputs: Sequence[Interval], seed: int, *, free: bool
) -> tuple[Relaxation, tuple[int, ...]]:
    """Return a relaxation, with random slopes where `free`, and the shape of the output."""
    rule = rule_for(operator)
    assert isinstance(rule, NonlinearRule)
    slopes = Slopes()
    if free:
        start = rule.alpha_start(operator, inputs).unsqueeze(1)
        alpha = uniform(seed, *start.shape, low=-0.3, high=1.3).clamp(0, 1)
        slopes = Slopes(alpha=alpha)
    output = operator.forward([side.lower for side in inputs], {})
    return rule.relax(operator, inputs, {}, slopes), tuple(output.shape[1:])


def below_and_above(
    relaxation: Relaxation, shape: tuple[int, ...], points: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both planes of every output at points, and the size of the terms they add up.

    Args:
        relaxation: Of one node.
        shape: Of its output.
        points: For each input, shape `(batch, points, *input_shape)`.
    """
    size = torch.Size(shape).numel()
    eye = torch.eye(size, dtype=torch.float64).reshape(1, size, *shape)
    ends, scale = [], torch.zeros(())
    for sign in (1.0, -1.0):
        passed, constant = relaxation.backward(sign * eye.expand(BATCH, *eye.shape[1:]))
        total, terms = constant.unsqueeze(1), constant.abs().unsqueeze(1)
        for part, x in zip(passed, points, strict=bool(passed)):
            flat, at = part.flatten(2).transpose(1, 2), x.flatten(2)
            total, terms = total + at @ flat, terms + at.abs() @ flat.abs()
        ends.append(sign * total)
        scale = torch.maximum(scale, terms)
    return ends[0], ends[1], scale


@every_case
@pytest.mark.parametrize("free", [False, True])
@settings(max_examples=40, derandomize=True)
@given(seed=seeds, exponent=st.sampled_from([-1.0, 0.5, 2.0, 6.0]))
def test_planes_enclose_the_operator(
    operator: Operator,
    shapes: tuple[tuple[int, ...], ...],
    free: bool,
    seed: int,
    exponent: float,
) -> None:
    inputs = [intervals(seed + number, shape, exponent) for number, shape in enumerate(shapes)]
    relaxation, shape = relaxed(operator, inputs, seed, free=free)
    points = [points_in(side, 40, seed + number) for number, side in enumerate(inputs)]
    values = operator.forward([x.flatten(0, 1) for x in points], {})
    values = values.reshape(BATCH, -1, torch.Size(shape).numel())
    below, above, terms = below_and_above(relaxation, shape, points)
    # Lines are evaluated as sums of terms that may cancel, each of them rounded.
    slack = 1e-13 * (1 + terms)
    assert (below - values <= slack).all()
    assert (values - above <= slack).all()
    interval = rule_for(operator).interval(operator, inputs, {})
    ends = [end.flatten(1).unsqueeze(1) for end in (interval.lower, interval.upper)]
    rounding = 1e-12 * (1 + values.abs() + max(float(x.abs().max()) for x in points) ** 2 * 1e-2)
    assert (ends[0] - values <= rounding).all()
    assert (values - ends[1] <= rounding).all()


@every_case
@pytest.mark.parametrize("free", [False, True])
def test_gradients_towards_a_plane_never_cross_it(
    operator: Operator, shapes: tuple[tuple[int, ...], ...], free: bool
) -> None:
    """Points are moved against the gap between the operator and either plane."""
    for seed in range(6):
        inputs = [intervals(seed + number, shape, 0.7) for number, shape in enumerate(shapes)]
        relaxation, shape = relaxed(operator, inputs, seed, free=free)
        for side in (0, 1):
            points = [points_in(x, 20, seed + number) for number, x in enumerate(inputs)]
            for fraction in (0.3, 0.1, 0.05, 0.02, 0.01, 0.003):
                points = [x.detach().requires_grad_() for x in points]
                gap = _gap(operator, relaxation, shape, points, side)
                slopes = torch.autograd.grad(gap.sum(), points)
                points = [
                    torch.minimum(
                        torch.maximum(
                            x.detach()
                            - fraction * (box.upper - box.lower).unsqueeze(1) * slope.sign(),
                            box.lower.unsqueeze(1),
                        ),
                        box.upper.unsqueeze(1),
                    )
                    for x, slope, box in zip(points, slopes, inputs, strict=True)
                ]
            gap = _gap(operator, relaxation, shape, points, side)
            assert gap.min() >= -1e-12


def _gap(
    operator: Operator,
    relaxation: Relaxation,
    shape: tuple[int, ...],
    points: Sequence[Tensor],
    side: int,
) -> Tensor:
    """Return, per point, the gap of one output, a different one at every point."""
    values = operator.forward([x.flatten(0, 1) for x in points], {}).reshape(
        BATCH, points[0].shape[1], -1
    )
    below, above, _ = below_and_above(relaxation, shape, points)
    gap = values - below if side == 0 else above - values
    turn = torch.arange(gap.shape[1]) % gap.shape[2]
    return gap.gather(2, turn.reshape(1, -1, 1).expand(BATCH, -1, 1)).squeeze(2)


@pytest.mark.parametrize(("operator", "shapes"), CASES[:3], ids=str)
@pytest.mark.parametrize("free", [False, True])
def test_products_with_a_point_are_exact(
    operator: Operator, shapes: tuple[tuple[int, ...], ...], free: bool
) -> None:
    for which in (0, 1):
        inputs = [intervals(number, shape, 1.0) for number, shape in enumerate(shapes)]
        inputs[which] = Interval(inputs[which].lower, inputs[which].lower)
        relaxation, shape = relaxed(operator, inputs, 3, free=free)
        points = [points_in(side, 10, number) for number, side in enumerate(inputs)]
        values = operator.forward([x.flatten(0, 1) for x in points], {}).reshape(
            BATCH, points[0].shape[1], -1
        )
        below, above, terms = below_and_above(relaxation, shape, points)
        largest = [x.abs().max() for x in points]
        slack = 1e-13 * (1 + terms + largest[0] * largest[1])
        assert ((below - values).abs() <= slack).all()
        assert ((above - values).abs() <= slack).all()


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_the_ends_of_the_mixture_are_the_envelope_of_a_product(mix: float) -> None:
    """At the corners of the box each McCormick plane touches the product three times."""
    inputs = [Interval(-torch.ones(1, 1), torch.full((1, 1), 2.0)) for _ in range(2)]
    inputs = [Interval(side.lower.double(), side.upper.double()) for side in inputs]
    rule = rule_for(ops.Multiply())
    assert isinstance(rule, NonlinearRule)
    slopes = Slopes(alpha=torch.full((1, 1, 2, 1), mix, dtype=torch.float64))
    relaxation = rule.relax(ops.Multiply(), inputs, {}, slopes)
    for sign in (1.0, -1.0):
        (to_x, to_y), constant = relaxation.backward(torch.full((1, 1, 1), sign).double())
        touching = 0
        for x in (-1.0, 2.0):
            for y in (-1.0, 2.0):
                plane = sign * float(to_x * x + to_y * y + constant)
                assert sign * (x * y - plane) >= -1e-12
                touching += abs(x * y - plane) < 1e-12
        assert touching == 3


def test_probabilities_stay_between_zero_and_one_whatever_is_known() -> None:
    inf = torch.inf
    lower = torch.tensor([[-inf, 0.0, -1.0], [0.0, 0.0, 0.0], [-inf, -inf, -inf], [-1e9, 0.0, 3.0]])
    upper = torch.tensor([[inf, 1.0, 0.0], [inf, 0.0, inf], [inf, inf, inf], [1e9, 0.0, 5.0]])
    known = Interval(lower.double(), upper.double())
    rule = rule_for(ops.Softmax())
    interval = rule.interval(ops.Softmax(), [known], {})
    assert (interval.lower >= 0).all()
    assert (interval.upper <= 1).all()
    assert (interval.lower <= interval.upper).all()
    assert isinstance(rule, NonlinearRule)
    relaxation = rule.relax(ops.Softmax(), [known], {}, Slopes())
    eye = torch.eye(3).double().expand(4, 3, 3)
    (passed,), constant = relaxation.backward(eye)
    assert (passed[:3] == 0).all()
    torch.testing.assert_close(constant[:3], interval.lower[:3])
    (passed,), constant = relaxation.backward(-eye)
    assert (passed[:3] == 0).all()
    torch.testing.assert_close(-constant[:3], interval.upper[:3])


def test_the_interval_of_a_softmax_is_attained() -> None:
    x = intervals(5, (4,), 0.5)
    interval = rule_for(ops.Softmax()).interval(ops.Softmax(), [x], {})
    for entry in range(4):
        for end, extreme, others in (
            (interval.lower, x.lower, x.upper),
            (interval.upper, x.upper, x.lower),
        ):
            point = others.clone()
            point[:, entry] = extreme[:, entry]
            torch.testing.assert_close(point.softmax(-1)[:, entry], end[:, entry])


def test_chunks_of_a_matrix_product_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [intervals(1, (3, 5), 1.0), intervals(2, (5, 2), 1.0)]
    rule = rule_for(ops.MatrixProduct())
    whole = rule.interval(ops.MatrixProduct(), inputs, {})
    monkeypatch.setattr("solvers.bounds.rules.bilinear._CHUNK", 1)
    parts = rule.interval(ops.MatrixProduct(), inputs, {})
    torch.testing.assert_close(parts.lower, whole.lower)
    torch.testing.assert_close(parts.upper, whole.upper)
