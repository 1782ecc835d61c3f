"""Errors of the store.

::

    StoreError
    ├── AuthenticationError        a key or a login is worth nothing
    ├── QuotaError                 somebody has as much as is allowed at once
    ├── NotFoundError              there is no such resource
    ├── ConflictError              the resource's state does not allow this
    ├── IdempotencyMismatchError   an Idempotency-Key was used before for another request
    └── StoreFullError             the disk is full

They stand apart from `models.errors` on purpose: the process that serves HTTP imports the store and
must never load the packages of the mathematics.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "ConflictError",
    "IdempotencyMismatchError",
    "NotFoundError",
    "QuotaError",
    "StoreError",
    "StoreFullError",
]


class StoreError(Exception):
    """Base of every error that the store raises on purpose."""


class AuthenticationError(StoreError):
    """What a client shows to be let in is worth nothing: unknown, revoked or expired."""


class QuotaError(StoreError):
    """Somebody has as much as is allowed at once."""


class NotFoundError(StoreError):
    """There is no such resource.

    Attributes:
        kind: What was looked for, in words.
        identifier: The id that leads nowhere.
    """

    def __init__(self, kind: str, identifier: str) -> None:
        super().__init__(f"there is no {kind} {identifier!r}; it may have been deleted")
        self.kind = kind
        self.identifier = identifier


class ConflictError(StoreError):
    """The state of a resource does not allow what was asked."""


class IdempotencyMismatchError(StoreError):
    """An Idempotency-Key came back with a different request."""


class StoreFullError(StoreError):
    """A file could not be written because the disk or a quota is full."""
