"""What may be kept, what is not sent twice, and reads that are made once for many."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.shared import SharedReads
from tests.helpers.api import Api
from tests.helpers.service import item


def test_status_is_sent_again_when_it_changes_and_only_then(api: Api) -> None:
    row = api.world.certify()
    for path in (f"/v1/jobs/{row.id}", f"/v1/certifications/{row.id}"):
        first = api.client.get(path)
        assert first.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in first.headers["Vary"]
        known = {"If-None-Match": f'"other", {first.headers["ETag"]}'}
        again = api.client.get(path, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    assert api.world.jobs.claim(row.id, "w")
    changed = api.client.get(path, headers=known)
    assert (changed.status_code, changed.json()["state"]) == (200, "running")
    api.world.certifications.add_item(row.id, "w", item(0))
    known = {"If-None-Match": changed.headers["ETag"]}
    assert api.client.get(path, headers=known).json()["progress"]["done"] == 1


def test_the_time_that_is_left_makes_no_new_status(api: Api) -> None:
    row = api.world.certify()
    assert api.world.jobs.claim(row.id, "w")
    api.world.certifications.add_item(row.id, "w", item(0))
    path = f"/v1/jobs/{row.id}"
    first = api.client.get(path)
    time.sleep(0.3)
    second = api.client.get(path)
    assert first.json()["progress"]["seconds_left"] != second.json()["progress"]["seconds_left"]
    assert first.headers["ETag"] == second.headers["ETag"]


@pytest.mark.parametrize("part", ["items", "items.csv", "report", "report.html"])
def test_results_of_finished_jobs_need_not_be_asked_for_again(api: Api, part: str) -> None:
    path = f"/v1/certifications/{api.world.finish()}/{part}"
    response = api.client.get(path)
    assert response.headers["Cache-Control"] == "private, max-age=86400, immutable"
    known = {"If-None-Match": response.headers["ETag"]}
    assert api.client.get(path, headers=known).status_code == 304


def test_answers_so_far_are_asked_for_again(api: Api) -> None:
    row = api.world.certify()
    assert api.world.jobs.claim(row.id, "w")
    path = f"/v1/certifications/{row.id}/items"
    first = api.client.get(path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    assert api.client.get(path, headers=known).status_code == 304
    api.world.certifications.add_item(row.id, "w", item(0))
    assert len(api.client.get(path, headers=known).json()["items"]) == 1


def test_what_is_made_or_refused_is_kept_nowhere(api: Api) -> None:
    made = api.client.post("/v1/keys", json={"name": "k", "scopes": ["read"]})
    refused = api.client.get("/v1/jobs/job_x")
    for response in (made, refused):
        assert response.headers["Cache-Control"] == "no-store"
        assert "ETag" not in response.headers


@given(delays=st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_nobody_is_given_what_was_read_before_they_asked(delays: list[int]) -> None:
    """Reads that overlap are shared, but each begins after all who are given it have asked."""
    lock, begun, running = threading.Lock(), [0], [0]

    def read() -> int:
        with lock:
            begun[0] += 1
            number = begun[0]
            running[0] += 1
            assert running[0] == 1
        time.sleep(0.003)
        with lock:
            running[0] -= 1
        return number

    async def main() -> None:
        reads = SharedReads()

        async def ask(delay: int) -> None:
            await asyncio.sleep(delay / 1000)
            before = begun[0]
            assert await reads.read("key", read) > before

        await asyncio.gather(*(ask(delay) for delay in delays))

    asyncio.run(main())
    assert begun[0] <= len(delays)


def test_a_client_that_leaves_takes_no_answer_with_it() -> None:
    async def main() -> None:
        reads = SharedReads()
        leaving = asyncio.create_task(reads.read("key", lambda: time.sleep(0.05) or 7))
        staying = asyncio.create_task(reads.read("key", lambda: 8))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert await staying in (7, 8)

    asyncio.run(main())


def test_failed_reads_fail_for_all_and_are_forgotten() -> None:
    async def main() -> None:
        reads = SharedReads()

        def fail() -> int:
            raise LookupError("gone")

        results = await asyncio.gather(
            *(reads.read("key", fail) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [LookupError] * 3
        assert await reads.read("key", lambda: 1) == 1

    asyncio.run(main())
