"""Random numbers that depend on the seed, the purpose and the step alone.

Every use has a stream of its own, made afresh from its name: an attack that draws more numbers
does not change the order of the data, so that runs which share a seed stay comparable; and a run
that goes on from a checkpoint needs no stored state.
"""

from __future__ import annotations

from hashlib import sha256

import torch

__all__ = ["mixed_seed", "stream"]


def mixed_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed in [0, 2⁶³) for a purpose, such as `("order", epoch)`."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator on the CPU for a purpose."""
    return torch.Generator().manual_seed(mixed_seed(seed, *purpose))
