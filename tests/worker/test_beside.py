"""Threads beside a block: there while it is open, gone behind it, with its context."""

from __future__ import annotations

import threading

import pytest

from worker.beside import Beside
from worker.logs import current_job, job_logged


class Two(Beside):
    """Two threads, one of which does not end by itself."""

    def __init__(self, *, leaving_seconds: float | None = None) -> None:
        loops = {"first": self._first, "second": self._second}
        super().__init__(loops, leaving_seconds=leaving_seconds)
        self.seen: list[str] = []
        self.stuck = threading.Event()
        self.ended: list[BaseException | None] = []

    def _first(self) -> None:
        self.seen.append(current_job())
        self._done.wait()
        self.seen.append("first ended")

    def _second(self) -> None:
        self.stuck.wait()
        self.seen.append("second ended")

    def _left(self, error: BaseException | None) -> None:
        self.ended.append(error)


def test_threads_know_their_job_and_are_waited_for() -> None:
    with job_logged("job_1"):
        two = Two()
    two.stuck.set()
    with two:
        pass
    assert set(two.seen) == {"job_1", "first ended", "second ended"}
    assert two.ended == [None]


def test_what_the_block_raises_is_known_once_all_have_ended() -> None:
    two = Two()
    two.stuck.set()
    error = ValueError("no")
    with pytest.raises(ValueError, match="no"), two:
        raise error
    assert two.ended == [error]
    assert "first ended" in two.seen


def test_a_thread_that_does_not_end_is_left_behind() -> None:
    two = Two(leaving_seconds=0.05)
    with two:
        pass
    assert two.ended == [None]
    assert "second ended" not in two.seen
    two.stuck.set()
