"""The page: complete, escaped, standing alone, and whole whatever the numbers are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from reports import certification_html, certification_report
from tests.helpers.pages import parsed
from tests.helpers.report_items import FIVE_ITEMS, METHODS, item, items_strategy


def report_of(items: list[dict[str, Any]], **network: object) -> dict[str, Any]:
    return certification_report(
        network={"name": "digits.onnx", "sha256": "ab" * 32, **network},
        region={"norm": "inf", "epsilon": 0.05, "valid_range": [0, 1]},
        settings={"methods": METHODS, "seed": 0},
        items=items,
    )


def falsified(index: int, x: list[float], y: list[float] | None = None) -> dict[str, Any]:
    found = {"x": x, "y": [0.0, 2.0, 1.0] if y is None else y}
    return item(index, "falsified", exact=(-1.0, -1.0), counterexample=found)


def test_page_has_every_input_and_figure() -> None:
    page = parsed(certification_html(report_of(FIVE_ITEMS)))
    rows = [attrs["data-verdict"] for tag, attrs in page.tags if "data-verdict" in attrs]
    assert rows == [entry["verdict"] for entry in FIVE_ITEMS]
    text = " ".join(page.text)
    for expected in ("80.0\u202f%", "60.0\u202f%", "40.0\u202f%", "timeout", "ε = 0.05", "[0, 1]"):
        assert expected in text
    charts = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert charts[0] == (
        "Accuracy by method: clean 80.0 %, under attack 60.0 %, ibp 0.0 %, crown 20.0 %, "
        "exact 40.0 %"
    )
    assert len(charts) == 2


def test_page_fetches_nothing_and_runs_nothing() -> None:
    example = falsified(7, [0.5] * 64)
    page = certification_html(report_of([example]), inputs={7: np.zeros((1, 8, 8))})
    for tag, attrs in parsed(page).tags:
        assert tag not in {"script", "link", "iframe"}
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href"):
            assert (attrs.get(name) or "data:").startswith("data:")
    assert "url(" not in page
    assert "http" not in page


def test_names_and_reasons_are_escaped() -> None:
    hostile = "<script>alert(1)</script>&\"'"
    items = [item(0, "unknown", reason=hostile, evidence=hostile)]
    page = certification_html(report_of(items, name=hostile, notes=[hostile]))
    assert "<script" not in page
    assert "".join(parsed(page).text).count(hostile) >= 4


def test_a_method_without_a_bound_says_how_it_ended() -> None:
    status = {"ibp": "done", "crown": "unsupported"}
    ended: dict[str, Any] = {"status": status, "reasons": {"crown": "uses <Tanh>"}}
    page = certification_html(report_of([item(0, "unknown", **ended)]))
    assert ">unsupported</td>" in page
    assert "uses &lt;Tanh&gt;" in page


def test_page_of_no_input_says_so() -> None:
    page = parsed(certification_html(report_of([])))
    text = " ".join(page.text)
    assert "No input was certified" in text
    assert not [tag for tag, _ in page.tags if tag == "svg"]


@given(items_strategy())
@settings(max_examples=25)
def test_page_is_whole_whatever_the_numbers(items: list[dict[str, Any]]) -> None:
    page = certification_html(report_of(items))
    parser = parsed(page)
    assert sum("data-verdict" in attrs for _, attrs in parser.tags) == len(items)
    for tag, attrs in parser.tags:
        for name in {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"} & set(attrs):
            assert math.isfinite(float(attrs[name] or "nan")), (tag, name)


def test_image_counterexamples_are_three_pictures() -> None:
    original = np.linspace(0, 1, 64).reshape(1, 8, 8)
    page = parsed(certification_html(report_of([falsified(7, [0.5] * 64)]), inputs={7: original}))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == [
        "Input 7",
        "Counterexample to input 7",
        "Their difference, magnified",
    ]
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)  # type: ignore[union-attr]
    assert "label 3, answer becomes 1" in " ".join(page.text)


def test_a_flat_input_is_a_picture_where_its_shape_is_given() -> None:
    report = report_of([falsified(7, [0.5] * 64)])
    flat = np.zeros(64)
    without = certification_html(report, inputs={7: flat})
    with_shape = certification_html(report, inputs={7: flat}, input_shape=(1, 1, 8, 8))
    assert "<img" not in without
    assert with_shape.count("<img") == 3


def test_tabular_counterexamples_list_what_changes_most() -> None:
    original = np.zeros((1, 12))
    after = [0.01 * k for k in range(12)]
    page = parsed(certification_html(report_of([falsified(3, after)]), inputs={3: original}))
    text = [part.strip() for part in page.text]
    start = text.index("11")
    assert [part for part in text[start:] if part][:4] == ["11", "0", "0.11", "0.11"]
    assert "3 more values change." in text


def test_pictures_are_limited_and_the_rest_counted() -> None:
    items = [falsified(index, [0.5] * 64) for index in range(30)]
    inputs = {index: np.zeros((1, 8, 8)) for index in range(30)}
    page = certification_html(report_of(items), inputs=inputs)
    assert page.count("<img") == 3 * 24
    assert "6 more are in the JSON report" in page


def test_a_counterexample_without_its_input_is_left_out() -> None:
    page = certification_html(report_of([falsified(7, [0.5] * 64)]))
    assert "<img" not in page
    assert "Counterexamples</h2>" not in page


@pytest.mark.parametrize("y", [[], [math.nan, 1.0]])
def test_unknown_outputs_give_no_answer(y: list[float]) -> None:
    report = report_of([falsified(7, [0.5] * 64, y)])
    page = certification_html(report, inputs={7: np.zeros((1, 8, 8))})
    assert "answer becomes" not in page


def test_settings_are_listed_and_long_lists_cut_short() -> None:
    report = report_of(FIVE_ITEMS)
    report["settings"] |= {
        "indices": list(range(500)),
        "targets": [3, 7],
        "normalization": {"mean": [0.5], "std": [0.25]},
        "device": None,
    }
    parts = (part.strip() for part in parsed(certification_html(report)).text)
    text = "|".join(part for part in parts if part)
    assert "|indices|0, 1, … 499 (500 values)|" in text
    assert "|targets|3, 7|" in text
    assert "|normalization std|[0.25]|" in text
    assert "device" not in text


def test_a_verdict_without_a_checked_proof_is_shown_as_weaker() -> None:
    proof = {"bytes": 2358, "margin": 0.75, "deployment_margin": 0.5, "reason": None}
    checked = item(
        0, "verified", lower=(1.0, 1.0), evidence="checked", deployment_sound=True, proof=proof
    )
    failed = item(1, "verified", lower=(1.0, 1.0), proof={"reason": "no time was left"})
    page = certification_html(report_of([checked, failed]))
    assert page.count("badge verified weak") == 1
    assert "checked, float32" in page
    assert "proof of 2358 bytes, margin 0.75, 0.5 left after float32 rounding" in page
    assert "no proof: no time was left" in page
    assert "verdicts checked; 1 by a solver" in page
