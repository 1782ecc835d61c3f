"""What a process has loaded is not walked through again; in processes of their own, as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.imports import ROOT

_LOADING = """
import gc, json, weakref
from worker.collecting import collect_rarely, loading

class Thing: pass

stays, dropped, circle = Thing(), Thing(), Thing()
circle.own = circle
watched = [weakref.ref(dropped), weakref.ref(circle)]
with loading():
    inside = gc.isenabled()
    del circle
frozen = gc.get_freeze_count()
walked = len(gc.get_objects())
del dropped
later = Thing()
later.own = later
watched.append(weakref.ref(later))
del later
gc.collect()
before = gc.get_threshold()
collect_rarely()
print(json.dumps({
    "inside": inside, "after": gc.isenabled(), "frozen": frozen, "walked": walked,
    "left": [one() is not None for one in watched],
    "young": [before[0], gc.get_threshold()[0]],
}))
"""
_FAILING = """
import gc, json
from worker.collecting import loading
try:
    with loading():
        raise OSError
except OSError:
    print(json.dumps([gc.isenabled(), gc.get_freeze_count()]))
"""
_TWICE = """
import gc, json
from worker.collecting import loading
counts = []
for _ in range(2):
    with loading():
        things = [{"own": []} for _ in range(1000)]
    counts.append(gc.get_freeze_count())
print(json.dumps(counts))
"""
# A command up to the moment at which its work would begin.
_COMMAND = """
import types
import cli
work = types.ModuleType("cli.{command}")
work.run = told
sys.modules[work.__name__] = work
from cli.main import main
options = {{"verify": ["Makefile"], "certify": ["--data", "Makefile", "--epsilon", "1"]}}
main(["{command}", "Makefile", *options["{command}"]])
"""
# Each way to start the API, up to the moment at which it would begin to answer.
_STARTS = {
    "api": "import uvicorn\nuvicorn.run = told\nfrom api.__main__ import main\nmain(['--port=0'])",
    "serve": (
        "from pathlib import Path\nimport cli.serve as it\nit._Server.run = told\n"
        "it.serve('127.0.0.1', 0, Path(sys.argv[1]), worker_command=[sys.executable, '-c', ''])"
    ),
}
_TOLD = """
import gc, json, sys
def told(*_, **__):
    print(json.dumps([gc.get_freeze_count(), gc.get_threshold()[0]]))
"""


def _run(code: str, folder: Path) -> Any:  # noqa: ANN401 (whatever the code prints)
    """Return what code prints last, as JSON."""
    environment = {**os.environ, "TIGHTROPE_DATA_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def test_what_was_loaded_stays_out_of_collections_and_the_rest_does_not(tmp_path: Path) -> None:
    found = _run(_LOADING, tmp_path)
    assert (found["inside"], found["after"]) == (False, True)
    assert found["frozen"] > 1000 > found["walked"]
    assert found["left"] == [False, False, False], "what was dropped is still there"
    assert found["young"][0] < found["young"][1]


def test_only_the_first_of_several_counts(tmp_path: Path) -> None:
    """What a program drops between two commands in one process is not kept for good."""
    first, second = _run(_TWICE, tmp_path)
    assert 0 < second <= first


@pytest.mark.parametrize("command", ["verify", "certify"])
def test_a_command_begins_without_what_it_has_loaded(tmp_path: Path, command: str) -> None:
    frozen, young = _run(_TOLD + _COMMAND.format(command=command), tmp_path)
    assert frozen > 1000
    assert young == 700


def test_collections_go_on_where_loading_fails(tmp_path: Path) -> None:
    assert _run(_FAILING, tmp_path) == [True, 0]


@pytest.mark.parametrize("start", _STARTS)
def test_the_api_begins_without_what_it_has_loaded(tmp_path: Path, start: str) -> None:
    frozen, young = _run(_TOLD + _STARTS[start], tmp_path)
    # All that the application is made of, and not a part of it.
    assert frozen > 100_000
    assert young > 700
