"""Files uploaded on the page of networks: what was recognised, or everything in the way."""

from __future__ import annotations

import httpx
import pytest

from api.authentication import csrf_token
from api.principal import Scope
from tests.api.dashboard.pages import links, refuse_inline, shown, words
from tests.api.test_access import bearer
from tests.helpers.api import Api
from tests.helpers.pages import PageParser, parsed

PAGE = {"Accept": "text/html"}


def send(api: Api, name: str, content: bytes, **more: object) -> httpx.Response:
    files = {"file": (name, content)}
    return api.client.post("/networks", files=files, headers=PAGE, follow_redirects=True, **more)  # type: ignore[arg-type]


def has_form(page: PageParser) -> bool:
    return any(attrs.get("action") == "/networks" for tag, attrs in page.tags if tag == "form")


def test_a_network_is_recognised_at_once(api: Api) -> None:
    response = send(api, "fresh.onnx", b"a new one")
    page = shown(response)
    text = words(page)
    for said in ("Recognised.", "fresh.onnx", "1 Input, 2 Linear, 1 Relu", "1 × 4", "67"):
        assert said in text
    (made,) = [row for row in api.world.networks.page(limit=9) if row.name == "fresh.onnx"]
    assert response.url.path == f"/networks/uploaded/{made.id}"
    assert f"/networks/{made.id}" in links(page)
    assert has_form(page)


def test_a_data_set_is_told_by_its_name(api: Api) -> None:
    text = words(shown(send(api, "digits.NPZ", b"data")))
    assert "The data set digits.NPZ: 5 inputs of shape 4 in 3 classes, values from 0 to 1" in text
    assert [row.name for row in api.world.datasets.page(limit=1)] == ["digits.NPZ"]


def test_everything_unsupported_is_listed(api: Api) -> None:
    response = send(api, "<i>odd</i>.onnx", b"BAD")
    assert response.status_code == 422
    page = parsed(response.text)
    text = words(page)
    for said in ("an operator that is not supported", "was not stored", "it is odd", "Det"):
        assert said in text
    assert "<i>" not in response.text
    assert sum(tag == "tr" for tag, _ in page.tags) >= 3
    assert has_form(page)
    assert all(row.name != "odd.onnx" for row in api.world.networks.page(limit=9))


@pytest.mark.parametrize(("files", "said"), [
    ({"file": ("", b"")}, "No file was chosen"),
    ({"other": ("n.onnx", b"x")}, "No file was chosen"),
    ({"file": ("n.onnx", b"")}, "The file is empty"),
])  # fmt: skip
def test_no_file(api: Api, files: dict[str, tuple[str, bytes]], said: str) -> None:
    response = api.client.post("/networks", files=files, headers=PAGE)
    assert response.status_code == 422
    assert said in words(parsed(response.text))


def test_a_file_beyond_the_limit_is_told_on_a_page(api: Api) -> None:
    large = b"0" * 300_000
    response = send(api, "large.onnx", large)
    assert response.status_code == 413
    page = parsed(response.text)
    refuse_inline(page)
    assert "larger than the 200000 bytes that this server takes here" in words(page)
    document = api.client.post("/v1/networks", files={"file": ("large.onnx", large)}, headers=PAGE)
    assert document.json()["status"] == 413


def test_only_keys_that_may_submit_have_the_form(guarded: Api) -> None:
    reads, writes = (bearer(guarded.key(*scopes).token)
                     for scopes in ((Scope.READ,), (Scope.READ, Scope.SUBMIT)))  # fmt: skip
    page = shown(guarded.client.get("/networks", headers=reads))
    assert not has_form(page)
    assert "uploading takes one with the scope submit" in words(page)
    assert has_form(shown(guarded.client.get("/networks", headers=writes)))
    files = {"file": ("n.onnx", b"x")}
    assert guarded.client.post("/networks", files=files, headers=reads).status_code == 403


def test_a_login_uploads_with_the_token_of_the_page(guarded: Api) -> None:
    key = guarded.key(Scope.READ, Scope.SUBMIT)
    cookie = guarded.app.state.services.logins.open(key.row.id)
    guarded.client.cookies.set("tightrope_session", cookie)
    ours = {**PAGE, "Sec-Fetch-Site": "same-origin"}
    for token, status in ((csrf_token(cookie), 303), ("", 403)):
        sent = guarded.client.post(
            "/networks", data={"csrf": token}, files={"file": ("n.onnx", b"x")}, headers=ours
        )
        assert sent.status_code == status
    deeds = guarded.app.state.services.audit.page(limit=1)
    assert (deeds[0].action, deeds[0].target[:4]) == ("upload_file", "net_")


def test_what_was_uploaded_is_found_by_its_id_only(api: Api) -> None:
    assert api.client.get("/networks/uploaded/net_x", headers=PAGE).status_code == 404
    page = shown(api.client.get(f"/networks/uploaded/{api.world.dataset}"))
    assert "Recognised" in words(page)


def test_layers_are_shown(api: Api) -> None:
    path = f"/networks/{api.world.network}"
    page = shown(api.client.get(path))
    assert "1 Input x 1 × 4 2 Linear z 1 × 8 40 3 Relu a 1 × 8 8" in words(page)
    old = {name: value for name, value in api.inspector.details["network"].items()
           if name not in ("layers", "neurons")}  # fmt: skip
    known = api.world.upload(api.world.networks, b"old", "old.onnx", old)
    text = words(shown(api.client.get(f"/networks/{known}")))
    assert "uploaded before layers were noted" in text


def test_a_deep_network_is_cut(api: Api) -> None:
    details = {**api.inspector.details["network"], "nodes": 123_456}
    known = api.world.upload(api.world.networks, b"deep", "deep.onnx", details)
    text = words(shown(api.client.get(f"/networks/{known}")))
    assert "The first 4 of 123 456 are shown" in text
