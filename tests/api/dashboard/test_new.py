"""Jobs are asked for on pages, as the interface does; what is wrong stands beside its field."""

from __future__ import annotations

import json
import re
import shlex

import httpx
import pytest

from api.principal import Scope
from store.keys import KeyLimits
from tests.api.dashboard.pages import counted, links, shown, words
from tests.api.test_access import bearer
from tests.api.test_forms import OURS, log_in
from tests.helpers.api import Api
from tests.helpers.pages import PageParser, parsed
from tests.helpers.service import NETWORK_DETAILS

KINDS = ("certification", "comparison", "training")
BROWSER = {"Accept": "text/html", **OURS}
NOWHERE = "net_" + "0" * 26
ELSEWHERE = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site"}


def fields(page: PageParser) -> dict[str, list[str]]:
    """Return what a browser would send of the form in a page, but for its buttons."""
    sent: dict[str, list[str]] = {}
    selected = ""
    for tag, attrs in page.tags:
        name = attrs.get("name") or ""
        if tag == "select":
            selected = name
            sent.setdefault(name, [""])
        elif tag == "option" and selected and "selected" in attrs:
            sent[selected] = [attrs["value"] or ""]
        elif tag == "input" and (attrs.get("type") != "checkbox" or "checked" in attrs):
            sent.setdefault(name, []).append(attrs.get("value") or "")
    sent.pop("csrf", None)  # of the form that logs out
    return sent


def filled(api: Api, kind: str, **changes: list[str]) -> dict[str, list[str]]:
    """Return a form that says enough."""
    other = api.world.upload(api.world.networks, b"other", "o.onnx", NETWORK_DETAILS)
    named = {
        "certification": {"network_id": [api.world.network]},
        "comparison": {"baseline_id": [api.world.network], "candidate_ids": [other]},
        "training": {"architecture": ["mlp:8"]},
    }[kind]
    page = shown(api.client.get(f"/new/{kind}"))
    return {**fields(page), **named, "dataset_id": [api.world.dataset], **changes}


def send(
    api: Api, kind: str, form: dict[str, list[str]], headers: dict[str, str] = BROWSER
) -> httpx.Response:
    return api.client.post(f"/new/{kind}", data=form, headers=headers)


def problems(response: httpx.Response) -> dict[str, str]:
    """Return what a page says of its fields, and that it says so above and beside them."""
    page = parsed(response.text)
    found = dict(re.findall(r'data-problem="([^"]+)">([^<]+)<', response.text))
    invalid = {attrs["name"] for _, attrs in page.tags if "aria-invalid" in attrs}
    assert invalid <= set(found)
    assert any(attrs.get("role") == "alert" for _, attrs in page.tags)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_that_is_sent_is_a_job(api: Api, kind: str) -> None:
    response = send(api, kind, filled(api, kind))
    assert response.status_code == 303, words(parsed(response.text))
    path = response.headers["location"]
    job = api.client.get(f"/v1{path}").json()
    assert job["state"] == "queued"
    assert api.queue.sent == [(job["id"], "bounds" if kind == "training" else "exact")]
    assert path == f"/{kind}s/{job['id']}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_has_a_label_and_words(api: Api, kind: str) -> None:
    page = shown(api.client.get(f"/new/{kind}"))
    ids = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
    labels = {attrs["for"] for tag, attrs in page.tags if tag == "label" and attrs.get("for")}
    for tag, attrs in page.tags:
        if tag in ("input", "select", "fieldset") and attrs.get("aria-describedby"):
            assert set((attrs["aria-describedby"] or "").split()) <= ids
            if tag != "fieldset" and attrs.get("type") != "checkbox":
                assert attrs["id"] in labels


def test_a_form_that_is_sent_twice_is_one_job(api: Api) -> None:
    form = filled(api, "certification")
    paths = {send(api, "certification", form).headers["location"] for _ in range(2)}
    assert len(paths) == 1
    assert send(api, "certification", filled(api, "certification")).headers["location"] not in paths


@pytest.mark.parametrize(
    ("kind", "changes", "field", "said"),
    [
        ("certification", {"epsilon": ["much"]}, "epsilon", "no number"),
        ("certification", {"network_id": [""]}, "network_id", "needed"),
        ("certification", {"network_id": [NOWHERE]}, "network_id", "net_000"),
        ("certification", {"targets": ["7"]}, "targets", "the network has 3 outputs"),
        ("certification", {"valid_range": ["0, 0.5"]}, "valid_range", "outside the valid range"),
        ("certification", {"webhook.url": ["http://127.0.0.1/"]}, "webhook.url", "webhook"),
        ("comparison", {"candidate_ids": []}, "candidate_ids", "at least 1"),
        ("comparison", {"candidate_ids": [NOWHERE]}, "candidate_ids", "net_000"),
        ("training", {"epochs": ["99999"]}, "epochs", "trains at most"),
        ("training", {"architecture": ["cnn-small"]}, "architecture", "takes images"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(
    api: Api, kind: str, changes: dict[str, list[str]], field: str, said: str
) -> None:
    form = filled(api, kind, **changes)
    response = send(api, kind, form)
    assert response.status_code == 422
    assert said in problems(response)[field]
    if changes[field] not in ([], [NOWHERE]):
        # Nothing that was typed is lost.
        assert {**fields(parsed(response.text)), "once": form["once"]} == form
    assert api.queue.sent == []
    # Only looked at, the form says the same.
    looked = api.client.get(f"/new/{kind}", params={**form, "sent": "1"})
    assert said in problems(looked)[field]


def test_what_no_field_is_to_blame_for_is_said_above(api: Api) -> None:
    form = filled(api, "certification", indices=["1"])
    response = send(api, "certification", form)
    assert "Give count or indices, not both" in words(parsed(response.text))


def test_a_fresh_form_blames_nobody(api: Api) -> None:
    page = shown(api.client.get("/new/certification"))
    # There is one network and one data set, so that both are chosen.
    assert fields(page)["network_id"] == [api.world.network]
    assert fields(page)["dataset_id"] == [api.world.dataset]
    api.world.upload(api.world.networks, b"other", "o.onnx", NETWORK_DETAILS)
    response = api.client.get("/new/certification")
    assert fields(shown(response))["network_id"] == [""]
    assert not re.findall(r'data-problem="[^"]+">[^<]+<', response.text)


def test_a_link_fills_the_form_in(api: Api) -> None:
    other = api.world.upload(api.world.networks, b"other", "o.onnx", NETWORK_DETAILS)
    page = shown(api.client.get(f"/networks/{other}"))
    for kind, field in (("certification", "network_id"), ("comparison", "baseline_id"),
                        ("training", "network_id")):  # fmt: skip
        (link,) = [one for one in links(page) if one.startswith(f"/new/{kind}?")]
        assert fields(shown(api.client.get(link)))[field] == [other]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_one_from_this_one_asks_the_same(api: Api, kind: str) -> None:
    form = filled(api, kind)
    changes = {"epsilon": ["0.0625"], "seed": ["7"], "priority": ["2"]}
    if kind != "training":
        changes |= {"count": [""], "indices": ["4, 1"], "methods": ["ibp", "lp"], "norm": ["2"]}
    path = send(api, kind, {**form, **changes}).headers["location"]
    page = shown(api.client.get(path))
    (link,) = [one for one in links(page) if one.startswith(f"/new/{kind}?from=")]
    again = send(api, kind, fields(shown(api.client.get(link)))).headers["location"]
    assert again != path
    first, second = (api.client.get(f"/v1{one}").json() for one in (path, again))
    for name in ("settings", "region", "network", "networks", "dataset", "priority"):
        assert first.get(name) == second.get(name), name


def test_the_first_inputs_are_told_as_their_number(api: Api) -> None:
    made = api.world.certify([0, 1, 2]).id
    said = fields(shown(api.client.get(f"/new/certification?from={made}")))
    assert (said["count"], said["indices"]) == (["3"], [""])
    missing = api.client.get("/new/certification?from=job_x", headers=BROWSER)
    assert missing.status_code == 404


@pytest.mark.parametrize("kind", KINDS)
def test_commands_are_in_step_with_the_fields(api: Api, kind: str) -> None:
    form = {**filled(api, kind), "epsilon": ["0.0625"]}
    page = shown(api.client.get(f"/new/{kind}", params=form))
    (curl,) = [shlex.split(text.replace("\\\n", "")) for text in page.text if "curl -H" in text]
    body, address = json.loads(curl[-2]), curl[-1]
    assert body["epsilon"] == 0.0625
    assert address.endswith(f"/v1/{kind}s")
    assert api.client.post(address, json=body).status_code == 202
    assert any("--epsilon 0.0625" in text for text in page.text)


def test_names_are_escaped(api: Api) -> None:
    evil = "<script>x</script>"
    network = api.world.upload(api.world.networks, b"evil", evil, NETWORK_DETAILS)
    for query in (f"?network_id={network}", f"?sent=1&network_id={network}&epsilon={evil}"):
        response = api.client.get(f"/new/certification{query}")
        shown(response)
        assert evil not in response.text


def test_a_login_needs_its_token(guarded: Api) -> None:
    token = log_in(guarded, guarded.client, Scope.READ, Scope.SUBMIT)
    form = filled(guarded, "certification")
    for wrong in ({}, {"csrf": ["x"]}):
        refused = send(guarded, "certification", {**form, **wrong})
        assert refused.status_code == 403
        assert "load the page again" in refused.text
    genuine = {**form, "csrf": [token]}
    assert send(guarded, "certification", genuine, ELSEWHERE).status_code == 403
    assert send(guarded, "certification", genuine).status_code == 303


def test_without_keys_other_sites_are_refused(api: Api) -> None:
    form = filled(api, "certification")
    assert send(api, "certification", form, ELSEWHERE).status_code == 403
    assert api.queue.sent == []


@pytest.mark.parametrize(("kind", "scope"), [("certification", Scope.SUBMIT),
                                             ("comparison", Scope.SUBMIT),
                                             ("training", Scope.TRAIN)])  # fmt: skip
def test_forms_take_the_scope_of_the_interface(guarded: Api, kind: str, scope: Scope) -> None:
    token = log_in(guarded, guarded.client, Scope.READ)
    form = filled(guarded, kind)
    page = shown(guarded.client.get(f"/new/{kind}"))
    assert "takes one with the scope" in words(page)
    assert f"Start the {kind}" not in words(page)
    assert send(guarded, kind, {**form, "csrf": [token]}).status_code == 403
    token = log_in(guarded, guarded.client, Scope.READ, scope)
    assert send(guarded, kind, {**form, "csrf": [token]}).status_code == 303


def test_a_quota_is_told_on_the_page(guarded: Api) -> None:
    limits = KeyLimits(queued_jobs=1)
    made = guarded.key(Scope.READ, Scope.SUBMIT, limits=limits)
    key = bearer(made.token)
    guarded.client.headers.update(key)
    try:
        form = filled(guarded, "certification")
        assert send(guarded, "certification", form).status_code == 303
        refused = send(guarded, "certification", {**form, "once": ["another"]})
    finally:
        del guarded.client.headers["Authorization"]
    assert refused.status_code == 429
    assert "queued" in words(parsed(refused.text))


def test_what_pages_do_is_in_the_audit_log(guarded: Api) -> None:
    token = log_in(guarded, guarded.client, Scope.READ, Scope.SUBMIT)
    form = {**filled(guarded, "certification"), "csrf": [token]}
    path = send(guarded, "certification", form).headers["location"]
    admin = bearer(guarded.key(Scope.ADMIN).token)
    guarded.client.cookies.clear()
    entry = guarded.client.get("/v1/audit", headers=admin).json()["items"][0]
    assert (entry["action"], entry["target"]) == ("create_certification", path.rsplit("/", 1)[1])


def test_who_is_logged_out_comes_back_to_the_form(guarded: Api) -> None:
    path = "/new/certification?network_id=net_1&epsilon=0.5"
    sent = guarded.client.get(path, headers=BROWSER)
    assert sent.status_code == 303
    assert httpx.URL(sent.headers["location"]).params["next"] == path
    posted = guarded.client.post("/new/certification", data={"epsilon": "1"}, headers=BROWSER)
    assert posted.headers["location"] == "/login?next=/new/certification"


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_queries_is_constant(api: Api, kind: str) -> None:
    def queries() -> int:
        with counted(api) as statements:
            shown(api.client.get(f"/new/{kind}"))
        return len([one for one in statements if "SELECT" in one])

    few = queries()
    for number in range(210):
        api.world.upload(api.world.networks, b"%d" % number, f"{number}", NETWORK_DETAILS)
    # The network is no longer the only one, and is not looked at before it is chosen.
    assert queries() <= few
    page = shown(api.client.get(f"/new/{kind}"))
    assert "newest are listed" in words(page)
    query = {"certification": "network_id", "comparison": "baseline_id", "training": "network_id"}
    link = f"/new/{kind}?{query[kind]}={api.world.network}"
    assert fields(shown(api.client.get(link)))[query[kind]] == [api.world.network]
