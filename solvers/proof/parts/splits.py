"""Boxes that are closed by splits of values inside the network, as trees of a proof say.

Every input has z ≤ p or z ≥ p, whatever p is, so that both halves of a split together lose nothing.
A leaf has a row, slopes and multipliers; any of these give a bound that holds in its domain, or the
domain is empty: a lower bound above an upper one, both of which hold, means that no input is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from solvers.proof.bounds import Array, Enclosure, Integers
from solvers.proof.container import NeuronTree, Proof, require
from solvers.proof.network import Part
from solvers.proof.parts.walks import Walk

__all__ = ["SPLITS", "leaf_bounds"]


def close(
    enclosure: Enclosure, proof: Proof, number: int, rows: slice, known: Callable[[str], Any]
) -> Iterator[tuple[Integers, Array, int]]:
    """Bound a row in every leaf of the trees of all clauses.

    Args:
        enclosure: Of one box.
        proof: Whose tree closes it.
        number: Of the tree.
        rows: Those of the case.
        known: Gives what another part knows.

    Yields:
        Which rows, their lower bounds in as many leaves, and how many further leaves are empty.
    """
    rows_of_case = proof.matrix[rows], proof.row_clause[rows], rows.start
    return leaf_bounds(enclosure, proof.trees[number], rows_of_case, f"tree {number}", known)


def leaf_bounds(
    enclosure: Enclosure,
    tree: NeuronTree,
    rows: tuple[Array, Integers, int],
    name: str,
    known: Callable[[str], Any],
) -> Iterator[tuple[Integers, Array, int]]:
    """Do what `close` does, for rows that are given with their clauses and the first one's number.

    Yields:
        The same.
    """
    matrix, clauses, start = rows
    walk, own_clauses = Walk(enclosure, tree, name, known), range(clauses[-1] + 1)
    parts = [[clause] for clause in own_clauses] if tree.common is None else [[*own_clauses]]
    for part in parts:
        own = np.flatnonzero(np.isin(clauses, part)) + start
        leaves = walk.leaves(dict(zip(own.tolist(), clauses[own - start].tolist(), strict=True)))
        while batch := list(islice(leaves, walk.batch)):
            leaf, low, high = (np.array(column) for column in zip(*batch, strict=True))
            empty = (low > high).any(axis=1)
            leaf, low, high = leaf[~empty], low[~empty], high[~empty]
            row = tree.leaf_row[leaf]
            require((row >= 0).all(), f"{name}: a leaf is not empty as it claims")
            require(np.isin(row, own).all(), f"{name}: a leaf names a row of another clause")
            yield row, walk.bound(leaf, low, high, matrix[row - start]), int(empty.sum())
    require(walk.at_end(), f"{name} has parts left over")


SPLITS = Part("splits of values and planes inside the network", splits=close)
