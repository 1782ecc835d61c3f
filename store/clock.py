"""The one clock by which leases begin and end: that of the database, which all workers share.

Clocks of machines differ, and jump. A lease that one clock began must not be judged by another,
so whoever takes, extends or looks for leases asks here. A server tells its own time; SQLite has
none, and its processes are on one machine. Where even this clock jumps, nothing is lost: ahead,
chunks are taken again and their late owners refused; back, `Chunks.expire` shortens leases that end
later than any can.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

__all__ = ["Clock", "database_clock"]

Clock = Callable[[Session], datetime]


def database_clock(session: Session) -> datetime:
    """Return the time by the database's clock, as of this moment."""
    if session.get_bind().dialect.name == "postgresql":
        moment: datetime = session.scalars(select(func.clock_timestamp())).one()
        return moment.astimezone(UTC)
    return datetime.now(UTC)
