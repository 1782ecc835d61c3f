"""A store in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.service import World, service_settings


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(service_settings(tmp_path))
    yield made
    made.close()
