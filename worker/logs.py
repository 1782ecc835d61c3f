"""Log records that name the job and the request they belong to, as text or as JSON."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "configure",
    "current_job",
    "current_request",
    "in_this_context",
    "job_logged",
    "request_logged",
]

NONE = "-"
_job: contextvars.ContextVar[str] = contextvars.ContextVar("job", default=NONE)
_request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default=NONE)
# What every record has; the rest was given by `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "job", "request"}


class _ContextFilter(logging.Filter):
    """Gives records the job and the request of their context, unless they bring their own."""

    def filter(self, record: logging.LogRecord) -> bool:
        given = vars(record)
        record.job = given.get("job", _job.get())
        record.request = given.get("request", _request.get())
        return True


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(job)s] %(message)s")


class _JsonFormatter(logging.Formatter):
    """One object a line: `time`, `level`, `logger`, `message`, `job`, `request`, and extras."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("job", "request"):
            if (value := getattr(record, name, NONE)) != NONE:
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        extras = {name: value for name, value in vars(record).items() if name not in _USUAL}
        return json.dumps({**extras, **line}, default=str, ensure_ascii=False)


_FORMATTERS: Mapping[str, Callable[[], logging.Formatter]] = {
    "text": _TextFormatter,
    "json": _JsonFormatter,
}


def current_job() -> str:
    """Return the id of the job that records of this context carry; `-` for none."""
    return _job.get()


def current_request() -> str | None:
    """Return the id of the request that records of this context carry."""
    found = _request.get()
    return None if found == NONE else found


@contextmanager
def job_logged(job_id: str) -> Iterator[None]:
    """Let the records of a block carry the id of its job."""
    with _set(_job, job_id):
        yield


@contextmanager
def request_logged(request_id: str | None) -> Iterator[None]:
    """Let the records of a block carry the id of a request, where there is one."""
    with _set(_request, request_id or NONE):
        yield


def in_this_context(call: Callable[[], None]) -> Callable[[], None]:
    """Return a function for a new thread whose records carry what those of this one do."""
    context = contextvars.copy_context()
    return lambda: context.run(call)


def configure(level: str, form: str = "text") -> None:
    """Send log records to standard error; for entry points only.

    Args:
        level: The least severe that is sent.
        form: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ContextFilter())
    handler.setFormatter(_FORMATTERS[form]())
    logging.basicConfig(level=level, handlers=[handler], force=True)


@contextmanager
def _set(variable: contextvars.ContextVar[str], value: str) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
