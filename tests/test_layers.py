"""Imports go one way only, and what is heavy or foreign stays where it belongs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable

import pytest

from tests.helpers.imports import ROOT, Import, all_imports, imports_of, python_files

# What goes into other people's environments, with nothing of the folders beside it.
CLIENT = "tightrope_client"
CLIENT_NEEDS = {"httpx", "pydantic"}
# What each layer may import of the others: only what stands left of it. `reports` is pure and may
# be used by those that write reports; the process of `api` loads neither torch nor a solver.
ALLOWED: dict[str, set[str]] = {
    "reports": set(),
    "models": set(),
    "solvers": {"models"},
    "training": {"models", "solvers"},
    "store": {"models", "solvers", "training"},
    "worker": {"reports", "models", "solvers", "training", "store"},
    "api": {"reports", "store", "worker"},
    CLIENT: set(),
    "cli": {"reports", "models", "solvers", "training", "store", "worker", "api", CLIENT},
}
LAYERS = [layer for layer in ALLOWED if (ROOT / layer).is_dir()]
MATHEMATICS = ["models", "solvers", "training", "reports"]
SERVICE_PACKAGES = {
    "alembic", "celery", "fastapi", "httpx", "kombu", "pydantic_settings", "redis", "sqlalchemy",
    "starlette", "uvicorn",
}  # fmt: skip
SOLVER_ADAPTERS = {
    "highspy": ("solvers/exact/highs", "solvers/convex/highs"),
    "pyscipopt": ("solvers/exact/scip",),
    "gurobipy": ("solvers/exact/gurobi", "solvers/convex/gurobi"),
    "scs": ("solvers/convex/sdp/scs",),
    "clarabel": ("solvers/convex/sdp/clarabel",),
}
HEAVY = ["torch", "onnx", "onnxruntime", *SOLVER_ADAPTERS]


def upward(layer: str, imports: Iterable[Import]) -> list[str]:
    """Return the imports of other layers that a layer may not make."""
    forbidden = set(ALLOWED) - ALLOWED[layer] - {layer}
    return [str(found) for found in imports if found.top in forbidden]


def misplaced_solvers(imports: Iterable[Import]) -> list[str]:
    """Return imports of solver packages outside the adapter of that solver."""
    return [
        str(found)
        for found in imports
        if found.top in SOLVER_ADAPTERS and not found.file.startswith(SOLVER_ADAPTERS[found.top])
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_before_it(layer: str) -> None:
    assert python_files(layer)
    assert upward(layer, all_imports(layer)) == []


@pytest.mark.parametrize("layer", [layer for layer in MATHEMATICS if layer in LAYERS])
def test_the_mathematics_knows_nothing_of_the_service(layer: str) -> None:
    found = [str(entry) for entry in all_imports(layer) if entry.top in SERVICE_PACKAGES]
    assert found == []


def foreign(imports: Iterable[Import]) -> list[str]:
    """Return what the client imports besides Python, itself and what it may depend on."""
    known = sys.stdlib_module_names | CLIENT_NEEDS | {CLIENT}
    return [str(found) for found in imports if found.top not in known]


def test_the_client_stands_alone() -> None:
    assert python_files("client")
    assert foreign(all_imports("client")) == []
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {re.split(r"[<>=~!]", entry)[0] for entry in project["project"]["dependencies"]}
    assert asked == CLIENT_NEEDS


@pytest.mark.parametrize("layer", LAYERS)
def test_solver_packages_stay_in_their_adapter(layer: str) -> None:
    assert misplaced_solvers(all_imports(layer)) == []


@pytest.mark.parametrize("layer", [layer for layer in ("store", "api") if layer in LAYERS])
def test_the_process_that_serves_loads_no_torch_and_no_solver(layer: str) -> None:
    modules = [
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in python_files(layer)
        # Migrations run inside Alembic, and `__main__` would start the process.
        if "migrations" not in path.parts and path.stem != "__main__"
    ]
    script = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ""


@pytest.mark.parametrize(
    ("layer", "source", "found"),
    [
        ("solvers", "from store.tables import Job", ["solvers/x.py:1 imports store.tables"]),
        ("models", "def f():\n    import solvers", ["models/x.py:2 imports solvers"]),
        ("api", "import_module('models.graph')", ["api/x.py:1 imports models.graph"]),
        ("reports", "import models.errors as e", ["reports/x.py:1 imports models.errors"]),
        ("solvers", "from models.graph import Graph\nfrom .bounds import b\nimport torch", []),
        ("cli", "from api.app import app\nimport solvers, tightrope_client", []),
        ("api", "from tightrope_client import Client", ["api/x.py:1 imports tightrope_client"]),
    ],
)
def test_the_layer_check_sees_every_form_of_import(
    layer: str, source: str, found: list[str]
) -> None:
    assert upward(layer, imports_of(source, f"{layer}/x.py")) == found


def test_the_solver_check_knows_each_adapter() -> None:
    source = "import highspy"
    assert misplaced_solvers(imports_of(source, "solvers/exact/highs.py")) == []
    assert len(misplaced_solvers(imports_of(source, "solvers/exact/scip.py"))) == 1
    assert len(misplaced_solvers(imports_of(source, "solvers/bounds/crown.py"))) == 1


def test_the_client_check_sees_what_is_not_its_own() -> None:
    source = "import torch\nfrom reports import items_csv\nimport httpx, json, tightrope_client"
    found = [entry.top for entry in imports_of(source, "client/tightrope_client/x.py")]
    assert len(found) == 5
    names = foreign(imports_of(source, "client/tightrope_client/x.py"))
    assert [name.rpartition(" ")[2] for name in names] == ["torch", "reports"]
