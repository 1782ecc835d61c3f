"""Log records that name the job they belong to."""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["configure", "current_job", "job_logged"]

_job: contextvars.ContextVar[str] = contextvars.ContextVar("job", default="-")


class _JobFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.job = _job.get()
        return True


def current_job() -> str:
    """Return the id of the job that records of this context carry; `-` for none."""
    return _job.get()


@contextmanager
def job_logged(job_id: str) -> Iterator[None]:
    """Let the records of a block carry the id of its job."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


def configure(level: str) -> None:
    """Send log records to standard error; for entry points only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_JobFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(job)s] %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
