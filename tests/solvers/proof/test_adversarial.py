"""Networks whose float32 answer is not the one on paper: never a plain `verified`."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from models.onnx_import import load_network
from solvers.portfolio import DecideOptions, decide
from solvers.results import Verdict
from tests.helpers.adversarial import (
    Trap,
    absorbed,
    hidden,
    order_dependent,
    thin,
    violated_in_float32,
)

TRAPS = {
    "absorbed": absorbed(),
    "absorbed, larger": absorbed(2.0**40),
    "hidden": hidden(),
    "hidden, steeper": hidden(steepness=2.0**16),
    "order": order_dependent(),
    "order, longer": order_dependent(8),
}


@pytest.mark.parametrize("name", TRAPS)
def test_the_traps_are_what_they_claim(name: str) -> None:
    """On paper the answer is `verified`; some order of summation in float32 contradicts it."""
    trap = TRAPS[name]
    (case,) = trap.problem.cases
    assert trap.margin > Fraction(1, 10)
    assert bool((trap.witness >= case.region.lower).all())
    assert bool((trap.witness <= case.region.upper).all())
    assert violated_in_float32(trap)


def never_plainly_verified(trap: Trap) -> None:
    decision = decide(load_network(trap.network), trap.problem, DecideOptions(timeout_seconds=5.0))
    if decision.verdict is Verdict.VERIFIED:
        assert decision.deployment_sound is False
    if decision.verdict is Verdict.FALSIFIED:
        assert decision.counterexample is not None
        (case,) = trap.problem.cases
        (clause,) = case.specification.clauses
        y = np.asarray(decision.counterexample.y, np.float64).ravel()
        assert bool((clause.matrix @ y <= clause.offset).all())


@pytest.mark.parametrize("name", TRAPS)
def test_what_float32_contradicts_is_not_plainly_verified(name: str) -> None:
    never_plainly_verified(TRAPS[name])


@pytest.mark.parametrize("seed", range(20))
def test_margins_below_the_error_of_inference(seed: int) -> None:
    """Margins of 1e-9 hold on paper; float32 cannot be trusted with them."""
    trap = thin(seed)
    assert trap.margin > 0
    never_plainly_verified(trap)
