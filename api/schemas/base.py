"""The base of wire types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Cursor", "Name", "Wire", "example"]

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+$",
        description="For people; any text without control characters.",
        examples=["mnist-small"],
    ),
]
Cursor = Annotated[
    str | None,
    Field(description="Pass it as `cursor` to get the next page; null on the last one."),
]


class Wire(BaseModel):
    """Refuses unknown fields, and values of another type than stated."""

    model_config = ConfigDict(extra="forbid", strict=True)


def example(value: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a wire type with one example in the OpenAPI document."""
    return ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [value]})
