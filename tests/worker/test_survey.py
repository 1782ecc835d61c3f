"""Workers say which solvers and versions they have, and are not held up by finding it out."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable

import pytest

from solvers.errors import SolverFailedError
from solvers.exact.choose import SolverName, SolverSuite
from solvers.exact.seam import Licence, MilpSolver
from store.workers import Workers
from tests.helpers.service import World, service_settings, wait_until
from worker import reporter
from worker.reporter import Reporter
from worker.survey import Survey
from worker.surveying import main, solver_facts, version_facts


class Licensed(MilpSolver):
    """A solver that is asked for its licence alone."""

    def __init__(self, licence: Licence, note: str) -> None:
        self._licence, self._note = licence, note

    @property
    def name(self) -> str:
        return "licensed"

    @property
    def licence(self) -> Licence:
        if self._note == "broken":
            raise SolverFailedError("Gurobi error 10004: broken")
        return self._licence

    @property
    def licence_note(self) -> str:
        return self._note

    def solve(self, *_: object, **__: object) -> None:  # type: ignore[override]
        raise AssertionError("nobody asked for a solution")


def missing() -> MilpSolver:
    raise ImportError("No module named 'pyscipopt'")


@pytest.mark.parametrize(
    ("gurobi", "licence", "note"),
    [
        (lambda: Licensed(Licence.FULL, ""), "full", ""),
        (lambda: Licensed(Licence.UNAVAILABLE, "it expired"), "unavailable", "it expired"),
        (lambda: Licensed(Licence.FULL, "broken"), "unavailable", "error 10004"),
    ],
)
def test_licences_are_told_with_their_reason(
    gurobi: Callable[[], MilpSolver], licence: str, note: str
) -> None:
    factories = {
        SolverName.GUROBI: gurobi,
        SolverName.SCIP: missing,
        SolverName.HIGHS: lambda: Licensed(Licence.OPEN, ""),
    }
    found = {one["name"]: one for one in solver_facts(SolverSuite(factories=factories))}
    assert found["gurobi"]["licence"] == licence
    assert note in found["gurobi"]["note"]
    assert found["scip"]["licence"] == "unavailable"
    assert "not installed" in found["scip"]["note"]
    assert (found["highs"]["licence"], found["highs"]["note"]) == ("open", "")


def test_versions_are_those_installed() -> None:
    versions = version_facts()
    assert {"python", "tightrope", "torch", "highspy"} <= set(versions)


def test_the_process_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    facts = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in facts["solvers"]} == {"gurobi", "scip", "highs"}
    assert all(one["licence"] in {"open", "full", "restricted", "unavailable"}
               for one in facts["solvers"])  # fmt: skip


def test_what_dies_is_told() -> None:
    survey = Survey([sys.executable, "-c", "raise SystemExit(7)"])
    assert survey.facts is None
    survey.run(threading.Event())
    assert survey.facts == {"solvers": [], "failure": "looking for them ended with status 7"}


def test_a_worker_that_stops_waits_for_nothing() -> None:
    done = threading.Event()
    done.set()
    survey = Survey([sys.executable, "-c", "import time; time.sleep(600)"])
    survey.run(done)
    assert survey.facts is None


def test_a_worker_says_what_it_has(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "_SURVEY_AFTER_SECONDS", 0.0)
    command = [sys.executable, "-c", 'print(\'{"solvers": [], "versions": {"a": "1"}}\')']
    monkeypatch.setattr(reporter, "Survey", lambda: Survey(command))
    settings = service_settings(world.settings.data_dir, report_seconds=0.05, worker_threads=3)
    workers = Workers(world.database)
    with Reporter(settings, name="w"):
        wait_until(lambda: any(row.facts for row in workers.living(seconds=60)))
        (row,) = workers.living(seconds=60)
        assert (row.cores, row.facts) == (3, {"solvers": [], "versions": {"a": "1"}})
        assert workers.living(seconds=-1) == []
