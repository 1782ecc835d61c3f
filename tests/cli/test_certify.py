"""`tightrope certify` from files to figures, on a network worked out by hand."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cli import certify as command
from cli.main import main
from solvers.certification import ItemResult
from tests.cli.conftest import Small

METHODS = "ibp,crown,exact"


def certify(small: Small, *options: str) -> int:
    return main(
        ["certify", str(small.network), "--data", str(small.data), "--epsilon", "0.05", *options]
    )


def test_the_report_says_what_is_true(small: Small) -> None:
    out = small.path("out.json")
    assert certify(small, "--methods", METHODS, "--quiet", "--json", out) == 0
    report = json.loads(Path(out).read_text())
    assert list(report) == ["network", "region", "settings", "summary", "items"]
    assert report["network"]["name"] == "two"
    assert len(report["network"]["sha256"]) == 64
    assert report["region"] == {"norm": "inf", "epsilon": 0.05, "valid_range": [0.0, 1.0]}
    assert report["settings"]["methods"] == METHODS.split(",")
    assert [item["verdict"] for item in report["items"]] == [
        "verified",
        "falsified",
        "misclassified",
    ]
    summary = report["summary"]
    assert summary["count"] == 3
    assert summary["clean_accuracy"] == pytest.approx(2 / 3)
    assert summary["empirical_accuracy"] == pytest.approx(1 / 3)
    assert summary["certified_accuracy"]["exact"] == pytest.approx(1 / 3)
    assert (summary["falsified"], summary["unknown"]) == (1, 0)
    # Worst case of the first input at (0.75, 0.25): 2·0.75 − 2·0.25 − 0.1. Of the second at
    # (0.45, 0.47), where the second unit is off: 0.92 − 2·0.47 − 0.1.
    for item, margin in zip(report["items"], (0.9, -0.12), strict=False):
        low, high = item["exact"]
        assert low <= margin + 1e-3
        assert high >= margin - 1e-3
        assert all(bound <= margin + 1e-4 for bound in item["lower"].values())
    found = report["items"][1]["counterexample"]
    assert found["y"][0] <= found["y"][1]
    assert max(abs(a - b) for a, b in zip(found["x"], (0.5, 0.42), strict=True)) <= 0.05 + 1e-6


@pytest.mark.parametrize(("norm", "margin"), [("1", 1.1 - 2 * 0.05), ("2", 1.1 - 8**0.5 * 0.05)])
def test_other_norms_are_measured_as_they_say(small: Small, norm: str, margin: float) -> None:
    out = small.path("out.json")
    assert certify(small, "--methods", METHODS, "--norm", norm, "--quiet", "--json", out) == 0
    report = json.loads(Path(out).read_text())
    assert report["region"] == {"norm": norm, "epsilon": 0.05, "valid_range": [0.0, 1.0]}
    # The first input is (0.8, 0.2), where the margin is 2a − 2b − 0.1 all around.
    item = report["items"][0]
    assert item["verdict"] == "verified"
    assert item["lower"]["crown"] == pytest.approx(margin, abs=1e-6)
    assert item["upper"] == pytest.approx(margin, abs=3e-3)
    assert item["upper"] >= margin - 1e-6


@pytest.mark.parametrize("extra", [(), ("--norm", "2"), ("--mean", "0.1", "--std", "0.5")])
def test_every_verified_input_gets_a_proof(small: Small, extra: tuple[str, ...]) -> None:
    out, folder = small.path("out.json"), Path(small.path("deep/proofs"))
    asked = ("--methods", "ibp,crown", "--quiet", "--json", out, "--proofs", str(folder), *extra)
    assert certify(small, *asked) == 0
    report = json.loads(Path(out).read_text())
    first, *others = report["items"]
    assert (first["verdict"], first["evidence"]) == ("verified", "checked")
    assert first["deployment_sound"] is True
    assert all(item["proof"] is None for item in others)
    assert report["summary"]["evidence"] == {"checked": 3, "solver": 0, "none": 0}
    assert report["summary"]["deployment_sound"] == 1
    (proof,) = folder.iterdir()
    assert proof.name == "000000.proof"
    assert proof.stat().st_size == first["proof"]["bytes"]
    assert main(["check", str(proof), "--network", str(small.network), "--quiet"]) == 0


def test_the_table_names_every_method(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify(small, "--methods", METHODS) == 0
    captured = capsys.readouterr()
    for line in ("clean", "empirical", "certified, ibp", "certified, exact", "1 falsified"):
        assert line in captured.out
    assert captured.err == ""


def test_json_on_standard_output_stands_alone(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certify(small, "--methods", "crown", "--json", "-") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["summary"]["count"] == 3
    assert "certified, crown" in captured.err


def test_quiet_prints_nothing(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify(small, "--methods", "ibp", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_the_page_is_written_with_its_counterexample(small: Small) -> None:
    out = Path(small.path("out.html"))
    assert certify(small, "--methods", METHODS, "--quiet", "--html", str(out)) == 0
    page = out.read_text()
    assert page.startswith("<!doctype html>")
    assert "Input 1 <span>· label 0, answer becomes 1" in page


def test_count_limits_the_inputs(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify(small, "--methods", "ibp", "--count", "1", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["summary"]["count"] == 1


def test_options_reach_the_engine(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def fake(
        _network: object, _data: object, options: object, **rest: object
    ) -> Iterator[ItemResult]:
        seen.update(options=options, **rest)
        return iter(())

    monkeypatch.setattr(command, "certify_items", fake)
    status = certify(
        small, "--methods", "crown,exact", "--targets", "1", "--timeout", "7", "--seed", "3",
        "--valid-range", "none", "--mean", "0.5", "--std", "0.25", "--device", "cpu", "--json", "-",
    )  # fmt: skip
    assert status == 0
    options = seen["options"]
    assert [str(method) for method in options.methods] == ["crown", "exact"]
    assert (options.targets, options.timeout_seconds, options.seed) == ((1,), 7.0, 3)
    assert (options.valid_range, options.device) == (None, "cpu")
    assert (options.normalization.mean, options.normalization.std) == ((0.5,), (0.25,))
    assert list(seen["indices"]) == [0, 1, 2]
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["normalization"] == {"mean": [0.5], "std": [0.25]}


def test_an_interrupt_leaves_nothing(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = command.certify_items

    def interrupted(*arguments: object, **options: object) -> Iterator[ItemResult]:
        for item in real(*arguments, **options):  # type: ignore[arg-type]
            yield item
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(command, "certify_items", interrupted)
    out = Path(small.path("out.json"))
    assert certify(small, "--methods", "ibp", "--json", str(out)) == 130
    assert not out.exists()
    assert "certified" not in capsys.readouterr().out


def test_a_full_disk_is_a_failure_and_leaves_nothing(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(small.folder.iterdir())
    monkeypatch.setattr("os.fsync", full)
    out = small.path("out.json")
    assert certify(small, "--methods", "ibp", "--quiet", "--json", out) == 3
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(small.folder.iterdir()) == before


def test_progress_is_shown_on_a_terminal_and_keeps_out_of_results(small: Small) -> None:
    leader, follower = pty.openpty()
    command_line = [
        sys.executable, "-m", "cli.main", "certify", str(small.network), "--data", str(small.data),
        "--epsilon", "0.05", "--methods", "ibp", "--json", "-",
    ]  # fmt: skip
    run = subprocess.run(
        command_line,
        stdout=subprocess.PIPE,
        stderr=follower,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(follower)
    shown = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(leader, 65536):
            shown += piece
    os.close(leader)
    assert b"certifying" in shown
    assert json.loads(run.stdout)["summary"]["count"] == 3


def test_every_stage_is_named_beside_the_bar(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr("cli.console.Bar.note", lambda _, note: notes.append(note))
    assert certify(small, "--methods", "ibp,lp") == 0
    words = [re.sub(r"[0-9.]+ s$", "# s", note) for note in notes]
    assert words[:2] == ["inputs 0 to 1: attack took # s", "inputs 0 to 1: ibp took # s"]
    assert words[2:] == [f"input {index}: lp took # s" for index in range(2)]
