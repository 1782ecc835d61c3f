"""The audit log's entries: one for every request that changed something, whichever route it was."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from anyio.to_thread import run_sync
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.authentication import Principal
from store.audit import AuditLog, Deed

__all__ = ["AuditTrail", "record"]

logger = logging.getLogger(__name__)

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_TARGET = 100


class AuditTrail:
    """Middleware that writes down what was done, before the answer says that it was.

    Args:
        app: The application behind.
        audit: Where to.
    """

    def __init__(self, app: ASGIApp, *, audit: AuditLog) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write down what it did."""
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})

        async def noted(message: Message) -> None:
            principal = state.get("principal")
            done = message["type"] == "http.response.start" and message["status"] < 400
            if done and isinstance(principal, Principal):
                deed = _deed(scope, Headers(raw=message["headers"]), principal)
                await run_sync(record, self._audit, deed)
            await send(message)

        await self._app(scope, receive, noted)


def record(audit: AuditLog, deed: Deed) -> None:
    """Write something down; where that fails, into the process's log, for what was done is done."""
    try:
        audit.add(deed)
    except SQLAlchemyError:
        logger.exception(
            "not in the audit log: %s %s by %s (%s) from %s",
            deed.action, deed.target, deed.actor, deed.key_id, deed.address,
        )  # fmt: skip


def _deed(scope: Scope, headers: Mapping[str, str], principal: Principal) -> Deed:
    client = scope.get("client")
    return Deed(
        action=getattr(scope.get("route"), "name", "unknown"),
        actor=principal.name,
        target=_target(scope, headers),
        project_id=principal.project_id,
        key_id=principal.key_id,
        address=None if client is None else client[0],
    )


def _target(scope: Scope, headers: Mapping[str, str]) -> str | None:
    """Return the id of what was made, else of what the path names."""
    location = headers.get("location")
    if location is not None:
        return location.rpartition("/")[2][:_LONGEST_TARGET]
    named = [str(value) for value in scope.get("path_params", {}).values()]
    return named[0][:_LONGEST_TARGET] if named else None
