"""Errors of the process that computes for a worker; they carry what it told, or what ended it."""

from __future__ import annotations

from models.errors import TightropeError
from store.errors import StoreError

__all__ = ["EngineDiedError", "RemoteError"]


class EngineDiedError(StoreError):
    """The process that computes died of its work; another attempt may fare better.

    Attributes:
        ended: What ended it: the name of a signal, or an exit status.
    """

    def __init__(self, ended: str, message: str) -> None:
        super().__init__(message)
        self.ended = ended


class RemoteError(TightropeError):
    """An error of the mathematics, as the other process told it.

    Attributes:
        kind: Name of its class.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
