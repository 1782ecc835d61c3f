"""Errors of the solvers."""

from __future__ import annotations

from models.errors import TightropeError

__all__ = [
    "MemoryLimitError",
    "SolverFailedError",
    "SolverUnavailableError",
    "StoppedError",
    "UnsupportedMethodError",
]


class SolverUnavailableError(TightropeError):
    """A solver is not installed, or its licence does not allow this problem."""


class SolverFailedError(TightropeError):
    """A solver stopped without an answer, or contradicted what is already proved."""


class UnsupportedMethodError(TightropeError):
    """A method cannot handle an operator of this network; other methods may."""


class StoppedError(TightropeError):
    """Time ran out, or somebody cancelled, in the middle of a computation."""


class MemoryLimitError(TightropeError):
    """A computation does not fit into the memory of its device, however small its pieces."""
