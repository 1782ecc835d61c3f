"""A browser, and services for it to look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.helpers.api import Api, clean, opened, opened_guarded
from tests.helpers.browser import Reader, chromium, reading

# No verdict may hang on how busy the machine is.
expect.set_options(timeout=30_000)
# Whoever logs in, and whatever is cut off, is told so by the browser; that is no fault of a page.
EXPECTED = ("status of 401", "ERR_INTERNET_DISCONNECTED", "ERR_CONNECTION", "ERR_NETWORK")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests; of the package, since its event loop is in others' way."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Start a service whose jobs go on as tests tell them to."""
    with opened(tmp_path_factory.mktemp("browser"), require_keys=False) as made:
        yield made


@pytest.fixture
def api(running: Api) -> Api:
    return clean(running)


@pytest.fixture(scope="package")
def running_guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Start a service that asks for keys."""
    with opened_guarded(tmp_path_factory.mktemp("guarded-browser")) as made:
        yield made


@pytest.fixture
def guarded(running_guarded: Api) -> Api:
    return clean(running_guarded)


def window(browser: Browser, api: Api) -> Iterator[Reader]:
    """Open a window on a service, and hold its pages to a silent console."""
    with reading(browser, str(api.client.base_url)) as reader:
        yield reader
        unexpected = [one for one in reader.complaints if not any(e in one for e in EXPECTED)]
        assert unexpected == []


@pytest.fixture
def reader(browser: Browser, api: Api) -> Iterator[Reader]:
    """Somebody who looks at the open service."""
    yield from window(browser, api)


@pytest.fixture
def stranger(browser: Browser, guarded: Api) -> Iterator[Reader]:
    """Somebody who looks at the service that asks for keys."""
    yield from window(browser, guarded)
