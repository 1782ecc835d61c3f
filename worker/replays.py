"""Runs a stored counterexample again, in a process that can be spared."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.runtime import OnnxRuntime
from solvers.float32_region import runnable_box
from solvers.problem import Box, Case
from solvers.replay import confirm
from worker.evidence import asked_of

__all__ = ["replay_answer"]


def replay_answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the counterexample to one input of a certification again.

    The file of the network, behind the normalisation that was asked for, is given to onnxruntime,
    and nothing is believed but what that says: the input has to lie in the region that the
    settings describe around the input of the data set, and its outputs have to change the answer,
    both exactly.

    Args:
        request: Paths of the `network` and the `dataset`, the `settings` of the certification, the
            `index` of the input, and its counterexample: `x` and `y`, flat.

    Returns:
        `confirmed`, or the `reason` why not; of what is confirmed the `answer`, a class, the
        `margin` that is left of the label's, at most 0, and the largest `difference` from the
        outputs that are stored; `seconds`.

    Raises:
        TightropeError: Network, data set and settings do not fit each other.
    """
    began = time.perf_counter()
    asked = asked_of(request)
    network = asked.network
    if asked.normalization is not None:
        network = network.with_normalization(asked.normalization)
    x, y = (np.asarray(request[name], np.float64) for name in ("x", "y"))
    told = _replayed(OnnxRuntime(network), asked.case, x, y)
    return {**told, "seconds": time.perf_counter() - began}


def _replayed(
    runtime: OnnxRuntime, case: Case, x: NDArray[np.float64], y: NDArray[np.float64]
) -> dict[str, Any]:
    """Return what comes of running an input, flat, for a case."""
    region, specification = case.region, case.specification
    known = x.size == math.prod(region.shape)
    found = confirm(runtime, region, specification, x.reshape(region.shape)) if known else None
    if found is None:
        return _refused(_why_not(region, x))
    outputs = found.y.astype(np.float64)
    apart = float(np.abs(outputs - y).max()) if y.shape == outputs.shape else None
    return {
        "confirmed": True,
        "reason": None,
        "answer": int(np.argmax(outputs)),
        "margin": float(specification.margin(outputs)),
        "difference": apart,
    }


def _why_not(region: Box, x: NDArray[np.float64]) -> str:
    if x.size != math.prod(region.shape):
        return f"it has {x.size} values, the network takes {math.prod(region.shape)}"
    if not runnable_box(region).contains(x.reshape(region.shape).astype(np.float32)):
        return "it lies outside the region that was asked about"
    return "the network gives the right answer to it"


def _refused(reason: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("answer", "margin", "difference"))
    return {"confirmed": False, "reason": reason, **nothing}
