"""The package offers everything, and loads torch only when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import models

ROOT = Path(__file__).parents[2]


def loaded(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import models", "from models.errors import ShapeError"])
def test_errors_come_without_torch(statement: str) -> None:
    assert loaded(statement).isdisjoint({"torch", "onnx", "onnxruntime", "numpy"})


@pytest.mark.parametrize("name", models.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(models, name) is not None


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'models' has no attribute 'nothing'"):
        _ = models.nothing
