"""S-expressions with line numbers, read without recursion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from models.errors import SpecificationError

__all__ = ["Atom", "Expression", "Form", "parse_expressions", "shorten"]

# One alternative per kind of token; whatever matches none of them is an error. A string can only
# be an argument of `set-info`.
_TOKEN = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<space>[^\S\n]+ | ;[^\n]*)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<quoted>\|[^|\\\n]*\|)
    | (?P<string>"[^"\n]*")
    | (?P<word>[^\s()|";\\]+)
    """,
    re.VERBOSE,
)
_SHOWN = 40


class Atom(NamedTuple):
    """A symbol or a number.

    Attributes:
        text: Without the bars of a quoted symbol.
        line: Counted from 1.
    """

    text: str
    line: int

    def __str__(self) -> str:
        return shorten(self.text)


class Form(NamedTuple):
    """A parenthesised list.

    Attributes:
        items: In order.
        line: Of the opening parenthesis, counted from 1.
    """

    items: list[Expression]
    line: int

    def __str__(self) -> str:
        words = [item.text if isinstance(item, Atom) else "(…)" for item in self.items[:5]]
        return shorten(f"({' '.join(words)})")


Expression = Atom | Form


def shorten(text: str) -> str:
    """Return `text`, cut to a length that an error message can carry."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def parse_expressions(text: str, *, depth: int, words: int) -> Iterator[Form]:
    """Yield the top-level forms of `text`, one at a time.

    Args:
        text: The whole file.
        depth: Deepest nesting of parentheses allowed.
        words: Most names, numbers and parentheses in one form.

    Raises:
        SpecificationError: Parentheses do not match or nest too deeply, a form is too long, a
            character belongs to no token, or something stands outside parentheses.
    """
    stack: list[Form] = []
    line = count = 1
    for kind, value, line in _tokens(text):
        count = count + 1 if stack else 1
        if count > words:
            raise SpecificationError(
                f"one command has more than {words} words; split it into several", line=line
            )
        if kind == "open":
            if len(stack) >= depth:
                raise SpecificationError(
                    f"parentheses nest deeper than {depth} levels; write it flatter", line=line
                )
            stack.append(Form([], line))
        elif kind == "close":
            if not stack:
                raise SpecificationError("')' closes nothing; remove it", line=line)
            form = stack.pop()
            if not stack:
                yield form
            else:
                stack[-1].items.append(form)
        elif stack:
            stack[-1].items.append(Atom(value, line))
        else:
            raise SpecificationError(
                f"{shorten(value)!r} stands outside parentheses; a file holds (declare-const …) "
                "and (assert …) only",
                line=line,
            )
    if stack:
        raise SpecificationError(
            f"'(' opened in line {stack[0].line} is never closed; the file may be cut short",
            line=line,
        )


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield kind, text and line of each token.

    Raises:
        SpecificationError: A character belongs to no token.
    """
    line = 1
    position = 0
    for match in _TOKEN.finditer(text):
        if match.start() != position:
            break
        position = match.end()
        kind = match.lastgroup
        if kind == "newline":
            line += 1
        elif kind == "quoted":
            yield "word", match.group()[1:-1], line
        elif kind is not None and kind != "space":
            yield kind, match.group(), line
    if position != len(text):
        raise SpecificationError(f"cannot read the character {text[position]!r}", line=line)
