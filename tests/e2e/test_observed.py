"""A job seen from outside: a worker process works, an API process tells of it."""

from __future__ import annotations

import re
from pathlib import Path

from api.app import create_app
from store.states import Origin
from tests.helpers.processes import SLOW_WORKER, environment, running
from tests.helpers.receivers import receiving
from tests.helpers.service import (
    FakeInspector,
    FakeQueue,
    World,
    service_settings,
    serving,
    wait_until,
)
from tests.helpers.streams import read_events


def test_a_job_is_followed_counted_logged_and_announced(tmp_path: Path) -> None:
    with receiving() as receiver:
        settings = service_settings(
            tmp_path,
            report_seconds=0.2,
            webhook_hosts=f"localhost:{receiver.port}",
            webhook_secret="s" * 40,
            webhook_private=True,
        )
        world = World(settings)
        app = create_app(settings, inspector=FakeInspector(), queue=FakeQueue())
        secret = {"TIGHTROPE_WEBHOOK_SECRET": "s" * 40}
        env = {**environment(settings), **secret}
        row = world.certify(
            range(3), timeout_seconds=0.05, origin=Origin(receiver.url("localhost"))
        )
        log = tmp_path / "worker.log"
        with serving(app) as client:
            assert len(client.get("/readyz").json()["warnings"]) == 2
            with running((*SLOW_WORKER, "--name", "w"), log=log, env=env) as process:
                with client.stream("GET", f"/v1/jobs/{row.id}/events") as response:
                    events = list(read_events(response.iter_lines()))
                assert client.get("/readyz").json()["warnings"] == []
                wait_until(lambda: receiver.got)
                wait_until(lambda: "tightrope_verdicts_total{" in client.get("/metrics").text)
                process.terminate()
                assert process.wait(30) == 0
            figures = client.get("/metrics").text
            assert len(client.get("/readyz").json()["warnings"]) == 2
        world.close()
    assert events[-1].data["state"] == "succeeded"
    told = [one["index"] for event in events for one in event.data.get("items", [])]
    assert sorted(told) == [0, 1, 2]
    assert 'tightrope_verdicts_total{verdict="verified"} 3' in figures
    assert 'tightrope_method_duration_seconds_count{method="crown"} 3' in figures
    about_jobs = re.compile(r" worker\.(certifying|writing|lease|webhooks) ")
    lines = [line for line in log.read_text().splitlines() if about_jobs.search(line)]
    assert len(lines) >= 2
    assert [line for line in lines if f"[{row.id}]" not in line] == []
