"""Duals as slopes: the engine's own pass proves what the linear program found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.network import Network
from models.operators import LeakyRelu
from solvers.budget import Budget
from solvers.convex.program import Program
from solvers.convex.programs import session_maker
from solvers.convex.slopes import PropagationProof, slopes_from_duals
from solvers.exact import EncodingOptions, encode_network
from solvers.problem import Case
from tests.helpers.graphs import mlp
from tests.solvers.convex.support import bounded, case_of, dense, least_sample, residual

Spoil = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def leaky(seed: int) -> Network:
    """Return a network of leaky units."""
    return mlp((4, 9, 7, 3), seed=seed, activation=LeakyRelu(0.2)).to(torch.float64)


def _proved(
    network: Network, case: Case, spoil: Spoil = lambda duals: duals
) -> list[tuple[float, PropagationProof]]:
    bounds = bounded(network, case).node_bounds(0)
    options = EncodingOptions(relaxed=True)
    encoded = encode_network(network, case.region, bounds, options=options)
    program = Program(encoded.model, session_maker())
    found = []
    for clause in case.specification.clauses:
        model = encoded.clause_model(clause)
        solution = program.minimum(model.objective, model.offset, Budget())
        proof = slopes_from_duals(
            network,
            case.region,
            bounds,
            row=(clause.matrix[0], float(clause.offset[0])),
            hinges=encoded.hinges,
            duals=spoil(solution.answer.duals),
        )
        found.append((solution.lower, proof))
    return found


@pytest.mark.parametrize("maker", [dense, leaky, residual])
def test_the_pass_proves_the_programs_optimum(maker: Callable[[int], Network]) -> None:
    for seed in range(4):
        network = maker(seed)
        case = case_of(network, seed, 0.3)
        for lower, proof in _proved(network, case):
            assert proof.lower >= lower - 1e-6 * (1 + abs(lower))


def test_slopes_lie_between_their_ends_and_differ_from_crowns() -> None:
    network = dense(1, (4, 20, 20, 3))
    case = case_of(network, 1)
    slopes = [alpha for _, proof in _proved(network, case) for alpha in proof.alpha.values()]
    values = np.concatenate([alpha.ravel() for alpha in slopes])
    assert ((values >= 0) & (values <= 1)).all()
    assert ((values > 1e-6) & (values < 1 - 1e-6)).any()


@pytest.mark.parametrize(
    "spoil",
    [lambda d: d * 0, lambda d: -d, lambda d: d * np.nan, lambda d: d * 1e12 + 1],
    ids=["nothing", "negated", "not a number", "huge"],
)
def test_any_duals_give_sound_slopes(spoil: Spoil) -> None:
    network = dense(2)
    case = case_of(network, 2)
    least = least_sample(network, case)
    for (_, proof), sample in zip(_proved(network, case, spoil), least, strict=True):
        assert np.isfinite(proof.lower)
        assert proof.lower <= sample + 1e-9
