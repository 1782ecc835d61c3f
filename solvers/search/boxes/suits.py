"""Whether input splitting is promising."""

from __future__ import annotations

import numpy as np

from models.network import Network
from solvers.problem import Case

__all__ = ["suits_boxes"]

_FEW_INPUTS = 24
"""Each input that matters has to be cut a few times, and every cut doubles the boxes."""


_MANY_VALUES = 1 << 17
"""Where one box takes several seconds to bound, there is no time for many."""
_VERY_FEW_INPUTS = 6
"""Of so few, a handful of cuts makes a network nearly linear, whatever its size."""
_MOST_VALUES = 1 << 20


def suits_boxes(network: Network, case: Case) -> bool:
    """Return whether a case is one for boxes: a box in few inputs, of a network that is not large.

    Args:
        network: That the case is about.
        case: A region and a specification.
    """
    region = case.region
    if region.ball is not None:
        return False
    varying = int(np.count_nonzero(region.upper > region.lower))
    values = sum(node.size for node in network.graph.nodes)
    if varying <= _VERY_FEW_INPUTS:
        return values <= _MOST_VALUES
    return varying <= _FEW_INPUTS and values <= _MANY_VALUES
