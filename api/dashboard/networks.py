"""Networks: what was recognised in them, and how they were certified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api.dashboard.lines import certified_view, network_view
from api.dashboard.overview import dashboard_of
from api.dashboard.rendering import listed
from api.dashboard.visiting import Visit, VisitDependency
from api.pagination import CursorParameter
from api.principal import Scope, needs
from reports import curves
from reports.curves import CurveChart, Series, curve_chart
from reports.page import number
from reports.summary import best_certified
from store.certified import Certified

__all__ = ["list_page", "router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.READ)])

_HISTORY = 200
_KINDS = ("certified", "empirical", "clean", "verified", "falsified", "misclassified")

NetworkId = Annotated[str, Path(max_length=100)]


@router.get("/networks", response_class=HTMLResponse)
def list_networks(visit: VisitDependency, cursor: CursorParameter = None) -> HTMLResponse:
    """Return the page of all networks."""
    return list_page(visit, cursor=cursor)


def list_page(
    visit: Visit,
    *,
    cursor: str | None = None,
    recognised: Mapping[str, Any] | None = None,
    refused: Mapping[str, Any] | None = None,
    status: int = 200,
) -> HTMLResponse:
    """Return the page of all networks, with what came of an upload where there was one.

    Args:
        visit: Who looks at it.
        cursor: Where the list goes on.
        recognised: The `row` that was uploaded, and whether it is a `network`.
        refused: `title`, `detail` and `name` of a file that was not taken, and the `parts` in it
            that are why.
        status: Of the answer.
    """
    lines, around = listed(
        dashboard_of(visit.services).networks, cursor, position=lambda line: line.network.id
    )
    return visit.show(
        "networks.html",
        status=status,
        networks=[network_view(line) for line in lines],
        **around,
        recognised=recognised,
        refused=refused,
        most_bytes=visit.services.limits.upload_bytes or visit.services.settings.max_upload_bytes,
    )


@router.get("/networks/{network_id}", response_class=HTMLResponse)
def show_network(visit: VisitDependency, network_id: NetworkId) -> HTMLResponse:
    """Return the page of one network."""
    network, history = dashboard_of(visit.services).network(network_id, limit=_HISTORY)
    return visit.show(
        "network.html",
        network=network,
        details=network.details,
        history=[certified_view(row) for row in history],
        by_radius=_by_radius(history),
        over_time=_over_time(history),
        drawing=curves,
    )


def _by_radius(history: Sequence[Certified]) -> CurveChart | None:
    """Return the latest accuracies at each radius of what was asked last; None of one radius."""
    succeeded = [row for row in history if row.summary is not None and row.epsilon is not None]
    if not succeeded:
        return None
    asked = (succeeded[0].dataset, succeeded[0].norm, succeeded[0].total)
    latest: dict[float, Certified] = {}
    for row in succeeded:
        if (row.dataset, row.norm, row.total) == asked:
            latest.setdefault(row.epsilon or 0.0, row)
    if len(latest) < 2:
        return None
    rows = sorted(latest.items())
    known = [(epsilon, row.summary or {}) for epsilon, row in rows]
    return curve_chart(
        [
            Series("clean", "clean", [(x, summary["clean_accuracy"]) for x, summary in known]),
            Series(
                "under attack",
                "empirical",
                [(x, summary["empirical_accuracy"]) for x, summary in known],
            ),
            Series(
                "certified", "certified", [(x, best_certified(summary)) for x, summary in known]
            ),
        ],
        percent=True,
        whole=False,
    )


def _over_time(history: Sequence[Certified]) -> CurveChart | None:
    """Return certified accuracies of questions asked again; None where there is none."""
    succeeded = [row for row in reversed(history) if row.summary is not None]
    lines: dict[str, list[tuple[float, object]]] = {}
    for place, row in enumerate(succeeded, start=1):
        label = f"ε = {number(row.epsilon)}, {row.dataset}"
        lines.setdefault(label, []).append((place, best_certified(row.summary or {})))
    again = [label for label, points in lines.items() if len(points) > 1]
    # Of many questions, those that were asked last.
    shown = sorted(again, key=lambda label: lines[label][-1][0], reverse=True)[: len(_KINDS)]
    return curve_chart(
        [Series(label, kind, lines[label]) for label, kind in zip(shown, _KINDS, strict=False)],
        percent=True,
    )
