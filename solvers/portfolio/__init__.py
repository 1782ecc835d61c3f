"""The portfolio: attack, bounds, searches and programs, until the answer is known.

`plan` is the one place that says what runs when; `members` are what it can call on.
"""

from solvers.portfolio.decide import decide
from solvers.portfolio.options import DecideOptions

__all__ = ["DecideOptions", "decide"]
