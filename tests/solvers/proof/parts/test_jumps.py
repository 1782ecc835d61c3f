"""Sign: its lines, its proofs, and what float32 makes of values beside the jump."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.onnx_import import load_network
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Problem, Specification
from solvers.proof import check_proof, read_network
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.parts.float32 import float32_error
from solvers.proof.parts.jumps import SIGN
from solvers.proof.producing import produce
from tests.helpers.networks import model, node

numbers = st.floats(-1e30, 1e30) | st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1e-70, 1.0, -1.0])


@given(numbers, numbers, st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4))
def test_no_point_crosses_a_line(first: float, last: float, shares: list[float]) -> None:
    low, high = min(first, last), max(first, last)
    ends = [(np.array([[low]]), np.array([[high]]))]
    lines, (least, most) = SIGN.lines(ends), SIGN.image(ends)
    between = [low + share * (high - low) for share in shares]
    beside = [z for z in (0.0, 5e-324, -5e-324) if low <= z <= high]
    for z in (low, high, *beside, *(min(max(z, low), high) for z in between)):
        below = lines.lower[0] * z + lines.below
        above = lines.upper[0] * z + lines.above
        assert below <= np.sign(z) <= above
        assert least <= np.sign(z) <= most


def steps(generator: np.random.Generator) -> tuple[bytes, list[np.ndarray]]:
    """Return a network of two layers around Sign, and its weights."""
    weights = [generator.normal(size=size).astype(np.float32) for size in ((2, 6), (6, 2))]
    nodes = [
        node("MatMul", ["x", "v"], ["z"]),
        node("Sign", ["z"], ["s"]),
        node("MatMul", ["s", "w"], ["y"]),
    ]
    return model(nodes, shape=(1, 2), weights=dict(zip("vw", weights, strict=True))), weights


@pytest.mark.parametrize("seed", range(4))
def test_networks_with_sign_are_proved(seed: int, tmp_path: Path) -> None:
    """Their least value on a fine grid is never below what is proved, and close to it."""
    generator = np.random.default_rng(seed)
    content, (first, last) = steps(generator)
    region = Box(np.array([[0.2, 0.2]]), np.array([[0.7, 0.7]]))
    grid = np.stack(np.meshgrid(*[np.linspace(0.2, 0.7, 401)] * 2), axis=-1).reshape(-1, 2)
    row = np.array([[1.0, -1.0]])
    least = (np.sign(grid @ first.astype(float)) @ last.astype(float) @ row[0]).min()
    specification = Specification((Clause(row, np.array([least - 0.05])),))
    problem = Problem((Case(region, specification),))
    proved = produce.Prover(load_network(content), "cpu").prove(problem, Budget.of_seconds(120.0))
    assert isinstance(proved, produce.Proven), proved
    path = tmp_path / "proof"
    path.write_bytes(proved.content)
    found = check_proof(path, content, produce.asked(problem))
    assert found.accepted, found.reason
    assert 0.05 + 1e-6 >= found.margin > 0
    assert "the rule of Sign" in found.parts


def test_float32_may_cross_the_jump_only_where_it_comes_near() -> None:
    """Values that stay away from 0 by more than their error have no error behind Sign."""
    content, _ = steps(np.random.default_rng(0))
    network = read_network(content)
    rows = np.eye(2)
    away = Enclosure.of(network, Region(np.full((1, 2), 0.3), np.full((1, 2), 0.3)))
    assert (float32_error(away, rows) < 1e-5).all()
    at = Enclosure.of(network, Region(np.zeros((1, 2)), np.full((1, 2), 1e-30)))
    found = float32_error(at, rows)
    assert (found >= 1.0).all()
    assert np.isfinite(found).all()
