"""Descents across steps: the values of the network, with gradients that lead somewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.onnx_import import load_network
from solvers.attack import AttackOptions, attack
from solvers.attack.surrogates import with_slopes
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification
from tests.helpers.networks import mlp, model, node


def stepped(step: str, *, inputs: int = 40, seed: int = 0) -> bytes:
    """Return a network with a step between two dense layers."""
    generator = np.random.default_rng(seed)
    weights = {
        "w1": generator.normal(size=(inputs, 60)).astype(np.float32),
        "w2": generator.normal(size=(60, 1)).astype(np.float32),
    }
    nodes = [
        node("MatMul", ["x", "w1"], ["z"]),
        node(step, ["z"], ["h"]),
        node("MatMul", ["h", "w2"], ["y"]),
    ]
    return model(nodes, shape=(1, inputs), weights=weights)


@pytest.mark.parametrize("step", ["Sign", "Floor", "Ceil", "Round"])
def test_values_stay_and_gradients_appear(step: str) -> None:
    network = load_network(stepped(step), check=False)
    sloped = with_slopes(network)
    x = torch.randn(7, 1, 40, requires_grad=True)
    plain, found = network(x), sloped(x)
    assert torch.equal(plain, found)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert bool((gradient.abs().sum((1, 2)) > 0).all())


def test_networks_without_steps_are_left_alone() -> None:
    network = load_network(mlp(), check=False)
    assert with_slopes(network) is network


@pytest.mark.parametrize("step", ["Sign", "Round"])
def test_descents_cross_steps(step: str) -> None:
    """Descents get far lower than the best of as many random points as they evaluate."""
    network = load_network(stepped(step), check=False)
    box = Box(-np.ones((1, 40)), np.ones((1, 40)))
    case = Case(box, Specification((Clause(np.array([[1.0]]), np.array([-1e9])),)))
    options = AttackOptions(rounds=1, seed=3)
    (result,) = attack(network, [case], options, budget=Budget())
    generator = np.random.default_rng(5)
    corners = np.sign(generator.normal(size=(20_000, 1, 40))).astype(np.float32)
    with torch.no_grad():
        sampled = float(network.to(torch.float32)(torch.from_numpy(corners)).min())
    assert result.margin - 1e9 < sampled
