"""Lines of curves whose slopes a proof chooses.

A slope is held as a fraction of the way from the least derivative of the curve on a value's
interval to the largest. No fraction is wrong, since the intercept that belongs to the line is
derived for whatever slope comes of it, as it is for slopes that the checker chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from solvers.proof.bounds import Array, Sweep, pick, product
from solvers.proof.network import Nonlinear
from solvers.proof.parts.relaxed import Relaxed

__all__ = ["chosen_lines"]

Cross = Callable[[Sweep, Nonlinear, Array], Array]


def chosen_lines(shares: Mapping[int, Array], rest: Cross) -> Cross:
    """Return what takes on coefficients of curves by lines of slopes that are stated.

    Args:
        shares: Fractions by the vector that curves read, `(rows or 1, values)`; NaN for the
            checker's own lines.
        rest: What crosses all other steps.
    """
    return partial(_cross, shares, rest)


def _cross(
    shares: Mapping[int, Array], rest: Cross, sweep: Sweep, operation: Nonlinear, rows: Array
) -> Array:
    function, source = operation.function, operation.sources[0]
    own = shares.get(source)
    if own is None or not isinstance(function, Relaxed) or function.intercepts is None:
        return rest(sweep, operation, rows)
    low, high = (
        pick(side[source], sweep.domain) for side in (sweep.enclosure.lower, sweep.enclosure.upper)
    )
    ends = [(low, high)]
    least, most = function.slopes(ends)
    slopes = least + own * (most - least)
    usable = np.isfinite(slopes)
    slopes = np.where(usable, slopes, 0.0)
    below, above = function.intercepts(ends, slopes)
    taken = np.where(usable, rows, 0.0)
    sweep.add(*product(taken, np.where(taken > 0, below, above)))
    sweep.pass_on(source, taken * slopes)
    return rest(sweep, operation, np.where(usable, 0.0, rows))
