"""`tightrope tune`: a sweep from files to a front, gone on with, interrupted."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import tune as command
from cli.main import main
from models import load_network
from training import tuning


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).uniform(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=x[:, :3].argmax(axis=1))
    return tmp_path / "d.npz"


def tune(data: Path, *options: str) -> int:
    return main(
        [
            "tune", "--architecture", "mlp:5", "--data", str(data), "--method", "ibp",
            "--epsilon", "0.02", "--epochs", "1", "--batch-size", "16", "--trials", "2",
            "--out", str(data.parent / "sweep"), *options,
        ]
    )  # fmt: skip


def test_a_sweep_is_run_and_gone_on_with(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, page = data.parent / "out.json", data.parent / "out.html"
    assert tune(data, "--json", str(out), "--html", str(page)) == 0
    captured = capsys.readouterr()
    assert "trial-001.onnx" in captured.out
    assert captured.err == ""
    report: dict[str, Any] = json.loads(out.read_text())
    assert len(report["trials"]) == 2
    assert report["complete"]
    assert report["settings"]["feasibility_range"] == [0.001, 10.0]
    assert "feasibility_weight" not in report["settings"]
    assert report["dataset"]["splits"]["test"]["count"] == 12
    assert set(report["front"]) <= {0, 1}
    assert load_network(data.parent / "sweep" / "trial-000.onnx").output_size == 3
    assert page.read_text().startswith("<!doctype html>")
    monkeypatch.setattr(tuning, "train", lambda *_a, **_k: pytest.fail("it was trained again"))
    assert tune(data, "--quiet", "--json", str(out)) == 0
    assert json.loads(out.read_text())["trials"] == report["trials"]
    assert tune(data, "--epsilon", "0.03") == 2
    assert "with other settings (epsilon)" in capsys.readouterr().err


def test_an_interrupt_keeps_what_there_is(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tuning.train
    asked: list[int] = []

    def interrupted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        asked.append(1)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(tuning, "train", interrupted)
    out = data.parent / "out.json"
    assert tune(data, "--trials", "3", "--json", str(out)) == 130
    report = json.loads(out.read_text())
    assert (len(report["trials"]), report["complete"]) == (1, False)
    assert "the same command goes on with the sweep" in capsys.readouterr().err
    assert tune(data, "--trials", "3", "--quiet", "--json", str(out)) == 0
    assert len(json.loads(out.read_text())["trials"]) == 3


def test_an_interrupt_before_the_first_trial_leaves_no_report(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "tune", interrupted)
    out = data.parent / "out.json"
    assert tune(data, "--json", str(out)) == 130
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--slack-range", "0,1"], "no range of numbers above 0"),
        (["--slack-range", "1"], "give LOW,HIGH"),
        (["--feasibility-range", "2,1"], "give LOW <= HIGH"),
        (["--trials", "1"], "1 is not in the range"),
        (["--network", "absent.onnx"], "does not exist"),
        (["--mean", "0"], "give both --mean and --std"),
        (["--feasibility-weight", "1"], "No such option"),
    ],
)
def test_bad_options(
    options: list[str], words: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(data, *options) == 2
    assert words in capsys.readouterr().err
    assert not (data.parent / "sweep").exists()
