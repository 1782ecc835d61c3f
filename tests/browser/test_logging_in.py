"""Somebody logs in, is logged out, and comes with a key that has expired."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect
from sqlalchemy import delete

from api.principal import Scope
from store.access_tables import LoginRow
from tests.helpers.api import Api
from tests.helpers.browser import Reader


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Key").fill(token)
    page.get_by_role("button", name="Log in").click()


def end_every_login(guarded: Api) -> None:
    with guarded.world.database.write() as session:
        session.execute(delete(LoginRow))
    guarded.app.state.services.keyring.forget()


def test_there_and_back(guarded: Api, stranger: Reader) -> None:
    page = stranger.open("/networks")
    expect(page).to_have_url(re.compile(r"/login\?next=/networks$"))
    expect(page.get_by_label("Key")).to_be_focused()
    log_in(page, guarded.key(Scope.READ).token)
    expect(page).to_have_url(re.compile(r"/networks$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Networks")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login$"))
    stranger.open("/networks")
    expect(page).to_have_url(re.compile("/login"))


def test_a_key_that_has_expired(guarded: Api, stranger: Reader) -> None:
    expired = guarded.key(Scope.READ, expires_at=datetime.now(UTC) - timedelta(days=1))
    page = stranger.open("/")
    log_in(page, expired.token)
    expect(page.get_by_role("alert")).to_contain_text("expired")
    expect(page.get_by_label("Key")).to_have_value("")
    log_in(page, "trk_nonsense")
    expect(page.get_by_role("alert")).to_be_visible()
    log_in(page, guarded.key(Scope.READ).token)
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_a_login_that_ends_while_one_looks(guarded: Api, stranger: Reader) -> None:
    row = guarded.world.certify(range(3))
    page = stranger.open("/")
    log_in(page, guarded.key(Scope.READ).token)
    connection = page.locator("#connection")
    expect(connection).to_have_text("Live")
    end_every_login(guarded)
    # Whatever is read next finds nobody logged in.
    assert guarded.world.jobs.claim(row.id, "somebody")
    guarded.world.certifications.succeed(row.id, "somebody", {})
    expect(connection).to_contain_text("Logged out")
    connection.get_by_role("link", name="log in").click()
    expect(page).to_have_url(re.compile("/login"))


def test_what_was_typed_survives_a_login_that_ended(guarded: Api, stranger: Reader) -> None:
    token = guarded.key(Scope.READ, Scope.SUBMIT).token
    world = guarded.world
    page = stranger.open(f"/new/certification?network_id={world.network}")
    log_in(page, token)
    radius = page.get_by_label("Radius ε")
    radius.fill("0.0625")
    end_every_login(guarded)
    page.get_by_role("button", name="Start the certification").click()
    expect(page).to_have_url(re.compile("/login"))
    log_in(page, "trk_nonsense")
    log_in(page, token)
    expect(radius).to_have_value("0.0625")
    expect(page.get_by_label("Network")).to_have_value(world.network)
    page.get_by_label("Data set").select_option(world.dataset)
    page.get_by_role("button", name="Start the certification").click()
    expect(page).to_have_url(re.compile("/certifications/job_"))
    # It is for that one time.
    stranger.open("/new/certification")
    expect(radius).not_to_have_value("0.0625")
    assert page.evaluate("sessionStorage.length") == 0
