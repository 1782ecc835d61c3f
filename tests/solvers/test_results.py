"""What is answered, as JSON."""

from __future__ import annotations

import json

import numpy as np

from solvers.results import Counterexample, Decision, Evidence, SolverReport, Stage, Verdict


def test_a_counterexample_is_written_flat_without_losing_digits() -> None:
    x = np.array([[0.1, 0.2], [0.3, 0.4]], dtype=np.float32)
    y = np.array([1e-30, -3.0], dtype=np.float32)
    written = json.loads(json.dumps(Counterexample(x, y).to_json()))
    np.testing.assert_array_equal(np.float32(written["x"]), x.ravel())
    np.testing.assert_array_equal(np.float32(written["y"]), y)


def test_a_decision_is_written_whole() -> None:
    report = SolverReport("highs", "1.15", "open", "Optimal", {"feasibility": 1e-9})
    decision = Decision(
        verdict=Verdict.FALSIFIED,
        evidence=Evidence.CHECKED,
        seconds=1.5,
        lower=-2.0,
        upper=-1.0,
        counterexample=Counterexample(np.zeros(1, np.float32), np.ones(2, np.float32)),
        stages=(Stage("attack", 0.5, upper=-1.0), Stage("exact", 1.0, -2.0, -1.0, "why", report)),
    )
    written = json.loads(json.dumps(decision.to_json()))
    assert written == {
        "verdict": "falsified",
        "evidence": "checked",
        "deployment_sound": None,
        "seconds": 1.5,
        "lower": -2.0,
        "upper": -1.0,
        "counterexample": {"x": [0.0], "y": [1.0, 1.0]},
        "stages": [
            {
                "name": "attack",
                "seconds": 0.5,
                "lower": None,
                "upper": -1.0,
                "detail": None,
                "solver": None,
            },
            {
                "name": "exact",
                "seconds": 1.0,
                "lower": -2.0,
                "upper": -1.0,
                "detail": "why",
                "solver": {
                    "solver": "highs",
                    "version": "1.15",
                    "licence": "open",
                    "status": "Optimal",
                    "tolerances": {"feasibility": 1e-9},
                },
            },
        ],
        "reason": None,
        "proof": None,
    }


def test_an_open_answer_says_why() -> None:
    decision = Decision(Verdict.UNKNOWN, Evidence.NONE, 60.0, reason="timeout")
    written = decision.to_json()
    assert (written["verdict"], written["reason"]) == ("unknown", "timeout")
    assert written["counterexample"] is None
    assert written["stages"] == []


def test_the_tolerances_of_a_report_are_a_copy() -> None:
    report = SolverReport("scip", "10", "open", "ok", {"gap": 0.0})
    report.to_json()["tolerances"]["gap"] = 1.0
    assert report.tolerances == {"gap": 0.0}
