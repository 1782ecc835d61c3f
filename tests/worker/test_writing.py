"""Answers are all stored, several at a time, and a failure to store is not lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from store.job_rows import LeaseLostError
from tests.helpers.service import wait_until
from worker.writing import AnswerWriter


class Kept:
    """Remembers what it was given, in which portions."""

    def __init__(self) -> None:
        self.portions: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> None:
        self.open.wait(60)
        self.portions.append([item["index"] for item in items])

    @property
    def indices(self) -> list[int]:
        return [index for portion in self.portions for index in portion]


def test_every_answer_is_stored_in_order_by_the_end() -> None:
    kept = Kept()
    with AnswerWriter(kept, seconds=0.001) as writer:
        for index in range(500):
            writer.add({"index": index})
    assert kept.indices == list(range(500))


def test_an_answer_does_not_wait_for_the_next() -> None:
    kept = Kept()
    with AnswerWriter(kept) as writer:
        writer.add({"index": 0})
        wait_until(lambda: kept.indices == [0])


def test_what_comes_during_a_write_is_stored_together() -> None:
    kept = Kept()
    with AnswerWriter(kept, seconds=0.0) as writer:
        kept.open.clear()
        for index in range(100):
            writer.add({"index": index})
        kept.open.set()
    assert kept.indices == list(range(100))
    assert len(kept.portions) < 100


def test_a_failure_is_noticed_and_raised_at_the_end() -> None:
    def refuse(_items: Sequence[Mapping[str, Any]]) -> None:
        raise LeaseLostError("gone")

    with pytest.raises(LeaseLostError, match="gone"), AnswerWriter(refuse) as writer:
        writer.add({"index": 0})
        wait_until(lambda: writer.failed)
        writer.add({"index": 1})


def test_an_error_of_the_computation_comes_first() -> None:
    def refuse(_items: Sequence[Mapping[str, Any]]) -> None:
        raise LeaseLostError("gone")

    with pytest.raises(ZeroDivisionError), AnswerWriter(refuse) as writer:
        writer.add({"index": 0})
        raise ZeroDivisionError
