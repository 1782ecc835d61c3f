"""Methods that work input by input: the table of them, and what runs one.

Bounds by propagation are computed for many inputs at once. A convex program is solved for one input
at a time, within that input's budget. Such a method is a function from an `ItemTask` to a
`MethodResult`, registered in `ITEM_METHODS`. To add one:

1. Add its name to `solvers.methods.Method` and to `ITEM_METHOD_NAMES` there, and to the lists in
   `api/schemas/certifications.py` and `cli/options.py`.
2. Write a function that takes the task and returns what it proved of every clause. What it cannot
   handle it raises as `UnsupportedMethodError` or `MemoryLimitError`; a deadline that cut it short
   it returns as `MethodStatus.TIMEOUT`, with what was proved by then.
3. Enter it in `ITEM_METHODS`, with the propagation whose node bounds it starts from. Import solver
   packages inside adapters only, so that this table stays cheap to load.

Everything else (order, budgets, time, status, reasons, reports) is the same for all of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.errors import TightropeError
from models.network import Network
from solvers.bounds.memory import out_of_memory
from solvers.budget import Budget
from solvers.convex.margins import CutOptions, ProgramOptions, program_margins
from solvers.convex.sdp import SdpDual, SdpOptions, SdpStatus, sdp_margin
from solvers.errors import (
    MemoryLimitError,
    SolverFailedError,
    SolverUnavailableError,
    UnsupportedMethodError,
)
from solvers.exact.encode import EncodingStoppedError
from solvers.exact.model import ModelTooLargeError
from solvers.methods import Method
from solvers.problem import Case

__all__ = [
    "ITEM_METHODS",
    "ItemMethod",
    "ItemTask",
    "MethodResult",
    "MethodStatus",
    "NodeBounds",
    "run_item_method",
]

FloatArray = NDArray[np.float64]
NodeBounds = Mapping[str, tuple[FloatArray, FloatArray]]
"""Lower and upper bounds of every node, float64, of the node's shape."""

_LOG = logging.getLogger(__name__)


class MethodStatus(StrEnum):
    """How a method ended on one input.

    `done`: it ran to its end. `unsupported`: the network, the region or the specification is none
    that it handles. `timeout`, `cancelled`, `memory`: it was cut short, and what it had proved by
    then counts. `failed`: its solver gave no usable answer.
    """

    DONE = "done"
    UNSUPPORTED = "unsupported"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    MEMORY = "memory"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class ItemTask:
    """One input for one method.

    Attributes:
        network: In float64, on the device to compute with, affine operators folded.
        case: Region, of the network's input shape, and specification.
        bounds: Sound bounds of every node, by the propagation that the method starts from.
        clause_lower: What that propagation proved of every clause, shape `(clauses,)`.
        budget: Of this method on this input.
        seed: For methods that draw random numbers.
    """

    network: Network
    case: Case
    bounds: NodeBounds
    clause_lower: FloatArray
    budget: Budget
    seed: int = 0


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What a method proved of one input.

    Attributes:
        clause_lower: A sound lower bound of every clause's margin, shape `(clauses,)`; −∞ where
            nothing is proved.
        status: How it ended.
        seconds: Wall time; filled in by whoever runs the method.
        reason: Why it is not `done`, in words.
        duals: What semidefinite relaxations proved clauses with.
    """

    clause_lower: FloatArray
    status: MethodStatus = MethodStatus.DONE
    seconds: float = 0.0
    reason: str | None = None
    duals: tuple[SdpDual, ...] = ()

    @property
    def lower(self) -> float:
        """Lower bound of the margin: that of the weakest clause."""
        return float(self.clause_lower.min())


@dataclass(frozen=True)
class ItemMethod:
    """An entry of the table.

    Attributes:
        run: Does the work.
        start: The method of propagation whose node bounds the task brings along.
    """

    run: Callable[[ItemTask], MethodResult]
    start: Method = Method.CROWN


def _by_program(task: ItemTask, options: ProgramOptions) -> MethodResult:
    """Bound margins by linear programs, never below what they start from."""
    found = program_margins(
        task.network,
        task.case,
        task.bounds,
        options=options,
        budget=task.budget,
        clause_lower=task.clause_lower,
    )
    if found.stopped is not None:
        status = MethodStatus(found.stopped)
        reason = f"{found.stopped} after {found.solved} linear programs"
        return MethodResult(found.clause_lower, status, reason=reason)
    if found.trouble is not None:
        return MethodResult(found.clause_lower, MethodStatus.FAILED, reason=found.trouble)
    return MethodResult(found.clause_lower)


def _lp(task: ItemTask) -> MethodResult:
    return _by_program(task, ProgramOptions())


def _optc2v(task: ItemTask) -> MethodResult:
    return _by_program(task, ProgramOptions(cuts=CutOptions()))


def _sdp(task: ItemTask) -> MethodResult:
    """Bound margins by a semidefinite relaxation, never below what it starts from."""
    found = sdp_margin(
        task.network,
        task.case,
        task.bounds,
        options=SdpOptions(seed=task.seed, device=str(task.network.device)),
        budget=task.budget,
        clause_lower=task.clause_lower,
    )
    status = _SDP_STATUS.get(found.status, MethodStatus.DONE)
    return MethodResult(found.clause_lower, status, reason=found.reason, duals=found.duals)


_SDP_STATUS: Mapping[SdpStatus, MethodStatus] = MappingProxyType(
    {
        SdpStatus.TIMEOUT: MethodStatus.TIMEOUT,
        SdpStatus.CANCELLED: MethodStatus.CANCELLED,
        SdpStatus.TOO_LARGE: MethodStatus.MEMORY,
    }
)

ITEM_METHODS: Mapping[Method, ItemMethod] = MappingProxyType(
    {
        Method.LP: ItemMethod(_lp),
        Method.OPTC2V: ItemMethod(_optc2v, start=Method.FASTC2V),
        Method.SDP: ItemMethod(_sdp),
    }
)
"""Every method that works input by input."""

_STATUS_OF_ERROR: Mapping[type[Exception], MethodStatus] = MappingProxyType(
    {
        # the first that fits counts, so that the special come before the general
        ModelTooLargeError: MethodStatus.MEMORY,
        EncodingStoppedError: MethodStatus.TIMEOUT,
        UnsupportedMethodError: MethodStatus.UNSUPPORTED,
        MemoryLimitError: MethodStatus.MEMORY,
        SolverUnavailableError: MethodStatus.UNSUPPORTED,
        SolverFailedError: MethodStatus.FAILED,
    }
)


def run_item_method(entry: ItemMethod, task: ItemTask, name: str) -> MethodResult:
    """Run a method on one input; its limits come back as a status, never as an error.

    Args:
        entry: From `ITEM_METHODS`.
        task: The input.
        name: Of the method, for the log.

    Returns:
        What was proved, with the time it took. Not a number proves nothing.
    """
    began = time.perf_counter()
    try:
        result = entry.run(task)
    except (RuntimeError, MemoryError, TightropeError) as error:
        result = _nothing_proved(task, error)
        _LOG.warning("%s on one input: %s", name, result.reason)
    lower = np.where(np.isnan(result.clause_lower), -np.inf, result.clause_lower)
    return replace(result, clause_lower=lower, seconds=time.perf_counter() - began)


def _nothing_proved(task: ItemTask, error: Exception) -> MethodResult:
    """Return the result of a method that raised; what is no limit of it is raised again."""
    nothing = np.full(len(task.case.specification.clauses), -np.inf)
    for kind, status in _STATUS_OF_ERROR.items():
        if isinstance(error, kind):
            return MethodResult(nothing, status, reason=str(error))
    if out_of_memory(error):
        return MethodResult(
            nothing, MethodStatus.MEMORY, reason="the input does not fit into memory"
        )
    raise error
