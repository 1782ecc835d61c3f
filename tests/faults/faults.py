"""Every fault: what is done to a deployment in the middle of a job, and what became of the job."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.faults.servers import find_faketime
from tests.faults.site import COUNT, Answers, Site
from tests.helpers.service import wait_until

__all__ = ["FAULTS", "Outcome", "judge"]

_MEMORY_BYTES = 2**29
_SMALL_DISK = "12m"


@dataclass(frozen=True)
class Outcome:
    """What became of one fault.

    Attributes:
        survived: Every job ended as it should.
        lost: Inputs without an answer.
        doubled: Answers that came twice.
        changed: Answers that differ from those of an undisturbed run.
        parked: Inputs that were given up with a reason, as they should be.
        seconds: From the fault to the next answer behind it.
        note: What else was seen.
    """

    survived: bool
    lost: int
    doubled: int
    changed: int
    parked: int
    seconds: float
    note: str = ""


def judge(
    site: Site, job: str, expected: Answers, seconds: float, *, parked: int = 0, note: str = ""
) -> Outcome:
    """Wait for the end of a job and compare its answers with those of an undisturbed run."""
    state, found, doubled = site.finish(job)
    given_up = {index for index, item in found.items() if _given_up(item)}
    changed = [
        index for index in found if index not in given_up and found[index] != expected[index]
    ]
    return Outcome(
        survived=state == "succeeded" and len(given_up) == parked,
        lost=len(set(expected) - set(found)),
        doubled=doubled,
        changed=len(changed),
        parked=len(given_up),
        seconds=seconds,
        note=note,
    )


def _given_up(item: Mapping[str, object]) -> bool:
    return str(item["reason"]).startswith("given up")


def _next_answer(site: Site, job: str, before: int, since: float) -> float:
    """Wait for an answer that was not there when the fault came; return how long that took."""
    site.wait_for(job, min(before + 1, COUNT))
    return time.monotonic() - since


def kill_worker(site: Site, expected: Answers) -> Outcome:
    """`kill -9` of a worker in the middle of its chunk: the other one does what it had."""
    job = site.submit()
    site.wait_for(job, 4)
    since = time.monotonic()
    site.workers["first"].stop(signal.SIGKILL)
    site.finish(job)
    seconds = time.monotonic() - since
    site.workers["first"].start()
    return judge(site, job, expected, seconds)


def kill_all(site: Site, expected: Answers) -> Outcome:
    """`kill -9` of every worker in the middle of their chunks; they come back."""
    job = site.submit()
    site.wait_for(job, 4)
    for name in ("first", "second"):
        site.workers[name].stop(signal.SIGKILL)
    before, since = site.done(job), time.monotonic()
    for name in ("first", "second"):
        site.workers[name].start()
    return judge(site, job, expected, _next_answer(site, job, before, since))


def restart_redis(site: Site, expected: Answers) -> Outcome:
    """Redis is killed and comes back empty; a job is accepted while it is away."""
    job = site.submit()
    site.wait_for(job, 4)
    site.redis.kill()
    accepted = site.submit()
    before, since = site.done(job), time.monotonic()
    site.redis.start()
    seconds = _next_answer(site, job, before, since)
    other = judge(site, accepted, expected, seconds)
    first = judge(site, job, expected, seconds)
    return _together(first, other)


def restart_postgres(site: Site, expected: Answers) -> Outcome:
    """PostgreSQL is restarted in the middle of a job: once politely, once killed."""
    job = site.submit()
    site.wait_for(job, 4)
    site.postgres.stop()
    assert site.status(f"/v1/certifications/{job}") in (0, 503)
    site.postgres.start()
    wait_until(lambda: site.done(job) >= 0)
    site.wait_for(job, 8)
    site.postgres.kill()
    since = time.monotonic()
    site.postgres.start()
    wait_until(lambda: site.done(job) >= 0)
    seconds = _next_answer(site, job, site.done(job), since)
    return judge(site, job, expected, seconds)


def restart_api(site: Site, expected: Answers) -> Outcome:
    """The API is killed in the middle of an upload, while a job runs."""
    job = site.submit()
    content = (site.folder / "d.npz").read_bytes()

    def half() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        site.api.stop(signal.SIGKILL, group=True)
        yield content[len(content) // 2 :]

    with pytest.raises(httpx.TransportError):
        site.http.post(
            "/v1/datasets",
            params={"name": "half.npz"},
            content=half(),
            headers={"content-type": "application/octet-stream"},
        )
    since = time.monotonic()
    site.start_api()
    again = site.upload("datasets", content, "half.npz")
    seconds = time.monotonic() - since
    assert again.status_code in (200, 201)
    assert not list((site.settings.data_dir / "blobs" / "incoming").iterdir())
    return judge(site, job, expected, seconds)


def fill_disk(site: Site, expected: Answers) -> Outcome:
    """The disk of uploaded files is full; it is said so, and running jobs go on."""
    with small_disk(site.settings.data_dir / "blobs" / "incoming") as kind:
        job = site.submit()
        refused = site.upload("datasets", bytes(16 * 2**20), "large.npz")
        assert refused.status_code == 507, refused.text
        assert refused.json()["type"] == "urn:tightrope:problem:disk-full"
        since = time.monotonic()
    good = site.upload("datasets", (site.folder / "d.npz").read_bytes(), "d.npz")
    assert good.status_code in (200, 201)
    assert not list((site.settings.data_dir / "blobs" / "incoming").iterdir())
    return judge(site, job, expected, time.monotonic() - since, note=kind)


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """Put a small disk where files arrive; skip where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("no disk can be mounted here; it takes root")
    try:
        yield f"tmpfs of {_SMALL_DISK}"
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def segfault_once(site: Site, expected: Answers) -> Outcome:
    """A solver's process dies of a segmentation fault, once."""
    return _engine_fault(site, expected, "segfault", once=True)


def segfault_always(site: Site, expected: Answers) -> Outcome:
    """One input is a segmentation fault whenever it is tried: it is given up, by name."""
    return _engine_fault(site, expected, "segfault", words="SIGSEGV")


def out_of_memory(site: Site, expected: Answers) -> Outcome:
    """One input needs more memory than the worker may use."""
    return _engine_fault(site, expected, "memory", words="memory", memory_bytes=_MEMORY_BYTES)


def killed_for_memory(site: Site, expected: Answers) -> Outcome:
    """The kernel kills the process that computes, once, as it does when memory ends."""
    return _engine_fault(site, expected, "killed", once=True)


def _engine_fault(
    site: Site,
    expected: Answers,
    fault: str,
    *,
    once: bool = False,
    words: str = "",
    memory_bytes: int | None = None,
) -> Outcome:
    """Certify with a worker whose engine breaks before one input."""
    flag = site.folder / f"{fault}-happened"
    flag.unlink(missing_ok=True)
    options = {"fault": fault, "at": 5, **({"once": flag} if once else {})}
    for name in ("first", "second"):
        site.workers[name].stop(signal.SIGTERM)
    worker = site.start_worker("faulty", memory_bytes=memory_bytes, **options)
    since = time.monotonic()
    job = site.submit()
    site.finish(job)
    seconds = time.monotonic() - since
    assert worker.running is not None
    alive = worker.running.poll() is None
    worker.stop(signal.SIGTERM)
    for name in ("first", "second"):
        site.workers[name].start()
    outcome = judge(site, job, expected, seconds, parked=0 if once else 1)
    _, found, _ = site.finish(job)
    assert alive, "the worker itself died"
    assert words in str(found[5]["reason"])
    return outcome


def move_clock_ahead(site: Site, expected: Answers) -> Outcome:
    """The clock of leases jumps an hour ahead: every lease ends at once."""
    return _clock_fault(site, expected, 3600)


def move_clock_back(site: Site, expected: Answers) -> Outcome:
    """The clock of leases jumps an hour back, and a worker dies: its leases seem to last."""
    return _clock_fault(site, expected, -3600)


def _clock_fault(site: Site, expected: Answers, seconds: int) -> Outcome:
    library = find_faketime()
    if library is None:
        pytest.skip("libfaketime is not installed; the package is called faketime")
    site.postgres.follow_clock(library)
    job = site.submit()
    site.wait_for(job, 4)
    site.postgres.move_clock(seconds)
    before, since = site.done(job), time.monotonic()
    if seconds < 0:
        time.sleep(1.5)  # the server looks at its clock's file once a second
        site.workers["first"].stop(signal.SIGKILL)
        site.workers["first"].start()
    took = _next_answer(site, job, before, since)
    outcome = judge(site, job, expected, took)
    site.postgres.move_clock(0)
    site.postgres.leave_clock()
    return outcome


def _together(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(
        survived=one.survived and other.survived,
        lost=one.lost + other.lost,
        doubled=one.doubled + other.doubled,
        changed=one.changed + other.changed,
        parked=one.parked + other.parked,
        seconds=max(one.seconds, other.seconds),
        note=one.note,
    )


FAULTS: Mapping[str, Callable[[Site, Answers], Outcome]] = {
    "a worker killed": kill_worker,
    "every worker killed": kill_all,
    "Redis loses its memory": restart_redis,
    "PostgreSQL restarted": restart_postgres,
    "API killed in an upload": restart_api,
    "disk full": fill_disk,
    "solver segfaults once": segfault_once,
    "solver segfaults always": segfault_always,
    "engine killed for memory": killed_for_memory,
    "out of memory": out_of_memory,
    "clock an hour ahead": move_clock_ahead,
    "clock an hour back": move_clock_back,
}
