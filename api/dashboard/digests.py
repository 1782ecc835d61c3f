"""All answers of a certification in little: its charts, and what its table is chosen by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.dashboard.selecting import Line, line_of
from api.services import Services
from reports.charts import GapChart, gap_chart
from reports.curves import CurveChart
from reports.intervals import IntervalChart, interval_chart, time_chart
from reports.summary import summarize
from store.dashboard import Dashboard
from store.tables import CertificationRow

__all__ = ["Digest", "digest_of"]


@dataclass(frozen=True)
class Digest:
    """What the page of a certification tells of all inputs together.

    Attributes:
        lines: Each input as the table is filtered and sorted, in the order of the data set.
        summary: Of the answers so far.
        gaps, intervals, times: Charts; None where there is nothing to draw.
    """

    lines: Sequence[Line]
    summary: Mapping[str, Any]
    gaps: GapChart | None
    intervals: IntervalChart | None
    times: CurveChart | None


def digest_of(services: Services, dashboard: Dashboard, row: CertificationRow) -> Digest:
    """Return the digest of a certification: all answers are read once, not for every visitor.

    Args:
        services: That remember it.
        dashboard: Reads the answers.
        row: The certification, which the one who asks may see.
    """

    def make() -> Digest:
        items = dashboard.items(row.id)
        methods = row.settings["methods"]
        return Digest(
            lines=[line_of(item) for item in items],
            summary=row.summary or summarize(items, methods),
            gaps=gap_chart(items, methods),
            intervals=interval_chart(items),
            times=time_chart(items, methods),
        )

    return services.remembered.of(row.job, make)
