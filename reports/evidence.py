"""Counterexamples as files that `tightrope check` runs again."""

from __future__ import annotations

import io
from importlib import metadata

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["counterexample_npz"]

_RUNTIME = "onnxruntime"


def counterexample_npz(x: ArrayLike, y: ArrayLike) -> bytes:
    """Return a counterexample as an `.npz` file.

    It holds `x` and `y` in float32, and in text `runtime` and `version`: what runs networks here.

    Args:
        x: Raw input; its shape is kept.
        y: Outputs.
    """
    try:
        version = metadata.version(_RUNTIME)
    except metadata.PackageNotFoundError:
        version = "unknown"
    content = io.BytesIO()
    np.savez(
        content,
        x=np.asarray(x, dtype=np.float32),
        y=np.asarray(y, dtype=np.float32),
        runtime=np.array(_RUNTIME),
        version=np.array(version),
    )
    return content.getvalue()
