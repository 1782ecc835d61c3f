"""Lines that a search moved become slopes with which the checker bounds as much."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from models import load_network
from models.network import Network
from solvers.bounds import boxes_to_interval
from solvers.problem import Box, Case, Problem, linf_ball
from solvers.proof import BoundGroup, read_proof
from solvers.proof.producing.ground import Ground
from solvers.proof.producing.lines import slope_shares
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.slopes import quantised
from solvers.proof.producing.values import Values
from solvers.proof.rooting import root_bounds
from solvers.search.neurons.bounding import Bounder, Start
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.layout import layout_of
from tests.helpers import networks
from tests.solvers.proof.producing.support import seconds, tight_case
from tests.solvers.proof.producing.test_produce import ROW, decided


def question(activation: str, radius: float = 0.5) -> tuple[Network, Case]:
    """Return a network of curves, and a case that takes more than the checker's own lines."""
    content = networks.mlp((30, 8, 8, 8, 3), seed=1, activation=activation)
    network = load_network(content, name="c")
    center = np.random.default_rng(1).normal(size=(1, 30))
    region = linf_ball(center, radius, valid_range=None)
    return network, tight_case(network, region, ROW, share=0.02)


@pytest.mark.parametrize("activation", ["Sigmoid", "Tanh"])
@pytest.mark.parametrize("seed", range(3))
def test_the_checker_bounds_as_much_with_slopes_of_lines(activation: str, seed: int) -> None:
    """Wherever lines are moved: below a value and above it, on intervals of all shapes."""
    network, _ = question(activation)
    ground = Ground.of(network, torch.device("cpu"))
    low = np.random.default_rng(seed).normal(size=(1, 30))
    region = Box(low, low + 1.0)
    layout = layout_of(ground.folded, ground.bounds(region))
    assert layout.told
    interval = boxes_to_interval([region], torch.float64, torch.device("cpu"))
    bounder = Bounder(layout, interval, None, dtype=torch.float64)
    slot = layout.slots[-1]
    count = len(slot.indices)
    sign = torch.tensor([1.0, -1.0]).repeat_interleave(count)
    rows = Start(slot.node, slot.indices.repeat(2), sign)
    root = (layout.lower.expand(2 * count, -1), layout.upper.expand(2 * count, -1))
    start = Terms(*root, bounder.start.expand(2 * count, -1), torch.zeros_like(root[0]))
    climb = bounder.climb(rows, start, steps=15, budget=seconds(), until_positive=False)
    terms = climb.terms.to(torch.float64)
    wanted = bounder.lower(rows, terms).numpy()
    shares = slope_shares(bounder, rows, terms)
    assert bool(((shares >= 0) & (shares <= 1)).all())
    values = Values.of(layout)
    group = BoundGroup(
        ground.tensors[slot.node.name],
        rows.indices.numpy().astype(np.int32),
        (sign < 0).numpy().astype(np.uint8),
        quantised(shares, np.uint16),
        lines=True,
    )
    ends = region.lower.ravel(), region.upper.ravel()
    found = root_bounds(ground.checked, *ends, [group], values.layout(ground.tensors))
    own = root_bounds(ground.checked, *ends)
    index = slot.indices.numpy()
    checked, before = (
        np.concatenate([bounds[group.tensor][0][index], -bounds[group.tensor][1][index]])
        for bounds in (found, own)
    )
    assert (checked >= wanted - 1e-4 * (1 + np.abs(wanted))).all()
    assert (wanted > before + 1e-3).sum() > count / 2


@pytest.mark.parametrize("activation", ["Sigmoid", "Tanh"])
def test_leaves_of_a_search_that_moves_lines_are_proved_as_they_are(activation: str) -> None:
    network, case = question(activation, 0.5 if activation == "Sigmoid" else 0.08)
    problem = Problem((case,))
    trace = decided(network, problem)
    trace.hard.add(0)
    outcome = Prover(network, "cpu").prove(problem, seconds(), trace=trace)
    assert isinstance(outcome, Proven), outcome
    proof = read_proof(io.BytesIO(outcome.content))
    (tree,) = proof.trees
    assert tree.lines
    assert all(group.lines for group in tree.groups)
    if 0 in trace.neurons:
        assert len(tree.leaf_row) <= 2 * len(trace.neurons[0].best)
        assert all(leaf.lines for leaf in trace.neurons[0].best)
