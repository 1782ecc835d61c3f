"""Long runs over the competition's instances: crashes cost one instance, tables say why."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks import competition_runs
from benchmarks.competition_runs import CategoryError, Settings, run_category
from benchmarks.competition_tables import joined, missing, summary, why_open
from benchmarks.rigour import HEADER, cells, proof_figures, relative_losses, total_figures
from cli.main import main as tightrope
from tests.helpers.small_files import write_mlp

NAMES = ("a.vnnlib", "b.vnnlib", "c.vnnlib", "d.vnnlib")
OUT_OF_MEMORY = -9


def answered(name: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a row as `bench --json` writes it."""
    row = {
        "onnx": "net.onnx",
        "vnnlib": name,
        "verdict": "verified",
        "expected": "unsat",
        "evidence": "solver",
        "deployment_sound": None,
        "proof": None,
        "seconds": 1.5,
        "timeout_seconds": 60.0,
        "lower": 0.25,
        "upper": None,
        "reason": None,
        "stages": [],
    }
    return {**row, **changes}


def proved(name: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    proof = {"proving_seconds": 2.0, "checking_seconds": 0.5, "bytes": 100, **changes}
    return answered(name, evidence="checked", deployment_sound=True, proof=proof)


@pytest.fixture
def category(tmp_path: Path) -> Path:
    """A folder with a list of four instances."""
    folder = tmp_path / "listed"
    folder.mkdir()
    with (folder / "instances.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["onnx", "vnnlib", "timeout_s", "expected", "best_tool", "best_time_s", "n_tools"]
        )
        for name in NAMES:
            writer.writerow(["net.onnx", name, 60, "unsat", "quick", "3.0", 2])
    return folder


@dataclass
class FakeBench:
    """Answers instances as the command line would, and ends as told at some of them."""

    ends_at: dict[str, int] = field(default_factory=dict)
    only_with_proofs: bool = False
    asked: list[list[str]] = field(default_factory=list)

    def __call__(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "benchmarks.rigour" in command:
            Path(command[command.index("--out") + 1]).write_text("[0.125]")
            return subprocess.CompletedProcess(command, 0)
        with Path(command[command.index("bench") + 1]).open(newline="") as file:
            names = [Path(line["vnnlib"]).name for line in csv.DictReader(file)]
        self.asked.append(names)
        proving, rows, status = "--proofs" in command, [], 0
        for name in names:
            status = self.ends_at.get(name, 0) if proving or not self.only_with_proofs else 0
            if status:
                break
            rows.append({**answered(f"/far/away/{name}"), "onnx": "/far/away/net.onnx"})
        if rows:
            target = Path(command[command.index("--json") + 1])
            target.write_text(json.dumps({"instances": rows}))
        return subprocess.CompletedProcess(command, status)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeBench]:
    """Put a fake in place of processes."""

    def put(**how: Any) -> FakeBench:  # noqa: ANN401
        fake = FakeBench(**how)
        monkeypatch.setattr(competition_runs.subprocess, "run", fake)
        return fake

    return put


def results(category: Path, settings: Settings) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = joined(category, settings.out / f"{category.name}.json")
    return rows


def test_a_crash_costs_the_instance_it_came_at(
    category: Path, tmp_path: Path, faked: Callable[..., FakeBench]
) -> None:
    fake, settings = faked(ends_at={"b.vnnlib": OUT_OF_MEMORY, "d.vnnlib": -11}), Settings(tmp_path)
    run_category(category, settings)
    rows = results(category, settings)
    assert [row["vnnlib"] for row in rows] == list(NAMES)
    assert [row["verdict"] for row in rows] == ["verified", "unknown", "verified", "unknown"]
    assert rows[1]["reason"] == "the process was ended by signal 9"
    assert fake.asked == [list(NAMES), ["c.vnnlib", "d.vnnlib"]]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["listed.json"]
    run_category(category, settings)
    assert len(fake.asked) == 2, "a finished category is not run again"


def test_an_instance_whose_proof_crashes_keeps_its_verdict(
    category: Path, tmp_path: Path, faked: Callable[..., FakeBench]
) -> None:
    fake = faked(ends_at={"b.vnnlib": OUT_OF_MEMORY}, only_with_proofs=True)
    settings = Settings(tmp_path, proof_timeout_seconds=5.0)
    run_category(category, settings)
    rows = results(category, settings)
    assert [row["verdict"] for row in rows] == ["verified"] * 4
    assert rows[1]["proof"] == {"reason": "the process was ended by signal 9"}
    assert fake.asked == [list(NAMES), ["b.vnnlib"], ["c.vnnlib", "d.vnnlib"]]
    assert json.loads((tmp_path / "listed.rigour.json").read_text()) == [0.125]


def test_a_run_that_was_cut_short_goes_on_where_it_stopped(
    category: Path, tmp_path: Path, faked: Callable[..., FakeBench]
) -> None:
    settings = Settings(tmp_path)
    faked(ends_at={"c.vnnlib": 130})
    with pytest.raises(KeyboardInterrupt):
        run_category(category, settings)
    assert not (tmp_path / "listed.json").exists()
    fake = faked()
    run_category(category, settings)
    assert fake.asked == [["c.vnnlib", "d.vnnlib"]]
    assert [row["vnnlib"] for row in results(category, settings)] == list(NAMES)


@pytest.mark.parametrize(("status", "said"), [(2, "status 2"), (3, "status 3")])
def test_a_list_that_is_refused_fails_the_category_alone(
    status: int, said: str, category: Path, tmp_path: Path, faked: Callable[..., FakeBench]
) -> None:
    faked(ends_at=dict.fromkeys(NAMES, status))
    with pytest.raises(CategoryError, match=said):
        run_category(category, Settings(tmp_path))
    assert not (tmp_path / "listed.json").exists()


def test_a_process_that_hangs_is_taken_for_one_that_crashed(
    category: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(command: Sequence[str], **given: float) -> None:
        raise subprocess.TimeoutExpired(list(command), given["timeout"])

    monkeypatch.setattr(competition_runs.subprocess, "run", hangs)
    run_category(category, Settings(tmp_path, timeout_seconds=1.0))
    rows = results(category, Settings(tmp_path))
    assert len(rows) == 4
    assert all("had not ended after" in row["reason"] for row in rows)


def test_tables_say_what_is_solved_and_why_not(
    category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = {"name": "neuron-splitting", "seconds": 51.0, "detail": "timeout, 77 domains"}
    open_ = answered("b.vnnlib", verdict="unknown", lower=-0.5, reason="timeout", stages=[stage])
    rows = [answered("a.vnnlib"), open_, answered("c.vnnlib", verdict="falsified")]
    (tmp_path / "listed.json").write_text(json.dumps({"instances": rows}))
    found = joined(category, tmp_path / "listed.json")
    words = [why_open(row) for row in found]
    assert words[1] == "timeout; proved -0.5; neuron-splitting: timeout, 77 domains in 51.0 s"
    assert words[2] == "falsified, against what is expected"
    summary(found, 60.0)
    missing(found)
    said = capsys.readouterr().out
    assert "| listed | 3 | 1 | 1 | 1 | 1 | 1.5 | 241.5 |" in said
    assert f"| listed | net.onnx | b.vnnlib | unsat | quick | 3.0 | 2 | 1.5 | {words[1]} |" in said


def test_figures_of_proofs_count_what_is_verified_and_not_what_is_falsified() -> None:
    refused = answered("c.vnnlib", proof={"reason": "products have no rule"})
    broken = answered("d.vnnlib", verdict="falsified", evidence="checked")
    mine = [proved("a.vnnlib"), proved("b.vnnlib", bytes=5000, checking_seconds=1.5), refused]
    found = proof_figures("mine", [*mine, broken], [1e-7, 3e-7])
    assert dict(zip(HEADER, cells(found), strict=True)) == {
        "category": "mine",
        "instances": "4",
        "verified": "3",
        "checked": "2",
        "share": "66.7%",
        "float32": "2",
        "search s": "1.5",
        "proving s": "2",
        "checking s": "1",
        "bytes": "2550",
        "most bytes": "5000",
        "lost to rigour": "3e-07",
    }
    assert found["why not"] == [["net.onnx", "c.vnnlib", "products have no rule"]]
    empty = cells(proof_figures("none", [broken], []))
    assert empty[HEADER.index("share")] == empty[-1] == "–"
    total = total_figures({"mine": mine, "none": [broken]}, {"mine": [1e-7], "none": []})
    assert (total["instances"], total["checked"], total["lost to rigour"]) == (4, 2, 1e-7)


def test_rigour_costs_little_and_what_cannot_be_compared_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [([[1.0, 2.0], [0.5, -1.0]], [0.1, 0.0]), ([[1.0, -1.0]], [0.5])]
    write_mlp(tmp_path / "net.onnx", layers)
    lines = ["(declare-const X_0 Real)", "(declare-const X_1 Real)", "(declare-const Y_0 Real)"]
    lines += [f"(assert (>= X_{i} 0.1)) (assert (<= X_{i} 0.2))" for i in range(2)]
    lines.append("(assert (<= Y_0 0.0))")
    (tmp_path / "a.vnnlib").write_text("\n".join(lines))
    listed = tmp_path / "instances.csv"
    listed.write_text("net.onnx,a.vnnlib,60\n")
    target = tmp_path / "found.json"
    options = ["--quiet", "--json", str(target), "--proofs", str(tmp_path / "proofs")]
    assert tightrope(["bench", str(listed), *options]) == 0
    rows = json.loads(target.read_text())["instances"]
    (loss,) = relative_losses([*rows, proved("absent.vnnlib")], tmp_path)
    assert -1e-5 < loss < 1e-5
    assert "not compared: net.onnx absent.vnnlib" in capsys.readouterr().err
    assert proof_figures("mine", rows, [loss])["checked"] == 1
