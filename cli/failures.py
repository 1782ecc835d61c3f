"""The one table from errors to exit statuses, and the words for each."""

from __future__ import annotations

from collections.abc import Mapping

from models.errors import (
    BoundsError,
    DataError,
    InvalidInputError,
    ModelImportError,
    ShapeError,
    SpecificationError,
    TightropeError,
    UnsupportedOperatorError,
)
from solvers.convex.sdp.lift import LiftingStoppedError
from solvers.errors import (
    MemoryLimitError,
    SolverFailedError,
    SolverUnavailableError,
    StoppedError,
    UnsupportedMethodError,
)
from solvers.exact.encode import EncodingStoppedError
from solvers.exact.model import ModelTooLargeError
from store.errors import StoreError
from training.errors import CheckpointError, DivergedError, TrainingError, UntrainableError
from worker.errors import RemoteError

__all__ = ["EXIT_STATUS", "describe", "exit_status"]

BAD_INPUT = 2
FAILURE = 3

EXIT_STATUS: Mapping[type[BaseException], int] = {
    InvalidInputError: BAD_INPUT,
    ShapeError: BAD_INPUT,
    BoundsError: BAD_INPUT,
    SpecificationError: BAD_INPUT,
    DataError: BAD_INPUT,
    ModelImportError: BAD_INPUT,
    UnsupportedOperatorError: BAD_INPUT,
    UnsupportedMethodError: BAD_INPUT,
    ModelTooLargeError: BAD_INPUT,
    UntrainableError: BAD_INPUT,
    CheckpointError: BAD_INPUT,
    DivergedError: FAILURE,
    TrainingError: FAILURE,
    EncodingStoppedError: FAILURE,
    LiftingStoppedError: FAILURE,
    StoppedError: FAILURE,
    SolverUnavailableError: FAILURE,
    SolverFailedError: FAILURE,
    MemoryLimitError: FAILURE,
    RemoteError: FAILURE,
    TightropeError: FAILURE,
    StoreError: FAILURE,
    MemoryError: FAILURE,
    OSError: FAILURE,
    Exception: FAILURE,
}


def exit_status(error: BaseException) -> int:
    """Return the exit status of the closest listed class that `error` belongs to."""
    for kind in type(error).__mro__:
        if kind in EXIT_STATUS:
            return EXIT_STATUS[kind]
    return FAILURE


def describe(error: BaseException) -> str:
    """Return what to tell the user: what was wrong and, where known, what to do."""
    if isinstance(error, TightropeError | StoreError | OSError) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; try fewer inputs, a smaller network or fewer methods"
    return (
        f"internal error ({type(error).__name__}: {error}); this is a bug in Tightrope. "
        "Run again with TIGHTROPE_TRACEBACK=1 and report what it prints"
    )
