"""Result files of the verification competition VNN-COMP.

The first line is `sat`, `unsat`, `unknown` or `timeout`; after `sat` follows the counterexample as
an S-expression of pairs, inputs `X_i` then outputs `Y_i`, in row-major order.
"""

from __future__ import annotations

from solvers.results import Counterexample, Decision, Verdict

__all__ = ["ANSWERS", "answer", "result_text"]

ANSWERS = {Verdict.FALSIFIED: "sat", Verdict.VERIFIED: "unsat", Verdict.UNKNOWN: "unknown"}


def answer(decision: Decision) -> str:
    """Return the competition's word for a decision."""
    if decision.verdict is Verdict.UNKNOWN and (decision.reason or "").startswith("timeout"):
        return "timeout"
    return ANSWERS[decision.verdict]


def result_text(decision: Decision) -> str:
    """Return the content of a result file."""
    word = answer(decision)
    if decision.counterexample is None:
        return word + "\n"
    return f"{word}\n{_assignment(decision.counterexample)}\n"


def _assignment(counterexample: Counterexample) -> str:
    """Return `((X_0 …) … (Y_0 …) …)`, one pair a line, with every digit of the float32 values."""
    pairs = [
        f"({letter}_{index} {float(value)!r})"
        for letter, values in (("X", counterexample.x), ("Y", counterexample.y))
        for index, value in enumerate(values.ravel())
    ]
    return "(" + "\n".join(pairs) + ")"
