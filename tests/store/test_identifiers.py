"""Identifiers sort by time and cannot be mistaken."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from store.identifiers import is_identifier, new_identifier


def test_later_identifiers_sort_later() -> None:
    made = [new_identifier("net") for _ in range(200)]
    # Two of the same microsecond are in no order; a whole run of them would not be sorted.
    assert sum(a > b for a, b in pairwise(made)) < 20
    assert sorted([made[0], made[-1]]) == [made[0], made[-1]]
    assert len(set(made)) == 200
    assert all(is_identifier(identifier) for identifier in made)


@given(st.text())
def test_other_texts_are_no_identifiers(text: str) -> None:
    assert not is_identifier(text)
    assert not is_identifier(new_identifier("net") + text[:1] if text else "")
