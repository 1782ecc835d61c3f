"""What every error has to look like."""

from __future__ import annotations

from typing import Any

import httpx


def problem(response: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """Check that a response is a problem document and says these words; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert {"type", "title", "detail"} <= set(document)
    assert set(document) <= {"type", "title", "status", "detail", "instance", "errors"}
    for word in words:
        assert word in document["detail"], document
    return document
