"""Each package says in `__all__` exactly what it offers."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.helpers.imports import ROOT, python_files
from tests.test_layers import LAYERS

PACKAGES = [
    ".".join(path.parent.parts)
    for layer in LAYERS
    for path in python_files(layer)
    if path.name == "__init__.py" and "migrations" not in path.parts
]


def ours(value: object) -> bool:
    """Return whether a value was made in this repository; plain constants count as such."""
    home = getattr(value, "__module__", None)
    return home is None or home.partition(".")[0] in LAYERS


def visible(module: ModuleType) -> set[str]:
    """Return the public names that a package holds, without its modules and typing helpers."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in {"TYPE_CHECKING", "annotations"}
        and not isinstance(value, ModuleType)
        and ours(value)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_what_is_visible(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__, f"{package} has no docstring"
    listed = list(getattr(module, "__all__", ()))
    assert len(listed) == len(set(listed))
    missing = [name for name in listed if not hasattr(module, name)]
    assert missing == []
    assert sorted(visible(module) - set(listed)) == []


@pytest.mark.parametrize("package", LAYERS)
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_a_name_that_is_not_listed_is_noticed() -> None:
    module = ModuleType("example")
    module.LIMIT = 3  # type: ignore[attr-defined]
    module.Path = type(ROOT)  # type: ignore[attr-defined]
    module._hidden = 1  # type: ignore[attr-defined]
    assert visible(module) == {"LIMIT"}
