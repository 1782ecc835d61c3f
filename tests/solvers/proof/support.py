"""Proofs that stand on planes above ReLUs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from models.onnx_import import load_network
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Problem, Specification
from solvers.proof.producing import produce
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import RecordedLeaves, Trace
from solvers.search.neurons import Leaf
from tests.helpers.adversarial import Trap, dense
from tests.helpers.rational import Layer, exact_margin_of

__all__ = ["BY_COMMON_TREE", "BY_PLANES", "layers_of", "proved_by_common_tree", "proved_by_planes"]

BY_PLANES = {1: 0.25, 2: 1.15, 9: 0.012, 11: 0.45}
"""Seeds of networks, and margins that planes prove there and lines do not."""
BY_COMMON_TREE = (2, 6, 8, 10)
"""Seeds of networks on which the tree that all clauses share is grown to its end."""
_SIZES = (2, 5, 5, 3)


def layers_of(generator: np.random.Generator) -> tuple[Layer, ...]:
    """Return layers of a network of two inputs."""
    return tuple(
        dense(generator.normal(size=(after, before)), generator.normal(size=after))
        for before, after in itertools.pairwise(_SIZES)
    )


def proved_by_planes(seed: int) -> tuple[Trap, tuple[Layer, ...], bytes]:
    """Return a network, its layers, and a proof that the first output exceeds the second."""
    generator = np.random.default_rng(seed)
    layers = layers_of(generator)
    center = generator.normal(size=(1, 2))
    region, row = Box(center - 0.7, center + 0.7), np.array([[1.0, -1.0, 0.0]])
    least = exact_margin_of(layers, region, Specification((Clause(row, np.zeros(1)),)))
    clause = Clause(row, np.array([float(least) - BY_PLANES[seed]]))
    problem = Problem((Case(region, Specification((clause,))),))
    trap = Trap(layers, problem, np.zeros(2, np.float32))
    trace = Trace(by_cuts={0})
    prover = Prover(load_network(trap.network), "cpu")
    outcome = prover.prove(problem, Budget.of_seconds(300.0), trace=trace)
    assert isinstance(outcome, Proven), outcome
    return trap, layers, outcome.content


def proved_by_common_tree(layers: tuple[Layer, ...], problem: Problem) -> tuple[Trap, bytes]:
    """Return a network of two inputs, and a proof by the tree that all clauses share."""
    trap = Trap(layers, problem, np.zeros(2, np.float32))
    kept, none = RecordedLeaves(), torch.zeros(0)
    kept.record(Leaf(0, (), 1.0, (), none, none, none, none, sharp=True, common=True))
    trace = Trace(neurons={0: kept}, hard={0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(produce, "suits_boxes", lambda *_: False)
        prover = Prover(load_network(trap.network), "cpu")
        outcome = prover.prove(problem, Budget.of_seconds(300.0), trace=trace)
    assert isinstance(outcome, Proven), outcome
    return trap, outcome.content
