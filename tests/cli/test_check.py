"""`tightrope check`: accepted or rejected on the first line, and in the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from solvers.proof import write_proof
from tests.helpers.proofs import proof_of, relu_net

NETWORK = relu_net([(np.ones((1, 2)), np.array([0.5]))])
HOLDS = """
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))
(assert (<= Y_0 0))
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with a network, a proof about it and what it proves."""
    (tmp_path / "net.onnx").write_bytes(NETWORK)
    (tmp_path / "spec.vnnlib").write_text(HOLDS)
    (tmp_path / "wider.vnnlib").write_text(HOLDS.replace("(<= X_0 1)", "(<= X_0 1.5)"))
    write_proof(tmp_path / "proof", proof_of(NETWORK, np.zeros(2), np.ones(2)))
    return tmp_path


def check(files: Path, *options: str, proof: str = "proof") -> int:
    return main(["check", str(files / proof), "--network", str(files / "net.onnx"), *options])


def test_an_accepted_proof_says_in_words_what_it_proves(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(files, "--spec", str(files / "spec.vnnlib")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "accepted"
    assert any("0 <= X_0 <= 1, 0 <= X_1 <= 1" in line for line in lines)
    assert any("never +1*Y_0 <= 0" in line for line in lines)
    assert any("every case of the specification" in line for line in lines)
    assert any("holds for float32 inference too" in line for line in lines)


def test_the_outcome_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(files, "--json", "-") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["accepted"] is True
    assert (answer["kind"], answer["leaves"], answer["reason"]) == ("proof", 1, None)
    assert answer["margin"] == pytest.approx(0.5)
    assert answer["deployment_sound"] is True
    assert answer["deployment"]["left"] == pytest.approx(0.5, abs=1e-4)
    assert answer["specification_checked"] is False


def test_a_proof_of_less_than_was_asked_is_rejected(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(files, "--spec", str(files / "wider.vnnlib"), "--json", str(files / "out")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rejected"
    assert "lies in none" in lines[1]
    answer = json.loads((files / "out").read_text())
    assert (answer["accepted"], answer["margin"], answer["deployment_sound"]) == (False, None, None)


def test_quiet_prints_one_word(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(files, "--quiet") == 0
    assert capsys.readouterr().out == "accepted\n"


def test_a_file_of_no_known_kind_is_rejected(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(files, proof="net.onnx") == 1
    assert "no file that this command knows" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["proof", "net.onnx"])
def test_a_missing_file_is_bad_input(
    files: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / missing).unlink()
    assert check(files) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_specification_that_cannot_be_read_is_bad_input(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "spec.vnnlib").write_text("(assert (")
    assert check(files, "--spec", str(files / "spec.vnnlib")) == 2
    assert capsys.readouterr().err.startswith("error:")
