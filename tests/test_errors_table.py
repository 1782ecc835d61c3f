"""Every error that Tightrope raises on purpose has an exit status of its own."""

from __future__ import annotations

import ast
import errno
import importlib

import pytest

from cli.failures import EXIT_STATUS, describe, exit_status
from models.errors import SpecificationError, TightropeError
from solvers.errors import SolverFailedError
from store.errors import StoreError
from tests.helpers.imports import ROOT, python_files
from tests.test_layers import LAYERS

BASES = (TightropeError, StoreError)


def error_modules() -> list[str]:
    """Return the modules that define a class whose name ends in Error."""
    modules = []
    for layer in LAYERS:
        for path in python_files(layer):
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
            if any(name.endswith("Error") for name in classes):
                modules.append(".".join(path.with_suffix("").parts))
    return modules


def descendants(kind: type[BaseException]) -> list[type[BaseException]]:
    return [kind, *(below for child in kind.__subclasses__() for below in descendants(child))]


def test_every_error_of_the_mathematics_is_listed() -> None:
    for module in error_modules():
        importlib.import_module(module)
    kinds = [kind for kind in descendants(TightropeError) if kind.__module__[:5] != "tests"]
    assert len(kinds) > 8
    assert [kind.__name__ for kind in kinds if kind not in EXIT_STATUS] == []
    assert {EXIT_STATUS[kind] for kind in kinds} == {2, 3}


def test_the_closest_listed_class_decides() -> None:
    class OddSpecificationError(SpecificationError):
        pass

    assert exit_status(OddSpecificationError("odd")) == 2
    assert exit_status(SolverFailedError("gave up")) == 3
    assert exit_status(ZeroDivisionError()) == 3
    assert exit_status(OSError(errno.ENOSPC, "No space left on device")) == 3
    assert exit_status(KeyboardInterrupt()) == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SpecificationError("no such variable", line=7), "line 7: no such variable"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (MemoryError(), "out of memory"),
        (ZeroDivisionError("division by zero"), "internal error (ZeroDivisionError: division by"),
        (TightropeError(), "internal error (TightropeError"),
    ],
)
def test_errors_are_described_for_strangers(error: BaseException, words: str) -> None:
    assert words in describe(error)
