"""Damaged input is read or refused in words, whatever the damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import packed
from tests.fuzz.targets import TARGETS, Target, attempt

# Loading what a damaged network asks for takes longer than the rest; none needs many here.
EXAMPLES = {"onnx": 60, "json": 40}


@pytest.fixture(scope="module", params=list(TARGETS))
def reader(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Target, Callable[[bytes], object]]]:
    name: str = request.param
    with TARGETS[name].use(tmp_path_factory.mktemp(name)) as read:
        yield name, TARGETS[name], read


Reader = tuple[str, Target, Callable[[bytes], object]]


def test_good_files_are_read(reader: Reader) -> None:
    """What the rest starts from is no nonsense already."""
    name, target, read = reader
    answers = [attempt(target, read, content) for content in target.seeds()]
    assert "accepted" in answers
    if name not in {"idx"}:  # one of its seeds is the other half of a pair
        assert set(answers) == {"accepted"}


def test_damaged_files_are_read_or_refused_in_words(reader: Reader) -> None:
    name, target, read = reader
    answers: set[str] = set()

    @settings(
        max_examples=EXAMPLES.get(name, 150),
        suppress_health_check=[HealthCheck.too_slow],
        deadline=None,
        database=None,
    )
    @given(number=st.integers(0, 2**32 - 1))
    def holds(number: int) -> None:
        answers.add(attempt(target, read, target.example(number)))

    holds()
    assert len(answers) > (name in {"onnx", "npz", "vnnlib"})  # the damage is of several kinds


@given(st.binary(max_size=300))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_of_any_kind_are_refused_in_words(reader: Reader, content: bytes) -> None:
    _, target, read = reader
    attempt(target, read, content)


def test_examples_are_the_same_in_every_run() -> None:
    for target in TARGETS.values():
        assert [target.example(n) for n in range(5)] == [target.example(n) for n in range(5)]


def test_a_reader_that_breaks_is_noticed(tmp_path: Path) -> None:
    target = TARGETS["npz"]

    def broken(_content: bytes) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        attempt(target, broken, b"")
    assert packed(b"x")[:2] == b"\x1f\x8b"
