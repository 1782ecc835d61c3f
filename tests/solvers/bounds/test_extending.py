"""The guide to adding an operator: its code runs as it stands, and bounds what it defines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from models.operators import Operator
from solvers.bounds import Interval
from solvers.bounds.relaxation import ElementwiseRelaxation
from solvers.bounds.rules import NonlinearRule, Slopes
from tests.solvers.bounds.support import uniform

GUIDE = Path(__file__).parents[3] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def defined() -> dict[str, Any]:
    """Run the guide's whole blocks; lines of tables, which are indented, are left out."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    whole = [block for block in blocks if not block.startswith(" ")]
    assert len(whole) == 2
    names: dict[str, Any] = {"__name__": "guide"}
    for block in whole:
        exec(compile(block, str(GUIDE), "exec"), names)  # noqa: S102 (our own documentation)
    return names


def test_the_operator_of_the_guide_computes(defined: dict[str, Any]) -> None:
    operator = defined["Asinh"]()
    assert isinstance(operator, Operator)
    x = uniform(0, 3, 4) * 10
    torch.testing.assert_close(torch.sinh(operator.forward([x], {})), x)


def test_the_rule_of_the_guide_encloses(defined: dict[str, Any]) -> None:
    operator, rule = defined["Asinh"](), defined["asinh_rule"]
    assert isinstance(rule, NonlinearRule)
    lower = uniform(1, 500, 1) * 10
    bounds = Interval(lower, lower + 10 * uniform(2, 500, 1, low=0))
    lines = rule.relax(operator, [bounds], {}, Slopes())
    assert isinstance(lines, ElementwiseRelaxation)
    steps = torch.linspace(0, 1, 101, dtype=torch.float64)
    x = bounds.lower + (bounds.upper - bounds.lower) * steps
    value = operator.forward([x], {})
    assert lines.lower_intercept is not None
    below = lines.lower_slope[:, 0] * x + lines.lower_intercept[:, 0]
    above = lines.upper_slope[:, 0] * x + lines.upper_intercept[:, 0]
    assert (below <= value + 1e-13).all()
    assert (value <= above + 1e-13).all()
    ends = rule.interval(operator, [bounds], {})
    assert (ends.lower <= value).all()
    assert (value <= ends.upper).all()
    # The lines are lines of this function: somewhere each of them touches it.
    assert ((above - value).amin(1) < 1e-2).all()
    assert ((value - below).amin(1) < 1e-2).all()
