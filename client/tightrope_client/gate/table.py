"""The outcome for people: a short table, as plain text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tightrope_client.gate.arguments import TIGHTEST, VERDICT
from tightrope_client.gate.outcome import Outcome, certified_share, percent
from tightrope_client.models import Summary

__all__ = ["markdown", "plain"]

_NORMS = {"inf": "L∞", "2": "L2", "1": "L1"}
_MOST_LISTED = 12


def plain(outcome: Outcome) -> str:
    """Return the table for a terminal or a log."""
    rows = _rows(outcome)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_title(outcome), ""]
    for name, *figures in rows:
        aligned = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    lines += ["", *_notes(outcome)]
    lines += [f"{'pass' if check.passed else 'FAIL'}  {check.words}" for check in outcome.checks]
    lines += [f"report: {outcome.url}", _verdict(outcome)]
    return "\n".join(lines) + "\n"


def markdown(outcome: Outcome) -> str:
    """Return the table as Markdown, such as for the summary of a workflow."""
    rows = [[_escaped(cell) for cell in row] for row in _rows(outcome)]
    lines = [f"### {_escaped(_title(outcome))}", "", _line(rows[0])]
    lines += ["|" + " --- |" + " ---: |" * (len(rows[0]) - 1), *map(_line, rows[1:]), ""]
    lines += [f"{note}  " for note in map(_escaped, _notes(outcome))]
    marks = [("✅" if check.passed else "❌", check.words) for check in outcome.checks]
    lines += [f"- {mark} {_escaped(words)}" for mark, words in marks]
    lines += ["", f"**{_verdict(outcome)}** ([report]({outcome.url}))", ""]
    return "\n".join(lines) + "\n"


def _title(outcome: Outcome) -> str:
    region = outcome.job.region
    kept = ", taken over from an earlier job" if outcome.job.cached else ""
    return (
        f"{outcome.network}, {_NORMS.get(region.norm, region.norm)} ε = {region.epsilon:g}, "
        f"{outcome.summary.count} inputs of {outcome.job.dataset.name}{kept}"
    )


def _rows(outcome: Outcome) -> list[list[str]]:
    """Return the heading and the lines; with a baseline, both and the change."""
    head = ["accuracy", "share"]
    if outcome.before is not None:
        head += ["baseline", "change"]
    return [head, *_shares(outcome)]


def _shares(outcome: Outcome) -> Iterator[list[str]]:
    now, before = outcome.summary, outcome.before
    measured = {"clean": _clean, "empirical (under attack)": _empirical}
    for name, share in measured.items():
        yield _row(name, share(now), None if before is None else share(before), before)
    methods = [*now.certified_accuracy]
    counted = [outcome.method] if outcome.method in (VERDICT, TIGHTEST) else []
    for method in [*methods, *counted]:
        mark = " *" if method == outcome.method else ""
        was = None if before is None else certified_share(before, method)
        name = f"certified, {'any method' if method == VERDICT else method}{mark}"
        yield _row(name, certified_share(now, method), was, before)


def _clean(summary: Summary) -> float | None:
    return summary.clean_accuracy


def _empirical(summary: Summary) -> float | None:
    return summary.empirical_accuracy


def _row(name: str, now: float | None, was: float | None, before: Summary | None) -> list[str]:
    row = [name, percent(now)]
    if before is not None:
        change = "–" if now is None or was is None else f"{100 * (now - was):+.2f}"
        row += [percent(was), change]
    return row


def _notes(outcome: Outcome) -> list[str]:
    summary = outcome.summary
    notes = [f"{summary.falsified} falsified, {summary.unknown} unknown; * counts for the gate"]
    for word, indices in (("gained", outcome.gained), ("lost", outcome.lost)):
        if indices:
            notes.append(f"{word}: {_listed(indices)}")
    return notes


def _listed(indices: Sequence[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:_MOST_LISTED])
    more = len(indices) - _MOST_LISTED
    return f"inputs {shown}" + (f" and {more} more" if more > 0 else "")


def _verdict(outcome: Outcome) -> str:
    return "gate passed" if outcome.passed else "gate failed"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return a text without what Markdown would take for its own."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!" else letter for letter in text)
