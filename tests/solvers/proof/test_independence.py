"""The checker stands alone: it shares no code with what searches, is small, and loads little."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solvers.proof import PARTS, Balls, Windows, checker, core_words, write_proof
from solvers.proof.parts import CORE, READERS
from tests.helpers.imports import ROOT, imports_of
from tests.helpers.proofs import TreeBuilder, proof_of, random_layers, relu_net, whole

FOLDER = ROOT / "solvers" / "proof"
CORE_ALLOWED = {"numpy", "scipy"}
READERS_ALLOWED = {"numpy", "onnx"}
MOST_LINES, MOST_LINES_OF_A_PART = 800, 250


def foreign(path: Path, allowed: set[str], own: set[str]) -> list[str]:
    """Return what a file imports beside the standard library and what it may."""
    return [
        str(found)
        for found in imports_of(path.read_text(), str(path))
        if found.top not in allowed | set(sys.stdlib_module_names)
        and not any(found.module.startswith(f"solvers.proof.{name}") for name in own)
    ]


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_nothing_of_the_project_but_itself(name: str) -> None:
    assert foreign(FOLDER / f"{name}.py", CORE_ALLOWED, {*CORE, *READERS, "stated"}) == []


@pytest.mark.parametrize("name", [*READERS, "stated", "asked"])
def test_readers_import_nothing_of_the_core(name: str) -> None:
    assert foreign(FOLDER / f"{name}.py", READERS_ALLOWED, {"container"}) == []


@pytest.mark.parametrize("path", sorted((FOLDER / "parts").glob("*.py")), ids=lambda p: p.stem)
def test_parts_are_small_and_import_nothing_of_the_project_but_the_checker(path: Path) -> None:
    own = {*CORE, *READERS, "stated", "parts", "asked"}
    allowed = {"numpy", "scipy", "onnx"}
    assert foreign(path, allowed, own) == []
    assert len(path.read_text().splitlines()) < MOST_LINES_OF_A_PART


def test_the_core_is_readable_in_one_sitting() -> None:
    lines = sum(len((FOLDER / f"{name}.py").read_text().splitlines()) for name in CORE)
    assert lines < MOST_LINES
    assert f"{lines} of the core" in core_words()


def test_the_sizes_that_are_documented_are_those_of_the_files() -> None:
    rows = re.findall(r"\| (`.*`): (\d+) lines \|", (ROOT / "docs" / "proofs.md").read_text())
    assert len(rows) >= 6
    for files, stated in rows:
        paths = [FOLDER / name for name in re.findall(r"`([^`]+)`", files)]
        assert sum(len(path.read_text().splitlines()) for path in paths) == int(stated), files


def test_all_lines_that_a_proof_rests_on_are_counted() -> None:
    """Files that a part is made of count once, and so does what compares with a specification."""

    def count(words: str) -> int:
        found = re.match(r"(\d+) lines in all: ", words)
        assert found is not None
        assert int(found[1]) == sum(
            int(part.split()[0]) for part in words[found.end() :].split("; ")
        )
        return int(found[1])

    def sizes(*names: str) -> int:
        return sum(len((FOLDER / f"{name}.py").read_text().splitlines()) for name in names)

    alone = sizes(*CORE, *READERS)
    assert count(core_words()) == alone
    assert count(core_words(asked=True)) == alone + sizes("asked")
    both = ["the rules of Sigmoid and Tanh", "the rules of LeakyRelu, Abs and Clip"]
    made_of = sizes("parts/curves", "parts/pieces", "parts/relaxed")
    assert count(core_words(both)) == alone + made_of


def test_the_core_alone_refuses_what_parts_know(tmp_path: Path) -> None:
    """Each part that a proof relies on is named, and none can be left out."""
    content = relu_net(random_layers((2, 3, 1), 0))
    proof = proof_of(content, np.zeros(2), np.zeros(2), offset=np.array([-1e6]))
    write_proof(tmp_path / "proof", proof)
    result = checker.check_proof(tmp_path / "proof", content, parts=PARTS)
    assert result.accepted, result.reason
    assert result.parts == ("Gemm, MatMul and Conv",)
    fewer = [part for part in PARTS if part.name not in result.parts]
    without = checker.check_proof(tmp_path / "proof", content, parts=fewer)
    assert "Gemm" in str(without.reason)
    assert "not supported" in str(without.reason)


def test_the_core_alone_refuses_splits_windows_and_balls(tmp_path: Path) -> None:
    content, builder = relu_net(random_layers((2, 3, 1), 0)), TreeBuilder((("z0", 3),))
    builder.leaf(0)
    far = {"offset": np.array([-1e6])}
    windows = Windows("z0", np.zeros(1, np.int32), np.zeros((1, 2), np.float32))
    proofs = {
        "splits": proof_of(
            content, np.zeros(2), np.zeros(2), tree=whole([1]), trees=(builder.tree(),), **far
        ),
        "windows": proof_of(
            content, np.zeros(2), np.zeros(2), tree=whole([1]),
            trees=(builder.tree(windows=windows),), **far,
        ),
        "balls": proof_of(
            content, np.zeros(2), np.zeros(2),
            balls=Balls(2, np.zeros((1, 2)), np.ones((1, 2))), **far,
        ),
    }  # fmt: skip
    for kind, proof in proofs.items():
        write_proof(tmp_path / "proof", proof)
        result = checker.check_proof(tmp_path / "proof", content, parts=PARTS)
        assert result.accepted, result.reason
        (name,) = (part.name for part in PARTS if getattr(part, kind) is not None)
        assert name in result.parts
        fewer = [part for part in PARTS if part.name != name]
        without = checker.check_proof(tmp_path / "proof", content, parts=fewer)
        assert without.reason == f"the proof relies on {kind}, which the core does not know"


def test_checking_loads_neither_torch_nor_a_solver() -> None:
    script = (
        "import sys, solvers.proof\n"
        "print(*sorted({'torch', 'onnxruntime', 'highspy', 'cvxpy', 'models'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ""
