"""The page of an input: stages, evidence, and its proof checked on demand."""

from __future__ import annotations

from base64 import b64encode

import pytest

from api.authentication import csrf_token
from api.principal import Scope
from store.tenancy import DEFAULT_PROJECT
from tests.api.checks import problem
from tests.api.dashboard.pages import links, shown, words
from tests.api.test_access import bearer
from tests.helpers.api import Api
from tests.helpers.pages import PageParser, parsed
from tests.helpers.service import item
from worker.inspector import RejectedFileError

PAGE = {"Accept": "text/html"}
PROOF = {"bytes": 7, "leaves": 3, "margin": 0.25, "proving_seconds": 1.5, "checking_seconds": 0.5}


def proved(api: Api) -> str:
    """Store a certification whose input 0 has a proof and whose input 1 has none."""
    made = api.world.certify([0, 1]).id
    assert api.world.jobs.claim(made, "somebody")
    content = b64encode(b"a proof").decode()
    good = item(0, evidence="checked", proof=PROOF, proof_file=content)
    for one in (good, item(1, proof={"reason": "no time was left"})):
        api.world.certifications.add_item(made, "somebody", one)
    return f"/certifications/{made}/inputs"


def forms(page: PageParser) -> list[str]:
    return [str(attrs["action"]) for tag, attrs in page.tags if tag == "form"]


def test_a_proof_waits_to_be_checked(api: Api) -> None:
    path = proved(api)
    page = shown(api.client.get(f"{path}/0"))
    assert f"{path}/0#proof" in forms(page)
    text = words(page).replace("\u202f", " ")
    assert "Check this proof" in text
    assert "The proof took 1.5 s to make and 500 ms to check, margin 0.25: 3 leaves" in text
    assert "Accepted" not in text
    other = shown(api.client.get(f"{path}/1"))
    assert not [one for one in forms(other) if one.startswith(path)]
    assert "no time was left" in words(other)


def test_a_proof_is_checked_in_one_click(api: Api) -> None:
    path = proved(api)
    text = words(shown(api.client.post(f"{path}/0"))).replace("\u202f", " ")
    assert "Accepted." in text
    assert "in 500 ms" in text
    assert "The margin is at least 0.25 in 3 parts" in text
    assert "It holds for float32 inference too, with 0.125 to spare" in text
    assert "never Y_0 - Y_1 <= 0" in text
    (stored,) = api.inspector.judged
    assert (stored.index, stored.settings["epsilon"]) == (0, 0.1)
    assert "indices" not in stored.settings
    assert stored.network.read_bytes() == b"network"
    assert stored.dataset.read_bytes() == b"dataset"
    assert not stored.proof.exists()


@pytest.mark.parametrize(("left", "said"), [
    (None, "Nothing is known about float32 inference"),
    (-0.5, "It is not shown for float32 inference"),
])  # fmt: skip
def test_float32_is_told_apart(api: Api, left: float | None, said: str) -> None:
    path = proved(api)
    api.inspector.judgement = {**vars(api.inspector)["judgement"], "deployment_margin": left}
    assert said in words(shown(api.client.post(f"{path}/0")))


def test_a_rejection_says_why(api: Api) -> None:
    path = proved(api)
    rejected = {"accepted": False, "reason": "<b>case 0 differs</b>", "margin": None}
    api.inspector.judgement = {**vars(api.inspector)["judgement"], **rejected}
    response = api.client.post(f"{path}/0")
    assert "Rejected." in words(shown(response))
    assert "<b>case 0" not in response.text
    assert "case 0 differs" in response.text


def test_a_check_that_breaks_a_limit_rejects_nothing(api: Api) -> None:
    path = proved(api)
    api.inspector.judgement = RejectedFileError("ResourceLimitError", "checking was stopped")
    text = words(shown(api.client.post(f"{path}/0")))
    assert "Not checked. Checking was stopped." in text
    assert "Rejected" not in text


def test_what_has_no_proof_is_not_found(api: Api) -> None:
    path = proved(api)
    for index in (1, 7):
        response = api.client.post(f"{path}/{index}", headers=PAGE)
        assert response.status_code == 404
        assert "proof of input" in words(parsed(response.text))


def test_the_interface_checks_proofs(api: Api) -> None:
    url = f"/v1{proved(api)}".replace("inputs", "items")
    found = api.client.post(f"{url}/0/proof/check")
    assert found.status_code == 200
    assert found.json() == api.inspector.judgement
    problem(api.client.post(f"{url}/1/proof/check"), 404, "proof of input")
    api.inspector.judgement = RejectedFileError("ResourceLimitError", "checking was stopped")
    problem(api.client.post(f"{url}/0/proof/check"), 422, "checking was stopped")


def test_who_may_check(guarded: Api) -> None:
    path = proved(guarded)
    for scopes in ((Scope.READ,), (Scope.SUBMIT,)):
        sent = bearer(guarded.key(*scopes).token)
        assert guarded.client.post(f"{path}/0", headers=sent).status_code == 403
    reads = bearer(guarded.key(Scope.READ).token)
    page = shown(guarded.client.get(f"{path}/0", headers=reads))
    assert not [one for one in forms(page) if one.startswith(path)]
    assert any(one.endswith("/items/0/proof") for one in links(page))
    assert guarded.key(Scope.READ).row.project_id == DEFAULT_PROJECT


def test_a_login_checks_with_the_token_of_the_page(guarded: Api) -> None:
    path = proved(guarded)
    key = guarded.key(Scope.READ, Scope.SUBMIT)
    cookie = guarded.app.state.services.logins.open(key.row.id)
    guarded.client.cookies.set("tightrope_session", cookie)
    page = shown(guarded.client.get(f"{path}/0"))
    tokens = {attrs["value"] for _, attrs in page.tags if attrs.get("name") == "csrf"}
    assert tokens == {csrf_token(cookie)}
    ours = {"Sec-Fetch-Site": "same-origin"}
    sent = guarded.client.post(f"{path}/0", headers=ours, data={"csrf": tokens.pop()})
    assert "Accepted." in words(shown(sent))
    assert guarded.client.post(f"{path}/0", headers=ours).status_code == 403


def refuted(api: Api) -> str:
    """Store a certification whose input 0 has a counterexample and whose input 1 has none."""
    made = api.world.certify([0, 1]).id
    assert api.world.jobs.claim(made, "somebody")
    found = {"x": [0.1, 0.2, 0.3, 0.4], "y": [2.0, 1.0, 0.0]}
    for one in (item(0, "falsified", label=0, counterexample=found), item(1)):
        api.world.certifications.add_item(made, "somebody", one)
    return f"/certifications/{made}/inputs"


def run_again(api: Api, path: str) -> str:
    page = shown(api.client.post(path, data={"what": "counterexample"}))
    return words(page).replace("\u202f", " ")


def test_a_counterexample_is_run_again_in_one_click(api: Api) -> None:
    path = refuted(api)
    waiting = shown(api.client.get(f"{path}/0"))
    assert f"{path}/0#example" in forms(waiting)
    assert "Run this counterexample again" in words(waiting)
    text = run_again(api, f"{path}/0")
    assert "Confirmed in 500 ms." in text
    assert "the network answers 2 in place of 0: the margin is −0.25." in text
    assert "the ones that are stored, to the last digit" in text
    (stored,) = api.inspector.replayed
    assert (list(stored.x), list(stored.y)) == ([0.1, 0.2, 0.3, 0.4], [2.0, 1.0, 0.0])
    assert (stored.index, stored.settings["epsilon"]) == (0, 0.1)
    assert stored.network.read_bytes() == b"network"
    assert api.inspector.judged == []


def test_a_tie_is_told_apart(api: Api) -> None:
    tie = {"answer": 0, "margin": 0.0, "difference": 0.001}
    api.inspector.replay_found = {**vars(api.inspector)["replay_found"], **tie}
    text = run_again(api, f"{refuted(api)}/0")
    assert "another class ties with the label: the margin is 0." in text
    assert "differ from the ones that are stored by up to 0.001" in text


def test_what_is_no_counterexample_says_why(api: Api) -> None:
    path = f"{refuted(api)}/0"
    refused = {"confirmed": False, "reason": "it lies outside the <b>region</b>"}
    nothing = dict.fromkeys(("answer", "margin", "difference"))
    api.inspector.replay_found = {**refused, **nothing, "seconds": 0.1}
    assert "Not confirmed. It is no counterexample here: it lies" in run_again(api, path)
    api.inspector.replay_found = RejectedFileError("ResourceLimitError", "running was stopped")
    text = run_again(api, path)
    assert "Not run. Running was stopped." in text
    assert "Not confirmed" not in text


def test_what_has_no_counterexample_is_not_found(api: Api) -> None:
    path = refuted(api)
    assert not [one for one in forms(shown(api.client.get(f"{path}/1"))) if one.startswith(path)]
    sent = api.client.post(f"{path}/1", data={"what": "counterexample"}, headers=PAGE)
    assert sent.status_code == 404
    assert "counterexample to input" in words(parsed(sent.text))


def test_who_may_run_counterexamples(guarded: Api) -> None:
    path = refuted(guarded)
    reads = bearer(guarded.key(Scope.READ).token)
    page = shown(guarded.client.get(f"{path}/0", headers=reads))
    assert not [one for one in forms(page) if one.startswith(path)]
    assert any(one.endswith("/items/0/counterexample") for one in links(page))
    data = {"what": "counterexample"}
    assert guarded.client.post(f"{path}/0", headers=reads, data=data).status_code == 403


def test_the_interface_runs_counterexamples(api: Api) -> None:
    url = f"/v1{refuted(api)}".replace("inputs", "items")
    found = api.client.post(f"{url}/0/counterexample/replay")
    assert found.status_code == 200
    assert found.json() == api.inspector.replay_found
    problem(api.client.post(f"{url}/1/counterexample/replay"), 404, "counterexample to input")
    api.inspector.replay_found = RejectedFileError("ResourceLimitError", "running was stopped")
    problem(api.client.post(f"{url}/0/counterexample/replay"), 422, "running was stopped")
