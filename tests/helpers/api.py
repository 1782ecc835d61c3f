"""The application on a port of its own, with fakes for inspection and queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from fastapi import FastAPI

from api.app import create_app
from store.keys import KeyLimits, Keys, MadeKey, NewKey, Scope
from store.tenancy import DEFAULT_PROJECT
from tests.helpers.service import FakeInspector, FakeQueue, World, service_settings, serving

NO_LIMITS = KeyLimits()


@dataclass(frozen=True)
class Api:
    """A running service and what it stands on."""

    client: httpx.Client
    world: World
    inspector: FakeInspector
    queue: FakeQueue
    app: FastAPI

    def key(
        self,
        *scopes: Scope,
        project_id: str = DEFAULT_PROJECT,
        limits: KeyLimits = NO_LIMITS,
        expires_at: datetime | None = None,
    ) -> MadeKey:
        """Make a key."""
        new = NewKey("test", project_id, scopes, expires_at=expires_at, limits=limits)
        return Keys(self.world.database).create(new)


@contextmanager
def opened(folder: Path, **changes: object) -> Iterator[Api]:
    """Run a service in a folder, with other settings than usual where they are given."""
    small = {
        "max_upload_bytes": 200_000,
        "max_body_bytes": 20_000,
        "events_heartbeat_seconds": 0.2,
    }
    settings = service_settings(folder, **{**small, **changes})
    world = World(settings)
    inspector, queue = FakeInspector(), FakeQueue()
    app = create_app(settings, inspector=inspector, queue=queue)
    with serving(app) as client:
        yield Api(client, world, inspector, queue, app)
    world.close()


@contextmanager
def opened_guarded(folder: Path) -> Iterator[Api]:
    """Run a service that asks for keys, and refuses as often as tests want it to."""
    with opened(folder, require_keys=True, refusals_per_minute=100_000) as made:
        yield made


def clean(used: Api) -> Api:
    """Return a service as if it had just been started."""
    used.world.reset()
    used.inspector.reset()
    used.queue.reset()
    used.client.cookies.clear()
    return used
