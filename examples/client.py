"""The service from a script: upload, submit, wait, fetch; each is one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

__all__ = ["Service"]

# A request that waits 30 s for news must be given longer than that.
_WAIT_SECONDS = 30
_FINAL = {"succeeded", "failed", "cancelled"}


class Service:
    """A running service.

    Args:
        url: Such as `http://127.0.0.1:8000`.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=_WAIT_SECONDS + 30)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def upload(self, kind: str, path: Path) -> str:
        """Upload a file to `networks` or `datasets` and return its id."""
        with path.open("rb") as file:
            return str(self._json("POST", f"/v1/{kind}", files={"file": (path.name, file)})["id"])

    def certify(self, request: dict[str, Any]) -> str:
        """Submit a certification and return its id."""
        return str(self._json("POST", "/v1/certifications", json=request)["id"])

    def state(self, certification: str) -> dict[str, Any]:
        """Return a certification once there is news, or after 30 seconds."""
        path = f"/v1/certifications/{certification}"
        return self._json("GET", path, params={"wait": _WAIT_SECONDS})

    def finished(self, state: dict[str, Any]) -> bool:
        """Return whether nothing more will come.

        Raises:
            RuntimeError: The job failed.
        """
        if state["state"] == "failed":
            raise RuntimeError(f"the certification failed: {state['error']}")
        return state["state"] in _FINAL

    def page(self, certification: str) -> str:
        """Return the report as HTML."""
        answer = self._http.get(f"/v1/certifications/{certification}/report.html")
        answer.raise_for_status()
        return answer.text

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Send a request and return its answer; the service says in words what is wrong."""
        answer = self._http.request(method, path, **options)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.text}")
        content: dict[str, Any] = answer.json()
        return content
