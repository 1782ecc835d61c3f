"""Numbers that JSON can carry: NaN and infinities have no place in it and become null."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

__all__ = ["dump_json", "finite", "mean", "settled", "strict"]

# Gaps are differences of logits, whose last digits are lost long before this one.
_ROUNDING = 1e-12


def finite(value: object) -> float | None:
    """Return `value` as a float, or None where it is missing, NaN, infinite or no number."""
    if value is None or isinstance(value, bool | str):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def settled(value: object) -> float | None:
    """Return a gap as a float, or None; what rounding left of equal numbers becomes 0."""
    number = finite(value)
    return 0.0 if number is not None and abs(number) < _ROUNDING else number


def mean(values: Iterable[object]) -> float | None:
    """Return the mean of the finite values, or None where there is none."""
    numbers = [number for number in map(finite, values) if number is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def strict(value: object) -> object:
    """Return a copy of a JSON-like value with every float that is not finite as None.

    Mappings become dictionaries with string keys, other iterables lists; numbers of foreign
    types, such as numpy's, become Python's own.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): strict(entry) for key, entry in value.items()}
    if isinstance(value, Iterable):
        return [strict(entry) for entry in value]
    return finite(value)


def dump_json(value: object, *, indent: int | None = 2) -> str:
    """Return strict JSON that ends with a newline: no NaN, no Infinity."""
    return json.dumps(strict(value), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
