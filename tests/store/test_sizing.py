"""Chunks take seconds, by what earlier ones took, and no input is lost where they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from solvers.methods import ITEM_METHOD_NAMES, Method
from store.ranges import cut, to_indices, to_ranges
from store.sizing import BATCH, SOLVED_BY_INPUT, Cost, chunk_size, grain_of

INDICES = st.lists(st.integers(0, 300), unique=True).map(sorted)
COSTS = st.lists(st.builds(Cost, st.integers(1, 500), st.floats(0.001, 500)), max_size=8)


@given(INDICES, st.integers(1, 400))
def test_cutting_keeps_every_index_and_their_order(indices: list[int], count: int) -> None:
    ranges = to_ranges(indices)
    assert to_indices(ranges) == indices
    assert all(first < beyond for first, beyond in ranges)
    head, tail = cut(ranges, count)
    assert to_indices(head) == indices[:count]
    assert to_indices(tail) == indices[count:]
    assert to_ranges(to_indices(head)) == head


def test_a_long_run_of_inputs_is_one_range() -> None:
    assert to_ranges(range(100_000)) == [[0, 100_000]]


@given(COSTS, st.sampled_from([1, BATCH]), st.integers(1, 10_000), st.integers(1, 50))
def test_a_chunk_is_never_empty_nor_more_than_is_left(
    costs: list[Cost], grain: int, left: int, workers: int
) -> None:
    size = chunk_size(costs, grain=grain, left=left, workers=workers)
    assert min(grain, left) <= size <= left
    assert size == left or size % grain == 0


def test_the_first_chunk_is_small() -> None:
    assert chunk_size([], grain=1, left=1000, workers=1) == 1
    assert chunk_size([], grain=BATCH, left=1000, workers=1) == BATCH


def test_chunks_of_cheap_inputs_grow_and_those_of_dear_ones_do_not() -> None:
    cheap, dear = [Cost(16, 0.1)], [Cost(1, 30.0)]
    assert chunk_size(cheap, grain=BATCH, left=10_000, workers=1) == 8 * 16
    grown = [Cost(128, 0.8), Cost(16, 0.1)]
    assert chunk_size(grown, grain=BATCH, left=10_000, workers=1) == 800
    assert chunk_size(dear, grain=1, left=100, workers=1) == 1
    assert chunk_size([Cost(32, 0.1)], grain=1, left=1000, workers=1) == 32


def test_the_end_of_a_job_is_shared_out() -> None:
    quick = [Cost(320, 1.0)]
    assert chunk_size(quick, grain=BATCH, left=320, workers=2) == 80
    assert chunk_size(quick, grain=BATCH, left=320, workers=4) == 32
    assert chunk_size(quick, grain=BATCH, left=320, workers=100) == BATCH


def test_a_worker_alone_shares_with_nobody() -> None:
    assert chunk_size([Cost(320, 1.0)], grain=BATCH, left=320, workers=1) == 320


def test_the_methods_that_take_one_input_at_a_time() -> None:
    """The store does not load the mathematics, so it lists them itself."""
    assert {method.value for method in (*ITEM_METHOD_NAMES, Method.EXACT)} == SOLVED_BY_INPUT
    assert grain_of(["ibp", "crown"]) == BATCH
    assert grain_of(["ibp", "exact"]) == 1
