"""The portfolio: attack, bounds, searches and programs, until the answer is known.

`plan` is the one place that says what runs when; `members` are what it can call on.
"""

from solvers.portfolio.decide import decide, settle
from solvers.portfolio.options import DecideOptions
from solvers.portfolio.plan import searches_of, steps
from solvers.portfolio.run import Ladder, Run

__all__ = ["DecideOptions", "Ladder", "Run", "decide", "searches_of", "settle", "steps"]
