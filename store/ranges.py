"""Positions in a data set as ranges, which are short where a list of them would be long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["cut", "to_indices", "to_ranges"]


def to_ranges(indices: Iterable[int]) -> list[list[int]]:
    """Return the fewest ranges `[first, beyond]` that hold the same indices in the same order."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1][1] = index + 1
        else:
            ranges.append([index, index + 1])
    return ranges


def to_indices(ranges: Iterable[Sequence[int]]) -> list[int]:
    """Return every index of some ranges, in their order."""
    return [index for first, beyond in ranges for index in range(first, beyond)]


def cut(ranges: Sequence[Sequence[int]], count: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return the ranges of the first `count` indices, and those of all others."""
    head: list[list[int]] = []
    left = count
    for place, (first, beyond) in enumerate(ranges):
        size = beyond - first
        if size > left:
            if left > 0:
                head.append([first, first + left])
            following = [list(other) for other in ranges[place + 1 :]]
            return head, [[first + left, beyond], *following]
        head.append([first, beyond])
        left -= size
    return head, []
