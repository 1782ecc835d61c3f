"""Semidefinite bounds against exact optima, samples of the region, and other relaxations."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import operators as ops
from models.errors import BoundsError, InvalidInputError, ShapeError
from models.network import Network
from solvers.balls import Norm
from solvers.budget import Budget
from solvers.convex.sdp import SdpOptions, SdpProgress, SdpResult, SdpSolver, SdpStatus, sdp_margin
from solvers.errors import UnsupportedMethodError
from solvers.problem import Box, Case, Clause, Specification, norm_ball, robustness
from tests.helpers.graphs import mlp
from tests.helpers.lifted import LiftedCase, inputs_of, lifted_case, of_case
from tests.helpers.programs import brute_force_margin
from tests.helpers.random_graphs import GraphBuilder

SIZES = [(2, 5, 3), (3, 3, 3, 3), (2, 2, 2, 2, 2), (4, 6, 2)]


def bound(
    given_: LiftedCase, *, seconds: float = 60.0, options: SdpOptions | None = None
) -> SdpResult:
    return sdp_margin(
        given_.network,
        given_.case,
        given_.bounds,
        options=options or SdpOptions(),
        budget=Budget.of_seconds(seconds),
    )


def truth(given_: LiftedCase) -> np.ndarray:
    clauses = given_.case.specification.clauses
    return np.array([brute_force_margin(given_.network, given_.case.region, c) for c in clauses])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.floats(0.05, 1.0), rounds=st.integers(0, 3))
def test_never_above_the_exact_optimum(seed: int, radius: float, rounds: int) -> None:
    tiny = lifted_case(mlp(SIZES[seed % len(SIZES)], seed=seed), radius)
    result = bound(tiny, options=SdpOptions(rounds=rounds))
    # the reference is a linear program's optimum, with tolerances of its own
    assert (result.clause_lower <= truth(tiny) + 1e-7).all()


def test_products_close_most_of_the_gap_and_triangles_alone_beat_crown() -> None:
    closed, gaps = [], []
    for seed in range(12):
        tiny = lifted_case(mlp(SIZES[seed % len(SIZES)], seed=seed), 0.6)
        exact = truth(tiny)
        plain = bound(tiny, options=SdpOptions(rounds=0)).clause_lower
        tight = bound(tiny).clause_lower
        scale = 1.0 + np.abs(exact)
        # the program holds the triangle relaxation, up to the relative distance asked for
        assert (plain >= tiny.crown - 1e-3 * scale).all()
        assert (tight >= plain - 1e-3 * scale).all()
        gaps.extend(exact - tiny.crown)
        closed.extend(exact - tight <= 0.02 * scale)
    assert np.mean(gaps) > 0.3
    assert np.mean(closed) > 0.7


def _residual() -> Network:
    builder = GraphBuilder((1, 4), 1)
    first = builder.linear(4)
    builder.add(ops.Relu())
    second = builder.linear(4)
    builder.add(ops.Add((1.0, -0.5)), second, first)
    builder.add(ops.Relu())
    builder.linear(3)
    return builder.network()


def _convolution() -> Network:
    builder = GraphBuilder((1, 1, 5, 5), 2)
    kernel, bias = builder.normal(2, 1, 3, 3, scale=0.5), builder.normal(2)
    builder.add(ops.Convolution(kernel, bias, (2, 2), (1, 1), (1, 1)))
    builder.add(ops.Relu())
    builder.add(ops.MaxPool((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)))
    builder.add(ops.Reshape((1, 8)))
    builder.linear(3)
    return builder.network()


def _kinks(*kinks: Callable[[GraphBuilder], ops.Operator]) -> Network:
    builder = GraphBuilder((1, 3), 3)
    for kink in kinks:
        builder.linear(4)
        builder.add(kink(builder))
    builder.linear(3)
    return builder.network()


GRAPHS: dict[str, Network] = {
    "residual": _residual(),
    "convolution and max pooling": _convolution(),
    "leaky": _kinks(lambda _: ops.LeakyRelu(0.2), lambda _: ops.LeakyRelu(1.5)),
    "prelu": _kinks(lambda builder: ops.PRelu(builder.uniform(-0.5, 2.0, 4))),
    "clip": _kinks(lambda _: ops.Clip(-0.5, 0.7), lambda _: ops.Clip(0.0, np.inf)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_of_the_family_is_sound_and_tighter_than_crown(name: str) -> None:
    given_ = lifted_case(GRAPHS[name], 0.4)
    result = bound(given_)
    samples = inputs_of(given_.case, 600)
    for clause, lower in enumerate(result.clause_lower):
        least = min(given_.margin_at(x, clause) for x in samples)
        assert lower <= least
        assert least - lower < 0.9 * (least - given_.crown[clause]) + 1e-6


def test_a_clause_of_several_rows_takes_its_best_one() -> None:
    network = mlp((2, 5, 3), seed=4)
    generator = np.random.default_rng(0)
    clause = Clause(generator.normal(size=(2, 3)), generator.normal(size=2))
    region = Box(np.full(2, -0.5), np.full(2, 0.5))
    both = bound(of_case(network, Case(region, Specification((clause,)))))
    singles = [
        bound(of_case(network, Case(region, Specification((Clause(m[None], d[None]),)))))
        for m, d in zip(clause.matrix, clause.offset, strict=True)
    ]
    assert both.lower == pytest.approx(max(single.lower for single in singles), abs=1e-3)
    assert both.lower <= brute_force_margin(network, region, clause) + 1e-7


@pytest.mark.parametrize("norm", [Norm.ONE, Norm.TWO])
def test_a_ball_is_enclosed_by_its_box(norm: Norm) -> None:
    network = mlp((3, 5, 2), seed=2)
    ball = norm_ball(np.zeros(3), 0.5, norm, valid_range=None)
    given_ = of_case(network, Case(ball, robustness(0, 2)))
    assert bound(given_).lower <= min(
        given_.margin_at(ball.pulled_in(x)) for x in inputs_of(given_.case, 200)
    )


def test_a_network_without_unstable_neurons_is_bounded_exactly() -> None:
    network = mlp((3, 4, 2), seed=1)
    given_ = lifted_case(network, 1e-4)
    result = bound(given_)
    assert given_.lifted.hinges.column.size == 0
    exact = truth(given_)
    assert result.clause_lower == pytest.approx(exact, abs=1e-6)
    assert (result.clause_lower <= exact + 1e-12).all()


def test_a_region_of_one_point_gives_its_margin() -> None:
    given_ = lifted_case(mlp((3, 4, 2), seed=1), 0.0, center=0.3)
    result = bound(given_)
    value = given_.margin_at(given_.case.region.center)
    assert value - 1e-9 <= result.lower <= value + 1e-12


def test_what_was_known_is_never_lost() -> None:
    given_ = lifted_case(mlp((2, 5, 3), seed=3), 0.5)
    known = truth(given_) + 5.0  # more than can be true, so that it shows
    result = sdp_margin(
        given_.network,
        given_.case,
        given_.bounds,
        options=SdpOptions(),
        budget=Budget.of_seconds(60),
        clause_lower=known,
    )
    assert (result.clause_lower == known).all()


def test_progress_tells_every_step_and_rises() -> None:
    given_ = lifted_case(mlp((2, 5, 2), seed=3), 0.5)
    seen: list[SdpProgress] = []
    result = sdp_margin(
        given_.network,
        given_.case,
        given_.bounds,
        options=SdpOptions(rounds=1),
        budget=Budget(),
        progress=seen.append,
    )
    lowers = [event.lower for event in seen]
    assert result.status is SdpStatus.OPTIMAL
    assert len(seen) > 5
    assert lowers == sorted(lowers)
    assert lowers[-1] == pytest.approx(result.lower, rel=1e-4)
    assert {(event.clause, event.clauses) for event in seen} == {(0, 1)}


def test_a_positive_clause_is_enough_where_no_more_is_asked() -> None:
    given_ = lifted_case(mlp((2, 5, 2), seed=3), 0.3)
    row = given_.case.specification.clauses[0]
    shift = float(truth(given_)[0]) - 1.0
    easy = Case(given_.case.region, Specification((Clause(row.matrix, row.offset + shift),)))
    full = bound(of_case(given_.network, easy))
    short = bound(of_case(given_.network, easy), options=SdpOptions(stop_when_positive=True))
    assert short.status is SdpStatus.POSITIVE
    assert 0.0 < short.lower <= full.lower
    assert short.steps < full.steps


def test_no_time_leaves_what_was_known() -> None:
    given_ = lifted_case(mlp((2, 5, 3), seed=3), 0.5)
    late = sdp_margin(
        given_.network,
        given_.case,
        given_.bounds,
        options=SdpOptions(),
        budget=Budget(deadline=time.monotonic() - 1.0),
        clause_lower=given_.crown,
    )
    assert late.status is SdpStatus.TIMEOUT
    assert (late.clause_lower == given_.crown).all()
    assert late.reason is not None


def test_cancelling_after_a_few_steps_keeps_a_valid_bound() -> None:
    given_ = lifted_case(mlp((4, 12, 12, 2), seed=3), 0.5)
    steps: list[SdpProgress] = []
    result = sdp_margin(
        given_.network,
        given_.case,
        given_.bounds,
        options=SdpOptions(),
        budget=Budget(cancelled=lambda: len(steps) >= 3),
        progress=steps.append,
    )
    least = min(given_.margin_at(x) for x in inputs_of(given_.case, 300))
    assert result.status is SdpStatus.CANCELLED
    assert len(steps) == 3
    assert -np.inf < result.lower <= least


def test_what_does_not_fit_into_memory_says_so() -> None:
    given_ = lifted_case(mlp((2, 5, 3), seed=3), 0.5)
    options = SdpOptions(solver=SdpSolver.INTERIOR, memory_bytes=1000)
    result = bound(given_, options=options)
    assert result.status is SdpStatus.TOO_LARGE
    assert "memory_bytes" in str(result.reason)


def test_other_operators_are_refused_by_name() -> None:
    network = mlp((2, 3, 2), activation=ops.Sigmoid())
    region = Box(np.full(2, -0.5), np.full(2, 0.5))
    with pytest.raises(UnsupportedMethodError, match=r"n2.*Sigmoid.*crown"):
        sdp_margin(
            network,
            Case(region, robustness(0, 2)),
            {},
            options=SdpOptions(),
            budget=Budget(),
        )


def test_shapes_and_numbers_are_checked() -> None:
    given_ = lifted_case(mlp((2, 5, 3), seed=3), 0.5)

    def call(case: Case, **changes: object) -> None:
        arguments: dict[str, object] = {"options": SdpOptions(), "budget": Budget(), **changes}
        sdp_margin(given_.network, case, given_.bounds, **arguments)  # type: ignore[arg-type]

    wide = Box(np.zeros(4), np.ones(4))
    with pytest.raises(ShapeError, match="region"):
        call(Case(wide, given_.case.specification))
    with pytest.raises(ShapeError, match="outputs"):
        call(Case(given_.case.region, robustness(0, 5)))
    with pytest.raises(ShapeError, match="clauses"):
        call(given_.case, clause_lower=np.zeros(7))
    with pytest.raises(BoundsError, match="n1"):
        sdp_margin(given_.network, given_.case, {}, options=SdpOptions(), budget=Budget())
    for wrong in ({"rounds": -1}, {"tolerance": 0.0}, {"iterations": 0}, {"memory_bytes": 0}):
        with pytest.raises(InvalidInputError):
            SdpOptions(**wrong)  # type: ignore[arg-type]
