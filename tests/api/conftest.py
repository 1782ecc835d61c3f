"""The application on a port of its own, with fakes for inspection and queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from tests.helpers.service import FakeInspector, FakeQueue, World, service_settings, serving


@dataclass(frozen=True)
class Api:
    """A running service and what it stands on."""

    client: httpx.Client
    world: World
    inspector: FakeInspector
    queue: FakeQueue
    app: FastAPI


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Start one service for all tests; `api` gives each of them a clean one."""
    folder = tmp_path_factory.mktemp("api")
    settings = service_settings(
        folder, max_upload_bytes=200_000, max_body_bytes=20_000, events_heartbeat_seconds=0.2
    )
    world = World(settings)
    inspector, queue = FakeInspector(), FakeQueue()
    app = create_app(settings, inspector=inspector, queue=queue)
    with serving(app) as client:
        yield Api(client, world, inspector, queue, app)
    world.close()


@pytest.fixture
def api(running: Api) -> Api:
    running.world.reset()
    running.inspector.reset()
    running.queue.reset()
    return running
