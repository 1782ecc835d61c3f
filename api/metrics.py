"""What Prometheus is told: the requests of this process, and figures of the whole installation."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from store.figures import FAMILIES, Kind, timed

__all__ = ["MEDIA_TYPE", "Metrics", "render"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUFFIXES = ("_bucket", "_sum", "_count")


class Metrics:
    """Requests answered by one process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}

    def observe(self, method: str, route: str, *, status: int, seconds: float) -> None:
        """Count one answered request."""
        labels = {"method": method, "route": route, "status": str(status)}
        increments = timed("tightrope_http_request_duration_seconds", seconds, **labels)
        with self._lock:
            for name, value in increments:
                self._values[name] = self._values.get(name, 0.0) + value

    def values(self) -> dict[str, float]:
        """Return every series with its value."""
        with self._lock:
            return dict(self._values)


def render(values: Iterable[tuple[str, float]]) -> str:
    """Return series in Prometheus' text format, every family with its help and type.

    Args:
        values: Series of the families in `store.figures`.
    """
    by_family: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for series, value in values:
        by_family[_family(series, FAMILIES)].append(f"{series} {value:.10g}")
    lines = []
    for name, family in FAMILIES.items():
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
        lines += by_family[name] if family.kind is Kind.HISTOGRAM else sorted(by_family[name])
    return "\n".join(lines) + "\n"


def _family(series: str, known: Mapping[str, object]) -> str:
    name = series.partition("{")[0]
    if name in known:
        return name
    return next(name.removesuffix(end) for end in _SUFFIXES if name.endswith(end))
