"""SARIF is valid, points at the network, and knows an alert again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import sarif
from reports.findings import RULES, Ending, Side
from reports.sarif import Origin, certification_sarif, comparison_sarif
from tests.helpers.report_items import FIVE_ITEMS, item, items_strategy
from tests.helpers.sarif import check_sarif, check_uri
from tests.reports.test_junit import REGION, once, report_of

ORIGIN = Origin("0.1.0", "models/net.onnx", "cd" * 32)


def rules_of(run: dict[str, Any]) -> list[tuple[str, int]]:
    return [(result["ruleId"], result["properties"]["index"]) for result in run["results"]]


def test_what_is_not_verified_is_a_result_the_gravest_first() -> None:
    started = datetime(2030, 1, 31, 12, 0, 1, tzinfo=UTC)
    run = check_sarif(
        certification_sarif(report_of(FIVE_ITEMS), ORIGIN, Ending(started_at=started))
    )
    assert rules_of(run) == [("falsified", 2), ("misclassified", 4), ("unknown", 3)]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "warning"]
    assert run["tool"]["driver"]["version"] == "0.1.0"
    assert run["automationDetails"]["id"] == "tightrope/models/net.onnx/"
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "startTimeUtc": "2030-01-31T12:00:01Z",
            "toolExecutionNotifications": [],
        }
    ]
    (place,) = run["artifacts"]
    assert place["location"]["uri"] == "models/net.onnx"
    assert place["hashes"] == {"sha-256": "ab" * 32}
    located = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert located == {"uri": "models/net.onnx", "uriBaseId": "%SRCROOT%"}


@given(items_strategy(), st.text(max_size=20), st.one_of(st.none(), st.text(max_size=30)))
def test_any_answers_make_a_log(items: list[dict[str, Any]], name: str, uri: str | None) -> None:
    numbered = once(items)
    origin = replace(ORIGIN, uri=uri)
    run = check_sarif(certification_sarif(report_of(numbered, name), origin))
    found = sorted(index for _, index in rules_of(run))
    assert found == [e["index"] for e in numbered if e["verdict"] != "verified"]
    assert {rule for rule, _ in rules_of(run)} <= set(RULES)


@given(st.text(max_size=40))
def test_any_path_becomes_a_relative_uri(path: str) -> None:
    run = check_sarif(certification_sarif(report_of(FIVE_ITEMS), replace(ORIGIN, uri=path)))
    check_uri(run["artifacts"][0]["location"]["uri"])


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("a b/mlp:8,4.onnx", "a%20b/mlp%3A8%2C4.onnx"),
        ("./nets\\größe.onnx", "nets/gr%C3%B6%C3%9Fe.onnx"),
        ("/etc/net.onnx", "etc/net.onnx"),
        ("../../net.onnx", "net.onnx"),
        ("..", "network"),
    ],
)
def test_paths_are_encoded_and_stay_in_the_repository(path: str, uri: str) -> None:
    run = check_sarif(certification_sarif(report_of(FIVE_ITEMS), replace(ORIGIN, uri=path)))
    assert run["artifacts"][0]["location"]["uri"] == uri


def test_a_fingerprint_depends_on_input_rule_data_and_place_alone() -> None:
    def prints(items: list[dict[str, Any]], origin: Origin = ORIGIN) -> list[str]:
        run = check_sarif(certification_sarif(report_of(items), origin))
        return [entry["partialFingerprints"]["primaryLocationLineHash"] for entry in run["results"]]

    once_more = [item(2, "falsified", upper=-9.0, seconds={"crown": 5.0})]
    before = prints([FIVE_ITEMS[2]])
    assert prints(once_more) == before
    assert prints([item(3, "falsified", upper=-9.0)]) != before
    assert prints([item(2, "unknown", reason="timeout")]) != before
    assert prints(once_more, replace(ORIGIN, data="ef" * 32)) != before
    assert prints(once_more, replace(ORIGIN, uri="other.onnx")) != before


def test_a_comparison_tells_what_was_lost() -> None:
    after = [item(0, "unknown", reason="timeout"), *FIVE_ITEMS[1:]]
    sides = [Side({"name": "old.onnx"}, FIVE_ITEMS), Side({"name": "new.onnx"}, after)]
    run = check_sarif(comparison_sarif(sides, REGION, replace(ORIGIN, uri=None)))
    assert rules_of(run) == [("lost", 0), ("falsified", 2), ("misclassified", 4), ("unknown", 3)]
    assert run["results"][0]["message"]["text"].endswith("It is verified for old.onnx.")
    assert [entry["location"]["uri"] for entry in run["artifacts"]] == ["new.onnx"]


def test_a_job_that_failed_is_not_taken_for_a_clean_one() -> None:
    ending = Ending("failed", "out of memory", [5, 6])
    run = check_sarif(certification_sarif(report_of([]), ORIGIN, ending))
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    (note,) = invocation["toolExecutionNotifications"]
    assert note["message"]["text"] == (
        "the job has failed: out of memory; 2 inputs have no answer."
    )


def test_too_many_results_leave_out_the_lightest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "_MOST_RESULTS", 2)
    run = check_sarif(certification_sarif(report_of(FIVE_ITEMS), ORIGIN))
    assert rules_of(run) == [("falsified", 2), ("misclassified", 4)]
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note == {"level": "note", "message": {"text": "1 results of less weight are left out."}}
