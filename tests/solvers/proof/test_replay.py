"""Counterexamples are judged by what their outputs are, not by what rounding makes of them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from onnx import TensorProto

from solvers.proof import AskedCase
from solvers.proof.replay import CounterexampleError, RealNumbers, replay
from tests.helpers.networks import model, node

IDENTITY = model([node("Identity", ["x"], ["y"])], shape=(1, 2))


def file_of(x: list[float], y: list[float] | None = None) -> bytes:
    """Return a counterexample, whose outputs are its inputs if none are given."""
    content, held = BytesIO(), np.array([x], np.float32)
    told = held if y is None else np.array([y], np.float32)
    np.savez(content, x=held, y=told, runtime=np.array("onnxruntime"), version=np.array("1"))
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


def test_networks_of_float64_are_judged_by_what_they_give() -> None:
    """1 + 2^−40 is above 1 there, though float32 does not tell them apart."""
    far = {"c": np.array([[2.0**-40, 0.0]])}
    network = model(
        [node("Add", ["x", "c"], ["y"])], shape=(1, 2), weights=far, dtype=TensorProto.DOUBLE
    )
    result = replay(file_of([1.0, 0.0]), network, [case_of(1.0)])
    assert (result.accepted, result.margin) == (False, 2.0**-40)
    assert result.real is RealNumbers.CONTRADICTS
    assert result.output.dtype == np.float64
    assert replay(file_of([1.0, 0.0]), network, [case_of(1.0 + 2.0**-40)]).accepted


def test_a_normalisation_outside_of_the_file_is_applied() -> None:
    """(x − 0.25) / 0.5 is the outputs, whose sum has to be at most 1."""
    normalization, given = ([0.25], [0.5]), file_of([0.5, 0.75], [0.5, 1.0])
    found = replay(given, IDENTITY, [case_of(1.5)], normalization=normalization)
    assert found.accepted
    assert (found.difference, found.margin, found.real) == (0.0, 0.0, RealNumbers.OPEN)
    assert replay(given, IDENTITY, [case_of(2.0)], normalization=normalization).real == "confirms"
    bare = replay(given, IDENTITY, [case_of(1.0)])
    assert not bare.accepted
    assert bare.difference == 0.25
    channels = ([0.0, 0.5], [1.0, 0.5])
    assert replay(given, IDENTITY, None, normalization=channels).output.tolist() == [0.5, 0.5]
    for wrong in (([0.0] * 3, [1.0] * 3), ([0.0], [0.0]), ([0.0], [1.0, 1.0])):
        with pytest.raises(CounterexampleError, match="normalisation cannot"):
            replay(given, IDENTITY, None, normalization=wrong)


@pytest.mark.parametrize(("fixed", "accepted"), [(0.1, True), (0.1 + 1e-7, False)])
def test_inputs_that_no_float32_equals_are_the_nearest_one(fixed: float, accepted: bool) -> None:
    """What real numbers say is said of the number that is meant."""
    corner = np.array([fixed, 0.0])
    case = AskedCase(
        corner, np.array([fixed, 1.0]), [(np.array([[1.0, 0.0]]), np.array([0.1 + 1e-10]))]
    )
    result = replay(file_of([0.1, 0.5]), IDENTITY, [case])
    assert float(np.float32(0.1)) > 0.1
    assert not result.accepted
    assert (result.case == 0) is accepted
    if accepted:
        assert result.real is RealNumbers.CONFIRMS


def test_networks_that_cannot_be_run_are_refused_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    odd = IDENTITY.replace(b"Identity", b"Ident\xffty")
    with pytest.raises(CounterexampleError, match="onnxruntime cannot run it"):
        replay(file_of([1.0, 0.5]), odd, [case_of(1.0)])
    assert capfd.readouterr() == ("", "")
