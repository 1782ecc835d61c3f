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
from solvers.proof.producing.produce import Prover, Unproven
from solvers.proof.producing.trace import Trace
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
        "stages", "reason", "proof",
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
        trace: Trace | None,
    ) -> Decision:
        seen.update(network=network, options=options, shape=problem.cases[0].region.shape)
        assert trace is None
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


def test_a_proof_is_checked_and_passes_the_check_of_the_file(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = small.path("p.proof")
    assert verify(small, small.holds, "--proof", proof, "--json", "-") == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert (answer["verdict"], answer["evidence"]) == ("verified", "checked")
    assert answer["deployment_sound"] is True
    assert answer["proof"]["bytes"] == Path(proof).stat().st_size
    assert 0 < answer["proof"]["deployment_margin"] < answer["proof"]["margin"]
    assert any(line.startswith("proof    ") for line in captured.err.splitlines())
    check = ["check", proof, "--network", str(small.network), "--quiet", "--spec"]
    assert main([*check, str(small.holds)]) == 0
    assert main([*check, str(small.broken)]) == 1


def test_without_a_proof_a_verdict_is_shown_as_weaker(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_prover: Prover, *_arguments: object, **_options: object) -> Unproven:
        return Unproven("there was no time", 0.5)

    monkeypatch.setattr(Prover, "prove", fail)
    assert verify(small, small.holds, "--proof", small.path("p"), "--json", "-") == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert (answer["verdict"], answer["evidence"]) == ("verified", "solver")
    assert answer["proof"]["reason"] == "there was no time"
    assert answer["deployment_sound"] is True
    assert "evidence solver (no checked proof)" in captured.err
    assert not Path(small.path("p")).exists()


def test_nothing_is_proved_of_what_is_not_verified(small: Small) -> None:
    assert verify(small, small.broken, "--proof", small.path("p"), "--quiet") == 0
    assert not Path(small.path("p")).exists()


def test_a_counterexample_is_written_with_what_ran_it(small: Small) -> None:
    path = small.path("found.npz")
    assert verify(small, small.broken, "--counterexample", path, "--quiet") == 0
    with np.load(path) as found:
        assert set(found) == {"x", "y", "runtime", "version"}
        assert found["x"].shape == (1, 2)
        assert found["x"].dtype == found["y"].dtype == np.float32
        assert found["y"][0] <= found["y"][1]
        assert str(found["runtime"]) == "onnxruntime"
    other = small.path("none.npz")
    assert verify(small, small.holds, "--counterexample", other, "--quiet") == 0
    assert not Path(other).exists()


def test_results_do_not_share_a_file(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    same = small.path("same")
    assert verify(small, small.holds, "--proof", same, "--json", same) == 2
    assert "--json and --proof name the same file" in capsys.readouterr().err


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
