"""`tightrope bench`: every instance gets a line, whatever is wrong with it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import bench as command
from cli.main import main
from models.network import Network
from solvers.results import Decision, Evidence, Verdict
from tests.cli.conftest import Small
from tests.helpers.small_files import write_mlp

BENCHMARKS = Path(__file__).parents[2].parent / "shared" / "benchmarks"


def bench(small: Small, text: str, *options: str) -> int:
    path = small.folder / "instances.csv"
    path.write_text(text)
    return main(["bench", str(path), *options])


def results(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_instances_are_decided_scored_and_compared(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "onnx,vnnlib,timeout_s,expected\n"
        "two.onnx,holds.vnnlib,20,unsat\n"
        "two.onnx,broken.vnnlib,20,unsat\n"
        "two.onnx,broken.vnnlib,20,\n"
    )
    assert bench(small, text, "--json", "-", "--quiet") == 0
    answer = results(capsys)
    rows = answer["instances"]
    assert [row["verdict"] for row in rows] == ["verified", "falsified", "falsified"]
    assert [row["expected"] for row in rows] == ["unsat", "unsat", None]
    assert [row["evidence"] for row in rows] == ["solver", "checked", "checked"]
    assert (answer["solved"], answer["contradictions"]) == (2, 1)
    penalised = rows[0]["seconds"] + 40.0 + rows[2]["seconds"]
    assert answer["par2_seconds"] == pytest.approx(penalised / 3)


def test_a_failing_instance_is_a_line_with_its_reason(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [([[1.0, 0]], [0.0]), ([[1.0]], [0.0])]
    write_mlp(small.folder / "odd.onnx", layers, activation="Hardmax")
    (small.folder / "torn.onnx").write_bytes(small.network.read_bytes()[:40])
    (small.folder / "bad.vnnlib").write_text("(assert (<= X_0")
    text = (
        "odd.onnx,holds.vnnlib,5\n"
        "torn.onnx,holds.vnnlib,5\n"
        "missing.onnx,holds.vnnlib,5\n"
        "two.onnx,bad.vnnlib,5\n"
        "two.onnx,missing.vnnlib,5\n"
        "two.onnx,holds.vnnlib,5\n"
    )
    assert bench(small, text, "--json", "-") == 0
    answer = results(capsys)
    rows = answer["instances"]
    assert [row["verdict"] for row in rows] == ["unknown"] * 5 + ["verified"]
    assert [row["evidence"] for row in rows[:5]] == ["none"] * 5
    assert "Hardmax" in rows[0]["reason"]
    assert all(row["reason"] for row in rows[:5])
    assert rows[5]["reason"] is None
    assert "internal error" not in " ".join(row["reason"] for row in rows[:5])
    assert answer["solved"] == 1


@pytest.mark.parametrize("ended", [KeyboardInterrupt, SystemExit])
def test_results_so_far_outlive_whatever_ends_the_process(
    ended: type[BaseException],
    small: Small,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[int] = []
    target = small.folder / "results.json"
    real = command.decide

    def ends_at_the_third(*given: Any, **options: Any) -> Decision:  # noqa: ANN401
        kept.append(len(json.loads(target.read_text())["instances"]) if target.exists() else 0)
        if len(kept) == 3:
            raise ended
        return real(*given, **options)

    monkeypatch.setattr(command, "decide", ends_at_the_third)
    bench(small, "two.onnx,holds.vnnlib,20\n" * 4, "--json", str(target), "--quiet")
    assert kept == [0, 1, 2]
    answer = json.loads(target.read_text())
    assert [row["verdict"] for row in answer["instances"]] == ["verified"] * 2
    assert answer["instances"][0]["stages"][-1]["lower"] > 0
    said = f"interrupted; {target} has what ended before"
    assert (said in capsys.readouterr().err) == (ended is KeyboardInterrupt)


def test_results_are_written_into_a_pipe_once(small: Small) -> None:
    pipe = small.folder / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    text = "two.onnx,holds.vnnlib,20\n" * 2
    assert bench(small, text, "--json", str(pipe), "--quiet") == 0
    reader.join(timeout=60)
    assert len(json.loads(received[0])["instances"]) == 2


def test_an_unforeseen_error_is_a_line_too(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_arguments: object, **_options: object) -> Decision:
        raise RuntimeError("odd")

    monkeypatch.setattr(command, "decide", broken)
    assert bench(small, "two.onnx,holds.vnnlib,5\n") == 0
    captured = capsys.readouterr()
    assert "RuntimeError: odd" in captured.out
    assert "0 of 1 solved (0 falsified, 0 verified, 1 unknown), 0 contradictions" in captured.out


def test_contradictions_stand_out(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    text = "onnx,vnnlib,timeout_s,expected\ntwo.onnx,holds.vnnlib,20,sat\n"
    assert bench(small, text) == 0
    assert "CONTRADICTION" in capsys.readouterr().out


def test_packed_networks_are_unpacked_and_the_timeout_covers_reading(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small.network.with_name("packed.onnx.gz").write_bytes(gzip.compress(small.network.read_bytes()))
    text = "packed.onnx,holds.vnnlib,0.000001\npacked.onnx,holds.vnnlib,20\n"
    assert bench(small, text, "--json", "-") == 0
    rows = results(capsys)["instances"]
    assert [row["verdict"] for row in rows] == ["unknown", "verified"]
    assert rows[0]["reason"] == "timeout while reading the files"
    assert bench(small, text, "--json", "-", "--timeout", "30") == 0
    assert {row["verdict"] for row in results(capsys)["instances"]} == {"verified"}


def test_a_network_is_read_once_for_instances_in_a_row(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = command.load_network

    def counting(source: Path, *, name: str) -> Network:
        read.append(source)
        return real(source, name=name)

    monkeypatch.setattr(command, "load_network", counting)
    assert bench(small, "two.onnx,holds.vnnlib,9\ntwo.onnx,broken.vnnlib,9\n", "--quiet") == 0
    assert read == [small.network]


def test_verified_instances_are_proved(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(small.path("proofs"))
    text = "two.onnx,holds.vnnlib,9\ntwo.onnx,broken.vnnlib,9\n"
    assert bench(small, text, "--proofs", str(folder), "--json", "-") == 0
    answer = results(capsys)
    assert answer["evidence"] == {"checked": 2, "solver": 0, "none": 0}
    assert answer["deployment_sound"] == 1
    first, second = answer["instances"]
    assert (first["proof"]["reason"], second["proof"]) == (None, None)
    (proof,) = folder.iterdir()
    assert proof.name == "two-holds.proof"
    assert main(["check", str(proof), "--network", str(small.network), "--quiet"]) == 0


def test_a_proof_that_breaks_costs_the_proof_alone(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("the prover broke")

    monkeypatch.setattr(command, "prove", broken)
    folder = small.path("proofs")
    assert bench(small, "two.onnx,holds.vnnlib,9\n", "--proofs", folder, "--json", "-") == 0
    (row,) = results(capsys)["instances"]
    assert (row["verdict"], row["evidence"]) == ("verified", "solver")
    assert "the prover broke" in row["proof"]["reason"]


def test_an_interrupt_drops_everything(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[object] = []

    def interrupted(*_arguments: object, **_options: object) -> Decision:
        decided.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        return Decision(Verdict.UNKNOWN, Evidence.NONE, 0.0, reason="cancelled")

    monkeypatch.setattr(command, "decide", interrupted)
    text = "two.onnx,holds.vnnlib,9\ntwo.onnx,broken.vnnlib,9\n"
    assert bench(small, text, "--json", small.path("out.json")) == 130
    assert decided == [1]
    assert not Path(small.path("out.json")).exists()


def test_a_list_that_cannot_be_read_is_bad_input(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(small, "two.onnx,holds.vnnlib,never\n") == 2
    assert "line 1" in capsys.readouterr().err


ROWS = st.fixed_dictionaries(
    {
        "verdict": st.sampled_from(["verified", "falsified", "unknown"]),
        "expected": st.sampled_from([None, "sat", "unsat", "unknown"]),
        "evidence": st.sampled_from(["checked", "solver", "none"]),
        "deployment_sound": st.sampled_from([None, False, True]),
        "seconds": st.floats(0, 100),
        "timeout_seconds": st.floats(100, 200),
    }
)


@given(st.lists(ROWS, max_size=6))
def test_scores_add_up(rows: list[dict[str, Any]]) -> None:
    scores = command.score(rows)
    decided = [row for row in rows if row["verdict"] != "unknown"]
    wrong = [
        row
        for row in decided
        if (row["verdict"], row["expected"]) in {("verified", "sat"), ("falsified", "unsat")}
    ]
    assert scores["contradictions"] == len(wrong)
    assert scores["solved"] == len(decided) - len(wrong)
    assert sum(scores["evidence"].values()) == len(rows)
    assert scores["deployment_sound"] <= sum(row["verdict"] == "verified" for row in rows)
    if not rows:
        assert scores["par2_seconds"] is None
    elif not scores["solved"]:
        assert scores["par2_seconds"] >= 200.0


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not at hand")
def test_the_smallest_benchmark_is_answered_as_expected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    instances = BENCHMARKS / "test" / "instances.csv"
    assert main(["bench", str(instances), "--timeout", "30", "--json", "-"]) == 0
    answer = results(capsys)
    assert (answer["solved"], answer["contradictions"]) == (5, 0)
