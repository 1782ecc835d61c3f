"""What cannot be read is refused in words, in bounded time, with the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import SpecificationError
from solvers.problem import Problem
from solvers.vnnlib import VnnlibLimits, read_vnnlib
from tests.helpers.problems import declarations, print_problem, problems

HEAD = declarations(2, 2)  # four lines
BOX = "(assert (and (<= 0 X_0 1) (<= 0 X_1 1)))"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (f"{HEAD}(assert (<= X_7 1))", 5, "'X_7' is not declared"),
        (f"{HEAD}\n\n(assert (<= X_0 1)", 7, "opened in line 7 is never closed"),
        (f"{HEAD}(assert (<= X_0 1)))", 5, "closes nothing"),
        (f"{HEAD}(assert (<= 0 X_0 1))(assert (<= Y_0 1))", None, "X_1 has no lower bound"),
        (f"{HEAD}(assert (and (<= 0 X_0 1) (>= X_1 0)))", None, "X_1 has no upper bound"),
        (f"{HEAD}(assert (<= Y_0 1))", None, "X_0 has no lower bound (2 inputs have none)"),
        (
            f"{HEAD}(assert (<= 0 X_0 1))(assert\n(or (and (<= 0 X_1 1) (<= Y_0 0))\n"
            "(and (<= 0 X_1) (<= Y_0 0))))",
            7,
            "X_1 has no upper bound",
        ),
        (f"{HEAD}{BOX}\n(assert (>= X_1 2))", 6, "X_1 has no value: it must be at least 2"),
        (f"{HEAD}{BOX}\n(assert (or (>= X_1 2) (<= X_1 -1)))", 6, "X_1 has no value"),
        (f"{HEAD}{BOX}", None, "no condition on the outputs"),
        (f"{HEAD}{BOX}\n(assert (or (<= Y_0 0)\n(<= X_0 0.5)))", 7, "no condition on the outputs"),
        (f"{HEAD}(check-sat)", 5, "(check-sat) is not a command"),
        (f"{HEAD}()", 5, "is not a command"),
        (f"{HEAD}(declare-const X_1 Real)", 5, "X_1 is declared twice"),
        (f"{HEAD}(declare-const |X_1| Real)", 5, "X_1 is declared twice"),
        (f"{HEAD}(declare-const X_4 Real)", None, "X_2 is not declared, although X_4 is"),
        (f"{HEAD}(declare-const X_2 Int)", 5, "write (declare-const X_0 Real)"),
        (f"{HEAD}(declare-fun X_2 (Real) Real)", 5, "write (declare-fun X_0 () Real)"),
        (f"{HEAD}(declare-const Z_0 Real)", 5, "neither an input"),
        (f"{HEAD}(declare-const X_01 Real)", 5, "neither an input"),
        (f"{HEAD}(declare-const X_{'9' * 5000} Real)", 5, "beyond the limit"),
        ("(declare-const X_0 Real)", None, "no variable Y_0"),
        ("(declare-const Y_0 Real)", None, "no variable X_0"),
        ("", None, "no variable X_0"),
        (f"{HEAD}(assert (<= (+ X_0 X_1) 1))", 5, "not a box"),
        (f"{HEAD}(assert (<= X_0 Y_0))", 5, "relates inputs to outputs"),
        (f"{HEAD}(assert (<= 0 1))", 5, "compares constants only"),
        (f"{HEAD}(assert (<= X_0))", 5, "compares nothing"),
        (f"{HEAD}(assert (<= (* Y_0 Y_1) 1))", 5, "multiplies variables"),
        (f"{HEAD}(assert (<= (/ 1 Y_0) 1))", 5, "divides by a variable or by zero"),
        (f"{HEAD}(assert (<= (/ Y_0 0) 1))", 5, "divides by a variable or by zero"),
        (f"{HEAD}(assert (<= (sin Y_0) 1))", 5, "'sin' is not an operator"),
        (f"{HEAD}(assert (<= (+) 1))", 5, "no operands"),
        (f"{HEAD}(assert (<= ((Y_0)) 1))", 5, "is not a term"),
        (f"{HEAD}(assert (<= Y_0 1e999))", 5, "too large"),
        (f"{HEAD}(assert (<= (* 1e300 1e300 Y_0) 1))", 5, "too large"),
        (f"{HEAD}(assert (<= (- 1.7e308 Y_0) -1.7e308))", 5, "too large"),
        (f"{HEAD}(assert (<= (* 1e-300 X_0) 1e300))", 5, "too large"),
        (f"{HEAD}(assert (<= Y_0 nan))", 5, "'nan' is not declared"),
        (f"{HEAD}(assert (<= Y_0 1_0))", 5, "'1_0' is not declared"),
        (f"{HEAD}(assert Y_0)", 5, "Y_0 is not a condition"),
        (f"{HEAD}(assert ())", 5, "is not a condition"),
        (f"{HEAD}(assert (not (<= Y_0 1)))", 5, "'not' is not a condition"),
        (f"{HEAD}(assert (and))", 5, "(and) has no conditions"),
        (f"{HEAD}(assert (or))", 5, "(or) has no conditions"),
        (f"{HEAD}(assert (<= Y_0 1) (<= Y_1 1))", 5, "takes one condition, here are 2"),
        (f"{HEAD}word", 5, "'word' stands outside parentheses"),
        (f"{HEAD}(assert |X_0)", 5, "cannot read the character '|'"),
        (f"{HEAD}(assert\n{'(and ' * 200}", 6, "nest deeper than 100"),
    ],
)
def test_errors_name_the_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        read_vnnlib(text.encode())
    assert message in str(caught.value)
    assert caught.value.line == line
    assert len(str(caught.value)) < 300


def test_a_region_must_be_stated_even_where_outputs_are() -> None:
    with pytest.raises(SpecificationError, match="input X_0 has no lower bound"):
        read_vnnlib(b"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= Y_0 1))")


PLAIN = "(<= Y_0 1)"
EITHER = "(or (<= Y_0 0) (<= Y_1 0))"


@pytest.mark.parametrize(
    "condition",
    [
        f"(assert {EITHER})" * 2000,
        f"(assert (and {EITHER * 2000}))",
        f"(assert (or {f'(and {EITHER * 12})' * 50}))",
        f"(assert (and {f'(or {EITHER * 100})' * 20}))",
        f"(assert (or {f'(and {EITHER * 6} {PLAIN * 1000})' * 100}))",
    ],
)
def test_an_explosion_of_alternatives_is_refused(condition: str) -> None:
    with pytest.raises(SpecificationError, match="written out, the condition has at least"):
        read_vnnlib((HEAD + BOX + condition).encode())


def test_limits_on_alternatives_and_numbers() -> None:
    text = HEAD + BOX + f"(assert (or {'(<= Y_0 0)' * 9}))"
    assert len(read_vnnlib(text.encode()).cases[0].specification.clauses) == 9
    with pytest.raises(SpecificationError, match="at least 9 alternatives"):
        read_vnnlib(text.encode(), limits=VnnlibLimits(branches=8))
    with pytest.raises(SpecificationError, match="the clauses would hold 18 numbers"):
        read_vnnlib(text.encode(), limits=VnnlibLimits(coefficients=17))
    boxes = "".join(f"(and (<= X_0 {1 / i}) (<= Y_0 0))" for i in range(1, 9))
    with pytest.raises(SpecificationError, match="the regions would hold 32 numbers"):
        read_vnnlib(
            f"{HEAD}{BOX}(assert (or {boxes}))".encode(), limits=VnnlibLimits(coefficients=31)
        )


def test_the_length_of_a_command_is_limited() -> None:
    text = f"{HEAD}{BOX}(assert (<= (+ Y_0 {'1 ' * 100}) 0))".encode()
    assert read_vnnlib(text).cases
    with pytest.raises(SpecificationError, match="more than 50 words") as caught:
        read_vnnlib(text, limits=VnnlibLimits(words=50))
    assert caught.value.line == 5


@pytest.mark.parametrize("operator", ["*", "/"])
def test_products_have_few_factors(operator: str) -> None:
    text = f"{HEAD}{BOX}(assert (<= ({operator} (+ Y_0 Y_1) {'2 ' * 100}) 1))"
    with pytest.raises(SpecificationError, match="101 operands, the limit is 100"):
        read_vnnlib(text.encode())


def test_large_and_damaged_files(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * 10_000)
    small = VnnlibLimits(size_bytes=5000)
    large = tmp_path / "large.vnnlib"
    large.write_bytes(b" " * 10_000)
    for source in (bomb, b" " * 10_000, large):
        with pytest.raises(SpecificationError, match="larger than the limit of 5000 bytes"):
            read_vnnlib(source, limits=small)
    with pytest.raises(SpecificationError, match="gzip file is damaged"):
        read_vnnlib(bomb[:-9])
    with pytest.raises(SpecificationError, match="gzip file is damaged"):
        read_vnnlib(bomb[:12] + b"\xff\xff" + bomb[14:])
    with pytest.raises(SpecificationError, match="line 2: byte 3 is not UTF-8") as caught:
        read_vnnlib(b"()\n\xff")
    assert caught.value.line == 2
    with pytest.raises(SpecificationError, match=r"cannot read .*: No such file"):
        read_vnnlib(tmp_path / "none.vnnlib")
    with pytest.raises(SpecificationError, match="cannot read "):
        read_vnnlib(tmp_path)


WORDS = st.sampled_from(
    [
        *("(", ")", "(", ")", "(assert ", "(and ", "(or ", "(<= ", "(>= ", "(+ ", "(* ", "(- "),
        *("(/ ", "X_0 ", "X_1 ", "Y_0 ", "Y_1 ", "1 ", "-2.5e3 ", "0 ", "\n", "; ", '"', "|"),
        *("1e400 ", "(declare-const X_0 Real)", "(declare-const Y_0 Real)", "Real "),
    ]
)


def read_or_refuse(source: str | bytes) -> None:
    content = source if isinstance(source, bytes) else source.encode("utf-8", "replace")
    try:
        problem = read_vnnlib(content)
    except SpecificationError as error:
        assert str(error)
    else:
        assert problem.cases


@given(st.text() | st.lists(WORDS).map("".join))
@settings(max_examples=300)
def test_arbitrary_text_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)
    read_or_refuse(f"{HEAD}{BOX}(assert {text})(assert (<= Y_0 0))")


@given(st.binary(), st.booleans())
def test_arbitrary_bytes_are_read_or_refused(content: bytes, packed: bool) -> None:
    read_or_refuse(b"\x1f\x8b\x08\x00" + content if packed else content)


@given(problems(), st.data())
def test_a_file_with_a_piece_cut_out_is_read_or_refused(
    problem: Problem, data: st.DataObject
) -> None:
    text = print_problem(problem)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    read_or_refuse(text[:start] + text[stop:])
