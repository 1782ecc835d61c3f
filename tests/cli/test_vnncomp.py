"""Result files, read back by the rules of the competition."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.vnncomp import result_text
from solvers.results import Counterexample, Decision, Evidence, Verdict

FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1)


@pytest.mark.parametrize(
    ("verdict", "reason", "text"),
    [
        (Verdict.VERIFIED, None, "unsat\n"),
        (Verdict.UNKNOWN, "timeout", "timeout\n"),
        (Verdict.UNKNOWN, "timeout after 60 s", "timeout\n"),
        (Verdict.UNKNOWN, "memory", "unknown\n"),
        (Verdict.UNKNOWN, None, "unknown\n"),
    ],
)
def test_words(verdict: Verdict, reason: str | None, text: str) -> None:
    assert result_text(Decision(verdict, Evidence.NONE, 1.0, reason=reason)) == text


def test_a_counterexample_is_written_as_pairs() -> None:
    found = Counterexample(np.array([[0.5, -1.0]], np.float32), np.array([2.0], np.float32))
    text = result_text(Decision(Verdict.FALSIFIED, Evidence.CHECKED, 1.0, counterexample=found))
    assert text == "sat\n((X_0 0.5)\n(X_1 -1.0)\n(Y_0 2.0))\n"


@given(FLOATS, FLOATS)
def test_numbers_come_back_bit_for_bit(x: list[float], y: list[float]) -> None:
    found = Counterexample(np.array(x, np.float32), np.array(y, np.float32))
    text = result_text(Decision(Verdict.FALSIFIED, Evidence.CHECKED, 1.0, counterexample=found))
    pairs = re.findall(r"\(([XY])_(\d+) ([^()]+)\)", text)
    for letter, values in (("X", found.x), ("Y", found.y)):
        mine = [(int(index), number) for kind, index, number in pairs if kind == letter]
        assert [index for index, _ in mine] == list(range(len(values)))
        read = np.array([float(number) for _, number in mine], dtype=np.float32)
        np.testing.assert_array_equal(read, values)
