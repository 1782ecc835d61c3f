"""The figures of a set, against a count by hand and against their own definitions."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import certification_report, dump_json, items_csv, summarize
from reports.numbers import finite, mean, strict
from reports.summary import bracket, certified, gap_of
from tests.helpers.report_items import FIVE_ITEMS, METHODS, items_strategy


def test_summary_of_five_items_counted_by_hand() -> None:
    summary = summarize(FIVE_ITEMS, METHODS)
    assert summary == {
        "count": 5,
        "clean_accuracy": 0.8,
        "empirical_accuracy": 0.6,
        "certified_accuracy": {"ibp": 0.0, "crown": 0.2, "exact": 0.4},
        "certified_gap": pytest.approx(0.2),
        "mean_gap": {
            "ibp": pytest.approx((5.0 + 4.0 + 3.0 + 6.0) / 4),
            "crown": pytest.approx((0.5 + 1.0 + 0.25 + 2.0) / 4),
            "exact": pytest.approx((0.0 + 0.0 + 0.0 + 1.5) / 4),
        },
        "falsified": 1,
        "unknown": 1,
        "evidence": {"checked": 3, "solver": 2, "none": 0},
        "deployment_sound": 0,
        "seconds": pytest.approx(4 * (0.25 + 0.5 + 1.0)),
    }


def test_summary_of_nothing_knows_nothing() -> None:
    summary = summarize([], METHODS)
    assert summary["count"] == 0
    assert summary["clean_accuracy"] is None
    assert summary["empirical_accuracy"] is None
    assert summary["certified_accuracy"] == dict.fromkeys(METHODS)
    assert summary["certified_gap"] is None
    assert summary["mean_gap"] == dict.fromkeys(METHODS)
    assert summary["seconds"] == 0.0


def test_summary_without_methods_has_no_certified_gap() -> None:
    assert summarize(FIVE_ITEMS, [])["certified_gap"] is None


@pytest.mark.parametrize("lower", [0.0, -0.0, -1e-9, math.nan, -math.inf, math.inf, None, "1.0"])
def test_a_bound_that_is_not_a_positive_number_proves_nothing(lower: object) -> None:
    item = {"label": 1, "predicted": 1, "verdict": "unknown", "lower": {"crown": lower}}
    assert not certified(item, "crown")


def test_a_positive_bound_proves_nothing_for_a_wrong_prediction() -> None:
    item = {"label": 1, "predicted": 2, "verdict": "misclassified", "lower": {"crown": 3.0}}
    assert not certified(item, "crown")
    assert not certified({**item, "exact": [1.0, 2.0]}, "exact")


def test_exact_certifies_by_its_bracket_or_by_its_verdict() -> None:
    item = {"label": 1, "predicted": 1, "verdict": "unknown"}
    assert certified({**item, "exact": [0.1, 2.0]}, "exact")
    assert certified({**item, "verdict": "verified"}, "exact")
    assert not certified({**item, "exact": [-0.1, 2.0]}, "exact")
    assert not certified(item, "exact")


def test_the_gap_of_exact_is_the_width_of_its_bracket() -> None:
    assert gap_of({"exact": [0.5, 2.0]}, "exact") == 1.5
    assert gap_of({"exact": [0.5, 2.0], "gap": {"exact": 1.0}}, "exact") == 1.0
    assert gap_of({"exact": [None, 2.0]}, "exact") is None
    assert gap_of({}, "crown") is None
    assert bracket({"exact": None}) == (None, None)


@given(items_strategy())
def test_shares_lie_in_order(items: list[dict[str, Any]]) -> None:
    summary = summarize(items, METHODS)
    if not items:
        return
    clean, empirical = summary["clean_accuracy"], summary["empirical_accuracy"]
    assert 0.0 <= empirical <= clean <= 1.0
    for share in summary["certified_accuracy"].values():
        assert 0.0 <= share <= clean
    best = max(summary["certified_accuracy"].values())
    assert summary["certified_gap"] == pytest.approx(empirical - best)


@given(items_strategy(), st.randoms())
def test_the_order_of_inputs_does_not_matter(items: list[dict[str, Any]], random: Random) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    assert summarize(shuffled, METHODS) == summarize(items, METHODS)


@given(items_strategy())
def test_a_report_is_strict_json(items: list[dict[str, Any]]) -> None:
    report = certification_report(
        network={"name": "a", "sha256": "b"},
        region={"norm": "inf", "epsilon": 0.1, "valid_range": (0.0, 1.0)},
        settings={"methods": METHODS, "timeout_seconds": math.inf},
        items=items,
    )
    assert list(report) == ["network", "region", "settings", "summary", "items"]
    assert report["settings"]["timeout_seconds"] is None
    assert report["region"]["valid_range"] == [0.0, 1.0]
    text = dump_json(report)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == report


def test_strict_turns_foreign_numbers_into_plain_ones() -> None:
    numpy = pytest.importorskip("numpy")
    value = {"a": numpy.float32(0.5), "b": numpy.array([1.0, math.nan]), 3: (True, "x", None)}
    assert strict(value) == {"a": 0.5, "b": [1.0, None], "3": [True, "x", None]}
    assert json.loads(dump_json({"n": numpy.int64(7)})) == {"n": 7}


@pytest.mark.parametrize("value", [None, "2", True, object(), math.nan, 10**400])
def test_finite_refuses_what_is_no_finite_number(value: object) -> None:
    assert finite(value) is None


def test_mean_leaves_out_what_is_not_finite() -> None:
    assert mean([1.0, None, math.nan, 3.0, math.inf]) == 2.0
    assert mean([math.nan]) is None


def test_csv_has_a_column_for_every_figure() -> None:
    lines = items_csv(FIVE_ITEMS, METHODS).splitlines()
    assert lines[0] == (
        "index,label,predicted,verdict,evidence,lower_ibp,lower_crown,upper,exact_lower,"
        "exact_upper,gap_ibp,gap_crown,gap_exact,seconds_ibp,seconds_crown,seconds_exact,"
        "status_ibp,status_crown,status_exact,reason,deployment_sound,deployment_margin,"
        "proof_bytes"
    )
    assert len(lines) == 6
    assert lines[1] == "0,3,3,verified,solver,-4.0,0.5,1.0,1.0,1.0,5.0,0.5,0.0,0.25,0.5,1.0,,,,,,,"
    assert lines[5].startswith("4,1,7,misclassified,checked,,,")


def test_csv_leaves_cells_empty_for_numbers_that_are_not_finite() -> None:
    item = {"index": 0, "lower": {"ibp": -math.inf}, "upper": math.nan, "label": -1}
    row = items_csv([item], ["ibp"]).splitlines()[1]
    assert row == "0,-1,,,,,,,,,,,,,,"


def test_csv_says_what_a_proof_shows() -> None:
    proof = {"bytes": 2358, "deployment_margin": 0.5}
    item = {"index": 0, "deployment_sound": True, "proof": proof}
    assert items_csv([item], []).splitlines()[1].endswith(",True,0.5,2358.0")


def test_csv_says_how_each_method_ended() -> None:
    item = {"index": 0, "status": {"lp": "timeout", "ibp": "done"}}
    assert items_csv([item], ["ibp", "lp"]).splitlines()[1].endswith(",done,timeout,,,,")


def test_csv_does_not_let_text_run_as_a_formula() -> None:
    row = items_csv([{"index": 0, "reason": "=1+1"}], []).splitlines()[1]
    assert row.endswith(",'=1+1,,,")
