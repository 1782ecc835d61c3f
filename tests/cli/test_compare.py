"""`tightrope compare` from files to figures, on networks worked out by hand."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import compare as command
from cli.main import main
from models.data import load_source
from solvers.certification import ItemResult
from tests.cli.conftest import Small
from tests.helpers.data_files import write_mnist
from tests.helpers.networks import cnn
from tests.helpers.small_files import write_mlp

METHODS = "ibp,crown,exact"


@pytest.fixture
def better(small: Small) -> Path:
    """Class 0 wins by 2 x0 − 2 x1 + 0.1: by 0.2 more than for the baseline."""
    hidden = ([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]], [0.0, 0.0, 0.0])
    output = ([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]], [0.1, 0.0])
    return write_mlp(small.folder / "better.onnx", [hidden, output])


def compare(small: Small, *candidates: Path, options: tuple[str, ...] = ()) -> int:
    named = [text for path in candidates for text in ("--candidate", str(path))]
    return main(
        [
            "compare", "--baseline", str(small.network), *named, "--data", str(small.data),
            "--epsilon", "0.05", "--methods", METHODS, *options,
        ]
    )  # fmt: skip


def test_the_report_says_what_is_true(small: Small, better: Path) -> None:
    out = small.path("out.json")
    assert compare(small, better, small.network, options=("--quiet", "--json", out)) == 0
    report = json.loads(Path(out).read_text())
    assert set(report) == {"region", "settings", "baseline", "candidates"}
    assert report["region"] == {"norm": "inf", "epsilon": 0.05, "valid_range": [0.0, 1.0]}
    assert report["settings"]["dataset"]["split"] == "auto"
    assert report["baseline"]["name"] == "two"
    assert report["baseline"]["summary"]["certified_accuracy"]["exact"] == pytest.approx(1 / 3)
    first, same = report["candidates"]
    assert (first["name"], same["name"]) == ("better", "two")
    # The second input, (0.5, 0.42), has a worst case of −0.12 before and 0.08 now.
    assert (first["gained"], first["lost"]) == ([1], [])
    change = first["difference"]["exact"]
    assert change["certified_accuracy"] == pytest.approx(1 / 3)
    assert change["low"] == 0.0
    assert change["high"] == pytest.approx(1.0)
    assert change["p_value"] == 1.0
    assert first["changes"] == [
        {"index": 1, "label": 0, "baseline": "falsified", "candidate": "verified"}
    ]
    assert (same["gained"], same["lost"], same["changes"]) == ([], [], [])
    # Around (0.5, 0.42) x0 − x1 may be negative; all other units are stable everywhere but one
    # around (0.1, 0.9), which is off.
    layers = report["baseline"]["tightness"]["layers"]
    assert layers == same["tightness"]["layers"]
    assert (layers[0]["neurons"], layers[0]["unstable"]) == (3, pytest.approx(1 / 3))
    assert layers[0]["slack"] == pytest.approx(0.02 * 0.18 / 0.2, rel=1e-4)


def test_the_table_sets_both_side_by_side(
    small: Small, better: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(small, better) == 0
    captured = capsys.readouterr()
    for words in (
        "better beside two, L∞ ε = 0.05", "certified, crown", "+33.3", "1 gained, 0 lost",
        "unstable neurons 0.3 before",
    ):  # fmt: skip
        assert words in captured.out
    assert captured.err == ""


def test_json_on_standard_output_stands_alone(
    small: Small, better: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(small, better, options=("--json", "-")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["candidates"][0]["name"] == "better"
    assert "1 gained" in captured.err


def test_the_page_is_written(small: Small, better: Path) -> None:
    out = Path(small.path("out.html"))
    assert compare(small, better, options=("-q", "--html", str(out), "--count", "2")) == 0
    page = out.read_text()
    assert page.startswith("<!doctype html>")
    assert "better beside two" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing option '--candidate'"),
        (["--candidate", "absent.onnx"], "does not exist"),
        (["--mean", "0.5"], "give both --mean and --std"),
        (["--json", "a", "--html", "a"], "name the same file"),
    ],
)
def test_bad_options(
    arguments: list[str], words: str, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments and arguments[0] != "--candidate":
        arguments = ["--candidate", str(small.network), *arguments]
    assert compare(small, options=tuple(arguments)) == 2
    assert words in capsys.readouterr().err


def test_networks_that_do_not_fit_each_other(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    three = write_mlp(small.folder / "three.onnx", [(np.ones((3, 2)), np.zeros(3))])
    out = Path(small.path("out.json"))
    assert compare(small, three, options=("--json", str(out))) == 2
    assert "'three' has 3 outputs, the baseline 'two' 2" in capsys.readouterr().err
    assert not out.exists()


def test_an_interrupt_leaves_nothing(
    small: Small, better: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = command.compare_networks

    def interrupted(*arguments: object, progress: object, **options: object) -> object:
        def stop(_name: str, _item: ItemResult) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        return real(*arguments, progress=stop, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "compare_networks", interrupted)
    out = Path(small.path("out.json"))
    assert compare(small, better, options=("--quiet", "--json", str(out))) == 130
    assert not out.exists()


def run_certify(network: Path, data: str, *options: str) -> tuple[int, dict[str, Any]]:
    out = network.with_suffix(".json")
    status = main(
        [
            "certify", str(network), "--data", data, "--epsilon", "0.01", "--methods", "ibp",
            "--quiet", "--json", str(out), *options,
        ]
    )  # fmt: skip
    return status, json.loads(out.read_text()) if out.exists() else {}


def test_certify_reads_every_source(tmp_path: Path) -> None:
    network = tmp_path / "n.onnx"
    network.write_bytes(cnn(side=4, classes=3))
    folder = write_mnist(tmp_path / "mnist")
    for data, split, count in (
        (str(folder), "auto", 6),
        (str(folder), "all", 15),
        (str(folder), "train", 9),
        (f"{folder}/t10k-images-idx3-ubyte,{folder}/t10k-labels-idx1-ubyte", "auto", 6),
    ):
        status, report = run_certify(network, data, "--split", split)
        assert (status, report["summary"]["count"]) == (0, count)
        assert report["settings"]["dataset"]["split"] == split
    digest = load_source(folder, split="test").sha256
    assert run_certify(network, str(folder))[1]["settings"]["dataset"]["sha256"] == digest


@pytest.mark.parametrize("data", ["absent.npz", "a,b", "digit"])
def test_data_that_are_not_there(
    data: str, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_certify(small.network, data)[0] == 2
    assert f"'{data}' does not exist; give a file, a folder, IMAGES,LABELS, or digits" in (
        capsys.readouterr().err
    )


def test_a_split_that_there_is_not(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_certify(small.network, str(small.data), "--split", "dev")[0] == 2
    assert "'dev' is not one of" in capsys.readouterr().err
