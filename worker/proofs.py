"""Checks a stored proof against what was asked, in a process that can be spared."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solvers.problem import Problem
from solvers.proof import CheckResult, check_proof
from solvers.proof.producing.produce import asked
from worker.evidence import asked_of

__all__ = ["check_answer"]


def check_answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a proof shows what a certification asked about one input.

    Args:
        request: Paths of the `proof`, the `network` and the `dataset`, the `settings` of the
            certification and the `index` of the input.

    Returns:
        `accepted`, or the `reason` why not; `statement`, what is proved in words; `leaves`,
        `margin`, what is left of it after float32 rounding as `deployment_margin`, `seconds`.

    Raises:
        TightropeError: Network, data set and settings do not fit each other.
    """
    began = time.perf_counter()
    named = asked_of(request)
    before = named.normalization
    result = check_proof(
        Path(request["proof"]),
        named.network.source,
        asked(Problem((named.case,))),
        normalization=None if before is None else (before.mean, before.std),
    )
    return {**_told(result), "seconds": time.perf_counter() - began}


def _told(result: CheckResult) -> dict[str, Any]:
    left = None if result.deployment is None else result.deployment.left
    return {
        "accepted": result.accepted,
        "reason": result.reason,
        "statement": list(result.statement),
        "leaves": result.leaves,
        "margin": _finite(result.margin),
        "deployment_margin": _finite(left),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
