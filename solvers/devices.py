"""Which device to compute on."""

from __future__ import annotations

import torch

from models.errors import InvalidInputError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """Return the device for `cpu`, `cuda` or `auto` (CUDA where there is one).

    Raises:
        InvalidInputError: The name is another one, or CUDA was asked for and is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in {"cpu", "cuda"}:
        raise InvalidInputError(f"device is {name!r}; choose cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError("device is cuda, but no CUDA device is available; choose cpu")
    return torch.device(name)
