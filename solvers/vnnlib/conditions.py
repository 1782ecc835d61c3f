"""Conditions over inputs and outputs, brought into disjunctive normal form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from models.errors import SpecificationError
from solvers.vnnlib.expressions import Atom, Expression, Form, shorten
from solvers.vnnlib.limits import VnnlibLimits
from solvers.vnnlib.terms import Kind, Linear, Variable, read_term, subtract

__all__ = ["Bound", "Branch", "Row", "Scope", "check_size", "conjoin", "read_condition"]


class Bound(NamedTuple):
    """A limit on one input.

    Attributes:
        number: Of the input.
        upper: Whether it limits from above.
        value: The limit.
        line: Where it was read.
    """

    number: int
    upper: bool
    value: float
    line: int


class Row(NamedTuple):
    """A linear condition on the outputs: sum of coefficient times output <= offset.

    Attributes:
        coefficients: Output and coefficient, none of them 0.
        offset: The limit.
    """

    coefficients: tuple[tuple[int, float], ...]
    offset: float


class Branch(NamedTuple):
    """One disjunct of the normal form: all of its bounds and rows hold.

    Attributes:
        bounds: On inputs.
        rows: On outputs.
        line: Where it was read.
    """

    bounds: tuple[Bound, ...]
    rows: tuple[Row, ...]
    line: int

    @property
    def size(self) -> int:
        """Number of comparisons."""
        return len(self.bounds) + len(self.rows)


class Scope(NamedTuple):
    """What a condition may refer to, and how large it may become.

    Attributes:
        variables: Declared variables by name.
        limits: On the normal form.
    """

    variables: Mapping[str, Variable]
    limits: VnnlibLimits


def read_condition(expression: Expression, scope: Scope) -> list[Branch]:
    """Return the disjuncts of a condition made of `and`, `or` and linear comparisons.

    A strict comparison is read as the one that also holds at equality. The set of
    counterexamples can only grow by that, so what is verified stays verified; a counterexample
    found exactly at equality is one of the condition as it is read here.

    Raises:
        SpecificationError: Something else is found, a comparison relates inputs in a way that
            is no box, or the normal form becomes too large.
    """
    if isinstance(expression, Atom) or not expression.items:
        raise SpecificationError(
            f"{expression} is not a condition; write (and …), (or …), (<= a b) or (>= a b)",
            line=expression.line,
        )
    head = expression.items[0]
    handler = _CONDITIONS.get(head.text) if isinstance(head, Atom) else None
    if handler is None:
        raise SpecificationError(
            f"{shorten(str(head))!r} is not a condition; use one of {' '.join(_CONDITIONS)}",
            line=expression.line,
        )
    return handler(expression, scope)


def conjoin(groups: list[list[Branch]], limits: VnnlibLimits, line: int) -> list[Branch]:
    """Return the disjuncts of the conjunction of several disjunctions.

    Args:
        groups: The disjuncts of each.
        limits: On the result.
        line: Where the conjunction was read; 0 for that of the whole file.

    Raises:
        SpecificationError: There would be more than the limits allow.
    """
    # What has one disjunct is merged first and at once: files hold thousands of plain bounds.
    single = [group[0] for group in groups if len(group) == 1]
    result = [
        Branch(
            tuple(bound for branch in single for bound in branch.bounds),
            tuple(row for branch in single for row in branch.rows),
            line,
        )
    ]
    for group in groups:
        if len(group) != 1:
            comparisons = len(group) * _comparisons(result) + len(result) * _comparisons(group)
            check_size(len(result) * len(group), comparisons, limits, line=line)
            result = [
                Branch(left.bounds + right.bounds, left.rows + right.rows, right.line)
                for left in result
                for right in group
            ]
    return result


def check_size(branches: int, comparisons: int, limits: VnnlibLimits, *, line: int) -> None:
    """Raise if a normal form of that many disjuncts and comparisons is too large."""
    if branches > limits.branches or comparisons > limits.comparisons:
        raise SpecificationError(
            f"written out, the condition has at least {branches} alternatives with "
            f"{comparisons} comparisons; the limits are {limits.branches} and "
            f"{limits.comparisons}; split it into several files",
            line=line or None,
        )


def _comparisons(branches: list[Branch]) -> int:
    return sum(branch.size for branch in branches)


def _read_and(form: Form, scope: Scope) -> list[Branch]:
    groups: list[list[Branch]] = []
    count = 1
    for item in form.items[1:]:
        groups.append(read_condition(item, scope))
        # Checked while reading, not at the end, so that work stays bounded.
        count *= len(groups[-1])
        check_size(count, 0, scope.limits, line=item.line)
    if not groups:
        raise SpecificationError("(and) has no conditions", line=form.line)
    return conjoin(groups, scope.limits, form.line)


def _read_or(form: Form, scope: Scope) -> list[Branch]:
    branches: list[Branch] = []
    comparisons = 0
    for item in form.items[1:]:
        group = read_condition(item, scope)
        comparisons += _comparisons(group)
        check_size(len(branches) + len(group), comparisons, scope.limits, line=item.line)
        branches.extend(group)
    if not branches:
        raise SpecificationError("(or) has no conditions", line=form.line)
    return branches


def _comparison(*signs: float) -> Callable[[Form, Scope], list[Branch]]:
    """Return the reader of a comparison: sign * (left − right) <= 0 for each sign."""

    def read(form: Form, scope: Scope) -> list[Branch]:
        terms = [read_term(item, scope.variables) for item in form.items[1:]]
        if len(terms) < 2:
            raise SpecificationError(f"{form} compares nothing; give two terms", line=form.line)
        bounds: list[Bound] = []
        rows: list[Row] = []
        for left, right in pairwise(terms):
            for sign in signs:
                pair = (left, right) if sign > 0 else (right, left)
                _at_most_zero(subtract(*pair), form, bounds, rows)
        return [Branch(tuple(bounds), tuple(rows), form.line)]

    return read


def _at_most_zero(term: Linear, form: Form, bounds: list[Bound], rows: list[Row]) -> None:
    """File `term <= 0` as a bound on an input or as a row on outputs."""
    used = [(variable, value) for variable, value in term.coefficients.items() if value != 0.0]
    kinds = {variable.kind for variable, _ in used}
    if not math.isfinite(term.constant) or not all(math.isfinite(value) for _, value in used):
        raise SpecificationError(f"{form} is too large for double precision", line=form.line)
    if not kinds:
        raise SpecificationError(f"{form} compares constants only; remove it", line=form.line)
    if len(kinds) == 2:
        raise SpecificationError(
            f"{form} relates inputs to outputs; compare outputs with outputs or numbers",
            line=form.line,
        )
    if kinds == {Kind.OUTPUT}:
        coefficients = tuple((variable.number, value) for variable, value in used)
        rows.append(Row(coefficients, 0.0 - term.constant))  # and never -0.0
    elif len(used) > 1:
        raise SpecificationError(
            f"{form} relates inputs to each other, so the region is not a box; "
            "bound each input by numbers",
            line=form.line,
        )
    else:
        (variable, factor), upper = used[0], used[0][1] > 0
        limit = _divide_outward(-term.constant, factor, upper=upper, form=form)
        bounds.append(Bound(variable.number, upper, limit, form.line))


def _divide_outward(constant: float, factor: float, *, upper: bool, form: Form) -> float:
    """Return constant / factor, rounded so that the region never shrinks."""
    if abs(factor) == 1.0:
        return constant / factor
    try:
        exact = Fraction(constant) / Fraction(factor)
        quotient = float(exact)
    except OverflowError:
        raise SpecificationError(
            f"{form} is too large for double precision", line=form.line
        ) from None
    if upper and Fraction(quotient) < exact:
        return math.nextafter(quotient, math.inf)
    if not upper and Fraction(quotient) > exact:
        return math.nextafter(quotient, -math.inf)
    return quotient


_CONDITIONS: Mapping[str, Callable[[Form, Scope], list[Branch]]] = {
    "and": _read_and,
    "or": _read_or,
    "<=": _comparison(1.0),
    ">=": _comparison(-1.0),
    "<": _comparison(1.0),
    ">": _comparison(-1.0),
    "=": _comparison(1.0, -1.0),
}
