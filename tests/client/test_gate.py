"""The gate against a real service: verdicts, files, exit statuses, interrupts."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.app import create_app
from cli.main import main as tightrope
from store.job_tables import JobRow
from tests.helpers.junit import check_junit, outcomes
from tests.helpers.sarif import check_sarif
from tests.helpers.service import (
    FakeInspector,
    FakeQueue,
    World,
    service_settings,
    serving,
    wait_until,
)
from tightrope_client import Client
from tightrope_client.gate import main

ASKED = (
    "--network", "nets/two.onnx", "--data", "three.npz", "--epsilon", "0.1", "--methods", "crown",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a gate ended, and what it said."""

    status: int
    out: str
    err: str


def gate(server: str, *arguments: str) -> Ended:
    """Run the gate in this process, as in a pipe."""
    out, err = io.StringIO(), io.StringIO()
    status = main([*arguments, "--server", server, "--patience", "20"], out=out, err=err)
    return Ended(status, out.getvalue(), err.getvalue())


@pytest.mark.usefixtures("repository")
def test_a_gate_that_is_passed(service: str) -> None:
    Path("summary.md").write_text("before\n")
    files = ("--junit", "j.xml", "--sarif", "s.json", "--html", "r.html", "--json", "o.json")
    limits = ("--min-certified", "0.33", "--min-clean", "60%")
    ended = gate(service, *ASKED, *limits, *files, "--markdown", "summary.md")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.endswith("gate passed\n")
    assert "certified, any method *   33.33 %" in ended.out
    assert "pass  certified accuracy 33.33 % is at least 33.00 %" in ended.out
    root = check_junit(Path("j.xml").read_text("utf-8"))
    assert outcomes(root) == {
        "certified-accuracy": "passed",
        "clean-accuracy": "passed",
        "input 0": "passed",
        "input 1": "skipped",
        "input 2": "skipped",
    }
    run = check_sarif(Path("s.json").read_text("utf-8"))
    assert [result["ruleId"] for result in run["results"]] == ["falsified", "misclassified"]
    assert run["artifacts"][0]["location"]["uri"] == "nets/two.onnx"
    assert Path("r.html").read_text("utf-8").startswith("<!")
    outcome = json.loads(Path("o.json").read_text("utf-8"))
    assert outcome["passed"] is True
    assert [check["passed"] for check in outcome["checks"]] == [True, True]
    assert outcome["job"]["report"].startswith(f"{service}/v1/certifications/job_")
    summary = Path("summary.md").read_text("utf-8")
    assert summary.startswith("before\n### two.onnx, L∞ ε = 0.1")
    assert "**gate passed**" in summary


@pytest.mark.usefixtures("repository")
def test_a_gate_that_fails(service: str) -> None:
    files = ("--junit", "j.xml", "--sarif", "s.json")
    ended = gate(service, *ASKED, "--min-certified", "0.5", "--method", "crown", *files)
    assert ended.status == 1
    assert "FAIL  certified accuracy 33.33 % is below 50.00 %" in ended.out
    root = check_junit(Path("j.xml").read_text("utf-8"))
    assert (root.get("failures"), root.get("errors")) == ("1", "0")
    run = check_sarif(Path("s.json").read_text("utf-8"))
    first = run["results"][0]
    assert (first["ruleId"], first["level"]) == ("gate-certified-accuracy", "error")
    assert "33.33 % is below 50.00 %" in first["message"]["text"]
    quiet = gate(service, *ASKED, "--min-certified", "0.5", "--quiet")
    assert quiet.out == "gate failed: certified accuracy 33.33 % is below 50.00 %\n"


@pytest.mark.usefixtures("repository")
def test_what_the_server_has_is_neither_sent_nor_computed_again(service: str) -> None:
    assert gate(service, *ASKED, "--min-certified", "0").status == 0
    with Client(service) as client:
        networks, datasets = list(client.networks.list()), list(client.datasets.list())
    Path("three.npz").rename("again.npz")
    again = ("--network", "nets/two.onnx", "--data", "again.npz", *ASKED[4:])
    ended = gate(service, *again, "--min-certified", "0")
    assert ended.status == 0
    assert "taken over from an earlier job" in ended.out
    with Client(service) as client:
        assert list(client.networks.list()) == networks
        assert list(client.datasets.list()) == datasets


@pytest.mark.usefixtures("repository")
def test_a_baseline(service: str) -> None:
    with Client(service) as client:
        baseline = client.networks.upload("nets/two.onnx")
        data = client.datasets.upload("three.npz")
    same = gate(service, *ASKED, "--baseline", baseline.id)
    assert same.status == 0
    assert "changed by +0.00 points against the baseline's 33.33 %" in same.out
    worse = ("--network", "nets/worse.onnx", "--data", data.id, *ASKED[4:])
    ended = gate(service, *worse, "--baseline", "nets/two.onnx", "--junit", "j.xml")
    assert ended.status == 1
    assert "lost: inputs 0" in ended.out
    assert "changed by -33.33 points against the baseline's 33.33 %; a drop of 1.00" in ended.out
    root = check_junit(Path("j.xml").read_text("utf-8"))
    assert outcomes(root)["drop"] == "failure"
    assert root.get("failures") == "1"
    allowed = gate(service, *worse, "--baseline", baseline.id, "--max-drop", "0.5")
    assert allowed.status == 0


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("--network", "nets/none.onnx"), "--network: there is no file nets/none.onnx; give an"),
        (("--data", "digits"), "--data: there is no file digits; give an .npz file with x and y"),
        (("--baseline", "main"), "--baseline: there is no file main"),
        (("--network", "three.npz"), "was refused (422): the file is not an ONNX model"),
        (("--data", "dat_" + "0" * 26), "was refused (404): there is no data set"),
        (("--methods", "crwn"), "was refused (422): body.methods.0"),
        (("--baseline", "three.npz"), "was refused (422): the file is not an ONNX model"),
    ],
)
def test_what_cannot_be_used(service: str, changes: tuple[str, ...], words: str) -> None:
    ended = gate(service, *ASKED, "--min-certified", "0.5", *changes)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert words in ended.err


@pytest.mark.usefixtures("repository")
def test_a_server_that_is_not_there() -> None:
    out, err = io.StringIO(), io.StringIO()
    asked = [*ASKED, "--min-certified", "0", "--server", "http://127.0.0.1:1", "--patience", "0"]
    assert main(asked, out=out, err=err) == 3
    assert "is the server running, and is its address right" in err.getvalue()


@pytest.mark.usefixtures("repository")
def test_both_commands_are_the_same(
    service: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIGHTROPE_SERVER", service)
    assert tightrope(["gate", *ASKED, "--min-certified", "0.33"]) == 0
    said = capfd.readouterr()
    assert said.out.endswith("gate passed\n")
    assert said.err == ""
    assert tightrope(["gate", *ASKED, "--min-certified", "0.34", "-q"]) == 1
    assert tightrope(["gate", *ASKED]) == 2
    assert "there is nothing to fail" in capfd.readouterr().err
    helps = []
    for run in (lambda: tightrope(["gate", "--help"]), lambda: main(["--help"])):
        assert run() == 0
        helps.append(" ".join(capfd.readouterr().out.split()).partition("Certify")[2])
    assert helps[0] == helps[1]
    assert "--min-certified SHARE" in helps[0]


@dataclass(frozen=True)
class Idle:
    """A service whose jobs nobody takes."""

    url: str
    world: World

    def states(self) -> list[str]:
        return [row.state for row in self.world.jobs.page(limit=10)]

    def end(self, state: str) -> None:
        """Wait for a job, and end it."""
        wait_until(self.states)
        with self.world.database.write() as session:
            for row in session.query(JobRow):
                row.state = state
                row.error = {"type": "SolverFailedError", "message": "it gave up"}


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Idle]:
    settings = service_settings(tmp_path / "data")
    world = World(settings)
    inspector = FakeInspector()
    inspector.details["network"].update(input_shape=[1, 2], outputs=2)
    inspector.details["dataset"].update(input_shape=[2], classes=2, count=3)
    with serving(create_app(settings, inspector=inspector, queue=FakeQueue())) as client:
        yield Idle(str(client.base_url).rstrip("/"), world)
    world.close()


@pytest.mark.usefixtures("repository")
def test_a_job_that_fails_is_no_verdict(idle: Idle) -> None:
    ender = threading.Thread(target=idle.end, args=("failed",))
    ender.start()
    ended = gate(idle.url, *ASKED, "--min-certified", "0", "--junit", "j.xml")
    ender.join()
    assert ended.status == 3
    assert "has failed: it gave up" in ended.err
    root = check_junit(Path("j.xml").read_text("utf-8"))
    assert outcomes(root) == {"job": "error"}


@pytest.mark.usefixtures("repository")
def test_a_deadline_ends_the_job(idle: Idle) -> None:
    ended = gate(idle.url, *ASKED, "--min-certified", "0", "--deadline", "0.1", "--junit", "j.xml")
    assert ended.status == 3
    assert "is still queued after 0.1 s" in ended.err
    assert idle.states() == ["cancelled"]
    assert "error" in outcomes(check_junit(Path("j.xml").read_text("utf-8"))).values()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("option", "state"), [((), "cancelled"), (("--detach",), "queued")])
def test_an_interrupt(
    idle: Idle, repository: Path, number: int, option: tuple[str, ...], state: str
) -> None:
    command = [sys.executable, "-m", "tightrope_client.gate", *ASKED, "--min-certified", "0"]
    process = subprocess.Popen(
        [*command, *option],
        cwd=repository,
        env={**os.environ, "TIGHTROPE_SERVER": idle.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(idle.states)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert idle.states() == [state]
    assert ("was cancelled\n" if state == "cancelled" else "goes on; the same command") in err
    assert err.endswith("interrupted\n")
