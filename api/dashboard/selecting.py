"""Which inputs a table shows, and where its links lead: filtered, sorted, page by page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple
from urllib.parse import urlencode

from reports.html import VERDICTS
from reports.numbers import finite
from reports.summary import EVIDENCE, bracket

__all__ = ["Choice", "Line", "Selected", "Selection", "Sort", "line_of", "select_lines"]

_PAGE = 100
_FILTERS = ("verdict", "evidence", "label")
_DOWN = "_down"


class Line(NamedTuple):
    """An input as far as a table is filtered and sorted by it; None where there is no such number.

    Attributes:
        place: Index in the data set.
        label: Its class.
        verdict, evidence: As reports name them.
        lower, upper: The best bounds on its margin.
        seconds: Of all methods together.
    """

    place: int
    label: int | None
    verdict: str
    evidence: str
    lower: float | None
    upper: float | None
    seconds: float | None


def line_of(item: Mapping[str, Any]) -> Line:
    """Return the line of an answer as certifications report it."""
    lowers = [finite(value) for value in (item.get("lower") or {}).values()]
    known = [value for value in (*lowers, bracket(item)[0]) if value is not None]
    seconds = [finite(value) or 0.0 for value in (item.get("seconds") or {}).values()]
    return Line(
        place=item["index"],
        label=item.get("label"),
        verdict=str(item.get("verdict")),
        evidence=str(item.get("evidence")),
        lower=max(known, default=None),
        upper=finite(item.get("upper")),
        seconds=math.fsum(seconds) if seconds else None,
    )


@dataclass(frozen=True)
class Selection:
    """What a request asks to see.

    Attributes:
        verdict, evidence, label: Only those; empty for all.
        sort: By what; with `_down` at the end, the largest first.
        page: From 1.
    """

    verdict: str = ""
    evidence: str = ""
    label: str = ""
    sort: str = "index"
    page: int = 1

    def only(self, field: str, word: str) -> Selection:
        """Return the first page of what has this word in a field that is filtered by."""
        words = {name: getattr(self, name) for name in _FILTERS}
        return Selection(**{**words, field: word}, sort=self.sort)

    @property
    def query(self) -> dict[str, str]:
        """What its link says; what is as usual is left out."""
        usual = Selection()
        return {
            name: str(value) for name, value in vars(self).items() if value != getattr(usual, name)
        }

    def href(self, path: str) -> str:
        """Return the link to it."""
        return f"{path}?{urlencode(self.query)}#inputs" if self.query else f"{path}#inputs"


@dataclass(frozen=True)
class Choice:
    """A filter to click on."""

    word: str
    count: int
    href: str
    now: bool


@dataclass(frozen=True)
class Sort:
    """A heading to click on; `now` is `ascending`, `descending` or empty."""

    href: str
    now: str


@dataclass(frozen=True)
class Selected:
    """A page of a table with its links.

    Attributes:
        lines: To show.
        first, last, total: Which of how many these are, counted from 1.
        verdicts, evidences, labels: Filters.
        others: What a form that chooses a label sends along, by name.
        sorts: Headings.
        before, after: Links to the pages beside this one; empty where there is none.
    """

    lines: Sequence[Line]
    first: int
    last: int
    total: int
    verdicts: Sequence[Choice]
    evidences: Sequence[Choice]
    labels: Sequence[Choice]
    others: Mapping[str, str]
    sorts: Mapping[str, Sort]
    before: str
    after: str


def select_lines(lines: Sequence[Line], chosen: Selection, path: str) -> Selected:
    """Return the page of a table.

    Args:
        lines: All of them.
        chosen: Which are to be shown; words that mean nothing are as if they were not there.
        path: Of the page.
    """
    labels = _labels(lines)
    chosen = _known(chosen, labels)
    passing = _passing(lines, chosen)
    key = _KEYS[chosen.sort.removesuffix(_DOWN)]
    # Inputs that have no such number come last, whichever way the others are sorted.
    known = [line for line in passing if key(line) is not None]
    known.sort(key=lambda line: key(line) or 0.0, reverse=chosen.sort.endswith(_DOWN))
    ordered = [*known, *(line for line in passing if key(line) is None)]
    pages = max(1, math.ceil(len(ordered) / _PAGE))
    number = min(chosen.page, pages)
    start = (number - 1) * _PAGE
    shown = ordered[start : start + _PAGE]
    return Selected(
        lines=shown,
        first=start + 1 if shown else 0,
        last=start + len(shown),
        total=len(ordered),
        verdicts=_choices(lines, chosen, "verdict", VERDICTS, path),
        evidences=_choices(lines, chosen, "evidence", EVIDENCE, path),
        labels=_choices(lines, chosen, "label", labels, path),
        others=chosen.only("label", "").query,
        sorts={name: _sort(chosen, name, path) for name in _KEYS},
        before=replace(chosen, page=number - 1).href(path) if number > 1 else "",
        after=replace(chosen, page=number + 1).href(path) if number < pages else "",
    )


def _labels(lines: Sequence[Line]) -> list[str]:
    """Return all labels in the order of classes."""
    known = {line.label for line in lines if line.label is not None}
    return [str(label) for label in sorted(known)]


def _known(chosen: Selection, labels: Sequence[str]) -> Selection:
    return Selection(
        verdict=chosen.verdict if chosen.verdict in VERDICTS else "",
        evidence=chosen.evidence if chosen.evidence in EVIDENCE else "",
        label=chosen.label if chosen.label in labels else "",
        sort=chosen.sort if chosen.sort.removesuffix(_DOWN) in _KEYS else "index",
        page=chosen.page,
    )


def _passing(lines: Sequence[Line], chosen: Selection) -> Sequence[Line]:
    wanted = [(name, word) for name in _FILTERS if (word := getattr(chosen, name))]
    # Most of the time nothing is filtered, and there may be ten thousand.
    if not wanted:
        return lines
    return [
        line for line in lines if all(str(getattr(line, name)) == word for name, word in wanted)
    ]


def _choices(
    lines: Sequence[Line], chosen: Selection, field: str, words: Sequence[str], path: str
) -> list[Choice]:
    """Return the filters of one field, those that would show nothing left out."""
    others = chosen.only(field, "")
    counts = Counter(str(getattr(line, field)) for line in _passing(lines, others))
    now = getattr(chosen, field)
    every = Choice("all", counts.total(), others.href(path), now=not now)
    return [
        every,
        *(
            Choice(word, counts[word], others.only(field, word).href(path), now=word == now)
            for word in words
            if counts[word] or word == now
        ),
    ]


def _sort(chosen: Selection, name: str, path: str) -> Sort:
    """Return a heading: a click sorts by it, another one turns the order around."""
    up, down = chosen.sort == name, chosen.sort == name + _DOWN
    target = name + _DOWN if up else name
    now = "ascending" if up else "descending" if down else ""
    return Sort(replace(chosen, sort=target, page=1).href(path), now)


_PLACES: Mapping[str, float] = {word: float(place) for place, word in enumerate(VERDICTS)}
_KEYS: Mapping[str, Callable[[Line], float | None]] = {
    "index": attrgetter("place"),
    "label": attrgetter("label"),
    "verdict": lambda line: _PLACES.get(line.verdict),
    "lower": attrgetter("lower"),
    "upper": attrgetter("upper"),
    "seconds": attrgetter("seconds"),
}
