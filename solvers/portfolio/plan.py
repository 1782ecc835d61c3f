"""What runs when: the one place that decides it, from network, region and the time left.

Every step gets a share of the time that is left when it begins, so that a small limit shortens
all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from solvers.budget import Budget
from solvers.portfolio import members, searches
from solvers.portfolio.run import Run
from solvers.search.boxes import suits_boxes

__all__ = ["Step", "steps"]

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
    yield Step(members.attack_briefly, 0.05)
    if all(suits_boxes(run.network, bracket.case) for bracket in run.open):
        yield Step(searches.split_inputs, 0.7)
    yield Step(members.crown, 0.5)
    yield Step(members.alpha_margins, 0.05)
    yield Step(members.alpha_crown, 0.08)
    yield Step(members.attack_harder, 0.03)
    yield Step(searches.split_neurons, 0.75)
    yield Step(searches.milp, 1.0)
