"""Pages of comparisons: lists, figures so far and in the end, and single inputs."""

from __future__ import annotations

import re

import pytest

from api.principal import Scope
from reports.comparison import comparison_of
from store.chunks import Claim
from store.projects import Projects
from store.states import JobState
from tests.api.dashboard.pages import counted, links, shown, words
from tests.api.test_access import bearer
from tests.helpers.api import Api
from tests.helpers.pages import PageParser
from tests.helpers.service import comparing, item

LAYERS = [{"name": "a1", "neurons": 8, "unstable": 2.0, "slack": 0.5}]
BEFORE, AFTER = ("verified", "unknown", "falsified"), ("verified", "verified", "unknown")


def claimed(api: Api, count: int = 3) -> tuple[str, list[Claim]]:
    """Store a comparison that somebody works on; return its id, and a claim for each network."""
    row = api.world.compare(list(range(count)))
    assert api.world.jobs.claim(row.id, "somebody")
    return row.id, [comparing(row.id, "somebody", position) for position in (0, 1)]


def compared(api: Api, *verdicts: tuple[str, ...]) -> str:
    """Store a comparison with all its answers and return its id."""
    answers = [[item(i, word) for i, word in enumerate(side)] for side in verdicts]
    made, claims = claimed(api, len(answers[0]))
    for claim, items in zip(claims, answers, strict=True):
        api.world.comparisons.add_items(claim, items)
    sides = [
        {"name": name, "network_id": "net_1", "sha256": "0", "items": items, "layers": LAYERS}
        for name, items in zip(("n.onnx", "m.onnx"), answers, strict=True)
    ]
    result = comparison_of(sides[0], sides[1:], methods=["crown"])
    api.world.comparisons.succeed(made, "somebody", result)
    return made


def labels(page: PageParser) -> list[str]:
    return [attrs["aria-label"] or "" for tag, attrs in page.tags if tag == "svg"]


def test_no_comparison(api: Api) -> None:
    page = shown(api.client.get("/comparisons"))
    assert "There is no comparison yet" in words(page)
    assert "/comparisons" in links(page)


def test_a_list(api: Api) -> None:
    done, waiting = compared(api, BEFORE, AFTER), api.world.compare().id
    page = shown(api.client.get("/comparisons"))
    assert {f"/comparisons/{done}", f"/comparisons/{waiting}"} <= set(links(page))
    text = words(page)
    assert "m.onnx against n.onnx" in text
    assert "100.0 % 100.0 % +0.0 points" in text.replace("\u202f", " ")
    assert "0 of 6" in text


def test_long_lists_are_paged(api: Api) -> None:
    for _ in range(51):
        api.world.compare([0])
    first = shown(api.client.get("/comparisons"))
    (older,) = [one for one in links(first) if one.startswith("/comparisons?cursor=")]
    second = shown(api.client.get(older))
    pages = [{one for one in links(p) if one.startswith("/comparisons/")} for p in (first, second)]
    assert (len(pages[0]), len(pages[1]), pages[0] & pages[1]) == (50, 1, set())


def test_a_comparison(api: Api) -> None:
    done = compared(api, BEFORE, AFTER)
    page = shown(api.client.get(f"/comparisons/{done}"))
    text = words(page)
    for said in ("Accuracy", "Gaps", "Unstable neurons", "Verdicts that changed", "(baseline)"):
        assert said in text
    assert "1 gained, 0 lost" in text
    assert any(one.startswith("Accuracy: clean 100.0 % and 100.0 %") for one in labels(page))
    assert sum(attrs.get("class") == "whisker" for _, attrs in page.tags) == 6
    changed = {f"/comparisons/{done}/inputs/{index}" for index in (1, 2)}
    assert {one for one in links(page) if "/inputs/" in one} == changed
    assert f"/v1/comparisons/{done}/report.html" in links(page)
    assert "so far" not in text


def test_figures_are_there_while_answers_come(api: Api) -> None:
    made, claims = claimed(api)
    path = f"/comparisons/{made}"
    page = shown(api.client.get(path))
    assert "No input is answered for every network yet" in words(page)
    api.world.comparisons.add_items(claims[0], [item(0), item(1, "unknown")])
    assert "No input is answered for every network yet" in words(shown(api.client.get(path)))
    api.world.comparisons.add_items(claims[1], [item(1)])
    page = shown(api.client.get(path))
    assert "Of the 1 input that every network has answered so far" in words(page)
    assert "1 gained, 0 lost" in words(page)
    (main,) = [attrs for tag, attrs in page.tags if tag == "main"]
    assert main["data-follow"] == made
    assert f"/v1/comparisons/{made}/report.html" not in links(page)


def test_an_input(api: Api) -> None:
    done = compared(api, BEFORE, AFTER)
    page = shown(api.client.get(f"/comparisons/{done}/inputs/1"))
    text = words(page)
    assert "n.onnx (baseline)" in text
    assert re.search(r"unknown.*m\.onnx.*verified", text)
    beside = {f"/comparisons/{done}/inputs/{index}" for index in (0, 2)}
    assert beside | {f"/comparisons/{done}"} <= set(links(page))
    assert api.client.get(f"/comparisons/{done}/inputs/9").status_code == 404


def test_an_input_that_one_network_has_not_answered(api: Api) -> None:
    made, claims = claimed(api)
    api.world.comparisons.add_items(claims[1], [item(0)])
    assert "Not answered yet" in words(shown(api.client.get(f"/comparisons/{made}/inputs/0")))


def test_a_failure_is_told(api: Api) -> None:
    made, _ = claimed(api)
    told = {"type": "MemoryError", "message": "it is too large"}
    api.world.jobs.finish(made, "somebody", JobState.FAILED, error=told)
    page = shown(api.client.get(f"/comparisons/{made}"))
    assert "it is too large" in words(page)
    assert "No input was answered for every network" in words(page)


def test_another_project_sees_none(guarded: Api) -> None:
    done = compared(guarded, BEFORE, AFTER)
    other = Projects(guarded.world.database).create("other").id
    foreign = bearer(guarded.key(Scope.READ, project_id=other).token)
    for path in (f"/comparisons/{done}", f"/comparisons/{done}/inputs/0"):
        assert guarded.client.get(path, headers=foreign).status_code == 404
    assert "n.onnx" not in guarded.client.get("/comparisons", headers=foreign).text


@pytest.mark.parametrize("suffix", ["", "/inputs/0"])
def test_the_number_of_queries_is_constant(api: Api, suffix: str) -> None:
    def queries(path: str) -> int:
        with counted(api) as statements:
            shown(api.client.get(path))
        return len([one for one in statements if re.match(r"\s*(SELECT|WITH)", one)])

    small = compared(api, BEFORE, AFTER)
    few = queries("/comparisons")
    large = compared(api, ("verified", "unknown") * 60, ("falsified", "verified") * 60)
    for _ in range(20):
        api.world.compare([0])
    assert queries(f"/comparisons/{small}{suffix}") == queries(f"/comparisons/{large}{suffix}")
    assert queries("/comparisons") == few
    assert few < 10


def test_figures_so_far_are_made_once(api: Api) -> None:
    made, claims = claimed(api)
    for claim in claims:
        api.world.comparisons.add_items(claim, [item(0)])
    path = f"/comparisons/{made}"
    assert "Of the 1 input that every network has answered" in words(shown(api.client.get(path)))
    with counted(api) as statements:
        assert "Of the 1 input " in words(shown(api.client.get(path)))
    assert not [one for one in statements if "compared_items" in one]
    for claim in claims:
        api.world.comparisons.add_items(claim, [item(1, "unknown")])
    assert "Of the 2 inputs" in words(shown(api.client.get(path)))
