"""Inputs are tried where boxes promise counterexamples, and only real ones count."""

from __future__ import annotations

import numpy as np
import torch

from models.network import Network
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.problem import Case, Clause, Specification
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import Bounded
from solvers.search.boxes.probe import Probe
from tests.helpers.graphs import mlp
from tests.solvers.search.boxes.support import (
    TorchRuntime,
    cube,
    random_specification,
    roots,
)


def _probe(network: Network, cases: list[Case]) -> tuple[Probe, Layout, list[Bracket]]:
    wide = network.to(torch.float64)
    layout, brackets = Layout.of(wide, cases), [Bracket(case) for case in cases]
    return Probe(wide, layout, brackets, Witness(wide, TorchRuntime(network))), layout, brackets


def _outputs(network: Network, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return network.to(torch.float64)(x).numpy()


def test_tries_the_centre_and_the_least_corner_of_every_box() -> None:
    network = mlp((2, 5, 2), seed=1)
    cases = [
        Case(cube(2, 1.0, place), random_specification(np.random.default_rng(place), 2))
        for place in range(3)
    ]
    probe, layout, brackets = _probe(network, cases)
    slopes = torch.tensor([[1.0, -1.0], [0.0, 2.0], [-1.0, -1.0]]).double()
    seen = probe.look(Bounded(roots(layout), slopes))
    for place, case in enumerate(cases):
        center = torch.full((2,), float(place), dtype=torch.float64)
        corner = center + torch.where(slopes[place] > 0, -1.0, 1.0)
        y = _outputs(network, torch.stack([center, corner]))
        least = float(case.specification.margin(y).min())
        np.testing.assert_allclose(float(seen.reached[place]), least)
        assert brackets[place].upper >= least - 1e-6


def test_offers_what_it_finds() -> None:
    network = mlp((2, 5, 1), seed=1)
    everything = Specification((Clause(np.array([[1.0]]), np.array([1e3])),))
    probe, layout, (bracket,) = _probe(network, [Case(cube(2), everything)])
    assert not probe.falsified
    probe.look(Bounded(roots(layout), torch.zeros(1, 2).double()))
    assert probe.falsified
    assert bracket.counterexample is not None


def test_attacks_regions_and_boxes_by_turns() -> None:
    network = mlp((3, 8, 8, 2), seed=3, scale=2.0)
    row = np.random.default_rng(5).normal(size=(1, 2))
    case = Case(cube(3), Specification((Clause(row, np.array([-1e3])),)))
    probe, layout, (bracket,) = _probe(network, [case])
    boxes = roots(layout)
    probe.look(Bounded(boxes, torch.ones(1, 3).double()))
    before = bracket.upper
    for _ in range(4):
        probe.descend(Budget())
    assert bracket.upper <= before
    grid = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    sampled = float(case.specification.margin(_outputs(network, grid)).min())
    assert bracket.upper <= sampled + 1e-3


def test_boxes_without_anything_to_try_are_left_alone() -> None:
    network = mlp((2, 5, 2), seed=1)
    case = Case(cube(2), random_specification(np.random.default_rng(0), 2))
    probe, layout, _ = _probe(network, [case])
    none = roots(layout)[:0]
    assert len(probe.look(Bounded(none, torch.zeros(0, 2).double()))) == 0
