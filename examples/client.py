"""The service from a script: upload, submit, wait, fetch, with the client that others install."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tightrope_client import Certification, Client, Question

__all__ = ["Service"]


class Service:
    """A running service.

    Args:
        url: Such as `http://127.0.0.1:8000`.
    """

    def __init__(self, url: str) -> None:
        self._client = Client(url)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def upload(self, kind: str, path: Path) -> str:
        """Upload a file to `networks` or `datasets`, unless it is there, and return its id."""
        if kind == "networks":
            return self._client.networks.upload(path).id
        return self._client.datasets.upload(path).id

    def certify(self, request: dict[str, Any]) -> str:
        """Submit a certification and return its id."""
        asked = {name: value for name, value in request.items() if name != "network_id"}
        question = Question.model_validate(asked)
        return self._client.certifications.create(request["network_id"], question).id

    def finish(
        self, certification: str, progress: Callable[[Certification], object]
    ) -> dict[str, Any]:
        """Return a certification once it is finished.

        Args:
            certification: Its id.
            progress: Told of it whenever there is news.

        Raises:
            JobFailedError: It failed.
        """
        done = self._client.certifications.wait(certification, progress=progress)
        return done.require_success().model_dump(mode="json")

    def page(self, certification: str) -> str:
        """Return the report as HTML."""
        return self._client.certifications.html(certification)
