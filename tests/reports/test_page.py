"""What all pages share: their frame, and buttons that show some rows of a table."""

from __future__ import annotations

import re

import pytest

from reports import (
    certification_html,
    certification_report,
    comparison_html,
    comparison_report,
    radius_html,
    radius_report,
)
from reports.training import training_html, training_report
from reports.tuning import tuning_html, tuning_report
from tests.helpers.pages import parsed
from tests.helpers.report_items import FIVE_ITEMS, METHODS

NAME = "<net> & co"
NETWORK = {"name": NAME, "sha256": "ab" * 32, "notes": ["a <note>"]}
REGION = {"norm": "inf", "epsilon": 0.05, "valid_range": [0.0, 1.0]}
SETTINGS = {"methods": METHODS, "seed": 20}
DATASET = {"name": "digits"}
SIDE = {"name": NAME, "sha256": "ab" * 32, "items": FIVE_ITEMS, "notes": ["a <note>"]}
DISTANCES = [
    {"index": 0, "label": 3, "predicted": 3, "lower": 0.1, "upper": 0.2, "status": "open"},
    {"index": 1, "label": 3, "predicted": 4, "lower": 0.0, "upper": 0.0, "status": "misclassified"},
]
PAGES = {
    "certification report": lambda: certification_html(
        certification_report(network=NETWORK, region=REGION, settings=SETTINGS, items=FIVE_ITEMS)
    ),
    "minimum distortion": lambda: radius_html(
        radius_report(network=NETWORK, region=REGION, settings=SETTINGS, items=DISTANCES)
    ),
    "comparison report": lambda: comparison_html(
        comparison_report(SIDE, [SIDE], region=REGION, settings=SETTINGS)
    ),
    "training report": lambda: training_html(
        training_report(network=NETWORK, dataset=DATASET, settings=SETTINGS, arms={})
    ),
    "tuning report": lambda: tuning_html(
        tuning_report(
            network=NETWORK,
            dataset=DATASET,
            settings=SETTINGS,
            sweep={"trials": [], "front": [], "complete": True},
        )
    ),
}


@pytest.mark.parametrize("kind", PAGES)
def test_pages_say_what_they_are_and_of_what(kind: str) -> None:
    page = PAGES[kind]()
    assert page.startswith("<!doctype html>\n")
    words = "|".join(part.strip() for part in parsed(page).text)
    subject = f"{NAME} beside {NAME}" if kind == "comparison report" else NAME
    assert f"|{subject} · {kind}|" in words
    assert f"|Tightrope {kind}||{subject}|" in words
    assert words.rstrip("|").endswith("|Made by Tightrope.")


@pytest.mark.parametrize("kind", PAGES)
def test_pages_say_how_they_were_made(kind: str) -> None:
    text = [part.strip() for part in parsed(PAGES[kind]()).text]
    words = [part for part in text if part]
    told = words[words.index("How it was run") :]
    assert told[told.index("seed") + 1] == "20"
    if kind in {"training report", "tuning report"}:
        assert told[told.index("dataset.name") + 1] == "digits"
    elif kind == "comparison report":
        assert told[told.index(f"note on {NAME}") + 1] == "a <note>"
    else:
        assert told[told.index("note") + 1] == "a <note>"


@pytest.mark.parametrize("kind", ["certification report", "minimum distortion"])
def test_each_button_hides_the_rows_of_other_words(kind: str) -> None:
    page = PAGES[kind]()
    shown = {
        (attrs["id"] or "").removeprefix("show-")
        for tag, attrs in parsed(page).tags
        if tag == "input"
    } - {"all"}
    rule = r'#show-(\w+):checked\) tr\[(data-\w+)\]:not\(\[\2="\1"\]\) \{ display: none; \}'
    hiding = dict(re.findall(rule, page))
    rows = {
        (name, value)
        for tag, attrs in parsed(page).tags
        for name, value in attrs.items()
        if tag == "tr" and name.startswith("data-")
    }
    assert rows == {(hiding[word], word) for word in shown}
