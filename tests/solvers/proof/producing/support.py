"""Questions that take a proof some work."""

from __future__ import annotations

import numpy as np
import torch

from models import load_network
from models.network import Network
from solvers.attack import AttackOptions, attack
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification
from tests.helpers import networks

_FAR = 1e4


def dense(seed: int, inputs: int = 30) -> Network:
    """Return a small network of more inputs than boxes are cut along, or of few."""
    return load_network(networks.mlp((inputs, 10, 10, 3), seed=seed), name="dense")


def least(network: Network, region: Box, row: list[float]) -> float:
    """Return about the least value of `row · y` in a region: what the attack reaches."""
    # It leaves alone what is below zero already.
    clause = Clause(np.array([row]), np.array([-_FAR]))
    case = Case(region, Specification((clause,)))
    options = AttackOptions(restarts=64, samples=200, steps=100, seed=1)
    (found,) = attack(network.to(torch.float32), [case], options, budget=Budget())
    return found.margin - _FAR


def tight_case(network: Network, region: Box, row: list[float], share: float = 0.04) -> Case:
    """Return a case that holds, if `least` is about right, by a small share of the margin."""
    bottom = least(network, region, row)
    offset = bottom - share * (1 + abs(bottom))
    clause = Clause(np.array([row]), np.array([offset]))
    return Case(region, Specification((clause,)))


def seconds(limit: float = 60.0) -> Budget:
    return Budget.of_seconds(limit)
