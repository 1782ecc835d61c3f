"""Any order of moves, by any of several workers, keeps what a job promises."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from store.errors import ConflictError
from store.job_rows import LeaseLostError
from store.jobs import LeaseState
from store.states import FINAL_STATES, JobState
from tests.helpers.service import SUMMARY, World, item, service_settings
from tests.store.test_jobs import let_lease_expire

WORKERS = st.sampled_from(["ann", "bob", "cleo"])
TOTAL = 3


class JobMachine(RuleBasedStateMachine):
    """One job, three workers, and a model of who owns it and what it has."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(service_settings(Path(self.folder.name)))
        self.job = self.world.certify(range(TOTAL)).id
        self.state = "queued"
        self.owner: str | None = None
        self.expired = False
        self.cancel = False
        self.answers: dict[int, str] = {}

    def teardown(self) -> None:
        self.world.close()
        self.folder.cleanup()

    def holds(self, worker: str) -> bool:
        return self.state == "running" and self.owner == worker

    @rule(worker=WORKERS)
    def claim(self, worker: str) -> None:
        free = self.state == "queued" or (self.state == "running" and self.expired)
        expected = free and not self.cancel
        assert self.world.jobs.claim(self.job, worker) == expected
        if expected:
            self.state, self.owner, self.expired = "running", worker, False

    @rule(worker=WORKERS)
    def beat(self, worker: str) -> None:
        found = self.world.jobs.heartbeat(self.job, worker)
        if not self.holds(worker):
            assert found is LeaseState.LOST
        else:
            assert found is (LeaseState.CANCELLED if self.cancel else LeaseState.HELD)
            self.expired = False

    @rule(worker=WORKERS, index=st.integers(0, TOTAL - 1))
    def answer(self, worker: str, index: int) -> None:
        try:
            self.world.certifications.add_item(self.job, worker, item(index, reason=f"by {worker}"))
        except LeaseLostError:
            assert not self.holds(worker)
        else:
            assert self.holds(worker)
            self.answers.setdefault(index, f"by {worker}")

    @rule(worker=WORKERS, end=st.sampled_from(["succeed", "fail", "release"]))
    def leave(self, worker: str, end: str) -> None:
        held = self.holds(worker)
        if end == "release":
            assert self.world.jobs.release(self.job, worker) == held
            if held:
                self.state, self.owner, self.expired = "queued", None, False
            return
        try:
            if end == "succeed":
                self.world.certifications.succeed(self.job, worker, SUMMARY)
            else:
                self.world.jobs.finish(self.job, worker, JobState.FAILED)
        except LeaseLostError:
            assert not held
        else:
            assert held
            self.state, self.owner = ("succeeded" if end == "succeed" else "failed"), None

    @rule()
    def ask_to_cancel(self) -> None:
        try:
            self.world.jobs.request_cancel(self.job)
        except ConflictError:
            assert self.state in ("succeeded", "failed")
        else:
            self.state = "cancelled" if self.state == "queued" else self.state
            self.cancel = True

    @precondition(lambda self: self.state == "running")
    @rule()
    def time_passes(self) -> None:
        let_lease_expire(self.world, self.job)
        self.expired = True

    @rule()
    def sweep(self) -> None:
        back = self.world.jobs.expire(max_attempts=1000)
        if self.state == "running" and self.expired:
            assert back == ([] if self.cancel else [self.job])
            self.state = "cancelled" if self.cancel else "queued"
            self.owner, self.expired = None, False
        else:
            assert back == []

    @invariant()
    def the_store_agrees(self) -> None:
        row = self.world.jobs.get(self.job)
        assert (row.state, row.owner) == (self.state, self.owner)
        assert (row.finished_at is not None) == (row.state in FINAL_STATES)
        assert row.done == len(self.answers)
        items = self.world.certifications.items(self.job)
        assert {entry["index"]: entry["reason"] for entry in items} == self.answers


TestJobMachine = JobMachine.TestCase
TestJobMachine.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
