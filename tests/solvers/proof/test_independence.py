"""The checker stands alone: it shares no code with what searches, and loads little."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.imports import ROOT, imports_of

TRUSTED = ["container", "network", "functions", "bounds", "checker"]
ALLOWED = {"numpy", "scipy", "onnx"}


@pytest.mark.parametrize("name", TRUSTED)
def test_the_checker_imports_nothing_of_the_project_but_itself(name: str) -> None:
    path = ROOT / "solvers" / "proof" / f"{name}.py"
    own = {f"solvers.proof.{other}" for other in TRUSTED}
    foreign = [
        str(found)
        for found in imports_of(path.read_text(), str(path))
        if found.top not in ALLOWED | set(sys.stdlib_module_names)
        and not any(found.module.startswith(module) for module in own)
    ]
    assert foreign == []


def test_checking_loads_neither_torch_nor_a_solver() -> None:
    script = (
        "import sys, solvers.proof.checker\n"
        "print(*sorted({'torch', 'onnxruntime', 'highspy', 'cvxpy', 'models'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ""
