"""Files to choose from in forms: a few columns of the newest, however much is known of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from store.database import Database
from store.uploads import UploadKind

__all__ = ["Choice", "choices_of"]


@dataclass(frozen=True)
class Choice:
    """A network or a data set.

    Attributes:
        id: Of the file.
        name: For people.
        input_shape: Of one input.
        amount: Outputs of a network, inputs of a data set.
    """

    id: str
    name: str
    input_shape: Sequence[int]
    amount: int


_AMOUNTS = {"network": "outputs", "data set": "count"}


def choices_of(
    database: Database, kind: UploadKind, *, limit: int, named: Collection[str] = ()
) -> list[Choice]:
    """Return the newest files, then those that are named and older.

    Args:
        database: As the one who asks sees it.
        kind: Of the files.
        limit: At most so many of the newest.
        named: Ids of some that are returned in any case, where there are such files.
    """
    table: Any = kind.row
    amount = table.details[_AMOUNTS[kind.label]].as_integer()
    query = select(table.id, table.name, table.details["input_shape"].as_json(), amount)
    with database.read() as session:
        newest = [
            Choice(*row) for row in session.execute(query.order_by(table.id.desc()).limit(limit))
        ]
        known = {choice.id for choice in newest}
        older = session.execute(query.where(table.id.in_(sorted(set(named) - known))))
        return [*newest, *(Choice(*row) for row in older)]
