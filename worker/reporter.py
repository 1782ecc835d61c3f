"""What every worker does beside its jobs: says that it lives, adds up figures, tells webhooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from store.counters import Counters
from store.database import Database
from store.deliveries import Deliveries
from store.errors import NotFoundError
from store.events import Events
from store.jobs import Jobs
from store.settings import Settings
from store.workers import Workers
from worker.beside import Beside
from worker.cores import available_cores
from worker.meters import Meters
from worker.observing import observed
from worker.survey import Survey
from worker.tracing import open_tracing
from worker.webhooks import Deliverer
from worker.work import Engines

__all__ = ["Reporter"]

logger = logging.getLogger(__name__)

_WEBHOOK_SECONDS = 1.0
_SURVEY_AFTER_SECONDS = 4.0
# An attempt that lasts longer is left to others, who make it again.
_LEAVING_SECONDS = 5.0


class Reporter(Beside):
    """Threads beside a worker's jobs, for as long as a context is open.

    Args:
        settings: Of this process.
        name: Of the worker, unlike every other's.
    """

    def __init__(self, settings: Settings, *, name: str) -> None:
        loops: dict[str, Callable[[], None]] = {
            "reports": partial(self._repeat, self.report, settings.report_seconds),
            "webhooks": partial(self._repeat, self._deliver, _WEBHOOK_SECONDS),
            "survey": self._look_around,
        }
        super().__init__(loops, leaving_seconds=_LEAVING_SECONDS)
        self._settings = settings
        self._name = name
        self._version = version("tightrope")
        self._database = Database(settings.database)
        self._workers = Workers(self._database)
        self._counters = Counters(self._database)
        self._events = Events(self._database)
        self._meters = Meters()
        self._tracing = open_tracing(settings, service="tightrope-worker", version=self._version)
        self._deliverer = Deliverer(Deliveries(self._database), settings, self._meters)
        self._survey = Survey()

    def observed(self, engines: Engines) -> Engines:
        """Return engines whose work is counted, timed and traced."""
        return observed(engines, self._meters, self._tracing, self._context)

    def report(self) -> None:
        """Say that the worker lives, and add up what there is to add up.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not answer.
        """
        settings = self._settings
        self._workers.seen(
            self._name,
            queues=settings.queues,
            device=settings.device,
            version=self._version,
            cores=settings.worker_threads or available_cores(),
            facts=self._survey.facts,
        )
        self._meters.flush(self._counters)
        self._counters.count_jobs()
        self._events.prune(datetime.now(UTC) - timedelta(seconds=settings.events_kept_seconds))

    def _left(self, error: BaseException | None) -> None:
        del error  # whatever happened to the jobs
        self._guarded(self._leave)
        self._tracing.close()
        self._database.close()

    def _look_around(self) -> None:
        # Work comes first: what computes is loaded in these seconds.
        if not self._done.wait(_SURVEY_AFTER_SECONDS):
            self._guarded(lambda: self._survey.run(self._done))

    def _leave(self) -> None:
        self._meters.flush(self._counters)
        self._workers.gone(self._name)

    def _deliver(self) -> None:
        while self._deliverer.deliver() and not self._done.is_set():
            pass

    def _context(self, job_id: str) -> Mapping[str, Any]:
        """Return what the request for a job brought along."""
        try:
            return Jobs(self._database).get(job_id).context or {}
        except (NotFoundError, SQLAlchemyError):
            return {}

    def _repeat(self, work: Callable[[], None], seconds: float) -> None:
        while True:
            self._guarded(work)
            if self._done.wait(seconds):
                return

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do something that has to go on whatever happens: jobs do not depend on it."""
        try:
            work()
        except SQLAlchemyError as error:
            logger.warning("the database does not answer: %s", error)
        except Exception:
            logger.exception("a worker's report failed")
