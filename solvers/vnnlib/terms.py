"""Linear terms over the declared variables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from models.errors import SpecificationError
from solvers.vnnlib.expressions import Atom, Expression, Form, shorten

__all__ = ["Kind", "Linear", "Variable", "read_term", "subtract"]

# Narrower than `float`, which also takes "inf", "nan" and "1_000".
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


# Every factor is multiplied into every coefficient: the product of their numbers is the time.
_MOST_FACTORS = 100


class Kind(Enum):
    """What a variable stands for."""

    INPUT = "X"
    OUTPUT = "Y"


class Variable(NamedTuple):
    """One input or output.

    Attributes:
        kind: Input or output.
        number: In row-major order.
    """

    kind: Kind
    number: int

    def __str__(self) -> str:
        return f"{self.kind.value}_{self.number}"


class Linear(NamedTuple):
    """A sum of variables times coefficients, and a constant.

    Attributes:
        coefficients: By variable; may hold zeros.
        constant: Added to the sum.
    """

    coefficients: dict[Variable, float]
    constant: float


Scope = Mapping[str, Variable]


def read_term(expression: Expression, scope: Scope) -> Linear:
    """Read a term made of numbers, variables, `+`, `-`, `*` and `/`.

    Args:
        expression: What stands in the file.
        scope: Declared variables by name.

    Raises:
        SpecificationError: A variable is not declared, the term is not linear, or a number is
            too large.
    """
    if isinstance(expression, Atom):
        return _read_atom(expression, scope)
    if not expression.items or not isinstance(expression.items[0], Atom):
        raise SpecificationError(
            f"{expression} is not a term; write (+ a b), (- a b) or (* a b)", line=expression.line
        )
    operator = expression.items[0].text
    combine = _OPERATORS.get(operator)
    if combine is None:
        raise SpecificationError(
            f"{shorten(operator)!r} is not an operator of linear terms; "
            f"use one of {' '.join(_OPERATORS)}",
            line=expression.line,
        )
    operands = [read_term(item, scope) for item in expression.items[1:]]
    if not operands:
        raise SpecificationError(f"({operator}) has no operands", line=expression.line)
    if operator in "*/" and len(operands) > _MOST_FACTORS:
        raise SpecificationError(
            f"({operator} …) has {len(operands)} operands, the limit is {_MOST_FACTORS}; "
            "work out the number",
            line=expression.line,
        )
    result = combine(operands, expression)
    _require_finite(result, expression)
    return result


def subtract(left: Linear, right: Linear) -> Linear:
    """Return `left - right`."""
    coefficients = dict(left.coefficients)
    for variable, value in right.coefficients.items():
        coefficients[variable] = coefficients.get(variable, 0.0) - value
    return Linear(coefficients, left.constant - right.constant)


def _read_atom(atom: Atom, scope: Scope) -> Linear:
    variable = scope.get(atom.text)
    if variable is not None:
        return Linear({variable: 1.0}, 0.0)
    if _NUMBER.fullmatch(atom.text) is None:
        raise SpecificationError(
            f"{str(atom)!r} is not declared; declare it above with "
            f"(declare-const {atom} Real), or write a number",
            line=atom.line,
        )
    number = Linear({}, float(atom.text))
    _require_finite(number, atom)
    return number


def _require_finite(term: Linear, source: Expression) -> None:
    if not (math.isfinite(term.constant) and all(map(math.isfinite, term.coefficients.values()))):
        raise SpecificationError(
            f"{source} is too large for a double-precision number", line=source.line
        )


def _scale(term: Linear, factor: float) -> Linear:
    return Linear(
        {variable: value * factor for variable, value in term.coefficients.items()},
        term.constant * factor,
    )


def _sum(operands: list[Linear], _: Form) -> Linear:
    coefficients: dict[Variable, float] = {}
    constant = 0.0
    for operand in operands:
        constant += operand.constant
        for variable, value in operand.coefficients.items():
            coefficients[variable] = coefficients.get(variable, 0.0) + value
    return Linear(coefficients, constant)


def _difference(operands: list[Linear], source: Form) -> Linear:
    if len(operands) == 1:
        return _scale(operands[0], -1.0)
    return subtract(operands[0], _sum(operands[1:], source))


def _product(operands: list[Linear], source: Form) -> Linear:
    result = Linear({}, 1.0)
    for operand in operands:
        if result.coefficients and operand.coefficients:
            raise SpecificationError(
                f"{source} multiplies variables; only linear terms can be verified",
                line=source.line,
            )
        varying, fixed = (result, operand) if result.coefficients else (operand, result)
        result = _scale(varying, fixed.constant)
    return result


def _quotient(operands: list[Linear], source: Form) -> Linear:
    result = operands[0]
    for divisor in operands[1:]:
        if divisor.coefficients or divisor.constant == 0.0:
            raise SpecificationError(
                f"{source} divides by a variable or by zero; divide by a number",
                line=source.line,
            )
        # Not a product with the reciprocal, which would round twice.
        result = Linear(
            {key: value / divisor.constant for key, value in result.coefficients.items()},
            result.constant / divisor.constant,
        )
    return result


_OPERATORS: Mapping[str, Callable[[list[Linear], Form], Linear]] = {
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _quotient,
}
