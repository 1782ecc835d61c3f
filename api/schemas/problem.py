"""Problem documents."""

from __future__ import annotations

from pydantic import Field

from api.schemas.base import Wire, example

__all__ = ["InvalidPart", "Problem"]


class InvalidPart(Wire):
    """A part of a request that is wrong, or a node of a network that is not supported."""

    location: str = Field(
        description="Where, such as `body.epsilon` or `query.limit`, or the name of a node."
    )
    message: str = Field(description="What is wrong with it.")


class Problem(Wire):
    """An error, after RFC 9457."""

    model_config = example(
        {
            "type": "urn:tightrope:problem:unsupported-operator",
            "title": "The network uses an operator that is not supported",
            "status": 422,
            "detail": "node 'lstm_1' uses operator LSTM (opset 17), which is not supported here",
            "instance": "/v1/networks",
        }
    )

    type: str = Field(description="Which kind of problem; stable, for programs.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="HTTP status.", ge=100, le=599)
    detail: str = Field(description="What happened this time, and what to do about it.")
    instance: str | None = Field(default=None, description="Path of the request or resource.")
    errors: list[InvalidPart] | None = Field(default=None, description="The parts that are wrong.")
