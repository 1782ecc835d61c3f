"""What was made of many rows a moment ago, so that the next one who looks does not wait for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from store.job_tables import JobRow
from store.states import FINAL_STATES

__all__ = ["Remembered"]

Value = TypeVar("Value")

# That all values of one process together may be made of.
_MOST_ROWS = 200_000
# Figures of all answers are made anew so often while those come in, and not for each of them.
_STEPS = 100


class Remembered:
    """What was made of the answers of jobs, the ones asked for last.

    It knows nothing of who may see what: whoever asks has been given the job.

    Args:
        most: Answers that all values together may be made of; the latest value is kept however
            large it is.
    """

    def __init__(self, most: int = _MOST_ROWS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, int], tuple[Any, int]] = OrderedDict()
        self._rows = 0

    def of(self, job: JobRow, make: Callable[[], Value]) -> Value:
        """Return what was made of a job's answers, and make it where they are others by now.

        While a job goes on, each of up to a hundred answers counts, beyond that each hundredth
        part of them.

        Args:
            job: Whose.
            make: Makes the value, of the same type for all jobs of a kind; two who ask at once may
                both make it.
        """
        step = 1 if job.state in FINAL_STATES else max(1, job.total // _STEPS)
        name = (job.id, job.state, job.done // step)
        with self._lock:
            if name in self._known:
                self._known.move_to_end(name)
                known: Value = self._known[name][0]
                return known
        made = make()
        with self._lock:
            self._keep(name, made, job.done)
        return made

    def _keep(self, name: tuple[str, str, int], made: object, rows: int) -> None:
        """Add a value, and forget those that nobody has asked for the longest."""
        if name in self._known:
            return
        self._known[name] = (made, rows)
        self._rows += rows
        while self._rows > self._most and len(self._known) > 1:
            _, (_, less) = self._known.popitem(last=False)
            self._rows -= less
