"""Every page as it looks: nothing that keeps people from using it, nothing wider than a phone.

Pictures of all of them are left in `screenshots/`, to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from api.principal import Scope
from tests.browser.exhibits import Exhibition
from tests.helpers.api import Api, opened
from tests.helpers.browser import LOOKS, overflow, reading, serious
from tests.helpers.imports import ROOT

PAGES = (
    "overview",
    "networks",
    "network",
    "certifications",
    "certification",
    "certification-running",
    "certification-queued",
    "certification-failed",
    "input-verified",
    "input-falsified",
    "input-unknown",
    "comparisons",
    "comparison",
    "compared-input",
    "trainings",
    "training",
    "cancel",
    "new-certification",
    "new-comparison",
    "new-training",
    "settings",
    "not-found",
)
PICTURES = ROOT / "screenshots"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Start a service for the exhibition; its workers and jobs stay alive all the while."""
    folder = tmp_path_factory.mktemp("exhibition")
    with opened(folder, require_keys=False, lease_seconds=3600.0, max_upload_bytes=2**29) as made:
        yield made


@pytest.fixture(scope="module")
def exhibition(shown: Api) -> Exhibition:
    return Exhibition(shown)


@pytest.fixture(scope="module", params=list(LOOKS))
def window(
    request: pytest.FixtureRequest, browser: Browser, shown: Api
) -> Iterator[tuple[str, Page]]:
    with reading(browser, str(shown.client.base_url), look=request.param) as reader:
        yield request.param, reader.page
        assert [one for one in reader.complaints if "status of 404" not in one] == []


def test_every_page_is_looked_at(exhibition: Exhibition) -> None:
    assert list(exhibition.paths) == list(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page(exhibition: Exhibition, window: tuple[str, Page], name: str) -> None:
    look, page = window
    answer = page.goto(exhibition.paths[name])
    assert answer is not None
    assert answer.status == (404 if name == "not-found" else 200)
    page.evaluate("document.fonts.ready")
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}-{look}.png", full_page=True)
    assert overflow(page) == 0
    assert page.locator("h1").count() == 1
    # What a page is made of is the same in other colours, and both are the same on a phone.
    if look != "phone":
        assert serious(page, colours_alone=look == "dark") == []


@pytest.mark.parametrize("look", list(LOOKS))
def test_the_page_that_asks_for_a_key(browser: Browser, guarded: Api, look: str) -> None:
    with reading(browser, str(guarded.client.base_url), look=look) as reader:
        page = reader.open("/")
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"login-{look}.png", full_page=True)
        assert serious(page) == []
        assert overflow(page) == 0


@pytest.mark.parametrize("look", list(LOOKS))
def test_a_service_in_which_nothing_is_yet(browser: Browser, guarded: Api, look: str) -> None:
    """Told by the service that asks for keys, since the other one is full."""
    token = guarded.key(Scope.READ).token
    with reading(browser, str(guarded.client.base_url), look=look) as reader:
        page = reader.open("/")
        page.get_by_label("Key").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Overview").wait_for()
        page.screenshot(path=PICTURES / f"empty-{look}.png", full_page=True)
        assert serious(page) == []
        assert overflow(page) == 0
