"""Each package says in `__all__` exactly what it offers."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.helpers.imports import ROOT, python_files
from tests.test_layers import LAYERS

PACKAGES = [
    ".".join(path.parent.parts)
    for layer in LAYERS
    for path in python_files(layer)
    if path.name == "__init__.py" and "migrations" not in path.parts
]


def offered(source: str) -> set[str]:
    """Return the public names that a package's own file offers.

    They are what it defines; a file that defines nothing is there to pass on what it imports.
    """
    defined: set[str] = set()
    imported: set[str] = set()
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                defined.add(name)
            case ast.ImportFrom(module=module, names=names) if module != "__future__":
                imported |= {alias.asname or alias.name for alias in names}
    code = defined - {"__all__"}
    return {name for name in code or imported if not name.startswith("_")}


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_what_is_visible(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__, f"{package} has no docstring"
    listed = list(getattr(module, "__all__", ()))
    assert len(listed) == len(set(listed))
    missing = [name for name in listed if not hasattr(module, name)]
    assert missing == []
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert sorted(offered(source) - set(listed)) == []


@pytest.mark.parametrize("package", LAYERS)
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from a.b import c, d as e\nimport f\n__all__ = []", {"c", "e"}),
        ("from a import b\nLIMIT: int = 3\ndef f(): ...\nclass C: ...", {"LIMIT", "f", "C"}),
        ("from __future__ import annotations\nfrom a import b as _b", set()),
    ],
)
def test_what_a_package_offers_is_seen(source: str, names: set[str]) -> None:
    assert offered(source) == names
