"""Reading server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sent:
    """One event as a client reads it."""

    id: str
    name: str
    data: dict[str, Any]


def read_events(lines: Iterable[str], comments: list[str] | None = None) -> Iterator[Sent]:
    """Yield the events of a stream as the standard says they are to be read.

    Args:
        lines: Of the stream, without their ends.
        comments: Takes what the stream says beside them.
    """
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line.startswith(":") and comments is not None:
            comments.append(line)
        elif line and not line.startswith(":"):
            fields[name] = value
        elif not line and "data" in fields:
            yield Sent(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}
