"""Problem documents (RFC 9457)."""

from __future__ import annotations

from tightrope_client.wire import Received

__all__ = ["InvalidPart", "Problem"]


class InvalidPart(Received):
    """A part of a request that is wrong: `location`, such as `body.epsilon`, and `message`."""

    location: str
    message: str


class Problem(Received):
    """Why something was refused or failed.

    Attributes:
        type: Which kind of problem, a URN.
        title: The kind in words.
        status: Of HTTP.
        detail: What happened this time, and what to do about it.
        instance: Path of the request or resource.
        errors: The parts of the request that are wrong.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[InvalidPart] | None = None
