"""What runs when: the one place that decides it, from network, region and the time left.

Every step gets a share of the time that is left when it begins, so that a small limit shortens
all of them alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from solvers.budget import Budget
from solvers.exact import has_encoding
from solvers.portfolio import members, searches
from solvers.portfolio.run import Run

__all__ = ["Member", "Step", "searches_of", "steps"]

_OPENING = 0.1
"""Share of the time after which neurons are split, unless CROWN alone takes longer."""
_LEAST = 0.005
"""Share of the time left that a step of the opening gets, however late it is."""
_FEW_UNDECIDED = 150
"""So many unstable neurons a mixed-integer program mostly settles in time."""

Member = Callable[[Run, Budget], None]


@dataclass(frozen=True)
class Step:
    """A member and how much of the time left it may take.

    Attributes:
        member: What runs.
        share: Of the time left, between 0 and 1.
    """

    member: Member
    share: float


def steps(run: Run) -> Iterator[Step]:
    """Yield what to do next; whoever asks stops asking once the run is finished.

    Args:
        run: Looked at anew before every step.
    """
    opening = run.budget.share(_OPENING)
    yield Step(members.attack_briefly, _within(opening, run, 0.2))
    if run.few_inputs:
        yield Step(searches.split_inputs, 0.7)
    yield Step(members.crown, 0.5)
    yield Step(members.alpha_margins, _within(opening, run, 0.25))
    yield Step(members.alpha_crown, _within(opening, run, 0.7))
    if members.have_windows(run):
        yield Step(members.windows, _within(opening, run, 0.5))
    yield Step(members.attack_harder, _within(opening, run, 0.7))
    yield Step(members.planes_inside, _within(opening, run, 1.0))
    yield from _over_neurons(run)


def _within(opening: Budget, run: Run, part: float) -> float:
    """Return the share of all the time left that is a part of what the opening has left."""
    left = run.budget.remaining_seconds
    if math.isinf(left) or not left:
        return 1.0
    return max(_LEAST, part * opening.remaining_seconds / left)


def searches_of(run: Run) -> Iterator[Step]:
    """Yield the searches alone, for cases that have been attacked and bounded already.

    Args:
        run: With a ladder of bounds.
    """
    if run.few_inputs:
        yield Step(searches.split_inputs, 0.4)
    yield from _over_neurons(run)


def _over_neurons(run: Run) -> Iterator[Step]:
    """Yield both searches over neurons: where little is undecided, the program gets time kept back.

    Splitting goes first everywhere: where both decide, it takes a fraction of the program's time.
    Programs that leave more undecided prove next to nothing in the time of an instance, and run
    only where splitting comes to its end without an answer. The figures are in docs/portfolio.md.
    """
    few = run.undecided() <= _FEW_UNDECIDED
    yield Step(searches.split_neurons, 0.75 if few and has_encoding(run.network) else 1.0)
    if has_encoding(run.network):
        yield Step(searches.milp, 1.0)
