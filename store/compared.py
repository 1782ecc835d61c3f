"""What pages of comparisons show, each with as many queries for a thousand as for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from store.asked import AskedLine, asked_query
from store.database import Database
from store.errors import NotFoundError
from store.payloads import without_example
from store.tables import ComparedItemRow, ComparedNetworkRow, ComparisonRow, NetworkRow

__all__ = ["CompareLine", "ComparedAnswer", "ComparedReads"]


@dataclass(frozen=True)
class CompareLine(AskedLine):
    """A comparison in a list.

    Attributes:
        names: Of the networks, the baseline first.
        before, after: Summaries of the baseline and of the first candidate, once it has succeeded.
    """

    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    names: Sequence[str] = ()


@dataclass(frozen=True)
class ComparedAnswer:
    """The answers of all networks for one input.

    Attributes:
        items: As reports print them; None for a network that has none yet.
        earlier, later: The inputs that are answered beside it, by index.
    """

    items: Sequence[Mapping[str, Any] | None]
    earlier: int | None
    later: int | None


class ComparedReads:
    """Reads for pages.

    Args:
        database: As the one who asks sees it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, *, limit: int, before: str | None) -> list[CompareLine]:
        """Return comparisons, the newest first, older than the one with the id `before`."""
        result = ComparisonRow.result
        query = (
            asked_query(
                ComparisonRow,
                result[("baseline", "summary")].label("before"),
                result[("candidates", 0, "summary")].label("after"),
            )
            .order_by(ComparisonRow.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(ComparisonRow.id < before)
        with self._database.read() as session:
            rows = list(session.execute(query))
            names = _names(session, [row.id for row in rows])
        return [_line(row, names[row.id]) for row in rows]

    def items(self, comparison_id: str) -> dict[int, list[dict[str, Any]]]:
        """Return the answers so far by the position of their network, in the data set's order.

        Their counterexamples are left out.
        """
        payload = without_example(ComparedItemRow, self._database.dialect)
        query = (
            select(ComparedItemRow.position, payload)
            .where(ComparedItemRow.comparison_id == comparison_id)
            .order_by(ComparedItemRow.position, ComparedItemRow.index)
        )
        found: dict[int, list[dict[str, Any]]] = {}
        with self._database.read() as session:
            for position, item in session.execute(query):
                found.setdefault(position, []).append(item)
        return found

    def answer(self, comparison_id: str, index: int, *, networks: int) -> ComparedAnswer:
        """Return the answers for an input.

        Args:
            comparison_id: Whose.
            index: Of the input.
            networks: How many the comparison has.

        Raises:
            NotFoundError: No network has an answer for it.
        """
        own = ComparedItemRow.comparison_id == comparison_id
        query = select(ComparedItemRow.position, ComparedItemRow.payload)
        beside = (
            select(func.max(ComparedItemRow.index)).where(own, ComparedItemRow.index < index),
            select(func.min(ComparedItemRow.index)).where(own, ComparedItemRow.index > index),
        )
        with self._database.read() as session:
            rows = session.execute(query.where(own, ComparedItemRow.index == index))
            found = {row.position: row.payload for row in rows}
            if not found:
                raise NotFoundError("answer for input", str(index))
            earlier, later = (session.scalar(one) for one in beside)
        return ComparedAnswer([found.get(place) for place in range(networks)], earlier, later)


def _names(session: Session, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the networks of comparisons."""
    query = (
        select(ComparedNetworkRow.comparison_id, NetworkRow.name)
        .join(NetworkRow, NetworkRow.id == ComparedNetworkRow.network_id)
        .where(ComparedNetworkRow.comparison_id.in_(ids))
        .order_by(ComparedNetworkRow.comparison_id, ComparedNetworkRow.position)
    )
    names: dict[str, list[str]] = {one: [] for one in ids}
    for identifier, name in session.execute(query):
        names[identifier].append(name)
    return names


def _line(row: Row[Any], names: Sequence[str]) -> CompareLine:
    return CompareLine(**row._mapping, names=names)
