"""The base of what comes from and goes to the server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Asked", "Received"]


class Received(BaseModel):
    """What the server says; fields that a newer server adds are kept as extra attributes."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Asked(BaseModel):
    """What is asked; a misspelt field is refused here, and defaults are left to the server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def body(self) -> dict[str, object]:
        """Return what was set, as JSON-like values."""
        return self.model_dump(mode="json", exclude_unset=True)
