"""SARIF 2.1.0, which code scanning shows beside the network's file.

Follows what GitHub's code scanning asks for beyond the standard: rules with help, a region, and
fingerprints that stay the same from run to run, so that an alert is known again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import quote

from reports.findings import RULES, SUCCEEDED, Ending, Finding, Side, finding_of, radius_text
from reports.numbers import dump_json

__all__ = ["Origin", "certification_sarif", "comparison_sarif", "training_sarif"]

Item = Mapping[str, Any]
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# Code scanning shows no more results of one run.
_MOST_RESULTS = 5000


@dataclass(frozen=True)
class Origin:
    """Where a report comes from and where its results belong.

    Attributes:
        version: Of Tightrope.
        uri: Path of the network in its repository; its name if None.
        data: What tells the data set from others.
    """

    version: str
    uri: str | None = None
    data: str = ""


def certification_sarif(
    report: Mapping[str, Any], origin: Origin, ending: Ending = SUCCEEDED
) -> str:
    """Return a result for each input that is not verified.

    Args:
        report: As `certification_report` returns it.
        origin: Tool and place.
        ending: How the job ended.
    """
    side = Side(report["network"], report["items"])
    radius = radius_text(report["region"])
    found = [finding for item in side.items if (finding := finding_of(item, radius))]
    return _document([(side, found)], origin, ending)


def comparison_sarif(
    sides: Sequence[Side],
    region: Mapping[str, Any],
    origin: Origin,
    ending: Ending = SUCCEEDED,
) -> str:
    """Return a result for each candidate's input that is not verified; `lost` if it was before.

    Args:
        sides: The baseline, then the candidates.
        region: `norm`, `epsilon`.
        origin: Tool and place.
        ending: How the job ended.
    """
    baseline, *candidates = sides
    proved = {item["index"] for item in baseline.items if item.get("verdict") == "verified"}
    radius, name = radius_text(region), baseline.network.get("name")
    return _document(
        [(side, list(_lost_first(side, proved, radius, str(name)))) for side in candidates],
        origin,
        ending,
    )


def training_sarif(origin: Origin, ending: Ending = SUCCEEDED) -> str:
    """Return a run without results: a training whose arms are not compared asks about no inputs.

    Args:
        origin: Tool and place.
        ending: How the job ended.
    """
    return _document([], origin, ending)


def _lost_first(side: Side, proved: set[Any], radius: str, baseline: str) -> Iterator[Finding]:
    for item in side.items:
        finding = finding_of(item, radius)
        if finding is None:
            continue
        if finding.index in proved:
            words = f"{finding.message} It is verified for {baseline}."
            yield Finding(finding.index, "lost", words)
        else:
            yield finding


def _document(
    sides: Sequence[tuple[Side, Sequence[Finding]]], origin: Origin, ending: Ending
) -> str:
    order = list(RULES)
    places = [_uri(side, origin) for side, _ in sides]
    results = [
        (order.index(finding.rule), _result(finding, place, origin))
        for place, (_, found) in zip(places, sides, strict=True)
        for finding in found
    ]
    results.sort(key=lambda entry: entry[0])
    run = {
        "tool": {"driver": _driver(origin)},
        "automationDetails": {"id": f"tightrope/{places[0] if places else 'training'}/"},
        "invocations": [_invocation(ending, len(results) - _MOST_RESULTS)],
        "artifacts": [
            {"location": _location(place), "hashes": {"sha-256": str(side.network.get("sha256"))}}
            for place, (side, _) in zip(places, sides, strict=True)
        ],
        "columnKind": "utf16CodeUnits",
        "results": [result for _, result in results[:_MOST_RESULTS]],
    }
    return dump_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _driver(origin: Origin) -> dict[str, Any]:
    return {
        "name": "Tightrope",
        "version": origin.version,
        "rules": [
            {
                "id": name,
                "name": "".join(word.capitalize() for word in rule.title.split()),
                "shortDescription": {"text": f"{rule.title}."},
                "fullDescription": {"text": rule.meaning},
                "help": {"text": f"{rule.meaning} {rule.advice}"},
                "defaultConfiguration": {"level": rule.level},
                "properties": {"tags": ["robustness"]},
            }
            for name, rule in RULES.items()
        ],
    }


def _invocation(ending: Ending, left_out: int) -> dict[str, Any]:
    """Return how the run went, with what readers of the results have to know."""
    notes = []
    if ending.state != "succeeded":
        missing = f"; {len(ending.missing)} inputs have no answer" if ending.missing else ""
        words = f"{ending.words}{missing}."
        notes.append({"level": "error", "message": {"text": words}})
    if left_out > 0:
        words = f"{left_out} results of less weight are left out."
        notes.append({"level": "note", "message": {"text": words}})
    invocation: dict[str, Any] = {"executionSuccessful": ending.state == "succeeded"}
    if ending.started_at is not None:
        moment = ending.started_at.astimezone(UTC)
        invocation["startTimeUtc"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**invocation, "toolExecutionNotifications": notes}


def _result(finding: Finding, place: str, origin: Origin) -> dict[str, Any]:
    about = f"{finding.rule}\0{place}\0{origin.data}\0{finding.index}"
    fingerprint = hashlib.sha256(about.encode("utf-8", errors="replace")).hexdigest()[:32]
    return {
        "ruleId": finding.rule,
        "ruleIndex": list(RULES).index(finding.rule),
        "level": RULES[finding.rule].level,
        "message": {"text": finding.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _location(place),
                    # A network has no lines; without one, code scanning shows nothing.
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"name": f"input {finding.index}", "kind": "resource"}],
            }
        ],
        # The first is what GitHub compares; it would else hash lines of the file.
        "partialFingerprints": {
            "primaryLocationLineHash": f"{fingerprint[:16]}:1",
            "tightropeInput/v1": fingerprint,
        },
        "properties": {"index": finding.index},
    }


def _location(place: str) -> dict[str, str]:
    return {"uri": place, "uriBaseId": "%SRCROOT%"}


def _uri(side: Side, origin: Origin) -> str:
    """Return a relative reference to the network: percent-encoded, without a leading slash."""
    path = origin.uri or str(side.network.get("name"))
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return quote("/".join(parts) or "network", errors="replace")
