"""Checkpoints: one safetensors file that holds everything a run needs to go on.

Tensors are stored as they are, everything else as JSON in the file's metadata. Nothing in it is
code, and it appears under its name only once it is whole.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from training.errors import CheckpointError

__all__ = ["FILE_NAME", "Checkpoint", "read_checkpoint", "write_checkpoint"]

FILE_NAME = "checkpoint.safetensors"
_FORMAT = 1
_KEY = "training"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two steps.

    Attributes:
        tensors: By name.
        state: Plain values.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into a folder, which is made if it does not exist.

    Raises:
        CheckpointError: It cannot be written.
    """
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()
    }
    text = json.dumps({"format": _FORMAT, **checkpoint.state})
    content = save(tensors, metadata={_KEY: text})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / FILE_NAME, content)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint in {str(folder)!r} cannot be written: {error.strerror or error}"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Write a file beside its final place, then move it there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a folder; None where there is none.

    Raises:
        CheckpointError: There is one, but it is damaged or of another format.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            text = (stored.metadata() or {}).get(_KEY, "")
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        state = json.loads(text)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} cannot be read: {error}; remove it to start afresh"
        ) from error
    if not isinstance(state, dict) or state.pop("format", None) != _FORMAT:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} was written by another version; remove it to start "
            "afresh"
        )
    return Checkpoint(tensors, state)
