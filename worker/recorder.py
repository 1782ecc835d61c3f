"""Writes down how a training goes, now and then instead of at every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from store.trainings import Metric, Trainings
from worker.workplace import json_object

__all__ = ["Recorder"]

# A long training is told in about so many steps, and as many again whenever it gets 2.7 times as
# long; its epochs are all told.
_STEPS_TOLD = 1000.0


class Recorder:
    """Takes the events of one arm and stores some of them.

    A training that goes on from a checkpoint repeats events that are stored already; they are
    left out, since they say the same.

    Args:
        trainings: The store.
        training_id: Whose events.
        owner: The worker that trains.
        arm: Which of the networks.
        before: Arms that are finished, of `arms` in all.
        arms: How many networks are trained.
        seconds: Between two writes.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        trainings: Trainings,
        training_id: str,
        owner: str,
        *,
        arm: str,
        before: int,
        arms: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trainings = trainings
        self._training_id = training_id
        self._owner = owner
        self._arm = arm
        self._before = before
        self._arms = arms
        self._seconds = seconds
        self._clock = clock
        self._position = trainings.position(training_id, arm)
        self._waiting: list[Metric] = []
        self._last: Mapping[str, Any] | None = None
        self._began = clock()
        self._told = self._written = -float("inf")

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event and store it, or leave it out.

        Args:
            event: `step`, `steps`, `epoch`, `epochs`, `epsilon`, `kappa`, `loss` by part, and at
                the end of an epoch its `metrics`, else None.

        Raises:
            LeaseLostError: The job is no longer the worker's.
        """
        ends_epoch = event["metrics"] is not None
        position = 2 * int(event["step"]) + ends_epoch
        if position <= self._position:
            return
        now = self._clock()
        pause = max(self._seconds, (now - self._began) / _STEPS_TOLD)
        if ends_epoch or now - self._told >= pause:
            payload = json_object({"arm": self._arm, **event})
            self._waiting.append(Metric(self._arm, position, payload))
            self._position = position
            self._told = self._told if ends_epoch else now
        self._last = event
        if ends_epoch or now - self._written >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Store what waits, and how far the training is.

        Raises:
            LeaseLostError: The job is no longer the worker's.
        """
        if self._last is None:
            return
        steps = int(self._last["steps"])
        self._trainings.note(
            self._training_id,
            self._owner,
            self._waiting,
            done=self._before * steps + int(self._last["step"]),
            total=self._arms * steps,
        )
        self._waiting = []
        self._written = self._clock()
