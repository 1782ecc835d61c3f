"""What people type: how the texts of a field become a value, and how a value is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

__all__ = ["READERS", "Kind", "Texts", "written"]

Texts = Mapping[str, Sequence[str]]
"""Texts by field; of boxes, only those that are ticked."""
_NO = "no"


class Kind(StrEnum):
    """How a field stands in a page and is read."""

    TEXT = "text"
    NUMBER = "number"
    COUNT = "count"
    NUMBERS = "numbers"
    COUNTS = "counts"
    CHOICE = "choice"
    SEVERAL = "several"
    SWITCH = "switch"


def _text(texts: Sequence[str]) -> str | None:
    return next((text.strip() for text in texts if text.strip()), None)


def _number(texts: Sequence[str]) -> float | None:
    text = _text(texts)
    return None if text is None else _parsed(float, text, "is no number; write it as 0.03")


def _count(texts: Sequence[str]) -> int | None:
    text = _text(texts)
    return None if text is None else _parsed(int, text, "is no whole number")


def _numbers(texts: Sequence[str]) -> list[float] | None:
    words = ",".join(texts).replace(",", " ").split()
    return [_parsed(float, word, "is no number; separate them by commas") for word in words] or None


def _counts(texts: Sequence[str]) -> list[int] | None:
    words = ",".join(texts).replace(",", " ").split()
    wrong = "is no whole number; separate them by commas"
    return [_parsed(int, word, wrong) for word in words] or None


def _several(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if text]


def _switch(texts: Sequence[str]) -> bool:
    return any(text not in ("", _NO) for text in texts)


Number = TypeVar("Number", int, float)


def _parsed(read: Callable[[str], Number], text: str, wrong: str) -> Number:
    try:
        return read(text)
    except ValueError:
        raise ValueError(f"\u201c{text[:40]}\u201d {wrong}") from None


READERS: Mapping[Kind, Callable[[Sequence[str]], object]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.COUNT: _count,
    Kind.NUMBERS: _numbers,
    Kind.COUNTS: _counts,
    Kind.CHOICE: _text,
    Kind.SEVERAL: _several,
    Kind.SWITCH: _switch,
}
"""What the texts of a field mean: None where it is empty; a ValueError says what is wrong."""


def written(value: object) -> list[str]:
    """Return the texts of a value; words of a list stand for themselves, its numbers in a line."""
    match value:
        case None | False:
            return []
        case True:
            return ["yes"]
        case [str(), *_]:
            return [str(word) for word in value]
        case [*_] as numbers:
            return [", ".join(_plain(number) for number in numbers)] if numbers else []
        case _:
            return [_plain(value)]


def _plain(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
