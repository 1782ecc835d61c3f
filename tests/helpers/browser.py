"""A browser as people have one: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

INSTALL = "run tests/install_servers.sh as root to install it"
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_WAIT = 30_000.0
_DESKTOP = {"width": 1280, "height": 900}
_PHONE = {"width": 390, "height": 844}
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "light": {"viewport": _DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": _DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": _PHONE, "color_scheme": "light", "is_mobile": True, "has_touch": True},
}
"""What readers have before them."""


@dataclass
class Reader:
    """Somebody with a browser window.

    Attributes:
        page: The window.
        complaints: What the browser wrote to its console as errors: scripts that failed, files that
            were not found, and whatever the policy of a page forbade.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)

    @property
    def context(self) -> BrowserContext:
        """Cookies and connection of the window."""
        return self.page.context

    def open(self, path: str) -> Page:
        """Go to a page, and wait until its script has run."""
        self.page.goto(path)
        return self.page


def find_chromium() -> str:
    """Return the path of Chromium; skip the test where there is none."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        pytest.skip(f"Chromium is not installed: {INSTALL}")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser for as long as the block lasts."""
    program = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@contextmanager
def reading(browser: Browser, url: str, *, look: str = "light") -> Iterator[Reader]:
    """Open a window, with cookies of its own.

    Args:
        browser: That runs.
        url: Of the service; paths are of it.
        look: What the reader has, of `LOOKS`.
    """
    context = browser.new_context(
        base_url=url,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
        **LOOKS[look],
    )
    context.set_default_timeout(_WAIT)
    reader = Reader(context.new_page())
    reader.page.on("pageerror", lambda error: reader.complaints.append(str(error)))
    reader.page.on("console", lambda message: _listen(reader, message.type, message.text))
    try:
        yield reader
    finally:
        context.close()


def _listen(reader: Reader, kind: str, text: str) -> None:
    if kind == "error":
        reader.complaints.append(text)


def serious(page: Page, *, colours_alone: bool = False) -> list[str]:
    """Return what axe finds on a page that is in the way of people: all that is not minor."""
    rules = ["color-contrast", "link-in-text-block"]
    options = {"runOnly": {"type": "rule", "values": rules}} if colours_alone else None
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("moderate", "serious", "critical")
        for node in one["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    script = "document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
    found: int = page.evaluate(script)
    return found
