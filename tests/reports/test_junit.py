"""JUnit XML says what the answers say, and every reader can read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.findings import Ending, Side
from reports.junit import certification_junit, comparison_junit, training_junit
from reports.report import certification_report
from tests.helpers.junit import check_junit, outcomes
from tests.helpers.report_items import FIVE_ITEMS, METHODS, item, items_strategy

REGION = {"norm": "inf", "epsilon": 0.1, "valid_range": [0.0, 1.0]}
STARTED = datetime(2030, 1, 31, 12, 0, 1, tzinfo=UTC)


def report_of(items: list[dict[str, Any]], name: str = "net.onnx") -> dict[str, Any]:
    return certification_report(
        network={"name": name, "sha256": "ab" * 32},
        region=REGION,
        settings={"methods": METHODS},
        items=items,
    )


def once(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items with indices of their own."""
    return [{**entry, "index": index} for index, entry in enumerate(items)]


def test_what_is_not_verified_does_not_pass() -> None:
    root = check_junit(certification_junit(report_of(FIVE_ITEMS), Ending(started_at=STARTED)))
    assert outcomes(root) == {
        "input 0": "passed",
        "input 1": "passed",
        "input 2": "failure",
        "input 3": "error",
        "input 4": "failure",
    }
    suite = root[0]
    assert (suite.get("name"), suite.get("timestamp")) == ("net.onnx", "2030-01-31T12:00:01")
    properties = {entry.get("name"): entry.get("value") for entry in suite[0]}
    assert properties["certified crown accuracy"] == "0.2"
    assert properties["region"] == "L∞ ε = 0.1"
    messages = [
        child.get("message")
        for case in root.iter("testcase")
        for child in case
        if child.tag[0] != "s"
    ]
    assert messages == [
        "Input 2, labelled 3, gets another answer by a change within L∞ ε = 0.1; its margin is −1.",
        "Input 3, labelled 3, is neither proved nor refuted within L∞ ε = 0.1: timeout; its margin "
        "is in [−0.5, 1].",
        "Input 4, labelled 1, is classified as 7 without any change.",
    ]
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("type") == "falsified"
    assert failure.text == (
        "margin at least −4 by ibp\nmargin at least −1.25 by crown\nmargin at most −1\n"
        "evidence: checked"
    )


def test_a_counterexample_names_its_answer() -> None:
    found = {"x": [0.5, 0.5], "y": [0.25, 1.5, -1.0]}
    broken = item(7, "falsified", upper=-1.25, counterexample=found)
    root = check_junit(certification_junit(report_of([broken])))
    failure = root.find(".//failure")
    assert failure is not None
    assert "gets the answer 1 by a change" in str(failure.get("message"))


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending("failed", "out of memory", [5, 6]), "the job has failed: out of memory."),
        (Ending("cancelled", None, [5, 6]), "the job was cancelled."),
    ],
)
def test_inputs_without_an_answer_are_errors(ending: Ending, words: str) -> None:
    root = check_junit(certification_junit(report_of(FIVE_ITEMS), ending))
    assert (root.get("tests"), root.get("errors")) == ("7", "3")
    last = list(root.iter("error"))[-1]
    assert (last.get("type"), last.get("message")) == (
        "missing", f"Input 6 has no answer: {words}",
    )  # fmt: skip


@given(items_strategy(), st.text(max_size=20))
def test_any_answers_make_a_document(items: list[dict[str, Any]], name: str) -> None:
    numbered = once(items)
    root = check_junit(certification_junit(report_of(numbered, name)))
    passed = [name for name, outcome in outcomes(root).items() if outcome == "passed"]
    verified = [f"input {e['index']}" for e in numbered if e["verdict"] == "verified"]
    assert passed == verified


@given(items_strategy())
def test_only_losses_fail_a_comparison(items: list[dict[str, Any]]) -> None:
    after = once(items)
    before = [{**entry, "verdict": "verified"} for entry in after[::2]]
    sides = [Side({"name": "old"}, before), Side({"name": "new"}, after)]
    missing = [entry["index"] for entry in after[1::2]]
    root = check_junit(comparison_junit(sides, REGION, Ending("failed", "?", missing)))
    for entry in after:
        outcome = outcomes(root)[f"input {entry['index']}"]
        if entry["index"] in missing:
            assert outcome == "error"
        else:
            assert outcome == ("passed" if entry["verdict"] == "verified" else "failure")


def test_what_the_baseline_lacks_too_is_no_loss() -> None:
    sides = [Side({"name": name}, FIVE_ITEMS) for name in ("old.onnx", "new.onnx", "other.onnx")]
    root = check_junit(comparison_junit(sides, REGION))
    assert [suite.get("name") for suite in root] == ["new.onnx", "other.onnx"]
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    assert list(outcomes(root).values()) == ["passed", "passed", "skipped", "skipped", "skipped"]
    lost = [FIVE_ITEMS[0], {**FIVE_ITEMS[1], "verdict": "unknown"}, *FIVE_ITEMS[2:]]
    root = check_junit(comparison_junit([sides[0], Side({"name": "n"}, lost)], REGION))
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("type") == "lost"
    assert str(failure.get("message")).startswith("Verified for old.onnx and not any more.")


def test_texts_that_xml_cannot_carry_are_replaced() -> None:
    odd = item(0, "unknown", reason="a\x00b\ud800 <&\"'>")
    root = check_junit(certification_junit(report_of([odd], "net\x1b.onnx")))
    assert root[0].get("name") == "net\N{REPLACEMENT CHARACTER}.onnx"
    error = root.find(".//error")
    assert error is not None
    assert "a\ufffdb\ufffd <&\"'>" in str(error.get("message"))


EPOCH = {"clean_accuracy": 0.5, "empirical_accuracy": 0.25, "certified_accuracy": 0.125}


@pytest.mark.parametrize(
    ("arm", "ending", "outcome"),
    [
        ({"stopped": "completed"}, Ending(), "passed"),
        ({"stopped": "early-stop"}, Ending(), "passed"),
        ({"stopped": "cancelled"}, Ending("cancelled"), "skipped"),
        ({}, Ending("failed", "the loss is not finite"), "error"),
    ],
)
def test_a_training_passes_when_it_went_to_an_end(
    arm: dict[str, Any], ending: Ending, outcome: str
) -> None:
    report = {
        "network": {"name": "cnn-small"},
        "dataset": {"name": "digits"},
        "settings": {"method": "crown-ibp", "epsilon": 0.1},
        "arms": {"candidate": {"history": [EPOCH], "best_epoch": 1, "seconds": 2.0, **arm}},
    }
    root = check_junit(training_junit(report, ending))
    assert outcomes(root) == {"candidate": outcome}
    told = "".join(root.itertext()).strip()
    assert "clean accuracy 50.0" in told or outcome == "skipped"
    report["arms"] = {}
    root = check_junit(training_junit(report, Ending("failed", "the loss is not finite")))
    error = root.find(".//error")
    assert error is not None
    assert error.get("message") == "Not finished: the job has failed: the loss is not finite."
