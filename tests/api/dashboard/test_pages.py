"""Pages answer, show what is stored, lead somewhere, and ask the database few questions."""

from __future__ import annotations

import re

import pytest

from api.principal import Scope
from store.projects import Projects
from store.workers import Workers
from tests.api.dashboard.pages import BROWSER, counted, links, refuse_inline, shown, words
from tests.api.test_access import bearer
from tests.helpers.api import Api
from tests.helpers.pages import parsed
from tests.helpers.service import SUMMARY, item

FOUND = {"x": [0.1, 0.2, 0.3, 0.4], "y": [2.0, 1.0, 0.0]}


def certified(api: Api, *verdicts: str) -> str:
    """Store a certification with one answer for each verdict and return its id."""
    indices = list(range(len(verdicts)))
    row = api.world.certify(indices)
    assert api.world.jobs.claim(row.id, "somebody")
    for index, verdict in enumerate(verdicts):
        more = {"input": [0.0] * 4, "counterexample": FOUND} if verdict == "falsified" else {}
        api.world.certifications.add_item(row.id, "somebody", item(index, verdict, **more))
    summary = {**SUMMARY, "count": len(verdicts), "falsified": verdicts.count("falsified")}
    api.world.certifications.succeed(row.id, "somebody", summary)
    return row.id


def test_the_overview_of_nothing(api: Api) -> None:
    page = shown(api.client.get("/"))
    text = words(page)
    for said in (
        "Nothing is being computed",
        "No network is certified yet",
        "No job is finished yet",
        "none: nothing will be computed",
    ):
        assert said in text
    assert "/v1/networks" in text


def test_the_overview(api: Api) -> None:
    finished = api.world.finish()
    waiting = api.world.certify().id
    comparison, training = api.world.compare().id, api.world.train(name="narrow").id
    Workers(api.world.database).seen("w", queues="bounds,exact", device="cpu", version="1")
    page = shown(api.client.get("/"))
    text = words(page)
    jobs = [api.world.jobs.get(one) for one in (waiting, comparison)]
    left = sum(job.total for job in jobs)
    assert f"jobs that wait; {left} inputs left in all" in text
    assert f"bounds {left} 1 0 3" in text
    assert "exact 0 1 0 0" in text
    assert "no worker takes it" not in text
    assert "m.onnx against n.onnx" in text
    assert "narrow" in text
    assert "100.0 %" in text
    bars = {attrs["data-job"]: attrs for _, attrs in page.tags if "data-job" in attrs}
    assert set(bars) == {waiting, comparison, training}
    assert bars[waiting]["data-state"] == "queued"
    assert {f"/certifications/{finished}", f"/certifications/{waiting}"} <= set(links(page))


def test_a_queue_that_nobody_takes(api: Api) -> None:
    api.world.certify([0, 1])
    text = words(shown(api.client.get("/")))
    assert "bounds no worker takes it 2 0 0 1" in text
    assert "none: nothing will be computed" in text


def test_progress_is_shown(api: Api) -> None:
    row = api.world.certify([0, 1, 2, 3])
    assert api.world.jobs.claim(row.id, "somebody")
    api.world.certifications.add_item(row.id, "somebody", item(0))
    for path in ("/", f"/certifications/{row.id}"):
        page = shown(api.client.get(path))
        (bar,) = [attrs for tag, attrs in page.tags if tag == "progress"]
        assert (bar["value"], bar["max"]) == ("1", "4")
        (main,) = [attrs for tag, attrs in page.tags if tag == "main"]
        assert main["data-follow"] in ("*", row.id)
    assert "Of the answers so far" in words(shown(api.client.get(f"/certifications/{row.id}")))


def test_a_trend_needs_the_same_question_twice(api: Api) -> None:
    api.world.finish()
    api.world.finish(epsilon=0.2)
    assert "since the one before" not in api.client.get("/").text
    api.world.finish(epsilon=0.2)
    for path in ("/", "/networks"):
        assert "±0.0 points since the one before" in api.client.get(path).text


def test_networks(api: Api) -> None:
    api.world.finish()
    page = shown(api.client.get("/networks"))
    assert "n.onnx" in words(page)
    assert f"/networks/{api.world.network}" in links(page)


def test_long_lists_are_paged(api: Api) -> None:
    for number in range(51):
        details = {**api.inspector.details["network"]}
        api.world.upload(api.world.networks, b"%d" % number, f"net-{number}", details)
        api.world.certify()
    for path, column in (("/networks", "/networks/"), ("/certifications", "/certifications/")):
        first = shown(api.client.get(path))
        (older,) = [one for one in links(first) if one.startswith(f"{path}?cursor=")]
        second = shown(api.client.get(older))
        pages = [{one for one in links(page) if one.startswith(column)} for page in (first, second)]
        assert len(pages[0]) == 50
        assert pages[1]
        assert not pages[0] & pages[1]
        assert path in links(second)


def test_a_network(api: Api) -> None:
    page = shown(api.client.get(f"/networks/{api.world.network}"))
    text = words(page)
    assert "It has not been certified yet" in text
    assert "1 × 4" in text
    assert "2 Linear, 1 Relu" in text
    ids = [api.world.finish(epsilon=epsilon) for epsilon in (0.1, 0.2, 0.2)]
    page = shown(api.client.get(f"/networks/{api.world.network}"))
    assert {f"/certifications/{one}" for one in ids} <= set(links(page))
    labels = [attrs["aria-label"] or "" for tag, attrs in page.tags if tag == "svg"]
    assert any(label.startswith("Accuracy by radius") for label in labels)
    assert any("ε = 0.2, d.npz 100" in label for label in labels)


def test_a_certification(api: Api) -> None:
    done = certified(api, "verified", "falsified", "misclassified", "verified")
    page = shown(api.client.get(f"/certifications/{done}"))
    text = words(page)
    for said in ("Accuracy", "Gaps", "Margins", "Times", "succeeded", "d.npz", "ε = 0.1"):
        assert said in text
    assert {f"/certifications/{done}/inputs/{index}" for index in range(4)} <= set(links(page))
    assert "data-follow" not in next(attrs for tag, attrs in page.tags if tag == "main")


def test_an_input(api: Api) -> None:
    done = certified(api, "verified", "falsified", "misclassified")
    path = f"/certifications/{done}/inputs/"
    first = shown(api.client.get(f"{path}0"))
    assert "Bounds on the margin" in words(first)
    assert f"{path}1" in links(first)
    second = shown(api.client.get(f"{path}1"))
    assert "answer becomes 0" in words(second)
    assert {f"{path}0", f"{path}2", f"/v1{path.replace('inputs', 'items')}1/counterexample"} <= set(
        links(second)
    )
    refused = api.client.get(f"{path}7", headers=BROWSER)
    assert refused.status_code == 404
    refuse_inline(parsed(refused.text))


def test_a_failure_is_told(api: Api) -> None:
    row = api.world.certify()
    assert api.world.jobs.claim(row.id, "somebody")
    error = {"type": "ShapeError", "message": "shapes (4,) and (1, 12) differ"}
    api.world.jobs.finish(row.id, "somebody", "failed", error=error)
    for path in ("/", f"/certifications/{row.id}"):
        assert "shapes (4,) and (1, 12) differ" in words(shown(api.client.get(path)))


def test_links_lead_somewhere(api: Api) -> None:
    done = certified(api, "verified", "falsified", "misclassified")
    api.world.compare()
    api.world.train()
    seen, waiting = set(), ["/"]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        response = api.client.get(path)
        assert response.status_code == 200, path
        if response.headers["content-type"].startswith("text/html") and not path.startswith(
            ("/v1/", "/docs")
        ):
            waiting += [one for one in links(parsed(response.text)) if one not in {*seen, *waiting}]
    assert {f"/certifications/{done}/inputs/2", f"/networks/{api.world.network}"} <= seen
    assert f"/v1/certifications/{done}/sarif.json" in seen


@pytest.mark.parametrize("path", ["/nothing", "/networks/net_x", "/certifications/job_x",
                                  "/networks?cursor=%21"])  # fmt: skip
def test_what_is_not_there(api: Api, path: str) -> None:
    response = api.client.get(path, headers=BROWSER)
    assert response.status_code in (404, 422)
    assert response.headers["content-type"].startswith("text/html")
    page = parsed(response.text)
    refuse_inline(page)
    assert "/" in links(page)
    assert api.client.get(path).headers["content-type"] == "application/problem+json"
    assert api.client.get("/v1/jobs/x", headers=BROWSER).json()["status"] == 404


def test_names_are_escaped(api: Api) -> None:
    evil = "<script>x</script>"
    api.world.network = api.world.upload(
        api.world.networks, b"evil", evil, api.inspector.details["network"]
    )
    done = api.world.finish()
    for path in ("/", "/networks", f"/networks/{api.world.network}", "/certifications",
                 f"/certifications/{done}", f"/certifications/{done}/inputs/0"):  # fmt: skip
        response = api.client.get(path)
        shown(response)
        assert evil not in response.text


def test_another_project_sees_nothing(guarded: Api) -> None:
    done = certified(guarded, "verified")
    other = Projects(guarded.world.database).create("other").id
    foreign = bearer(guarded.key(Scope.READ, project_id=other).token)
    own = bearer(guarded.key(Scope.READ).token)
    paths = (f"/networks/{guarded.world.network}", f"/certifications/{done}",
             f"/certifications/{done}/inputs/0")  # fmt: skip
    for path in paths:
        shown(guarded.client.get(path, headers=own))
        assert guarded.client.get(path, headers=foreign).status_code == 404
    for path in ("/", "/networks", "/certifications"):
        assert "n.onnx" in guarded.client.get(path, headers=own).text
        assert "n.onnx" not in guarded.client.get(path, headers=foreign).text


def test_pages_take_the_scope_read(guarded: Api) -> None:
    weak = bearer(guarded.key(Scope.SUBMIT).token)
    for path in ("/", "/networks", "/certifications", "/networks/x", "/certifications/x"):
        assert guarded.client.get(path, headers=weak).status_code == 403
        sent = guarded.client.get(path, headers=BROWSER)
        assert (sent.status_code, sent.headers["location"]) == (303, f"/login?next={path}")


def test_the_number_of_queries_is_constant(api: Api) -> None:
    paths = ["/", "/networks", "/certifications", f"/networks/{api.world.network}"]
    api.world.finish()
    api.world.compare()
    api.world.train()
    few = {path: _queries(api, path) for path in paths}
    for number in range(60):
        api.world.finish([0], epsilon=0.001 * (1 + number))
        api.world.certify([0])
        api.world.compare([0])
        api.world.train()
    assert {path: _queries(api, path) for path in paths} == few
    assert max(few.values()) < 20


def test_inputs_cost_no_queries(api: Api) -> None:
    small, large = certified(api, "verified"), certified(api, *["verified", "falsified"] * 150)
    for suffix in ("", "/inputs/0"):
        paths = [f"/certifications/{one}{suffix}" for one in (small, large)]
        assert _queries(api, paths[0]) == _queries(api, paths[1])


def test_all_answers_are_read_once(api: Api) -> None:
    path = f"/certifications/{certified(api, *['verified', 'falsified'] * 60)}"
    first = api.client.get(path).text
    with counted(api) as statements:
        assert api.client.get(path).text == first
        assert "101 to 120 of 120" in words(shown(api.client.get(f"{path}?page=2")))
    read = [one for one in statements if "FROM items" in one]
    assert len(read) == 2
    assert all('items."index" IN (' in one for one in read)


def _queries(api: Api, path: str) -> int:
    """Return how many queries a page costs, beside that for keys: what it found is kept a while."""
    with counted(api) as statements:
        shown(api.client.get(path))
    asked = [one for one in statements if re.match(r"\s*(SELECT|WITH)", one)]
    return len([one for one in asked if "FROM api_keys" not in one])


def test_files_are_kept_by_browsers(guarded: Api) -> None:
    page = parsed(guarded.client.get("/login").text)
    assert page.tags
    for name, media_type in (("dashboard.css", "text/css"), ("dashboard.js", "text/javascript"),
                             ("icon.svg", "image/svg+xml")):  # fmt: skip
        response = guarded.client.get(f"/static/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(media_type)
        assert "immutable" in response.headers["cache-control"]
    assert guarded.client.get("/static/overview.html").status_code == 404
