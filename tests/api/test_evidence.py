"""Proofs and counterexamples over HTTP."""

from __future__ import annotations

import io
from base64 import b64encode

import numpy as np
import pytest

from tests.api.checks import problem
from tests.api.test_certifications import body, finish
from tests.helpers.api import Api
from tests.helpers.service import item

PROOF = b"PK the proof of input 0"


@pytest.fixture
def finished(api: Api) -> str:
    """Input 0 has a proof, input 1 a counterexample, input 2 neither."""
    asked = body(api, count=3, proofs=True, proof_timeout_seconds=30)
    response = api.client.post("/v1/certifications", json=asked)
    assert response.json()["settings"]["proof_timeout_seconds"] == 30
    made: str = response.json()["id"]
    proof = {"bytes": len(PROOF), "deployment_margin": 0.5, "reason": None}
    good = item(0, evidence="checked", proof=proof, proof_file=b64encode(PROOF).decode())
    bad = item(1, "falsified", counterexample={"x": [0.1, 0.2, 0.3, 0.4], "y": [1.0, 2.0, 0.0]})
    unproved = item(2, proof={"bytes": None, "reason": "no time was left"})
    finish(api, made, [{**good, "deployment_sound": True}, bad, unproved])
    return made


def test_a_proof_is_downloaded_as_it_was_stored(api: Api, finished: str) -> None:
    url = f"/v1/certifications/{finished}/items"
    response = api.client.get(f"{url}/0/proof")
    assert response.content == PROOF
    assert f"{finished}-0.proof" in response.headers["content-disposition"]
    first, _, last = api.client.get(url).json()["items"]
    assert (first["evidence"], first["deployment_sound"]) == ("checked", True)
    assert first["proof"]["bytes"] == len(PROOF)
    assert "proof_file" not in first
    assert last["proof"]["reason"] == "no time was left"


def test_a_counterexample_is_a_file_that_can_be_run_again(api: Api, finished: str) -> None:
    response = api.client.get(f"/v1/certifications/{finished}/items/1/counterexample")
    with np.load(io.BytesIO(response.content)) as found:
        assert set(found) == {"x", "y", "runtime", "version"}
        assert found["x"].dtype == found["y"].dtype == np.float32
        assert found["x"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("path", ["1/proof", "2/proof", "9/proof", "0/counterexample"])
def test_what_there_is_not_is_not_found(api: Api, finished: str, path: str) -> None:
    problem(api.client.get(f"/v1/certifications/{finished}/items/{path}"), 404, "input")
    problem(api.client.get(f"/v1/certifications/job_1/items/{path}"), 404, "certification")


def test_equal_questions_take_proofs_over(api: Api, finished: str) -> None:
    asked = body(api, count=3, proofs=True, proof_timeout_seconds=30)
    again = api.client.post("/v1/certifications", json=asked).json()
    assert again["cached"]
    api.client.delete(f"/v1/certifications/{finished}")
    response = api.client.get(f"/v1/certifications/{again['id']}/items/0/proof")
    assert response.content == PROOF


def test_answers_without_proofs_do_not_answer_for_proofs(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api, count=1)).json()
    assert made["settings"]["proof_timeout_seconds"] is None
    finish(api, made["id"], [item(0)])
    asked = api.client.post("/v1/certifications", json=body(api, count=1, proofs=True)).json()
    assert (asked["cached"], asked["progress"]["done"]) == (False, 0)


def test_proofs_get_some_time(api: Api) -> None:
    response = api.client.post("/v1/certifications", json=body(api, proof_timeout_seconds=0))
    problem(response, 422, "body.proof_timeout_seconds")
