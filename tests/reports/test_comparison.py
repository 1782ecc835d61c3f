"""Reports of comparisons: the figures by hand, the JSON, the page and the table."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import comparison_html, comparison_of, comparison_report, dump_json
from reports.csv import comparison_csv
from tests.helpers.pages import parsed
from tests.helpers.report_items import METHODS, item, items_strategy

BEFORE = [
    item(0, "verified", lower=(-4.0, 0.5), exact=(1.0, 1.0), upper=1.0),
    item(1, "unknown", lower=(-3.5, -0.5), exact=(-0.25, 0.5), upper=0.5),
    item(2, "falsified", lower=(-4.0, -1.25), exact=(-1.0, -1.0), upper=-1.0),
    item(3, "misclassified", label=1, predicted=7),
    item(4, "verified", lower=(-1.0, 0.25), exact=(0.5, 0.5), upper=0.5),
]
AFTER = [
    item(0, "verified", lower=(0.25, 0.75), exact=(1.0, 1.0), upper=1.0),
    item(1, "verified", lower=(-1.0, 0.25), exact=(0.5, 0.5), upper=0.5),
    item(2, "verified", lower=(-1.0, -0.25), exact=(0.25, 0.25), upper=0.25),
    item(3, "falsified", lower=(-1.0, -0.5), exact=(-0.5, -0.5), upper=-0.5, label=1, predicted=1),
    item(4, "misclassified", predicted=1),
]
LAYERS = [
    {"name": "a1", "neurons": 8, "unstable": 2.0, "slack": 0.5},
    {"name": "a2", "neurons": 4, "unstable": 1.0, "slack": 0.25},
]


def side(name: str, items: list[dict[str, Any]], **changes: object) -> dict[str, Any]:
    return {"name": name, "sha256": name * 8, "items": items, "layers": LAYERS, **changes}


def report(*candidates: dict[str, Any], **changes: object) -> dict[str, Any]:
    return comparison_report(
        side("plain", BEFORE),
        candidates or [side("tight", AFTER)],
        region={"norm": "inf", "epsilon": 0.1, "valid_range": [0.0, 1.0]},
        settings={"methods": METHODS, "seed": 0, "count": 5, **changes},
    )


def test_the_report_has_the_form_that_is_promised() -> None:
    found = json.loads(dump_json(report()))
    assert set(found["baseline"]) >= {"name", "summary"}
    (candidate,) = found["candidates"]
    assert set(candidate) >= {"name", "summary", "difference", "gained", "lost"}
    for method in METHODS:
        assert set(candidate["difference"][method]) >= {
            "certified_accuracy",
            "low",
            "high",
            "p_value",
        }


def test_the_figures_are_those_of_the_items() -> None:
    (candidate,) = report()["candidates"]
    assert (candidate["gained"], candidate["lost"]) == ([1, 2], [4])
    ibp, crown, exact = (candidate["difference"][method] for method in METHODS)
    assert (ibp["certified_accuracy"], ibp["gained"], ibp["lost"]) == (0.2, 1, 0)
    # crown proves 0 and 4 before, 0 and 1 after.
    assert (crown["certified_accuracy"], crown["gained"], crown["lost"]) == (0.0, 1, 1)
    # exact proves 0 and 4 before, 0, 1 and 2 after.
    assert exact["certified_accuracy"] == pytest.approx(0.2)
    assert (exact["gained"], exact["lost"], exact["p_value"]) == (2, 1, 1.0)
    assert crown["low"] < 0 < crown["high"]
    # Gaps that both have: inputs 0, 1 and 2, where crown's fall by 0.25, 0.75 and 0.25 − …
    before = [0.5, 1.0, 0.25]
    after = [0.25, 0.25, 0.5]
    change = sum(after) / 3 - sum(before) / 3
    assert crown["mean_gap"]["value"] == pytest.approx(change)
    assert crown["mean_gap"]["count"] == 3
    assert candidate["accuracy"]["clean"]["difference"] == 0.0
    assert candidate["accuracy"]["empirical"] == {
        "difference": pytest.approx(0.0),
        "low": candidate["accuracy"]["empirical"]["low"],
        "high": candidate["accuracy"]["empirical"]["high"],
        "p_value": 1.0,
        "gained": 1,
        "lost": 1,
    }
    assert candidate["certified_gap"] == pytest.approx((0.6 - 0.6) - (0.6 - 0.4))
    assert candidate["changes"] == [
        {"index": 1, "label": 3, "baseline": "unknown", "candidate": "verified"},
        {"index": 2, "label": 3, "baseline": "falsified", "candidate": "verified"},
        {"index": 3, "label": 1, "baseline": "misclassified", "candidate": "falsified"},
        {"index": 4, "label": 3, "baseline": "verified", "candidate": "misclassified"},
    ]
    assert candidate["tightness"] == {"unstable": 3.0, "slack": 0.75, "layers": LAYERS}


def test_a_network_beside_itself_has_no_differences() -> None:
    (candidate,) = report(side("same", BEFORE))["candidates"]
    for method in METHODS:
        change = candidate["difference"][method]
        assert (change["certified_accuracy"], change["low"], change["high"]) == (0.0, 0.0, 0.0)
        assert change["p_value"] == 1.0
        assert change["mean_gap"]["value"] == 0.0
    assert (candidate["gained"], candidate["lost"], candidate["changes"]) == ([], [], [])


def test_what_rounding_leaves_of_a_gap_is_none() -> None:
    noise = {"ibp": 3e-17, "crown": -2e-17, "exact": 1e-17}
    plain, tight = (
        [{**one, "gap": {name: scale * value for name, value in noise.items()}} for one in BEFORE]
        for scale in (1.0, 2.0)
    )
    found = comparison_report(
        side("plain", plain),
        [side("tight", tight)],
        region={"norm": "inf", "epsilon": 0.1},
        settings={"methods": METHODS},
    )
    page = comparison_html(found)
    assert "e\u221217" not in page
    assert "e-17" not in page
    assert "mean gap, crown" in page


def test_the_seed_moves_the_ends_alone() -> None:
    def changed(seed: int) -> dict[str, Any]:
        items = [item(i, "verified", lower=(-1.0, 0.1), upper=1.0) for i in range(40)]
        other = [item(i, "verified", lower=(-1.0, 0.01 * i), upper=1.0) for i in range(40)]
        found = comparison_of(side("a", items), [side("b", other)], methods=["crown"], seed=seed)
        change: dict[str, Any] = found["candidates"][0]["difference"]["crown"]
        return change

    first, second = changed(0), changed(1)
    assert first == changed(0)
    assert first["certified_accuracy"] == second["certified_accuracy"]
    assert first["mean_gap"]["value"] == second["mean_gap"]["value"]
    assert first["mean_gap"]["low"] != second["mean_gap"]["low"]


def test_other_inputs_are_not_compared() -> None:
    with pytest.raises(ValueError, match="'odd' and 'plain' were certified on different inputs"):
        report(side("odd", AFTER[:4]))
    relabelled = [{**AFTER[0], "label": 2}, *AFTER[1:]]
    with pytest.raises(ValueError, match="compare them on the same ones"):
        report(side("odd", relabelled))


def test_slack_that_is_not_known_is_not_added_up() -> None:
    odd = [LAYERS[0], {**LAYERS[1], "slack": None}]
    (candidate,) = report(side("odd", BEFORE, layers=odd))["candidates"]
    assert candidate["tightness"]["slack"] is None
    assert candidate["tightness"]["unstable"] == 3.0
    assert "slack of all layers" in comparison_html(report(side("odd", BEFORE, layers=odd)))


def test_fewer_resamples_change_intervals_alone() -> None:
    sides = side("a", BEFORE), [side("b", AFTER)]
    coarse, fine = (
        comparison_of(*sides, methods=METHODS, resamples=count)["candidates"][0]
        for count in (50, 10_000)
    )
    for method in METHODS:
        one, two = coarse["difference"][method], fine["difference"][method]
        assert one["certified_accuracy"] == two["certified_accuracy"]
        assert one["mean_gap"]["value"] == two["mean_gap"]["value"]
    assert coarse["changes"] == fine["changes"]


def test_nothing_to_compare() -> None:
    found = comparison_of(side("a", []), [side("b", [], layers=None)], methods=["crown"])
    (candidate,) = found["candidates"]
    change = candidate["difference"]["crown"]
    assert (change["certified_accuracy"], change["low"], change["p_value"]) == (None, None, 1.0)
    assert change["mean_gap"] == {"value": None, "low": None, "high": None, "count": 0}
    assert candidate["certified_gap"] is None
    assert candidate["tightness"] is None
    assert found["baseline"]["intervals"]["clean_accuracy"] is None


@given(before=items_strategy(), data=st.data())
def test_whatever_items_hold_the_report_is_strict_json(
    before: list[dict[str, Any]], data: st.DataObject
) -> None:
    others = data.draw(items_strategy())
    after = [
        {**now, "index": was["index"], "label": was["label"]}
        for was, now in zip(before, others, strict=False)
    ]
    found = comparison_report(
        side("a", before[: len(after)]),
        [side("b", after)],
        region={"norm": "2", "epsilon": 1.0, "valid_range": None},
        settings={"methods": METHODS},
    )
    assert json.loads(dump_json(found)) == found
    assert comparison_html(found).startswith("<!doctype html>")
    (candidate,) = found["candidates"]
    for change in candidate["difference"].values():
        if change["certified_accuracy"] is not None:
            assert change["low"] - 1e-12 <= change["certified_accuracy"] <= change["high"] + 1e-12
            assert 0 <= change["p_value"] <= 1


def test_the_page_stands_alone_and_shows_everything() -> None:
    page = comparison_html(report(side("tight", AFTER), side("tighter", AFTER)))
    tags = parsed(page).tags
    assert not [attributes for _, attributes in tags if {"src", "href"} & set(attributes)]
    names = [name for name, _ in tags]
    assert "script" not in names
    assert names.count("svg") == 5
    assert page.count('class="whisker"') == 3 * (2 + len(METHODS))
    for text in ("tight, tighter beside plain", "2 gained, 1 lost", "+20.0 points", "layer 2"):
        assert text in page
    assert "ε = 0.1, values kept in [0, 1]" in page


def test_the_page_without_layers_and_without_changes() -> None:
    page = comparison_html(report(side("same", BEFORE, layers=None)))
    assert [name for name, _ in parsed(page).tags].count("svg") == 3
    assert "None: both networks are answered alike" in page


def test_the_page_escapes_names() -> None:
    page = comparison_html(report(side("<script>alert(1)</script>", AFTER)))
    assert "<script" not in page


def test_many_changes_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.comparison_page._MAX_CHANGES", 3)
    assert "1 more are in the JSON report" in comparison_html(report())


def test_the_table_has_one_line_per_input() -> None:
    text = comparison_csv([BEFORE, AFTER[:4], AFTER], ["crown", "exact"])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["index"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[1]["baseline_verdict"] == "unknown"
    assert rows[1]["candidate1_lower_crown"] == "0.25"
    assert rows[4]["candidate1_verdict"] == ""
    assert rows[4]["candidate2_verdict"] == "misclassified"
    assert rows[1]["baseline_gap_exact"] == "0.75"
