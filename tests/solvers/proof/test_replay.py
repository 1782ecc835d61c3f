"""Counterexamples are judged by what their outputs are, not by what rounding makes of them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest

from solvers.proof import AskedCase
from solvers.proof.replay import RealNumbers, replay
from tests.helpers.networks import model, node

IDENTITY = model([node("Identity", ["x"], ["y"])], shape=(1, 2))


def file_of(x: list[float]) -> bytes:
    """Return a counterexample whose outputs are its inputs."""
    content, held = BytesIO(), np.array([x], np.float32)
    np.savez(content, x=held, y=held, runtime=np.array("onnxruntime"), version=np.array("1"))
    return content.getvalue()


def case_of(offset: float) -> AskedCase:
    return AskedCase(np.zeros(2), np.ones(2), [(np.ones((1, 2)), np.array([offset]))])


@pytest.mark.parametrize(("small", "accepted"), [(0.0, True), (2.0**-60, False)])
def test_a_sum_that_rounds_to_its_limit_is_not_at_it(small: float, accepted: bool) -> None:
    """1 + 2^−60 is 1 in float64, and more than 1."""
    result = replay(file_of([1.0, small]), IDENTITY, [case_of(1.0)])
    assert result.accepted is accepted
    assert result.margin == small
    assert (result.reason is None) == accepted


def test_real_numbers_contradict_what_no_rounding_explains() -> None:
    result = replay(file_of([1.0, 0.5]), IDENTITY, [case_of(1.0)])
    assert not result.accepted
    assert result.margin == 0.5
    assert result.real is RealNumbers.CONTRADICTS


def test_an_input_outside_of_every_region_is_none() -> None:
    result = replay(file_of([2.0, 0.0]), IDENTITY, [case_of(9.0)])
    assert not result.accepted
    assert "no region" in str(result.reason)
    assert result.margin is None
