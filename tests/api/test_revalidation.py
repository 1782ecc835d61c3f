"""Every read that the interface describes: whether its answer is sent again to who has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import update

from store.keys import Scope
from store.tables import TrainingRow
from tests.api import test_comparisons
from tests.api.test_evidence import finished as certified
from tests.api.test_trainings import finished as trained
from tests.helpers.api import Api

__all__ = ["certified", "trained"]

# Reads whose answer nobody keeps, and why.
KEPT_NOWHERE: Mapping[str, str] = {
    "/v1/webhook-secret": "a secret",
    "/v1/events": "a stream, taken up again by Last-Event-ID",
    "/v1/jobs/{job_id}/events": "a stream, taken up again by Last-Event-ID",
}
# Not of the interface's version: asked by machines that watch, whose every look is to be new.
WATCHED = {"/healthz", "/readyz", "/metrics"}
RAW = {"Content-Type": "application/octet-stream"}
# What never changes once its job is finished.
FOR_GOOD = re.compile(r"/v1/(certifications|comparisons|trainings)/\{[a-z_]+\}/.+")


@pytest.fixture
def reads(api: Api, certified: str, trained: str) -> dict[str, str]:
    """Return a path of something that exists for each path of the interface that is read."""
    compared = test_comparisons.finish(api.world)
    with api.world.database.write() as session:
        session.execute(update(TrainingRow).values(comparison_id=compared))
    names = {
        "certification_id": certified,
        "comparison_id": compared,
        "training_id": trained,
        "job_id": certified,
        "network_id": api.world.network,
        "dataset_id": api.world.dataset,
        "key_id": api.key(Scope.READ).row.id,
        "project_id": "default",
        "artifact_name": "metrics.csv",
    }
    document: dict[str, Any] = api.client.get("/openapi.json").json()
    found = {}
    for path, operations in document["paths"].items():
        if "get" in operations:
            index = "1" if path.endswith("counterexample") else "0"
            found[path] = path.format(**names, index=index)
    return found


def test_every_read_is_answered_304_or_says_why_not(api: Api, reads: dict[str, str]) -> None:
    assert len(reads) > 45
    assert {*KEPT_NOWHERE, *WATCHED} <= set(reads)
    for path, address in reads.items():
        if path in KEPT_NOWHERE or path in WATCHED:
            continue
        first = api.client.get(address)
        assert first.status_code == 200, f"{path}: {first.text}"
        may = "max-age=86400, immutable" if FOR_GOOD.match(path) else "no-cache"
        assert first.headers["Cache-Control"] == f"private, {may}", path
        assert {"Authorization", "Cookie"} <= set(first.headers["Vary"].split(", ")), path
        tag = first.headers.get("ETag")
        assert tag, path
        again = api.client.get(address, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["ETag"] == tag, path
        other = api.client.get(address, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content), path


def test_a_file_in_many_pieces_is_not_sent_again_either(api: Api) -> None:
    sent = api.client.post("/v1/networks", content=b"n" * 150_000, headers=RAW)
    address = f"/v1/networks/{sent.json()['id']}/file"
    first = api.client.get(address)
    assert len(first.content) == 150_000
    for tag, wanted in ((first.headers["ETag"], (304, 0)), ('"other"', (200, 150_000))):
        found = api.client.get(address, headers={"If-None-Match": tag})
        assert (found.status_code, len(found.content)) == wanted
    # The connection is as good as before.
    assert api.client.get(address).content == first.content


def test_what_is_found_so_far_is_asked_for_again(api: Api) -> None:
    running = {"certifications": api.world.certify(), "comparisons": api.world.compare()}
    parts = {"certifications": ["items", "items.csv"], "comparisons": ["items"]}
    for kind, row in running.items():
        for part in parts[kind]:
            found = api.client.get(f"/v1/{kind}/{row.id}/{part}")
            assert (found.status_code, found.headers["Cache-Control"]) == (200, "private, no-cache")
    training = api.world.train()
    for part in ("metrics", "metrics.csv", "artifacts", "report", "report.html"):
        found = api.client.get(f"/v1/trainings/{training.id}/{part}")
        assert (found.status_code, found.headers["Cache-Control"]) == (200, "private, no-cache")
