"""Streams: complete, resumable, ending with the job, and cheap for the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event as sql_event

from api.app import create_app
from store.keys import Keys, Scope
from store.states import JobState
from store.trainings import Metric
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.servers import postgres
from tests.helpers.service import (
    SUMMARY,
    FakeInspector,
    FakeQueue,
    World,
    item,
    service_settings,
    serving,
    wait_until,
)
from tests.helpers.streams import Sent, read_events


@contextmanager
def streaming(
    client: httpx.Client,
    path: str,
    after: str | None = None,
    comments: list[str] | None = None,
    *,
    key: str | None = None,
) -> Iterator[Iterator[Sent]]:
    headers = {} if after is None else {"Last-Event-ID": after}
    headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
    with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        yield read_events(response.iter_lines(), comments)


def told(events: list[Sent]) -> list[tuple[int, str]]:
    return [
        (one["index"], one["verdict"])
        for event in events
        if event.name == "items"
        for one in event.data["items"]
    ]


def states(events: list[Sent]) -> list[str]:
    return [event.data["state"] for event in events if event.name == "state"]


def test_a_stream_tells_everything_in_order_and_ends(api: Api) -> None:
    row = api.world.certify([0, 1, 2])
    path = f"/v1/jobs/{row.id}/events"
    with streaming(api.client, path) as events:
        found = [next(events)]
        assert api.world.jobs.claim(row.id, "w")
        for index, verdict in enumerate(("verified", "falsified", "unknown")):
            api.world.certifications.add_item(row.id, "w", item(index, verdict))
        api.world.certifications.succeed(row.id, "w", SUMMARY)
        found += list(events)
    assert states(found) == ["queued", "running", "succeeded"]
    assert told(found) == [(0, "verified"), (1, "falsified"), (2, "unknown")]
    assert [event.data["progress"]["done"] for event in found] == [0, 0, 1, 2, 3, 3]
    numbers = [int(event.id) for event in found]
    assert numbers == sorted(set(numbers))
    assert {event.data["job_id"] for event in found} == {row.id}


def test_a_resumed_stream_leaves_nothing_out_wherever_it_broke(api: Api) -> None:
    done = api.world.finish(range(4))
    path = f"/v1/jobs/{done}/events"
    with streaming(api.client, path) as events:
        whole = list(events)
    for position, event in enumerate(whole[:-1]):
        with streaming(api.client, path, after=event.id) as rest:
            assert list(rest) == whole[position + 1 :]
    assert api.client.get(path, headers={"Last-Event-ID": whole[-1].id}).status_code == 204


def test_answers_that_were_taken_over_are_told_too(api: Api) -> None:
    api.world.finish([0, 1])
    again = api.world.certify([0, 1], reuse=True)
    with streaming(api.client, f"/v1/jobs/{again.id}/events") as events:
        found = list(events)
    assert told(found) == [(0, "verified"), (1, "verified")]
    assert states(found) == ["queued", "succeeded"]
    assert found[-1].data["cached"]


def test_comparisons_say_which_network(api: Api) -> None:
    row = api.world.compare([0])
    assert api.world.jobs.claim(row.id, "w")
    api.world.comparisons.add_item(row.id, "w", position=1, item=item(0))
    api.world.jobs.finish(row.id, "w", JobState.CANCELLED)
    with streaming(api.client, f"/v1/jobs/{row.id}/events") as events:
        found = list(events)
    assert [event.data["position"] for event in found if event.name == "items"] == [1]


def test_trainings_send_their_points(api: Api) -> None:
    row = api.world.train()
    assert api.world.jobs.claim(row.id, "w")
    point = {"arm": "candidate", "step": 1, "loss": {"total": 0.5}}
    api.world.trainings.note(row.id, "w", [Metric("candidate", 2, point)], done=1, total=10)
    api.world.trainings.note(row.id, "w", done=2, total=10)
    api.world.jobs.finish(
        row.id, "w", JobState.FAILED, error={"type": "DivergedError", "message": "it diverged"}
    )
    with streaming(api.client, f"/v1/jobs/{row.id}/events") as events:
        found = list(events)
    assert [event.name for event in found] == ["state", "state", "metrics", "progress", "state"]
    assert found[2].data["points"] == [{"index": 0, **point}]
    assert found[3].data["progress"] == {"done": 2, "total": 10}
    assert found[-1].data["error"]["type"] == "urn:tightrope:problem:diverged"


def test_a_finished_job_without_events_tells_its_state(api: Api) -> None:
    done = api.world.finish()
    with api.world.database.write() as session:
        session.connection().exec_driver_sql("DELETE FROM job_events")
    path = f"/v1/jobs/{done}/events"
    with streaming(api.client, path) as events:
        (only,) = list(events)
    assert only.data["state"] == "succeeded"
    assert api.client.get(path, headers={"Last-Event-ID": only.id}).status_code == 204


def test_a_stream_of_a_job_that_is_deleted_ends(api: Api) -> None:
    row = api.world.certify()
    with streaming(api.client, f"/v1/jobs/{row.id}/events") as events:
        assert next(events).data["state"] == "queued"
        with api.world.database.write() as session:
            session.connection().exec_driver_sql("DELETE FROM jobs")
        assert list(events) == []


def test_what_cannot_be_followed(api: Api) -> None:
    problem(api.client.get("/v1/jobs/job_x/events"), 404)
    path = f"/v1/jobs/{api.world.certify().id}/events"
    problem(api.client.get(path, headers={"Last-Event-ID": "x"}), 422, "Last-Event-ID")


def test_silence_is_filled_with_comments(api: Api) -> None:
    row = api.world.certify()
    comments: list[str] = []
    with streaming(api.client, f"/v1/jobs/{row.id}/events", comments=comments) as events:
        assert next(events).name == "state"
        timer = threading.Timer(0.5, api.world.jobs.request_cancel, [row.id])
        timer.start()
        assert states(list(events)) == ["cancelled"]
        timer.join()
    assert comments


@pytest.mark.parametrize("path", ["/v1/jobs/{job}/events", "/v1/events"])
def test_a_stream_ends_soon_after_its_key(
    guarded: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.events._LOOK_SECONDS", 0.1)
    made, other = guarded.key(Scope.READ), guarded.key(Scope.READ)
    job = guarded.world.certify().id
    url = path.format(job=job)
    with (
        streaming(guarded.client, url, key=made.token) as ending,
        streaming(guarded.client, url, key=other.token) as going_on,
    ):
        wait_until(lambda: watchers(guarded) == 2)
        Keys(guarded.world.database).revoke(made.row.id)
        assert "cancelled" not in states(list(ending))
        guarded.world.jobs.request_cancel(job)
        assert any(event.data["state"] == "cancelled" for event in going_on)


def test_all_jobs_are_followed_at_once(api: Api) -> None:
    with streaming(api.client, "/v1/events") as events:
        wait_until(lambda: watchers(api) == 1)
        done = api.world.finish([0])
        other = api.world.certify().id
        latest: dict[str, str] = {}
        last = ""
        for event in events:
            assert event.name == "job"
            latest[event.data["job_id"]], last = event.data["state"], event.id
            if latest == {done: "succeeded", other: "queued"}:
                break
    api.world.jobs.request_cancel(other)
    with streaming(api.client, "/v1/events", after=last) as events:
        # What was heard before may come again, in the order in which it happened.
        assert any(
            (event.data["job_id"], event.data["state"]) == (other, "cancelled") for event in events
        )


def watchers(api: Api) -> int:
    found: int = api.app.state.feed.watchers
    return found


def test_many_waiters_are_one_reader(api: Api) -> None:
    """The number of questions to the database does not grow with those who wait."""
    row = api.world.certify()
    asked: list[str] = []
    engine = api.app.state.services.database.engine

    def note(*details: object) -> None:
        if "job_events" in str(details[2]):
            asked.append(str(details[2]))

    with ThreadPoolExecutor(30) as pool:
        waits = [
            pool.submit(api.client.get, f"/v1/jobs/{row.id}", params={"wait": 30})
            for _ in range(30)
        ]
        wait_until(lambda: watchers(api) == 30)
        sql_event.listen(engine, "before_cursor_execute", note)
        try:
            wait_until(lambda: len(asked) >= 5)
            before = len(asked)
            api.world.jobs.request_cancel(row.id)
            answers = [wait.result().json()["state"] for wait in waits]
        finally:
            sql_event.remove(engine, "before_cursor_execute", note)
    assert answers == ["cancelled"] * 30
    assert before < 30
    wait_until(lambda: watchers(api) == 0)


def test_two_processes_tell_the_same(api: Api) -> None:
    """A job changed through one API is followed through another, on the same database."""
    settings = service_settings(api.world.settings.data_dir)
    app = create_app(settings, inspector=FakeInspector(), queue=FakeQueue())
    row = api.world.certify()
    with serving(app) as other, streaming(other, f"/v1/jobs/{row.id}/events") as events:
        assert next(events).data["state"] == "queued"
        assert api.client.post(f"/v1/jobs/{row.id}/cancel").status_code == 202
        assert states(list(events)) == ["cancelled"]


def test_streams_work_on_postgresql(tmp_path: Path) -> None:
    with postgres(tmp_path / "postgres") as url:
        settings = service_settings(tmp_path / "data", database_url=url)
        world = World(settings)
        app = create_app(settings, inspector=FakeInspector(), queue=FakeQueue())
        with serving(app) as client:
            row = world.certify(range(40))
            with streaming(client, f"/v1/jobs/{row.id}/events") as events:
                assert next(events).data["state"] == "queued"
                assert world.jobs.claim(row.id, "w")
                with ThreadPoolExecutor(4) as pool:
                    # As workers that share a job: several transactions at once.
                    list(
                        pool.map(
                            lambda index: world.certifications.add_item(row.id, "w", item(index)),
                            range(40),
                        )
                    )
                world.certifications.succeed(row.id, "w", SUMMARY)
                found = list(events)
        world.close()
    assert sorted(told(found)) == [(index, "verified") for index in range(40)]
    assert states(found) == ["running", "succeeded"]
