"""Small files to certify, and a client's way through the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.small_files import write_three, write_two_class


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Class 0 wins by 2 x0 − 2 x1 − 0.1."""
    return write_two_class(tmp_path / "two.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One input that is safe within 0.1, one that is not, one with the wrong label."""
    return write_three(tmp_path / "three.npz")


class Visitor:
    """What a client does: upload, ask, wait.

    Args:
        url: Of the service.
    """

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=120)

    def upload(self, kind: str, path: Path) -> str:
        """Upload a file and return its id."""
        response = self.http.post(f"/v1/{kind}", files={"file": (path.name, path.read_bytes())})
        assert response.status_code in (200, 201), response.text
        identifier: str = response.json()["id"]
        return identifier

    def certify(self, network: Path, data: Path, **settings: object) -> dict[str, Any]:
        """Ask for a certification."""
        body = {
            "network_id": self.upload("networks", network),
            "dataset_id": self.upload("datasets", data),
            "epsilon": 0.1,
            **settings,
        }
        response = self.http.post("/v1/certifications", json=body)
        assert response.status_code == 202, response.text
        made: dict[str, Any] = response.json()
        return made

    def view(self, certification: str, wait: float = 0) -> dict[str, Any]:
        """Return a certification."""
        response = self.http.get(f"/v1/certifications/{certification}", params={"wait": wait})
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def finished(self, certification: str) -> dict[str, Any]:
        """Wait until a certification is final and return it."""
        for _ in range(20):
            view = self.view(certification, wait=30)
            if view["state"] in ("succeeded", "failed", "cancelled"):
                return view
        raise AssertionError(f"the certification is still {view['state']}")

    def verdicts(self, certification: str) -> list[str]:
        """Return the verdicts in the order of the data set."""
        items = self.http.get(f"/v1/certifications/{certification}/items").json()["items"]
        return [item["verdict"] for item in items]

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
