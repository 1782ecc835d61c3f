"""Answers are written out where they are made, and known ones take one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy import Connection, event

from api.answering import DirectRoute
from tests.api.test_access import routes
from tests.helpers.api import Api
from tests.helpers.service import SUMMARY, item, serving

# Ask the database, which takes a thread.
_IN_A_THREAD = {"_mark_final"}


class Pair(BaseModel):
    first: int
    second: str | None = None


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what the framework hands to another thread."""
    from fastapi import routing  # noqa: PLC0415 (the module, not a name of it)

    run, seen = routing.run_in_threadpool, []

    async def noted(work: Any, *values: object, **named: object) -> object:  # noqa: ANN401
        seen.append(getattr(work, "__name__", repr(work)))
        return await run(work, *values, **named)

    monkeypatch.setattr(routing, "run_in_threadpool", noted)
    return seen


def small() -> FastAPI:
    router = APIRouter(route_class=DirectRoute)

    @router.post("/pairs", status_code=202)
    def make(first: int, response: Response) -> Pair:
        response.headers["Location"] = f"/pairs/{first}"
        if first == 0:
            response.status_code = 200
        return Pair(first=first)

    @router.get("/plain")
    def plain() -> Response:
        return Response("text")

    @router.delete("/pairs", status_code=204)
    def drop() -> None:
        return None

    app = FastAPI()
    app.include_router(router)
    return app


def test_an_answer_says_what_the_route_said(handed_over: list[str]) -> None:
    with serving(small()) as client:
        made = client.post("/pairs", params={"first": 3})
        assert (made.status_code, made.json()) == (202, {"first": 3, "second": None})
        assert made.headers["Location"] == "/pairs/3"
        assert made.headers["Content-Type"] == "application/json"
        assert client.post("/pairs", params={"first": 0}).status_code == 200
        assert client.post("/pairs", params={"first": "x"}).status_code == 422
        assert client.get("/plain").text == "text"
        gone = client.delete("/pairs")
        assert (gone.status_code, gone.content) == (204, b"")
        schema = client.get("/openapi.json").json()["paths"]["/pairs"]["post"]["responses"]
    assert schema["202"]["content"]["application/json"]["schema"]["$ref"].endswith("/Pair")
    assert len(handed_over) == 4, "each route that answered, and nothing else"


def test_every_route_of_programs_writes_its_own_answer(api: Api) -> None:
    found = [route for route in routes(api.app) if route.path.startswith("/v1/")]
    assert len(found) > 40
    for route in found:
        threaded = not iscoroutinefunction(route.endpoint)
        assert isinstance(route, DirectRoute) or not threaded, route.path


def test_what_routes_ask_for_is_found_without_a_thread(api: Api) -> None:
    for route in routes(api.app):
        for one in dependencies(route):
            name = getattr(one, "__name__", repr(one))
            at_once = iscoroutinefunction(one) or isasyncgenfunction(one)
            documented = not hasattr(one, "__code__")  # security schemes are asynchronous objects
            assert at_once or documented or name in _IN_A_THREAD, f"{route.path}: {name}"


def dependencies(route: APIRoute) -> Iterator[Any]:
    def below(found: Dependant) -> Iterator[Any]:
        for one in found.dependencies:
            yield one.call
            yield from below(one)

    return below(route.dependant)


def test_a_known_answer_takes_one_transaction(api: Api) -> None:
    asked = {
        "network_id": api.world.network,
        "dataset_id": api.world.dataset,
        "epsilon": 0.1,
        "methods": ["crown"],
        "count": 3,
    }
    first = api.client.post("/v1/certifications", json=asked).json()["id"]
    assert api.world.jobs.claim(first, "w")
    for index in range(3):
        api.world.certifications.add_item(first, "w", item(index))
    api.world.certifications.succeed(first, "w", SUMMARY)
    for count in (3, 2):  # the whole question, and input by input
        commits = committed(api, {**asked, "count": count})
        # The answer with its job, and the line of the audit log.
        assert commits == 2, count


def committed(api: Api, asked: dict[str, Any]) -> int:
    """Return how many transactions that wrote something an answer takes, which has to be known."""
    engine, seen = api.app.state.services.database.engine, []

    def note(connection: Connection) -> None:
        seen.append(connection)

    event.listen(engine, "commit", note)
    try:
        made = api.client.post("/v1/certifications", json=asked).json()
    finally:
        event.remove(engine, "commit", note)
    assert (made["state"], made["cached"]) == ("succeeded", True)
    return len(seen)
