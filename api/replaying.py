"""Requests that may be sent twice: what tells one from another."""

from __future__ import annotations

import hashlib

from api.schemas.base import Wire
from store.idempotency import Replay

__all__ = ["replay_of"]


def replay_of(key: str | None, route: str, body: Wire) -> Replay | None:
    """Return what the store needs to recognise a request; None for one without a key.

    Args:
        key: The Idempotency-Key.
        route: Method and path.
        body: What is asked, defaults filled in.
    """
    if key is None:
        return None
    return Replay(key, route, hashlib.sha256(body.model_dump_json().encode()).hexdigest())
