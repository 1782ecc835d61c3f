"""Bodies for the API: whatever they are, the answer is a resource or a problem document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from api.app import create_app
from tests.helpers.service import FakeInspector, FakeQueue, World, service_settings

__all__ = ["posting"]

PATHS = ("/v1/certifications", "/v1/comparisons", "/v1/trainings")


@contextmanager
def posting(folder: Path) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that posts a body everywhere and checks each answer."""
    settings = service_settings(folder, max_body_bytes=200_000)
    world = World(settings)
    ids = {b"net_" + b"0" * 26: world.network.encode(), b"dat_" + b"0" * 26: world.dataset.encode()}
    transport = httpx.ASGITransport(
        create_app(settings, inspector=FakeInspector(), queue=FakeQueue())
    )
    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
    headers = {"content-type": "application/json"}

    def post(content: bytes) -> None:
        for old, new in ids.items():
            content = content.replace(old, new)
        for path in PATHS:
            answer = loop.run_until_complete(client.post(path, content=content, headers=headers))
            if answer.status_code >= 400:
                assert answer.status_code < 500, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["detail"]

    yield post
    loop.run_until_complete(client.aclose())
    loop.close()
    world.close()
