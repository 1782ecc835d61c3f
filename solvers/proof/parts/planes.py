"""Planes above ReLUs: linear in all values in front of them, where a line is linear in one.

Let z = w·x + b be what a ReLU reads, where x are results of functions, and the input, in a box. For
any a, max(0, z) ≤ a·x + c on the box if c is no less than the largest values of −a·x and of
(w − a)·x + b there, as the function is the larger of 0 and z. Both are sums over sides of the box.
So no a is wrong, and the least c that goes with it is found here. Any part of a ReLU may be bounded
by a plane, and the rest by a line. Which a are worth it is said by
Tjandraatmadja et al. 2020, theorem 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from solvers.proof.bounds import (
    RELU,
    SPARE,
    TINY,
    Array,
    Choices,
    Enclosure,
    Integers,
    Region,
    Sweep,
    gamma,
    product,
)
from solvers.proof.container import Planes, require
from solvers.proof.network import UNIT, Affine, CheckedNetwork, Nonlinear, absolute, dense

__all__ = ["PlaneTable", "support"]

Cross = Callable[[Sweep, Nonlinear, Array], Array]
Rows = list[tuple[int, Array]]
"""Vectors, and coefficients of their values, one row for each plane."""


def support(
    network: CheckedNetwork, vector: int, index: Integers
) -> tuple[list[int], sparse.csr_array]:
    """Return which results of functions, and inputs, values of a vector are made of.

    Args:
        network: That has them.
        vector: Whose values.
        index: Which of them.

    Returns:
        Vectors, ascending, and a matrix of one row for each value. Its columns are all values of
        these vectors; it has entries where some product of coefficients is not 0, even if those of
        several ways cancel.
    """
    unit = np.ones(len(index)), index, np.arange(len(index) + 1)
    waiting = {vector: sparse.csr_array(unit, shape=(len(index), network.sizes[vector]))}
    for operation in reversed(network.operations):
        if isinstance(operation, Affine) and operation.output in waiting:
            rows = waiting.pop(operation.output)
            for term in operation.terms:
                passed = sparse.csr_array(rows @ term.absolute)
                if term.source in waiting:
                    passed = passed + waiting[term.source]
                passed.eliminate_zeros()
                passed.data[:] = 1.0
                waiting[term.source] = passed
    origins = sorted(waiting)
    joined = sparse.csr_array(sparse.hstack([waiting[o] for o in origins], format="csr"))
    joined.sort_indices()
    return origins, joined


class PlaneTable:
    """The planes of one tree.

    Args:
        network: That they are about.
        planes: In good form; None for none.
        parts: By vector, which numbers stand for values of it, and positions of these.
        name: Of the tree.
    """

    def __init__(
        self, network: CheckedNetwork, planes: Planes | None,
        parts: Mapping[int, tuple[slice, Integers]], name: str,
    ) -> None:  # fmt: skip
        self._held: dict[int, _Held] = {}
        if planes is None:
            return
        steps = [o for o in network.operations if isinstance(o, Nonlinear)]
        relus = {step.sources[0] for step in steps if step.function is RELU}
        sums = {o.output for o in network.operations if isinstance(o, Affine)}
        shares, counts = (
            planes.share / float(np.iinfo(planes.share.dtype).max),
            np.diff(planes.start),
        )
        for vector, (part, index) in parts.items():
            own = (planes.value >= part.start) & (planes.value < part.stop)
            if not own.any():
                continue
            require(vector in relus & sums, f"{name}: a plane is above what is no ReLU of a sum")
            column = index[planes.value[own] - part.start]
            origins, pattern = support(network, vector, column)
            fit = np.array_equal(np.diff(pattern.indptr), counts[own])
            require(fit, f"{name}: a plane has too many or too few shares")
            entries = shares[np.repeat(own, counts)], pattern.indices, pattern.indptr
            held = sparse.csr_array(entries, shape=pattern.shape)
            weight = planes.part[own] / 255.0
            self._held[vector] = _Held(vector, origins, planes.user[own], column, weight, held)

    def cross(self, users: Integers) -> Cross:
        """Return what takes on coefficients of rows, each of which is a pass of its own."""
        return partial(self._cross, users)

    def _cross(self, users: Integers, sweep: Sweep, operation: Nonlinear, rows: Array) -> Array:
        held = self._held.get(operation.sources[0]) if operation.function is RELU else None
        return rows if held is None else held.cross(users, sweep, rows, operation.output)


@dataclass(frozen=True, eq=False)
class _Held:
    """Planes above ReLUs of one vector.

    Attributes:
        vector: That the ReLUs read.
        origins: Vectors that it is made of.
        user, index: Pass and position in the vector of each plane; passes ascend.
        weight: Part of the ReLU that each bounds, in [0, 1].
        share: Of each coefficient of the origins, one row for each plane.
    """

    vector: int
    origins: Sequence[int]
    user: Integers
    index: Integers
    weight: Array
    share: sparse.csr_array

    def cross(self, users: Integers, sweep: Sweep, rows: Array, output: int) -> Array:
        """Take on parts of negative coefficients of ReLUs; return what is left of all."""
        first, last = (np.searchsorted(self.user, users, side) for side in ("left", "right"))
        place = np.repeat(np.arange(len(users)), last - first)
        plane = np.repeat(last - np.cumsum(last - first), last - first) + np.arange(len(place))
        negative = rows[place, self.index[plane]] < 0
        place, plane = place[negative], plane[negative]
        if not len(place):
            return rows
        column, domain = self.index[plane], place if sweep.domain is None else sweep.domain[place]
        before = rows[place, column]
        taken = before * self.weight[plane]
        entries = taken, (place, np.arange(len(place)))
        amounts = sparse.csr_array(entries, shape=(len(rows), len(place)))
        slopes, above = self._derived(sweep.enclosure, plane, domain)
        sweep.add(*product(amounts, above[None]))
        for source, slope in slopes:
            size = np.abs(slope) @ sweep.enclosure.size[source]
            sweep.add(0.0, gamma(len(place) + 4) * (absolute(amounts) @ size))
            sweep.pass_on(source, dense(amounts @ slope))
        rows, off = rows.copy(), np.zeros_like(rows)
        rows[place, column], off[place, column] = before - taken, (4 * UNIT) * before
        sweep.add(0.0, np.abs(off) @ sweep.enclosure.size[output])
        return rows

    def _derived(
        self, enclosure: Enclosure, plane: Integers, domain: Integers
    ) -> tuple[Rows, Array]:
        """Return slopes of planes by origin, and constants with which these hold in a domain."""
        count, network = len(plane), enclosure.network
        unit = np.full(count, -1.0), self.index[plane], np.arange(count + 1)
        rows = sparse.csr_array(unit, shape=(count, network.sizes[self.vector]))
        sweep = Sweep(enclosure, np.zeros(count, np.intp), Choices({}, {}), {self.vector: rows})
        for operation in reversed(network.operations):
            if isinstance(operation, Affine) and operation.output in sweep.waiting:
                sweep.cross(operation)
        back = [dense(sweep.waiting.pop(origin)) for origin in self.origins]
        below = sweep.finish()  # −z ≥ Σ back·x + below
        ends = np.cumsum([network.sizes[origin] for origin in self.origins])
        shares = np.split(self.share[plane].toarray(), ends[:-1], axis=1)
        slopes = [-rows * share for rows, share in zip(back, shares, strict=True)]
        rest = [slope + rows for rows, slope in zip(back, slopes, strict=True)]
        idle = self._least(enclosure, slopes, np.zeros(count), domain)
        active = self._least(enclosure, rest, below, domain)
        return list(zip(self.origins, slopes, strict=True)), -np.minimum(idle, active)

    def _least(
        self, enclosure: Enclosure, rows: Sequence[Array], value: Array, domain: Integers
    ) -> Array:
        """Return lower bounds of a number and functions of the origins in their boxes.

        Each coefficient may be off by as much as one addition.
        """
        error = np.full(len(value), TINY)
        for source, own in zip(self.origins, rows, strict=True):
            box = Region(enclosure.lower[source], enclosure.upper[source])
            part, off = box.least(own, domain)
            value = value + part
            off = off + (4 * UNIT) * (np.abs(own) @ enclosure.size[source]) + TINY
            error = error + off + 2 * UNIT * np.abs(value)
        return np.nextafter(value - error * SPARE, -np.inf)
