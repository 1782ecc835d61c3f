"""Comparisons on the embedded service: two networks uploaded, compared, read."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Visitor
from tests.e2e.test_serve import serving
from tests.helpers.small_files import write_mlp


def finished(visitor: Visitor, identifier: str) -> dict[str, Any]:
    for _ in range(20):
        response = visitor.http.get(f"/v1/comparisons/{identifier}", params={"wait": 30})
        view: dict[str, Any] = response.json()
        if view["state"] in ("succeeded", "failed", "cancelled"):
            return view
    raise AssertionError(f"the comparison is still {view['state']}")


def test_two_networks_are_compared(tmp_path: Path, network: Path, data: Path) -> None:
    # Class 0 wins by 2 x0 − 2 x1 − 0.02: a little more than for the baseline.
    hidden = ([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]], [0.0, 0.0, 0.0])
    better = write_mlp(
        tmp_path / "better.onnx", [hidden, ([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]], [0.0, 0.02])]
    )
    with serving(tmp_path / "data") as (_, visitor):
        certified = visitor.certify(network, data, epsilon=0.03, methods=["ibp", "crown", "exact"])
        assert visitor.finished(certified["id"])["state"] == "succeeded"
        body = {
            "baseline_id": visitor.upload("networks", network),
            "candidate_ids": [visitor.upload("networks", better)],
            "dataset_id": visitor.upload("datasets", data),
            "epsilon": 0.03,
            "methods": ["ibp", "crown", "exact"],
        }
        asked = visitor.http.post("/v1/comparisons", json=body)
        assert asked.status_code == 202, asked.text
        # The baseline's three answers are those of the certification.
        assert asked.json()["progress"]["done"] >= 3
        view = finished(visitor, asked.json()["id"])
        assert view["state"] == "succeeded", view
        (candidate,) = view["result"]["candidates"]
        # x = (0.5, 0.4): 0.2 − 0.12 − 0.1 < 0 < 0.2 − 0.12 − 0.02.
        assert (candidate["gained"], candidate["lost"]) == ([1], [])
        exact = candidate["difference"]["exact"]
        assert exact["certified_accuracy"] == pytest.approx(1 / 3)
        assert (exact["gained"], exact["lost"], exact["p_value"]) == (1, 0, 1.0)
        assert candidate["tightness"]["layers"][0]["neurons"] == 3
        url = f"/v1/comparisons/{view['id']}"
        report = visitor.http.get(f"{url}/report").json()
        assert report["candidates"] == view["result"]["candidates"]
        assert "better.onnx beside two.onnx" in visitor.http.get(f"{url}/report.html").text
        rows = list(csv.DictReader(io.StringIO(visitor.http.get(f"{url}/items.csv").text)))
        assert [row["candidate1_verdict"] for row in rows] == [
            "verified",
            "verified",
            "misclassified",
        ]
        again = visitor.http.post("/v1/comparisons", json=body).json()
        assert (again["state"], again["cached"]) == ("succeeded", True)
