"""Somebody looks around: the overview, a certification, its table, a proof, a lost connection."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
from playwright.sync_api import Browser, expect

from store.certifications import Certifications
from store.workers import Workers
from tests.helpers.api import Api
from tests.helpers.browser import Reader, reading
from tests.helpers.service import SUMMARY, item
from tests.helpers.wire import wired

MANY = 230


@pytest.fixture
def certified(api: Api) -> str:
    """A finished certification of many inputs of three classes; a tenth has a counterexample."""
    row = api.world.certify(range(MANY), proofs=True)
    assert api.world.jobs.claim(row.id, "somebody")
    for index in range(MANY):
        verdict = "falsified" if index % 10 == 3 else "verified"
        answer = item(index, verdict, label=index % 3, upper=float(MANY - index))
        api.world.certifications.add_item(row.id, "somebody", answer)
    api.world.certifications.succeed(row.id, "somebody", {**SUMMARY, "count": MANY})
    return row.id


def add(api: Api, certification_id: str, index: int) -> None:
    Certifications(api.world.database).add_item(certification_id, "somebody", item(index))


def test_progress_arrives_without_reload(api: Api, reader: Reader) -> None:
    Workers(api.world.database).seen("w", queues="bounds,exact", device="cpu", version="1")
    row = api.world.certify(range(4))
    page = reader.open("/")
    page.evaluate("window.untouched = true")
    expect(page.locator("#connection")).to_have_text("Live")
    going = page.locator(f'#live [data-row="{row.id}"]')
    expect(going.locator(".badge")).to_have_text("queued")
    assert api.world.jobs.claim(row.id, "somebody")
    expect(going.locator(".badge")).to_have_text("running")
    for done in range(3):
        add(api, row.id, done)
        expect(going.locator("[data-done]")).to_have_text(str(done + 1))
        assert going.locator("progress").get_attribute("value") == str(done + 1)
    add(api, row.id, 3)
    api.world.certifications.succeed(row.id, "somebody", SUMMARY)
    expect(page.locator(f'#recent [data-row="{row.id}"] .badge')).to_have_text("succeeded")
    expect(page.locator("#live")).to_contain_text("Nothing is being computed")
    assert page.evaluate("window.untouched")


def test_answers_appear_while_one_looks_at_them(api: Api, reader: Reader) -> None:
    row = api.world.certify(range(3))
    page = reader.open(f"/certifications/{row.id}")
    expect(page.locator("#inputs")).to_contain_text("No answer yet")
    expect(page.locator("#connection")).to_have_text("Live")
    assert api.world.jobs.claim(row.id, "somebody")
    add(api, row.id, 0)
    expect(page.locator("#inputs tbody tr")).to_have_count(1)
    for index in (1, 2):
        add(api, row.id, index)
    api.world.certifications.succeed(row.id, "somebody", SUMMARY)
    expect(page.locator("#inputs tbody tr")).to_have_count(3)
    expect(page.locator("#state .badge")).to_have_text("succeeded")
    expect(page.locator("#connection")).to_have_text("Finished")


def test_a_lost_connection_recovers(api: Api, browser: Browser) -> None:
    row = api.world.certify(range(4))
    assert api.world.jobs.claim(row.id, "somebody")
    with wired(api.client.base_url.port or 0) as wire, reading(browser, wire.url) as reader:
        page = reader.open("/")
        expect(page.locator("#connection")).to_have_text("Live")
        wire.cut()
        expect(page.locator("#connection")).to_contain_text("Connection lost")
        add(api, row.id, 0)
        add(api, row.id, 1)
        wire.mend()
        expect(page.locator("#connection")).to_have_text("Live")
        expect(page.locator(f'#live [data-row="{row.id}"] [data-done]')).to_have_text("2")


def test_from_the_overview_to_an_input(certified: str, reader: Reader) -> None:
    page = reader.open("/")
    page.locator(f'#recent a[href="/certifications/{certified}"]').click()
    expect(page.get_by_role("heading", level=1)).to_have_text("n.onnx")
    page.get_by_role("region", name="Table of inputs").get_by_role(
        "link", name="7", exact=True
    ).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Input 7")
    page.get_by_role("link", name="Input 8").click()
    expect(page).to_have_url(re.compile("/inputs/8$"))
    page.get_by_role("link", name="All inputs").click()
    expect(page).to_have_url(re.compile(f"/certifications/{certified}#inputs$"))


def test_inputs_are_filtered_sorted_and_paged(certified: str, reader: Reader) -> None:
    page = reader.open(f"/certifications/{certified}")
    rows = page.locator("#inputs tbody tr")
    paging = page.get_by_role("navigation", name="Pages of inputs")
    expect(rows).to_have_count(100)
    expect(paging).to_contain_text(f"1 to 100 of {MANY}")
    paging.get_by_role("link", name="Next").click()
    expect(paging).to_contain_text(f"101 to 200 of {MANY}")
    page.locator(".filter").get_by_role("link", name="falsified").click()
    expect(rows).to_have_count(23)
    expect(rows.locator(".badge.falsified")).to_have_count(23)
    page.locator(".filter").get_by_role("link", name="Class 2").click()
    expect(rows).to_have_count(7)
    page.locator(".filter").get_by_role("link", name="Class all").click()
    expect(rows).to_have_count(23)
    column = page.get_by_role("columnheader", name="upper bound")
    column.get_by_role("link").click()
    expect(column).to_have_attribute("aria-sort", "ascending")
    expect(rows.first.get_by_role("link")).to_have_text("223")
    column.get_by_role("link").click()
    expect(column).to_have_attribute("aria-sort", "descending")
    expect(rows.first.get_by_role("link")).to_have_text("3")
    page.go_back()
    expect(rows.first.get_by_role("link")).to_have_text("223")


def test_many_classes_are_chosen_from_a_list(api: Api, reader: Reader) -> None:
    row = api.world.certify(range(40))
    assert api.world.jobs.claim(row.id, "somebody")
    for index in range(40):
        api.world.certifications.add_item(row.id, "somebody", item(index, label=index % 20))
    page = reader.open(f"/certifications/{row.id}?sort=upper")
    page.get_by_label("Class").select_option("13")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#inputs tbody tr")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"\?sort=upper&label=13#inputs$"))


def test_a_proof_is_downloaded(api: Api, reader: Reader) -> None:
    row = api.world.certify([0], proofs=True)
    assert api.world.jobs.claim(row.id, "somebody")
    proved = item(0, proof_file=b64encode(b"a proof").decode())
    api.world.certifications.add_item(row.id, "somebody", proved)
    api.world.certifications.succeed(row.id, "somebody", SUMMARY)
    page = reader.open(f"/certifications/{row.id}/inputs/0")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the proof").click()
    assert download.value.path().read_bytes() == b"a proof"
    assert download.value.suggested_filename.endswith(".proof")


def test_the_keyboard_leads_to_the_content(certified: str, reader: Reader) -> None:
    page = reader.open(f"/certifications/{certified}")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_times_are_told_in_the_zone_of_the_reader(certified: str, reader: Reader) -> None:
    page = reader.open("/")
    expect(page.locator("[data-zone]")).to_have_text("in Europe/Berlin")
    moment = page.locator("#recent time").first
    told = moment.text_content() or ""
    written = moment.evaluate(
        "one => new Date(one.dateTime).toLocaleTimeString('en-GB', "
        "{hour: '2-digit', minute: '2-digit', timeZone: 'Europe/Berlin'})"
    )
    assert written in told
