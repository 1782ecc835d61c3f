"""Sign, which jumps at 0: −1, 0 or 1."""

from __future__ import annotations

import numpy as np

from solvers.proof.bounds import Array, Ends
from solvers.proof.network import Part
from solvers.proof.parts.relaxed import Lines, Relaxed

__all__ = ["JUMPS", "SIGN"]


def _image(ends: Ends) -> tuple[Array, Array]:
    """Return the values at the ends: Sign never falls."""
    ((low, high),) = ends
    return np.sign(low), np.sign(high)


def _lines(ends: Ends) -> Lines:
    """Return the values at the ends as constants: multipliers of searches are made for these."""
    flat, (low, high) = np.zeros_like(ends[0][0]), _image(ends)
    return Lines([flat], [flat], low, high)


def _level(ends: Ends) -> tuple[Array, Array]:
    """Return bounds of the derivative, but for jumps."""
    return np.zeros_like(ends[0][0]), np.zeros_like(ends[0][0])


def _jump(ends: Ends) -> Array:
    """Return how far values of one interval can be apart."""
    low, high = _image(ends)
    return high - low


SIGN = Relaxed(_image, _lines, True, slopes=_level, jump=_jump, called=("Sign",))
JUMPS = Part("the rule of Sign", {"Sign": lambda network, node: network.nonlinear(node, SIGN)})
