"""`tightrope check` beyond proofs in float64: exact arithmetic, and counterexamples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from solvers.proof import write_proof
from tests.helpers.adversarial import absorbed
from tests.helpers.problems import print_problem
from tests.helpers.proofs import proof_of, relu_net

ONE_LAYER = relu_net([(np.ones((1, 2)), np.array([0.5]))])
REACHED = """
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))
(assert (<= Y_0 1))
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(ONE_LAYER)
    (tmp_path / "spec.vnnlib").write_text(REACHED)
    write_proof(tmp_path / "proof", proof_of(ONE_LAYER, np.zeros(2), np.ones(2)))
    found = run(tmp_path, "verify", "net.onnx", "spec.vnnlib", counterexample="c.npz")
    assert found == 0
    return tmp_path


def run(folder: Path, command: str, *names: str, counterexample: str | None = None) -> int:
    words = [str(folder / name) for name in names]
    if counterexample is not None:
        words += ["--counterexample", str(folder / counterexample)]
    return main([command, *words])


def check(folder: Path, evidence: str, *options: str) -> int:
    return main(["check", str(folder / evidence), "--network", str(folder / "net.onnx"), *options])


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def test_a_proof_holds_in_exact_arithmetic(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert check(files, "proof", "--exact") == 0
    assert "every bound holds in exact arithmetic: margin 0.5" in capsys.readouterr().out
    assert check(files, "proof", "--exact", "--json", "-") == 0
    answer = last_json(capsys)
    assert (answer["accepted"], answer["exact"], answer["exact_margin"]) == (True, True, "1/2")


def test_a_counterexample_is_run_again(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert check(files, "c.npz", "--spec", str(files / "spec.vnnlib")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "accepted"
    assert any("a counterexample of case 0" in line for line in lines)
    assert any("real numbers too" in line for line in lines)
    assert check(files, "c.npz", "--json", "-") == 0
    answer = last_json(capsys)
    assert (answer["kind"], answer["real_numbers"]) == ("counterexample", None)


def test_a_counterexample_of_something_else_is_rejected(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {
        "no region": REACHED.replace("(>= X_0 0)", "(>= X_0 0.99)").replace(
            "0)) (assert (<= X_1", "0.99)) (assert (<= X_1"
        ),
        "no clause": REACHED.replace("(<= Y_0 1)", "(<= Y_0 0.4)"),
    }
    for reason, text in wanted.items():
        (files / "other.vnnlib").write_text(text)
        capsys.readouterr()
        assert check(files, "c.npz", "--spec", str(files / "other.vnnlib")) == 1
        assert reason in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["short", "members", "pickle", "nan"])
def test_damaged_counterexamples_are_rejected(
    files: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files / "c.npz"
    with np.load(path) as arrays:
        parts = dict(arrays)
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-30])
    elif damage == "members":
        np.savez(path, x=parts["x"])
    elif damage == "pickle":
        np.savez(path, **{**parts, "y": np.array([{}], object)})
    else:
        np.savez(path, **{**parts, "x": np.full_like(parts["x"], np.nan)})
    capsys.readouterr()
    assert check(files, "c.npz") == 1
    assert capsys.readouterr().out.startswith("rejected")


def test_counterexamples_of_rounding_alone_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On paper there is none: float32 absorbs what decides."""
    trap = absorbed()
    (tmp_path / "net.onnx").write_bytes(trap.network)
    (tmp_path / "spec.vnnlib").write_text(print_problem(trap.problem))
    assert run(tmp_path, "verify", "net.onnx", "spec.vnnlib", counterexample="c.npz") == 0
    assert capsys.readouterr().out.startswith("falsified")
    assert check(tmp_path, "c.npz", "--spec", str(tmp_path / "spec.vnnlib")) == 0
    assert "only within the rounding of float32" in capsys.readouterr().out


def test_what_stands_in_front_of_the_network_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Proofs and counterexamples behind a normalisation are about that one, and no other."""
    (tmp_path / "net.onnx").write_bytes(ONE_LAYER)
    (tmp_path / "spec.vnnlib").write_text(REACHED.replace("(<= Y_0 1)", "(<= Y_0 0)"))
    outside = proof_of(ONE_LAYER, np.zeros(2), np.ones(2), normalization=((0.0,), (0.5,)))
    write_proof(tmp_path / "proof", outside)
    spec = ("--spec", str(tmp_path / "spec.vnnlib"))
    right = ("--mean", "0", "--std", "0.5")
    assert check(tmp_path, "proof", *spec, *right) == 0
    assert check(tmp_path, "proof", *right) == 0
    capsys.readouterr()
    for options in ((), ("--mean", "0", "--std", "0.25")):
        assert check(tmp_path, "proof", *spec, *options) == 1
        assert "behind the normalisation" in capsys.readouterr().out
    assert check(tmp_path, "proof", *right[:2]) == 2
    x = np.array([[0.25, 0.25]], np.float32)
    np.savez(tmp_path / "c.npz", x=x, y=np.array([[1.5]], np.float32), runtime="r", version="1")
    reached = tmp_path / "reached.vnnlib"
    reached.write_text(REACHED.replace("(<= Y_0 1)", "(>= Y_0 1.5)"))
    assert check(tmp_path, "c.npz", "--spec", str(reached), *right) == 0
    assert check(tmp_path, "c.npz", "--spec", str(reached)) == 1
