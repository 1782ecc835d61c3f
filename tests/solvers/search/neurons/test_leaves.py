"""Linear programs of domains with nothing left to split."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.bounds import boxes_to_interval
from solvers.budget import Budget
from solvers.search.neurons.bounding import Bounder, Functions, Start
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.leaves import LeafSolver
from tests.helpers.graphs import mlp
from tests.solvers.search.neurons.support import Domain, random_box

seeds = st.integers(0, 2**32 - 1)
FloatArray = NDArray[np.float64]


class Unbounded(Bounder):
    """Has lines that are infinite, for functions of the output or for cuts inside."""

    objectives = True

    def linear(self, functions: Functions | Start, terms: Terms) -> FloatArray:
        lines = super().linear(functions, terms)
        infinite = isinstance(functions, Functions) == self.objectives
        return np.full_like(lines, -np.inf) if infinite else lines


def solver(seed: int, kind: type[Bounder] = Bounder) -> tuple[LeafSolver, Domain, Bounder]:
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 5, 5, 2), seed=seed), random_box(generator, (3,), 2.0), generator)
    region = boxes_to_interval([domain.region], torch.float64)
    bounder = kind(domain.layout, region, None, dtype=torch.float64)
    ends = (domain.region.lower.ravel(), domain.region.upper.ravel())
    return LeafSolver(domain.layout, bounder, ends), domain, bounder


FUNCTION = Functions(torch.tensor([[[1.0, -1.0]]]).double(), torch.zeros(1).double())


@given(seeds)
@settings(max_examples=20)
def test_floors_of_programs_hold(seed: int) -> None:
    """The floor is below the function at every input of the domain, and points are in the box."""
    leaves, domain, _ = solver(seed)
    solved, points = leaves.solve(domain.whole(-1e9), FUNCTION, Budget())
    values = (domain.outputs * FUNCTION.coefficients[0, 0]).sum(1)
    if len(values):
        assert float(solved.floor[0]) <= float(values.min()) + 1e-9
    region = domain.region
    assert bool((points[0].numpy() >= region.lower.ravel() - 1e-6).all())
    assert bool((points[0].numpy() <= region.upper.ravel() + 1e-6).all())


@given(seeds)
@settings(max_examples=10)
def test_infinite_functions_prove_nothing(seed: int) -> None:
    """Without a finite line below the function there is no program to solve."""
    leaves, domain, _ = solver(seed, Unbounded)
    solved, points = leaves.solve(domain.whole(-7.0), FUNCTION, Budget())
    assert float(solved.floor[0]) == -7.0
    assert bool(points.isnan().all())


@given(seeds)
@settings(max_examples=10)
def test_infinite_cuts_are_left_out(seed: int) -> None:
    """Cuts without a finite line take no part; what is left still bounds."""
    leaves, domain, bounder = solver(seed, Unbounded)
    assert isinstance(bounder, Unbounded)
    bounder.objectives = False
    part = domain.whole(-1e9)
    solved, points = leaves.solve(part, FUNCTION, Budget())
    assert float(solved.floor[0]) > -1e9
    assert bool((solved.gamma == 0).all())
    assert bool(points.isfinite().all())
