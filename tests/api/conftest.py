"""Services for all tests, and a clean one for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.api import Api, clean, opened, opened_guarded


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Start one service for all tests; `api` gives each of them a clean one."""
    with opened(tmp_path_factory.mktemp("api"), require_keys=False) as made:
        yield made


@pytest.fixture
def api(running: Api) -> Api:
    return clean(running)


@pytest.fixture(scope="session")
def running_guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Start one service that asks for keys."""
    with opened_guarded(tmp_path_factory.mktemp("guarded")) as made:
        yield made


@pytest.fixture
def guarded(running_guarded: Api) -> Api:
    return clean(running_guarded)
