"""Random formulas over inputs and outputs, with their truth by direct evaluation."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st

Values = Mapping[str, Fraction]

_COMPARISONS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
}
_JOINS: Mapping[str, Callable[[list[bool]], bool]] = {"and": all, "or": any}
# Small, so that sums and products of a few are exact in float64.
small_numbers = st.integers(-8, 8)


@dataclass(frozen=True)
class Term:
    """Text of a linear term, and its value."""

    text: str
    value: Callable[[Values], Fraction]


@dataclass(frozen=True)
class Formula:
    """Text of a condition, and its truth."""

    text: str
    truth: Callable[[Values], bool]


def constant(number: int) -> Term:
    """Return a number."""
    return Term(str(number) if number >= 0 else f"(- {-number})", lambda _: Fraction(number))


def variable(name: str) -> Term:
    """Return a variable."""
    return Term(name, lambda values: values[name])


def _add(left: Term, right: Term) -> Term:
    return Term(f"(+ {left.text} {right.text})", lambda v: left.value(v) + right.value(v))


def _subtract(left: Term, right: Term) -> Term:
    return Term(f"(- {left.text} {right.text})", lambda v: left.value(v) - right.value(v))


def _scale(term: Term, factor: int) -> Term:
    return Term(f"(* {constant(factor).text} {term.text})", lambda v: factor * term.value(v))


def _halve(term: Term) -> Term:
    return Term(f"(/ {term.text} 2)", lambda v: term.value(v) / 2)


def terms(names: list[str]) -> st.SearchStrategy[Term]:
    """Draw a linear term over the variables."""
    leaves = st.sampled_from(names).map(variable) | small_numbers.map(constant)
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(_add, inner, inner)
            | st.builds(_subtract, inner, inner)
            | st.builds(_scale, inner, small_numbers)
            | st.builds(_halve, inner)
        ),
        max_leaves=5,
    )


@st.composite
def comparisons(draw: st.DrawFn, names: list[str]) -> Formula:
    """Draw a comparison of a term, which has a variable for certain, with a number."""
    sign = draw(st.sampled_from(sorted(_COMPARISONS)))
    # Scaled by a prime, out of the way of the rest, so that the variable does not cancel.
    lead = _scale(variable(draw(st.sampled_from(names))), draw(st.sampled_from([-1021, 1021])))
    left, right = _add(lead, draw(terms(names))), constant(draw(small_numbers))
    if draw(st.booleans()):
        left, right = right, left
    compare = _COMPARISONS[sign]
    return Formula(
        f"({sign} {left.text} {right.text})", lambda v: compare(left.value(v), right.value(v))
    )


def join(word: str, parts: list[Formula]) -> Formula:
    """Return the conjunction (`and`) or disjunction (`or`) of formulas."""
    text = f"({word} {' '.join(part.text for part in parts)})"
    return Formula(text, lambda v: _JOINS[word]([part.truth(v) for part in parts]))


def formulas(*kinds: list[str]) -> st.SearchStrategy[Formula]:
    """Draw a nested condition; each comparison is over the variables of one kind."""
    leaves = st.one_of([comparisons(names) for names in kinds])
    words = st.sampled_from(sorted(_JOINS))
    return st.recursive(
        leaves,
        lambda inner: st.builds(join, words, st.lists(inner, min_size=1, max_size=3)),
        max_leaves=8,
    )
