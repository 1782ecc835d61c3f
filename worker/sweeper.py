"""Finds jobs that nobody is told about or works on any more."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from store.jobs import Jobs
from store.reaper import Reaper
from store.settings import Settings
from worker.app import JobQueue
from worker.beside import Beside
from worker.logs import job_logged

__all__ = ["Sweeper"]

logger = logging.getLogger(__name__)


class Sweeper(Beside):
    """Looks through the database at once and then now and then, while a context is open.

    Every worker has one, which does no harm.

    Args:
        jobs: The store.
        reaper: Puts back what dead workers had.
        queue: Told about what is found.
        settings: For the intervals.
    """

    def __init__(self, jobs: Jobs, reaper: Reaper, queue: JobQueue, settings: Settings) -> None:
        super().__init__({"sweeper": self._loop})
        self._jobs = jobs
        self._reaper = reaper
        self._queue = queue
        self._settings = settings

    def sweep(self) -> None:
        """Put jobs and chunks of dead workers back, and announce work that is due."""
        for job_id in self._reaper.settle():
            with job_logged(job_id):
                logger.warning("job %s lost a worker; what that had is queued again", job_id)
        for job_id, queue in self._jobs.due(resend_seconds=self._settings.resend_seconds):
            self._queue.send(job_id, queue)

    def _loop(self) -> None:
        while True:
            try:
                self.sweep()
            except SQLAlchemyError as error:
                logger.warning("the database does not answer: %s", error)
            if self._done.wait(self._settings.sweep_seconds):
                return
