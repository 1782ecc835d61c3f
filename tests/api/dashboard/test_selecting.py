"""The table of inputs shows what is asked for, and its links ask for what they say."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.selecting import Line, Selected, Selection, line_of, select_lines
from reports.html import VERDICTS
from reports.summary import EVIDENCE
from tests.helpers.report_items import FIVE_ITEMS, item, items_strategy

PATH = "/certifications/job_x"
FIVE = [line_of(one) for one in FIVE_ITEMS]
MANY = [line_of(item(index, "verified", lower=(0.0, index % 7), upper=8.0)) for index in range(250)]


def follow(lines: list[Line], href: str) -> Selected:
    """Return what a link shows."""
    parts = urlsplit(href)
    assert (parts.path, parts.fragment) == (PATH, "inputs")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    page = int(query.pop("page", "1"))
    return select_lines(lines, Selection(**query, page=page), PATH)


def indices(selected: Selected) -> list[int]:
    return [line.place for line in selected.lines]


def test_everything_in_order() -> None:
    selected = select_lines(FIVE, Selection(), PATH)
    assert indices(selected) == [0, 1, 2, 3, 4]
    assert (selected.first, selected.last, selected.total) == (1, 5, 5)
    assert (selected.before, selected.after) == ("", "")
    assert [(one.word, one.count, one.now) for one in selected.verdicts] == [
        ("all", 5, True), ("verified", 2, False), ("falsified", 1, False),
        ("unknown", 1, False), ("misclassified", 1, False),
    ]  # fmt: skip


@given(
    items_strategy(),
    st.sampled_from(["", *VERDICTS]),
    st.sampled_from(["", *EVIDENCE]),
    st.sampled_from(["", "0", "2", "99"]),
)
def test_filters_show_as_many_as_they_say(
    items: list[dict[str, Any]], verdict: str, evidence: str, label: str
) -> None:
    chosen = Selection(verdict=verdict, evidence=evidence, label=label)
    lines = [line_of(one) for one in items]
    selected = select_lines(lines, chosen, PATH)
    there = label if label in {str(one["label"]) for one in items} else ""
    for line in selected.lines:
        assert verdict in ("", line.verdict)
        assert evidence in ("", line.evidence)
        assert there in ("", str(line.label))
    for choice in (*selected.verdicts, *selected.evidences, *selected.labels):
        assert follow(lines, choice.href).total == choice.count
    assert sum(choice.now for choice in selected.verdicts) == 1


def test_sorting_there_and_back() -> None:
    down = select_lines(FIVE, Selection(sort="lower_down"), PATH)
    # The one without bounds comes last either way.
    assert indices(down) == [0, 1, 3, 2, 4]
    assert down.sorts["lower"].now == "descending"
    up = follow(FIVE, down.sorts["lower"].href)
    assert indices(up) == [2, 3, 1, 0, 4]
    assert up.sorts["lower"].now == "ascending"
    assert follow(FIVE, up.sorts["lower"].href) == down


def test_pages_hold_everything_once() -> None:
    selected = select_lines(MANY, Selection(sort="lower"), PATH)
    seen = indices(selected)
    assert selected.before == ""
    while selected.after:
        last = selected
        selected = follow(MANY, selected.after)
        assert follow(MANY, selected.before) == last
        assert selected.first == len(seen) + 1
        seen += indices(selected)
    assert sorted(seen) == list(range(250))
    assert selected.last == 250


def test_what_means_nothing_is_ignored() -> None:
    odd = Selection(verdict="odd", evidence="odd", label="77", sort="odd", page=99)
    assert indices(select_lines(FIVE, odd, PATH)) == [0, 1, 2, 3, 4]
    assert select_lines([], odd, PATH).total == 0


def test_classes_are_in_their_order_and_keep_the_other_filters() -> None:
    labels = enumerate([10, 9, 2, 10])
    lines = [line_of(item(index, "verified", label=label)) for index, label in labels]
    selected = select_lines(lines, Selection(verdict="verified", sort="label", label="9"), PATH)
    assert [one.word for one in selected.labels] == ["all", "2", "9", "10"]
    assert [one.count for one in selected.labels] == [4, 1, 1, 2]
    assert indices(selected) == [1]
    assert selected.others == {"verdict": "verified", "sort": "label"}
