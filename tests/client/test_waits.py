"""Waiting for jobs: held back by the server, up to a deadline, however the server behaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.client.conftest import KINDS, Clock, Fake, perform
from tightrope_client import JobCancelledError, JobFailedError, WaitTimeoutError

JOB: dict[str, Any] = {
    "id": "job_1",
    "kind": "certification",
    "url": "/v1/certifications/job_1",
    "progress": {"done": 1, "total": 4, "seconds_left": None},
    "cancel_requested": False,
    "cached": False,
    "error": None,
    "created_at": "2030-01-31T12:00:00Z",
    "started_at": None,
    "finished_at": None,
}


def view(state: str, **changes: object) -> httpx.Response:
    return httpx.Response(200, json={**JOB, "state": state, **changes})


def holding(clock: Clock, *states: str) -> Callable[[httpx.Request], httpx.Response]:
    """Answer after as long as the request says; at once where the state is a final one."""
    left = list(states)

    def answer(request: httpx.Request) -> httpx.Response:
        state = left.pop(0) if len(left) > 1 else left[0]
        if state in ("queued", "running"):
            clock.now += float(request.url.params.get("wait", "0"))
        return view(state)

    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_is_asked_for_until_it_is_final(kind: str, clock: Clock) -> None:
    seen: list[str] = []
    server = Fake(holding(clock, "queued", "running", "running", "succeeded"))
    found = perform(
        kind,
        server,
        lambda client: client.jobs.wait("job_1", progress=lambda job: seen.append(job.state)),
    )
    assert seen == ["queued", "running", "running", "succeeded"]
    assert found.require_success() is found
    assert [request.url.params["wait"] for request in server.requests] == ["30.0"] * 4
    assert clock.slept == []


@pytest.mark.parametrize("kind", KINDS)
def test_progress_is_asked_for_as_often_as_wanted(kind: str, clock: Clock) -> None:
    server = Fake(holding(clock, "running", "running", "succeeded"))
    perform(kind, server, lambda client: client.jobs.wait("job_1", poll_seconds=1.0))
    assert [request.url.params["wait"] for request in server.requests] == ["1.0"] * 3
    assert server.requests[0].extensions["timeout"]["read"] == 61.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_time_for_waiting_has_an_end(kind: str, clock: Clock) -> None:
    start = clock.now
    server = Fake(holding(clock, "running"))
    with pytest.raises(WaitTimeoutError) as caught:
        perform(kind, server, lambda client: client.jobs.wait("job_1", timeout_seconds=70.0))
    assert clock.now - start == pytest.approx(70.0)
    waits = [float(request.url.params["wait"]) for request in server.requests]
    assert waits == pytest.approx([30.0, 30.0, 10.0])
    assert str(caught.value) == (
        "job_1 is still running after 70 s (1 of 4 done); it goes on, ask again later"
    )
    assert caught.value.job.progress.total == 4


@pytest.mark.parametrize("kind", KINDS)
def test_no_time_at_all_is_one_question(kind: str, clock: Clock) -> None:
    server = Fake(holding(clock, "running"))
    with pytest.raises(WaitTimeoutError):
        perform(kind, server, lambda client: client.jobs.wait("job_1", timeout_seconds=0.0))
    assert len(server.requests) == 1
    assert "wait" not in server.requests[0].url.params


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_holds_nothing_back_is_not_flooded(kind: str, clock: Clock) -> None:
    server = Fake(*[view("running")] * 9, view("succeeded"))
    perform(kind, server, lambda client: client.jobs.wait("job_1"))
    assert len(clock.slept) == 8
    assert min(clock.slept) == pytest.approx(0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_restarts_meanwhile_is_waited_for(kind: str, clock: Clock) -> None:
    server = Fake(
        view("running"), httpx.ConnectError("refused"), httpx.Response(502), view("succeeded")
    )
    assert perform(kind, server, lambda client: client.jobs.wait("job_1")).final


@pytest.mark.parametrize("kind", KINDS)
def test_what_ended_badly_is_returned_and_says_so_when_asked(kind: str, clock: Clock) -> None:
    error = {"title": "A solver failed", "status": 500, "detail": "it gave up"}
    failed = perform(
        kind, Fake(view("failed", error=error)), lambda client: client.jobs.wait("job_1")
    )
    with pytest.raises(JobFailedError, match="job_1 has failed: it gave up") as caught:
        failed.require_success()
    assert caught.value.problem is not None
    assert caught.value.problem.detail == "it gave up"
    cancelled = perform(kind, Fake(view("cancelled")), lambda client: client.jobs.wait("job_1"))
    with pytest.raises(JobCancelledError, match="job_1 was cancelled with 1 of 4 done"):
        cancelled.require_success()
    running = perform(kind, Fake(view("running")), lambda client: client.jobs.get("job_1"))
    with pytest.raises(JobFailedError, match="job_1 is running, not finished"):
        running.require_success()
