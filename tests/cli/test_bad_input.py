"""Bad input: each kind ends with status 2, a message that helps, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from cli.main import main
from tests.cli.conftest import Small
from tests.helpers.small_files import write_data, write_mlp

Prepare = Callable[[Small], None]


def replace_network(content: bytes) -> Prepare:
    return lambda small: small.network.write_bytes(content) and None


def truncate(small: Small) -> None:
    small.network.write_bytes(small.network.read_bytes()[:-30])


def activation(small: Small) -> None:
    write_mlp(
        small.network,
        [([[1.0, 1.0]], [0.0]), ([[1.0], [0.0]], [0.0, 0.0])],
        activation="Hardmax",
    )


def nan_weights(small: Small) -> None:
    write_mlp(small.network, [([[np.nan, 1.0], [0.0, 1.0]], [0.0, 0.0])])


def data(x: object, y: object) -> Prepare:
    return lambda small: write_data(small.data, np.array(x), np.array(y)) and None


def pickled(small: Small) -> None:
    np.savez(small.data, x=np.array([{"a": 1}], dtype=object), y=np.array([0]))


def not_npz(small: Small) -> None:
    small.data.write_text("x,y\n1,2\n")


GOOD = [0.5, 0.2]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (truncate, ""),
        (replace_network(b"not a network"), ""),
        (replace_network(b""), ""),
        (activation, "Hardmax"),
        (nan_weights, ""),
        (data([[0.5, 0.2, 0.1]], [0]), "(3,)"),
        (data([GOOD], [2]), "label 2"),
        (data([GOOD], [-1]), "label -1"),
        (data([[1.5, 0.2]], [0]), "valid range"),
        (data([[np.nan, 0.2]], [0]), "NaN"),
        (data(np.zeros((0, 2)), np.zeros(0, dtype=int)), "empty"),
        (data([GOOD], [0, 1]), ""),
        (pickled, "pickle"),
        (not_npz, "npz"),
    ],
)
def test_certify_refuses_bad_files(
    prepare: Prepare, words: str, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(small)
    out = Path(small.path("out.json"))
    arguments = ["certify", str(small.network), "--data", str(small.data), "--epsilon", "0.05"]
    assert main([*arguments, "--methods", "ibp", "--json", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert "internal error" not in captured.err
    assert len(captured.err) < 600
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--epsilon", "-0.1"], "0 or more"),
        (["--epsilon", "nan"], "0 or more"),
        (["--epsilon", "0.1", "--timeout", "0"], "above 0"),
        (["--epsilon", "0.1", "--count", "0"], "x>=1"),
        (["--epsilon", "0.1", "--methods", "magic"], "no method 'magic'"),
        (["--epsilon", "0.1", "--norm", "3"], "norm"),
        (["--epsilon", "0.1", "--mean", "0.5"], "both --mean and --std"),
        (["--epsilon", "0.1", "--mean", "0.5", "--std", "0"], "std"),
        (["--epsilon", "0.1", "--mean", "1,2,3", "--std", "1,2,3"], "3 means"),
        (["--epsilon", "0.1", "--targets", "7"], "target 7"),
        (["--epsilon", "0.1", "--valid-range", "1,0"], "LOW < HIGH"),
        (["--epsilon", "0.1", "--json", "/no/such/folder/a"], "does not exist"),
        (["--epsilon", "0.1", "--json", "-", "--html", "-"], "name the same file"),
        ([], "--epsilon"),
    ],
)
def test_certify_refuses_bad_options(
    options: list[str], words: str, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certify", str(small.network), "--data", str(small.data), *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert "internal error" not in captured.err
    assert captured.out == ""


HEAD = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
BOX = "(assert (<= X_0 1))\n(assert (>= X_0 0))\n(assert (<= X_1 1))\n(assert (>= X_1 0))\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + BOX + "(assert (<= Y_7 0))\n", "Y_7"),
        (HEAD + BOX + "(assert (<= Y_0 0)\n", "line"),
        (HEAD + BOX + "(assert (<= Y_0 0)))\n", "line 8"),
        (HEAD + "(assert (<= X_0 1))\n(assert (>= X_0 0))\n(assert (<= Y_0 0))\n", "X_1"),
        (HEAD + BOX, ""),
        ("", ""),
        (HEAD + "(declare-const X_2 Real)\n" + BOX + "(assert (<= Y_0 0))\n", ""),
    ],
)
def test_verify_refuses_bad_specifications(
    text: str, words: str, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    small.holds.write_text(text)
    out = Path(small.path("out.json"))
    assert main(["verify", str(small.network), str(small.holds), "--json", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert "internal error" not in captured.err
    assert captured.out == ""
    assert not out.exists()


def test_verify_refuses_a_timeout_of_zero(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(small.network), str(small.holds), "--timeout", "0"]) == 2
    assert "give a finite number above 0" in capsys.readouterr().err


def test_verify_does_not_decide_probabilities_on_logits(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(small.network)
    model.graph.node[-1].output[0] = "logits"
    model.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["y"], axis=-1))
    onnx.save(model, small.network)
    small.broken.write_text(small.broken.read_text().replace("(<= Y_0 Y_1)", "(<= Y_0 0.5)"))
    assert main(["verify", str(small.network), str(small.holds)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("verified\n")
    assert "note: the final Softmax is dropped" in printed
    assert main(["verify", str(small.network), str(small.broken)]) == 2
    assert "ends in Softmax, which import drops" in capsys.readouterr().err
