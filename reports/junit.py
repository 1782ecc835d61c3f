"""JUnit XML, which continuous integration shows as tests: one for each input or trained network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from xml.etree import ElementTree

from reports.findings import SUCCEEDED, Ending, Finding, Side, finding_of, radius_text
from reports.numbers import finite
from reports.page import number, percent

__all__ = ["certification_junit", "comparison_junit", "training_junit"]

Item = Mapping[str, Any]
# What XML 1.0 has no way to say.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {"falsified": "failure", "misclassified": "failure", "unknown": "error"}


@dataclass(frozen=True)
class _Case:
    """A test.

    Attributes:
        outcome: `failure`, `error` or `skipped`; None where it passed.
        kind: Of the outcome, for programs.
        message, text: A line, and more.
    """

    name: str
    seconds: float = 0.0
    outcome: str | None = None
    kind: str = ""
    message: str = ""
    text: str = ""


@dataclass(frozen=True)
class _Suite:
    """Tests of one network, with properties by name."""

    name: str
    cases: Sequence[_Case]
    properties: Mapping[str, str]


def certification_junit(report: Mapping[str, Any], ending: Ending = SUCCEEDED) -> str:
    """Return a test for each input: passed where it is verified.

    An input that is falsified or misclassified is a failure; one that is not decided, or has no
    answer, is an error: nothing is proved of it.

    Args:
        report: As `certification_report` returns it.
        ending: How the job ended.
    """
    radius = radius_text(report["region"])
    cases = [_certified(item, radius) for item in report["items"]]
    cases += [_without_answer(index, ending) for index in ending.missing]
    suite = _Suite(
        str(report["network"].get("name")), cases, _properties(report, report["summary"])
    )
    return _document(f"Certification within {radius}", [suite], ending)


def comparison_junit(
    sides: Sequence[Side], region: Mapping[str, Any], ending: Ending = SUCCEEDED
) -> str:
    """Return a test for each candidate and input: failed where only the baseline is verified.

    An input that is verified for neither is skipped; one without both answers is an error.

    Args:
        sides: The baseline, then the candidates.
        region: `norm`, `epsilon`.
        ending: How the job ended; every input it lacks is in `missing`.
    """
    baseline, *candidates = sides
    before = {item["index"]: item for item in baseline.items}
    radius = radius_text(region)
    suites = []
    for side in candidates:
        pairs = [(before[item["index"]], item) for item in side.items if item["index"] in before]
        cases = [_compared(was, now, baseline, radius) for was, now in pairs]
        done = {now["index"] for _, now in pairs}
        cases += [_without_answer(index, ending) for index in ending.missing if index not in done]
        names = {"baseline": str(baseline.network.get("name")), "region": radius}
        suites.append(_Suite(str(side.network.get("name")), cases, names))
    return _document(f"Comparison within {radius}", suites, ending)


def training_junit(report: Mapping[str, Any], ending: Ending = SUCCEEDED) -> str:
    """Return a test for each trained network: passed where its training went to an end.

    Args:
        report: As `training_report` returns it.
        ending: How the job ended.
    """
    arms = dict(report["arms"])
    arms.setdefault("candidate", {})
    cases = [_trained(arm, result, ending) for arm, result in arms.items()]
    wanted = ("method", "epsilon", "epochs", "feasibility_weight", "slack_weight", "seed")
    settings = {name: str(report["settings"].get(name)) for name in wanted}
    suite = _Suite(str(report["network"].get("name")), cases, settings)
    return _document("Training", [suite], ending)


def _certified(item: Item, radius: str) -> _Case:
    name, seconds = f"input {item['index']}", _seconds(item)
    finding = finding_of(item, radius)
    if finding is None:
        return _Case(name, seconds)
    return _Case(name, seconds, _TAGS[finding.rule], finding.rule, finding.message, _bounds(item))


def _compared(was: Item, now: Item, baseline: Side, radius: str) -> _Case:
    """Return the test of an input that both networks have answers for."""
    name, seconds = f"input {now['index']}", _seconds(now)
    finding: Finding | None = finding_of(now, radius)
    if finding is None:
        return _Case(name, seconds)
    if was.get("verdict") == "verified":
        words = f"Verified for {baseline.network.get('name')} and not any more. {finding.message}"
        return _Case(name, seconds, "failure", "lost", words, _bounds(now))
    return _Case(name, seconds, "skipped", finding.rule, f"Not lost. {finding.message}")


def _trained(arm: str, result: Mapping[str, Any], ending: Ending) -> _Case:
    seconds = finite(result.get("seconds")) or 0.0
    history = result.get("history") or []
    best = history[result["best_epoch"] - 1] if result.get("best_epoch") else {}
    reached = ", ".join(
        f"{name.replace('_', ' ')} {percent(best[name])}"
        for name in ("clean_accuracy", "empirical_accuracy", "certified_accuracy")
        if name in best
    )
    if result.get("stopped") in ("completed", "early-stop"):
        return _Case(arm, seconds, text=reached)
    words = f"Not finished: {ending.words}."
    outcome = "skipped" if ending.state == "cancelled" else "error"
    return _Case(arm, seconds, outcome, ending.state, words, reached)


def _without_answer(index: int, ending: Ending) -> _Case:
    words = f"Input {index} has no answer: {ending.words}."
    return _Case(f"input {index}", 0.0, "error", "missing", words)


def _seconds(item: Item) -> float:
    return sum(max(0.0, finite(value) or 0.0) for value in (item.get("seconds") or {}).values())


def _bounds(item: Item) -> str:
    """Return what every method says of the margin, line by line."""
    lines = [f"margin at least {number(b)} by {m}" for m, b in (item.get("lower") or {}).items()]
    if finite(item.get("upper")) is not None:
        lines.append(f"margin at most {number(item['upper'])}")
    return "\n".join([*lines, f"evidence: {item.get('evidence')}"])


def _properties(report: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, str]:
    """Return what was asked of which network, and the figures of the set."""
    shares = {"clean": summary["clean_accuracy"], "empirical": summary["empirical_accuracy"]}
    shares |= {f"certified {name}": share for name, share in summary["certified_accuracy"].items()}
    return {
        "sha256": str(report["network"].get("sha256")),
        "region": radius_text(report["region"]),
        **{f"{name} accuracy": _plain(share) for name, share in shares.items()},
    }


def _plain(share: object) -> str:
    known = finite(share)
    return "" if known is None else f"{known:.6g}"


def _document(name: str, suites: Sequence[_Suite], ending: Ending) -> str:
    root = ElementTree.Element("testsuites", {"name": _text(name)})
    _count(root, [case for suite in suites for case in suite.cases])
    for suite in suites:
        root.append(_suite_element(suite, ending))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + (
        ElementTree.tostring(root, encoding="unicode") + "\n"
    )


def _suite_element(suite: _Suite, ending: Ending) -> ElementTree.Element:
    element = ElementTree.Element("testsuite", {"name": _text(suite.name)})
    _count(element, suite.cases)
    element.set("skipped", str(sum(case.outcome == "skipped" for case in suite.cases)))
    if ending.started_at is not None:
        element.set("timestamp", ending.started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    listed = ElementTree.SubElement(element, "properties")
    for name, value in suite.properties.items():
        ElementTree.SubElement(listed, "property", {"name": name, "value": _text(value)})
    for case in suite.cases:
        element.append(_case_element(case, suite))
    return element


def _case_element(case: _Case, suite: _Suite) -> ElementTree.Element:
    element = ElementTree.Element(
        "testcase",
        {
            "classname": _text(suite.name),
            "name": _text(case.name),
            "time": f"{case.seconds:.3f}",
        },
    )
    if case.outcome is None:
        if case.text:
            ElementTree.SubElement(element, "system-out").text = _text(case.text)
        return element
    outcome = ElementTree.SubElement(element, case.outcome, {"message": _text(case.message)})
    if case.outcome != "skipped":
        outcome.set("type", case.kind)
    outcome.text = _text(case.text) or None
    return element


def _count(element: ElementTree.Element, cases: Sequence[_Case]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.outcome == "failure" for case in cases)))
    element.set("errors", str(sum(case.outcome == "error" for case in cases)))
    element.set("time", f"{sum(case.seconds for case in cases):.3f}")


def _text(value: str) -> str:
    """Return what XML can carry of a text."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", value)
