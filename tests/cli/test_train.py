"""`tightrope train`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from cli.train_options import take_settings
from models import load_network
from models.data import load_source
from solvers.certification import CertifyOptions, certify_items
from solvers.methods import Method
from solvers.results import Verdict
from tests.helpers import networks
from training import TrainingOptions
from training.checkpoint import FILE_NAME

SHORT = [
    "--data", "digits", "--method", "crown-ibp", "--epsilon", "0.03", "--epochs", "2",
    "--count", "300", "--learning-rate", "0.01", "--device", "cpu",
]  # fmt: skip


def train(*arguments: str | Path) -> int:
    return main(["train", *SHORT, *map(str, arguments)])


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    path = tmp_path / "start.onnx"
    path.write_bytes(networks.mlp((64, 12, 10), batch="n"))
    return path


def test_it_writes_a_network_that_certifies_as_it_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report, metrics, page = (tmp_path / n for n in ("a.onnx", "a.json", "a.csv", "a.html"))
    status = train(
        "--architecture", "mlp:20", "--out", out, "--json", report, "--csv", metrics,
        "--html", page, "--feasibility-weight", "0.1", "--slack-weight", "0.1",
    )  # fmt: skip
    assert status == 0
    printed = capsys.readouterr().out
    assert "mlp:20, crown-ibp, L∞ ε = 0.03" in printed
    found = json.loads(report.read_text("utf-8"))
    arm = found["arms"]["candidate"]
    best = arm["history"][arm["best_epoch"] - 1]
    rows = list(csv.DictReader(io.StringIO(metrics.read_text("utf-8"))))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[-1]["step"] == str(2 * arm["settings"]["steps_per_epoch"])
    assert page.read_text("utf-8").startswith("<!doctype html>")
    validation = load_source("digits", split="validation")
    asked = CertifyOptions(epsilon=0.03, methods=(Method.CROWN_IBP,), device="cpu")
    items = list(certify_items(load_network(out), validation, asked))
    proved = sum(item.verdict is Verdict.VERIFIED for item in items)
    assert best["certified_accuracy"] == proved / len(items)


def test_a_network_is_trained_beside_its_baseline(tmp_path: Path, mlp: Path) -> None:
    out, baseline, report = (tmp_path / name for name in ("a.onnx", "b.onnx", "a.json"))
    assert (
        train(
            "--network", mlp, "--out", out, "--baseline-out", baseline, "--json", report,
            "--slack-weight", "1", "--quiet",
        ) == 0
    )  # fmt: skip
    arms = json.loads(report.read_text("utf-8"))["arms"]
    options = {name: arm["settings"]["options"] for name, arm in arms.items()}
    assert options["candidate"]["slack_weight"] == 1
    assert options["baseline"] == {**options["candidate"], "slack_weight": 0}
    assert arms["baseline"]["settings"]["network"] == arms["candidate"]["settings"]["network"]
    assert out.read_bytes() != baseline.read_bytes()
    assert load_network(out).graph == load_network(mlp).graph


def test_without_weights_both_arms_are_the_same(tmp_path: Path, mlp: Path) -> None:
    out, baseline = tmp_path / "a.onnx", tmp_path / "b.onnx"
    assert train("--network", mlp, "--out", out, "--baseline-out", baseline, "-q") == 0
    assert out.read_bytes() == baseline.read_bytes()


def test_it_goes_on_from_a_checkpoint(
    tmp_path: Path, mlp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, part, resumed = (tmp_path / name for name in ("w.onnx", "p.onnx", "r.onnx"))
    assert train("--network", mlp, "--out", whole, "-q") == 0
    interrupt_after(4, monkeypatch)
    place = ("--checkpoint", tmp_path / "saved")
    assert train("--network", mlp, "--out", part, "-q", *place) == 130
    assert "the best so far was written" in capsys.readouterr().err
    assert part.exists()
    assert (tmp_path / "saved" / FILE_NAME).exists()
    monkeypatch.undo()
    assert train("--network", mlp, "--out", resumed, "-q", *place) == 0
    assert resumed.read_bytes() == whole.read_bytes()


def test_an_interrupt_before_the_first_epoch_writes_nothing(
    tmp_path: Path, mlp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(1, monkeypatch)
    assert train("--network", mlp, "--out", tmp_path / "a.onnx") == 130
    assert not (tmp_path / "a.onnx").exists()


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C at a step: the signal comes from the progress of training itself."""
    import signal  # noqa: PLC0415

    from cli import train as work  # noqa: PLC0415

    original = work.step_note

    def note(event: Any) -> str:  # noqa: ANN401
        if event.step == steps and event.metrics is None:
            signal.raise_signal(signal.SIGINT)
        return original(event)

    monkeypatch.setattr(work, "step_note", note)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give either --network or --architecture"),
        (["--architecture", "mlp:5", "--network", "{mlp}"], "give either --network or"),
        (["--architecture", "mlp"], "there is no architecture 'mlp'"),
        (["--architecture", "mlp:5", "--json", "{out}"], "--out and --json name the same file"),
        (["--architecture", "mlp:5", "--mean", "0.1"], "--mean and --std"),
        (["--architecture", "mlp:5", "--certified-by", "magic"], "cannot be read"),
        (["--architecture", "mlp:5", "--warm-up", "0.6", "--ramp", "0.6"], "at most 1 is left"),
        (["--architecture", "mlp:5", "--valid-range", "0,0.5"], "outside the valid range"),
        (["--architecture", "mlp:5", "--validation-share", "0"], "share of validation"),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    mlp: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "a.onnx"
    filled = [text.format(mlp=mlp, out=out) for text in arguments]
    assert train("--out", out, *filled) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_only_what_is_given_reaches_the_engine() -> None:
    given: dict[str, Any] = {
        "method": "ibp", "epsilon": 0.1, "epochs": 3, "valid_range": None, "kappa": 0.5,
        "optimiser": "sgd", "flip": True,
    }  # fmt: skip
    absent = dict.fromkeys(_every_option(), None)
    settings = take_settings({**absent, **given, "out": Path("x")})
    assert settings == {
        "method": "ibp", "epsilon": 0.1, "epochs": 3, "valid_range": None,
        "ramp": {"kappa": 0.5}, "optimiser": {"kind": "sgd"}, "augmentation": {"flip": True},
    }  # fmt: skip
    assert (
        TrainingOptions.from_json(settings).ramp.warm_up
        == TrainingOptions.from_json({"method": "ibp", "epsilon": 0.1, "epochs": 3}).ramp.warm_up
    )


def _every_option() -> list[str]:
    from cli.commands import tightrope  # noqa: PLC0415

    return [str(parameter.name) for parameter in tightrope.commands["train"].params]
