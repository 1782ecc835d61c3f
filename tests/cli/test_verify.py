"""`tightrope verify`: the verdict on the first line, the rest behind it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import verify as command
from cli.main import main
from models.network import Network
from solvers.portfolio import DecideOptions
from solvers.problem import Problem
from solvers.results import Decision, Evidence, SolverReport, Stage, Verdict
from tests.cli.conftest import Small


def verify(small: Small, specification: Path, *options: str) -> int:
    return main(["verify", str(small.network), str(specification), *options])


def test_a_property_that_holds_is_verified(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(small, small.holds) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "verified"
    assert lines[1].startswith("evidence solver")
    assert len(lines) > 4


def test_a_broken_property_comes_with_an_input_that_breaks_it(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Path(small.path("result.txt"))
    assert verify(small, small.broken, "--json", "-", "--vnncomp", str(result)) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert captured.err.splitlines()[0] == "falsified"
    assert list(answer) == [
        "verdict", "evidence", "deployment_sound", "seconds", "lower", "upper", "counterexample",
        "stages", "reason",
    ]  # fmt: skip
    assert (answer["verdict"], answer["evidence"]) == ("falsified", "checked")
    x, y = (np.array(answer["counterexample"][key]) for key in ("x", "y"))
    assert y[0] <= y[1]
    assert (x >= np.array([0.4, 0.1], np.float32)).all()
    assert (x <= np.array([0.8, 0.6], np.float32)).all()
    lines = result.read_text().splitlines()
    assert lines[0] == "sat"
    assert lines[1].startswith("((X_0 ")
    assert lines[-1].startswith("(Y_1 ")


def test_quiet_prints_the_verdict_alone(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(small, small.holds, "--quiet") == 0
    assert capsys.readouterr() == ("verified\n", "")


def decided(decision: Decision, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the engine give this decision; return what it will be asked."""
    seen: dict[str, Any] = {}

    def fake(
        network: Network,
        problem: Problem,
        options: DecideOptions,
        *,
        cancelled: Callable[[], bool],
        progress: Callable[[Stage], None],
    ) -> Decision:
        seen.update(network=network, options=options, shape=problem.cases[0].region.shape)
        for stage in decision.stages:
            progress(stage)
        assert not cancelled()
        return decision

    monkeypatch.setattr(command, "decide", fake)
    return seen


def test_an_unknown_answer_says_why_and_shows_its_stages(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = SolverReport("highs", "1", "open", "time limit", {"feasibility": 1e-6})
    stages = (
        Stage("attack", 0.5, None, 2.0),
        Stage("exact", 9.0, -1.0, 2.0, "stopped [at the limit]", report),
    )
    decision = Decision(
        Verdict.UNKNOWN, Evidence.NONE, 9.5, lower=-1.0, upper=2.0, stages=stages, reason="timeout"
    )
    seen = decided(decision, monkeypatch)
    assert verify(small, small.holds, "--timeout", "9", "--seed", "5", "--device", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "unknown"
    assert "reason   timeout" in lines
    assert "margin   in [-1, 2]" in lines
    assert any("stopped [at the limit]" in line for line in lines)
    options = seen["options"]
    assert (options.timeout_seconds, options.seed, options.device) == (9.0, 5, "cpu")
    assert seen["network"].name == "two"
    assert seen["shape"] == (1, 2)


def test_proofs_are_refused_before_any_work(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(small, small.holds, "--proof", small.path("p")) == 2
    assert "--proof is not available in this version" in capsys.readouterr().err
    assert not Path(small.path("p")).exists()


def test_an_interrupt_ends_with_130_and_no_file(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object, **_options: object) -> Decision:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "decide", interrupt)
    assert verify(small, small.holds, "--json", small.path("out.json")) == 130
    assert not Path(small.path("out.json")).exists()


def test_a_packed_specification_is_read(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    packed = Path(small.path("holds.vnnlib.gz"))
    packed.write_bytes(gzip.compress(small.holds.read_bytes()))
    assert verify(small, packed, "--quiet") == 0
    assert capsys.readouterr().out == "verified\n"
