"""Open onnxruntime sessions: quiet, single-threaded unless asked, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from models.errors import ModelImportError

__all__ = ["open_session", "run_session"]

_FATAL_ONLY = 4


def open_session(model: bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a session on the CPU.

    Args:
        model: A serialised ONNX model.
        threads: For one run; 1 keeps results repeatable and other processes undisturbed.

    Raises:
        ModelImportError: onnxruntime refuses the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    try:
        # With a fallback it would try the same again, and print that to standard output.
        return onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise ModelImportError(f"onnxruntime cannot run this network: {_brief(error)}") from error


def run_session(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str] | None,
    feeds: Mapping[str, NDArray[Any]],
) -> Sequence[Any]:
    """Run a session; the outputs that are named, or all of them.

    Raises:
        ModelImportError: onnxruntime fails on these inputs.
    """
    try:
        found: Sequence[Any] = session.run(outputs, feeds)
    except Exception as error:  # as above
        raise ModelImportError(f"onnxruntime cannot run this network: {_brief(error)}") from error
    return found


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
