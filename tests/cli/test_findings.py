"""`certify` and `compare` in the formats of continuous integration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main
from tests.cli.conftest import Small
from tests.helpers.junit import check_junit, outcomes
from tests.helpers.sarif import check_sarif
from tests.helpers.small_files import write_mlp

QUICK = ("--methods", "crown", "--epsilon", "0.1", "--quiet")


@pytest.fixture
def here(small: Small, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Work where the files are, as in a repository."""
    monkeypatch.chdir(small.folder)
    return small


def test_a_certification(here: Small) -> None:
    asked = ("certify", "two.onnx", "--data", "data.npz", *QUICK)
    assert main([*asked, "--junit", "j.xml", "--sarif", "s.json", "--json", "r.json"]) == 0
    root = check_junit(Path("j.xml").read_text("utf-8"))
    verdicts = [item["verdict"] for item in json.loads(Path("r.json").read_text("utf-8"))["items"]]
    assert verdicts == ["verified", "falsified", "misclassified"]
    assert outcomes(root) == {"input 0": "passed", "input 1": "failure", "input 2": "failure"}
    run = check_sarif(Path("s.json").read_text("utf-8"))
    assert [result["ruleId"] for result in run["results"]] == ["falsified", "misclassified"]
    assert "gets the answer 1" in run["results"][0]["message"]["text"]
    assert run["artifacts"][0]["location"]["uri"] == "two.onnx"


def test_a_comparison(here: Small) -> None:
    # Class 1 always wins: nothing of what was verified is any more.
    write_mlp(here.folder / "worse.onnx", [([[0.0, 0.0], [0.0, 0.0]], [0.0, 1.0])])
    asked = ("compare", "--baseline", "two.onnx", "--candidate", "worse.onnx")
    written = ("--junit", "j.xml", "--sarif", "s.json")
    assert main([*asked, "--data", "data.npz", *QUICK, *written]) == 0
    root = check_junit(Path("j.xml").read_text("utf-8"))
    assert outcomes(root) == {"input 0": "failure", "input 1": "skipped", "input 2": "skipped"}
    run = check_sarif(Path("s.json").read_text("utf-8"))
    assert run["results"][0]["ruleId"] == "lost"
    assert run["artifacts"][0]["location"]["uri"] == "worse.onnx"


def test_several_candidates_are_told_apart(here: Small) -> None:
    for name in ("a.onnx", "b.onnx"):
        write_mlp(here.folder / name, [([[0.0, 0.0], [0.0, 0.0]], [0.0, 1.0])])
    asked = ("compare", "--baseline", "two.onnx", "--candidate", "a.onnx", "--candidate", "b.onnx")
    assert main([*asked, "--data", "data.npz", *QUICK, "--sarif", "s.json"]) == 0
    run = check_sarif(Path("s.json").read_text("utf-8"))
    assert [entry["location"]["uri"] for entry in run["artifacts"]] == ["a", "b"]


def test_two_results_in_one_file_are_refused(
    here: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("certify", "two.onnx", "--data", "data.npz", *QUICK)
    assert main([*asked, "--junit", "x.xml", "--sarif", "x.xml"]) == 2
    assert "--junit and --sarif name the same file" in capsys.readouterr().err
    assert not Path("x.xml").exists()
