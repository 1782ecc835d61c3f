"""Both engines bound boxes soundly by every level, and the strategy gives back every box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.network import Network
from models.operators import Linear, Relu, Softmax
from solvers.budget import Budget
from solvers.problem import Case
from solvers.search.boxes.boxes import Boxes, bisected
from solvers.search.boxes.engine import Engine, PaddedEngine
from solvers.search.boxes.flat_engine import FlatEngine, engine_for
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import Bounded, Level
from solvers.search.boxes.strategy import Strategy
from tests.helpers.graphs import GraphBuilder, mlp
from tests.solvers.search.boxes.support import cube, random_specification, roots


def _setting(seed: int, *, rows: int = 2) -> tuple[Network, Layout, Boxes]:
    generator = np.random.default_rng(seed)
    network = mlp((3, 7, 6, 3), seed=seed, scale=1.4).to(torch.float64)
    cases = [
        Case(cube(3, 0.6, at), random_specification(generator, 3, clauses=2, rows=rows))
        for at in (-0.3, 0.4)
    ]
    layout = Layout.of(network, cases)
    boxes = roots(layout)
    for _ in range(2):
        boxes, _ = bisected(boxes)
    return network, layout, boxes


def _least_sampled(network: Network, layout: Layout, boxes: Boxes) -> torch.Tensor:
    """Return the least margins that are found by sampling, shape `(boxes,)`."""
    generator = torch.Generator().manual_seed(0)
    at = torch.rand(len(boxes), 60, 3, generator=generator, dtype=torch.float64)
    x = boxes.lower.unsqueeze(1) + at * (boxes.upper - boxes.lower).unsqueeze(1)
    y = network(x.flatten(0, 1)).flatten(1)
    case = boxes.case.repeat_interleave(60)
    return layout.margins(case, y).reshape(len(boxes), 60).amin(1)


@pytest.mark.parametrize("kind", [FlatEngine, PaddedEngine])
@pytest.mark.parametrize("level", list(Level))
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 3))
def test_bounds_are_below_every_margin(
    kind: type[Engine], level: Level, seed: int, rows: int
) -> None:
    network, layout, boxes = _setting(seed, rows=rows)
    with torch.no_grad():
        bounded = kind(network, layout).bound(boxes, level, Budget())
        sampled = _least_sampled(network, layout, boxes)
    assert bool((bounded.boxes.worst <= sampled + 1e-12).all())
    assert torch.equal(bounded.boxes.lower, boxes.lower)
    assert bool((bounded.boxes.scores >= 0).all())


@given(seed=st.integers(0, 10_000))
def test_passes_back_of_wide_networks_stand_on_forward_bounds(seed: int) -> None:
    network, layout, boxes = _setting(seed)
    engine = PaddedEngine(network, layout)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        alone = engine.bound(boxes, Level.BACKWARD, Budget()).boxes
        patch.setattr("solvers.search.boxes.levels._VALUES_PER_INPUT", 1)
        both = engine.bound(boxes, Level.BACKWARD, Budget()).boxes
        sampled = _least_sampled(network, layout, boxes)
    assert bool((both.worst <= sampled + 1e-12).all())
    for name, interval in both.bounds.items():
        assert bool((interval.lower >= alone.bounds[name].lower - 1e-9).all())
        assert bool((interval.upper <= alone.bounds[name].upper + 1e-9).all())


class _Watched(FlatEngine):
    def __init__(self, network: Network, layout: Layout) -> None:
        super().__init__(network, layout)
        self.seen: list[Level] = []

    def bound(self, boxes: Boxes, level: Level, budget: Budget) -> Bounded:
        self.seen.append(level)
        return super().bound(boxes, level, budget)


def test_levels_are_not_compared_where_that_takes_too_long() -> None:
    network, layout, boxes = _setting(3)
    engine = _Watched(network, layout)
    strategy = Strategy(engine, 3)
    with torch.no_grad():
        strategy.bound(boxes, Budget())
        strategy.bound(boxes, Budget.of_seconds(0.0))
        assert engine.seen == [Level.BACKWARD] * 2
        strategy.bound(boxes, Budget())
    assert set(engine.seen) == set(Level) - {Level.SLOPES}


@pytest.mark.parametrize("pays", [False, True])
def test_slopes_are_moved_in_long_searches_where_that_pays(
    pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solvers.search.boxes.strategy._MOVING", 1e9)
    network, layout, boxes = _setting(3)

    class Weighed(_Watched):
        def bound(self, boxes: Boxes, level: Level, budget: Budget) -> Bounded:
            bounded = super().bound(boxes, level, budget)
            # So far from what was reached that no difference in time outweighs it.
            off = {Level.SLOPES: 0.0 if pays else 1e24}.get(level, 1e12)
            lower = bounded.boxes.clause_lower - off
            return replace(bounded, boxes=replace(bounded.boxes, clause_lower=lower))

    engine = Weighed(network, layout)
    strategy = Strategy(engine, 3)
    with torch.no_grad():
        strategy.bound(boxes, Budget())
        strategy.bound(replace(boxes, reached=torch.ones_like(boxes.reached)), Budget())
    assert Level.SLOPES in engine.seen
    assert (strategy.final is Level.SLOPES) is pays


@given(seed=st.integers(0, 10_000))
def test_sums_of_rows_never_loosen_a_bound(seed: int) -> None:
    network, layout, boxes = _setting(seed, rows=3)
    with torch.no_grad():
        flat = FlatEngine(network, layout).bound(boxes, Level.BACKWARD, Budget()).boxes.worst
        single = PaddedEngine(network, layout).bound(boxes, Level.BACKWARD, Budget()).boxes.worst
    assert bool((flat >= single - 1e-9).all())


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 3))
def test_moved_slopes_never_loosen_a_bound(seed: int, rows: int) -> None:
    network, layout, boxes = _setting(seed, rows=rows)
    with torch.no_grad():
        engine = FlatEngine(network, layout)
        fixed = engine.bound(boxes, Level.BACKWARD, Budget()).boxes
        moved = engine.bound(boxes, Level.SLOPES, Budget()).boxes
    assert bool((moved.clause_lower >= fixed.clause_lower - 1e-12).all())
    assert bool((moved.worst[fixed.worst > 0] > 0).all())


def test_moved_slopes_prove_more_boxes() -> None:
    proved = {Level.BACKWARD: 0, Level.SLOPES: 0}
    for seed in range(8):
        network, layout, boxes = _setting(seed)
        for level in proved:
            with torch.no_grad():
                bounded = FlatEngine(network, layout).bound(boxes, level, Budget())
            proved[level] += int((bounded.boxes.clause_lower > 0).sum())
    assert proved[Level.SLOPES] > proved[Level.BACKWARD]


def test_proved_clauses_keep_what_was_proved() -> None:
    network, layout, boxes = _setting(1)
    boxes.clause_lower[:, 0] = 7.0
    with torch.no_grad():
        bounded = FlatEngine(network, layout).bound(boxes, Level.BACKWARD, Budget())
    assert bool((bounded.boxes.clause_lower[:, 0] == 7.0).all())


def _with_softmax() -> Network:
    builder = GraphBuilder((3,))
    generator = np.random.default_rng(0)
    builder.add(Linear(builder.parameter(generator.normal(size=(4, 3))), None))
    builder.add(Relu())
    builder.add(Softmax())
    return builder.network().to(torch.float64)


@pytest.mark.parametrize(
    ("network", "kind"),
    [(mlp((3, 4, 4)).to(torch.float64), FlatEngine), (_with_softmax(), PaddedEngine)],
    ids=["dense", "softmax"],
)
def test_networks_get_the_engine_that_suits_them(network: Network, kind: type[Engine]) -> None:
    specification = random_specification(np.random.default_rng(0), 4)
    layout = Layout.of(network, [Case(cube(3), specification)])
    assert isinstance(engine_for(network, layout), kind)


def test_the_strategy_returns_every_box_in_order() -> None:
    network, layout, boxes = _setting(2)
    strategy = Strategy(FlatEngine(network, layout), 3)
    with torch.no_grad():
        for _ in range(5):
            found = strategy.bound(boxes, Budget()).boxes
            assert torch.equal(found.lower, boxes.lower)
            assert torch.equal(found.case, boxes.case)
            assert bool((found.clause_lower >= boxes.clause_lower).all())
            boxes, _ = bisected(found)
    assert strategy.final in set(Level)
