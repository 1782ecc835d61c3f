"""Comparisons: networks beside a baseline, while they are answered and afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api import views
from api.dashboard.answers import asked_methods, method_row
from api.dashboard.lines import job_view
from api.dashboard.rendering import listed
from api.dashboard.visiting import VisitDependency
from api.pagination import CursorParameter
from api.parameters import ComparisonId
from api.principal import Scope, needs
from reports import charts
from reports.comparison import comparison_of
from reports.comparison_page import compared_figures, settings_rows
from reports.html import VERDICTS, item_row
from reports.intervals import bounds_chart
from reports.page import MISSING, norm_text, number, percent, region_text
from reports.summary import best_certified
from store.compared import ComparedReads, CompareLine
from store.states import FINAL_STATES
from store.tables import ComparisonRow
from store.titles import JobLine

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.READ)])

# While answers come in, intervals are drawn again and again, and need not be fine.
_RESAMPLES_SO_FAR = 300

ItemIndex = Annotated[int, Path(ge=0, le=2**31 - 1)]


@dataclass(frozen=True)
class ComparedView:
    """A comparison in a table."""

    id: str
    title: str
    more: int
    dataset: str
    epsilon: str
    norm: str
    state: str
    done: int
    total: int
    at: datetime
    before: str
    after: str
    change: str
    tone: str


@router.get("/comparisons", response_class=HTMLResponse)
def list_comparisons(visit: VisitDependency, cursor: CursorParameter = None) -> HTMLResponse:
    """Return the page of all comparisons."""
    lines, around = listed(ComparedReads(visit.services.database).page, cursor)
    return visit.show(
        "comparisons.html",
        comparisons=[_view(line) for line in lines],
        **around,
    )


@router.get("/comparisons/{comparison_id}", response_class=HTMLResponse)
def show_comparison(visit: VisitDependency, comparison_id: ComparisonId) -> HTMLResponse:
    """Return the page of one comparison."""
    row = visit.services.comparisons.get(comparison_id)
    reads = ComparedReads(visit.services.database)
    result = row.result or visit.services.remembered.of(
        row.job, lambda: _so_far(row, reads.items(comparison_id))
    )
    compared = None
    if result is not None:
        compared = compared_figures(result["baseline"], result["candidates"])
    return visit.show(
        "comparison_page.html",
        **_frame(row),
        compared=compared,
        count=0 if result is None else result["baseline"]["summary"]["count"],
        drawing=charts,
        verdicts=VERDICTS,
        settings=_settings(row),
    )


@router.get("/comparisons/{comparison_id}/inputs/{index}", response_class=HTMLResponse)
def show_compared_input(
    visit: VisitDependency, comparison_id: ComparisonId, index: ItemIndex
) -> HTMLResponse:
    """Return the page of one input: what each network makes of it."""
    row = visit.services.comparisons.get(comparison_id)
    reads = ComparedReads(visit.services.database)
    answer = reads.answer(comparison_id, index, networks=len(row.networks))
    methods = row.settings["methods"]
    return visit.show(
        "compared_input.html",
        **_frame(row),
        index=index,
        answer=answer,
        label=next(item["label"] for item in answer.items if item is not None),
        sides=[
            (entry.network, None if item is None else _side(item, methods))
            for entry, item in zip(row.networks, answer.items, strict=True)
        ],
        drawing=charts,
    )


def _side(item: Mapping[str, Any], methods: Sequence[str]) -> dict[str, Any]:
    """Return what one network makes of an input."""
    return {
        "row": item_row(item, []),
        "bounds": bounds_chart(item, methods),
        "methods": [method_row(item, method) for method in asked_methods(item, methods)],
    }


def _frame(row: ComparisonRow) -> dict[str, Any]:
    """Return what the pages of a comparison and of its inputs both say."""
    names = [entry.network.name for entry in row.networks]
    title = f"{', '.join(names[1:])} against {names[0]}"
    return {
        "job": job_view(JobLine(row.job, title, row.settings["epsilon"])),
        "final": row.job.state in FINAL_STATES,
        "networks": [entry.network for entry in row.networks],
        "dataset": row.dataset,
        "region": region_text(views.region_of(row).model_dump(mode="json")),
    }


def _so_far(
    row: ComparisonRow, items: Mapping[int, Sequence[Mapping[str, Any]]]
) -> dict[str, Any] | None:
    """Return the figures of the inputs that all networks have answered; None without any."""
    positions = range(len(row.networks))
    by_index = [{item["index"]: item for item in items.get(place, ())} for place in positions]
    common = sorted(set(by_index[0]).intersection(*by_index[1:]))
    if not common:
        return None
    sides = [
        {
            "name": entry.network.name,
            "items": [answers[index] for index in common],
            "layers": (entry.tightness or {}).get("layers"),
        }
        for entry, answers in zip(row.networks, by_index, strict=True)
    ]
    return comparison_of(
        sides[0],
        sides[1:],
        methods=row.settings["methods"],
        seed=row.settings["seed"],
        resamples=_RESAMPLES_SO_FAR,
    )


def _settings(row: ComparisonRow) -> list[tuple[str, str]]:
    known = [{"name": entry.network.name, "sha256": entry.network.sha256} for entry in row.networks]
    return settings_rows(
        {
            "baseline": known[0],
            "candidates": known[1:],
            "region": views.region_of(row).model_dump(mode="json"),
            "settings": views.settings_of(row).model_dump(mode="json"),
        }
    )


def _view(line: CompareLine) -> ComparedView:
    """Return a comparison as a line."""
    before, after = (
        None if summary is None else best_certified(summary)
        for summary in (line.before, line.after)
    )
    change = None if before is None or after is None else 100 * (after - before)
    return ComparedView(
        id=line.id,
        title=" against ".join([line.names[1], line.names[0]]),
        more=len(line.names) - 2,
        dataset=line.dataset,
        epsilon=number(line.epsilon),
        norm=norm_text(line.norm),
        state=line.state,
        done=line.done,
        total=line.total,
        at=line.finished_at or line.created_at,
        before=percent(before),
        after=percent(after),
        change=MISSING if change is None else f"{change:+.1f} points".replace("-", "\u2212"),
        tone="good" if change and change > 0 else "bad" if change and change < 0 else "",
    )
