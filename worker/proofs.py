"""Checks a stored proof against what was asked, in a process that can be spared."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.data import fit_dataset, load_dataset
from models.onnx_import import load_network
from solvers.certification.cases import case_of
from solvers.problem import Problem
from solvers.proof import CheckResult, check_proof
from solvers.proof.producing.produce import asked
from worker.certification import options_of

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
    options = options_of(request["settings"], device="cpu")
    network = load_network(Path(request["network"]), check=False)
    dataset = fit_dataset(load_dataset(Path(request["dataset"])), network)
    case = case_of(dataset, request["index"], options, network.output_size)
    before = options.normalization
    result = check_proof(
        Path(request["proof"]),
        network.source,
        asked(Problem((case,))),
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
