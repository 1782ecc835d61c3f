"""The gate's parts by themselves: options, verdicts, tables, documents, files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.junit import certification_junit
from reports.sarif import Origin, certification_sarif
from tests.helpers.junit import check_junit, outcomes
from tests.helpers.report_items import items_strategy
from tests.helpers.sarif import check_sarif
from tests.reports.test_junit import once, report_of
from tightrope_client import ConfigurationError, UnexpectedResponseError
from tightrope_client.gate.arguments import GateArguments, parse
from tightrope_client.gate.console import Console, write_all
from tightrope_client.gate.documents import failed_junit, gate_junit, gate_sarif, repository_path
from tightrope_client.gate.outcome import Check, judge
from tightrope_client.gate.table import markdown, plain
from tightrope_client.models import Certification, Comparison

NEEDED = ("--network", "n.onnx", "--data", "d.npz", "--epsilon", "0.1")
SHARE = st.floats(0, 1)


def asked(*more: str) -> GateArguments:
    return parse([*NEEDED, *more], program="gate")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "nothing to fail: give --min-certified"),
        (("--min-certified", "1.5"), "1.5 is no share; give one such as 0.9 or 90%"),
        (("--min-certified", "nan"), "no finite number"),
        (("--min-clean", "x"), "'x' is no finite number"),
        (("--min-clean", "0", "--max-drop", "0.1"), "give --baseline"),
        (("--min-clean", "0", "--method", "lp"), "--method lp is not among --methods ibp,crown"),
        (("--min-clean", "0", "--epsilon", "-1"), "give a number of 0 or more"),
        (("--min-clean", "0", "--timeout", "0"), "give a number above 0"),
        (("--min-clean", "0", "--count", "0"), "give a count of 1 or more"),
        (("--min-clean", "0", "--priority", "11"), "give a priority from -10 to 10"),
        (("--min-clean", "0", "--count", "1.5"), "'1.5' is no whole number"),
        (("--min-clean", "0", "--methods", ","), "name at least one method"),
        (("--min-clean", "0", "--valid-range", "1,0"), "'1,0' is no range"),
        (("--min-clean", "0", "--mean", "0.5"), "give both --mean and --std"),
        (("--min-clean", "0", "--targets", "a"), "'a' is no whole number"),
        (("--min-clean", "0", "--norm", "3"), "invalid choice"),
        (("--min-clean", "0", "--min-cert", "1"), "unrecognized arguments"),
        (("--min-clean", "0", "--junit", "none/x.xml"), "does not exist; create it"),
        (("--min-clean", "0", "--junit", "."), "is a folder; name a file"),
        (("--min-clean", "0", "--junit", "a", "--sarif", "./a"), "name the same file"),
    ],
)
def test_options_that_cannot_be_used(more: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        asked(*more)
    assert words in str(caught.value)


def test_options_become_a_question() -> None:
    given_ = asked(
        "--min-clean", "50%", "--valid-range", "none", "--methods", "crown, lp,crown",
        "--mean", "0.5", "--std", "2", "--targets", "3,7", "--count", "9", "--no-reuse",
        "--priority", "-3",
    )  # fmt: skip
    assert given_.about("dat_1").body() == {
        "dataset_id": "dat_1",
        "epsilon": 0.1,
        "norm": "inf",
        "methods": ["crown", "lp"],
        "timeout_seconds": 60.0,
        "valid_range": None,
        "seed": 0,
        "reuse": False,
        "count": 9,
        "targets": [3, 7],
        "priority": -3,
        "normalization": {"mean": [0.5], "std": [2.0]},
    }
    assert (given_.min_clean, given_.min_certified, given_.max_drop) == (0.5, None, 0.01)


def summary(count: int, right: int, falsified: int = 0, unknown: int = 0) -> dict[str, Any]:
    proved = right - falsified - unknown
    return {
        "count": count,
        "clean_accuracy": right / count,
        "empirical_accuracy": (right - falsified) / count,
        "certified_accuracy": {"ibp": 0.0, "crown": max(0, proved - 1) / count},
        "certified_gap": 0.0,
        "mean_gap": {},
        "falsified": falsified,
        "unknown": unknown,
        "seconds": 1.0,
    }


REFERENCE = {"id": "net_1", "name": "n|1.onnx", "sha256": "ab" * 32}
JOB: dict[str, Any] = {
    "id": "job_1",
    "state": "succeeded",
    "progress": {"done": 3, "total": 3, "seconds_left": 30.0},
    "cancel_requested": False,
    "cached": True,
    "error": None,
    "created_at": "2030-01-31T12:00:00Z",
    "started_at": None,
    "finished_at": None,
    "dataset": {**REFERENCE, "name": "d.npz"},
    "region": {"norm": "2", "epsilon": 0.1, "valid_range": None},
    "settings": {
        "methods": ["crown"], "timeout_seconds": 1.0, "targets": None, "indices": [0],
        "normalization": None, "seed": 0,
    },
}  # fmt: skip


def certification(figures: dict[str, Any]) -> Certification:
    return Certification.model_validate({**JOB, "network": REFERENCE, "summary": figures})


def comparison(before: dict[str, Any], after: dict[str, Any], **changes: object) -> Comparison:
    side = {"network_id": "net_1", "name": "n", "sha256": "", "intervals": {}, "tightness": None}
    candidate = {
        **side, "name": "new", "summary": after, "difference": {}, "accuracy": {},
        "certified_gap": None, "gained": [], "lost": [], "changes": [], **changes,
    }  # fmt: skip
    result = {"baseline": {**side, "name": "old", "summary": before}, "candidates": [candidate]}
    known = {"baseline": REFERENCE, "candidates": [REFERENCE], "result": result}
    return Comparison.model_validate({**JOB, **known})


@pytest.mark.parametrize(
    ("method", "limit", "passed"),
    [
        ("verdict", "0.5", True),
        ("verdict", "0.51", False),
        ("tightest", "0.4", True),
        ("tightest", "0.41", False),
        ("crown", "0.4", True),
        ("ibp", "0.01", False),
    ],
)
def test_what_counts_as_certified(method: str, limit: str, passed: bool) -> None:
    job = certification(summary(10, 9, falsified=3, unknown=1))
    given_ = asked("--min-certified", limit, "--method", method)
    outcome = judge(job, given_, url="u")
    assert outcome.passed is passed
    assert outcome.to_json()["checks"][0]["limit"] == float(limit)


@given(st.integers(1, 500), st.data())
def test_limits_are_met_by_counts_not_by_rounding(count: int, data: st.DataObject) -> None:
    before, after, allowed = (data.draw(st.integers(0, count)) for _ in range(3))
    job = comparison(summary(count, before), summary(count, after))
    drop = repr(allowed / count)
    outcome = judge(job, asked("--baseline", "b.onnx", "--max-drop", drop), url="u")
    assert outcome.passed == (before - after <= allowed)
    least = judge(
        certification(summary(count, after)),
        asked("--min-certified", repr(before / count), "--min-clean", repr(before / count)),
        url="u",
    )
    assert [check.passed for check in least.checks] == [after >= before] * 2


def test_nothing_certified_is_nothing_passed() -> None:
    nothing = {**summary(1, 1), "count": 0, "clean_accuracy": None}
    job = certification(nothing)
    outcome = judge(job, asked("--min-certified", "0", "--min-clean", "0"), url="u")
    assert [check.passed for check in outcome.checks] == [False, False]
    no_result = certification(summary(1, 1)).model_copy(update={"summary": None})
    with pytest.raises(UnexpectedResponseError):
        judge(no_result, asked("--min-clean", "0"), url="u")


def test_the_tables() -> None:
    lost = list(range(20))
    job = comparison(summary(4, 3), summary(4, 2), lost=lost, gained=[21])
    outcome = judge(job, asked("--baseline", "b.onnx"), url="http://s/r")
    text = plain(outcome)
    assert text.splitlines()[0] == (
        "new, L2 ε = 0.1, 4 inputs of d.npz, taken over from an earlier job"
    )
    assert "clean                     50.00 %   75.00 %  -25.00\n" in text
    assert "lost: inputs 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more\n" in text
    assert text.endswith("report: http://s/r\ngate failed\n")
    odd = certification(summary(1, 1))
    page = markdown(judge(odd, asked("--min-clean", "0"), url="http://s/r"))
    assert "### n\\|1.onnx" in page
    assert "| certified, any method \\* | 100.00 % |" in page
    assert "- ✅ clean accuracy 100.00 % is at least 0.00 %" in page


CHECKS = st.lists(
    st.builds(
        Check,
        name=st.sampled_from(["certified-accuracy", "clean-accuracy", "drop"]),
        passed=st.booleans(), value=SHARE, limit=SHARE, words=st.just("words"),
    ),
    max_size=3, unique_by=lambda check: check.name,
)  # fmt: skip


@given(CHECKS, items_strategy())
def test_documents_fail_exactly_if_the_gate_does(
    checks: list[Check], items: list[dict[str, Any]]
) -> None:
    report = report_of(once(items))
    root = check_junit(gate_junit(checks, certification_junit(report)))
    failed = [check.name for check in checks if not check.passed]
    assert [name for name, end in outcomes(root).items() if end == "failure"] == failed
    assert root.get("errors") == "0"
    skipped = sum(end == "skipped" for end in outcomes(root).values())
    assert skipped == sum(item["verdict"] != "verified" for item in items)
    origin = Origin("0.1.0", "n.onnx")
    before = check_sarif(certification_sarif(report, origin))
    run = check_sarif(gate_sarif(checks, certification_sarif(report, origin)))
    count = len(run["results"]) - len(before["results"])
    assert [result["ruleId"] for result in run["results"][:count]] == [f"gate-{n}" for n in failed]
    assert run["results"][count:] == before["results"]


@pytest.mark.parametrize("text", ["", "<a>", "<html/>x"])
def test_documents_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UnexpectedResponseError, match="JUnit XML cannot be read"):
        gate_junit([], text)


@pytest.mark.parametrize("text", ["", "[]", '{"runs": []}', '{"runs": [{}]}'])
def test_logs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UnexpectedResponseError, match="SARIF cannot be read"):
        gate_sarif([], text)


def test_a_gate_without_a_verdict_is_an_error() -> None:
    root = check_junit(failed_junit("job_1 has failed: <memory>"))
    assert outcomes(root) == {"job": "error"}


def test_paths_are_seen_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert repository_path(Path("a/../nets/n.onnx")) == "nets/n.onnx"
    assert repository_path(tmp_path / "nets" / "n.onnx") == "nets/n.onnx"
    assert repository_path(Path("/elsewhere/n.onnx")) == "n.onnx"


class Terminal(io.StringIO):
    """A stream that says that somebody looks at it."""

    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals() -> None:
    job = certification(summary(1, 1))
    for err, quiet, shown in (
        (io.StringIO(), False, False),
        (Terminal(), True, False),
        (Terminal(), False, True),
    ):
        out = io.StringIO()
        console = Console(out, err, quiet=quiet)
        console.progress(job)
        console.result("done\n")
        assert out.getvalue() == "done\n"
        words = "\r\x1b[Kjob_1 is succeeded: 3 of 3, about 30 s left\r\x1b[K"
        assert err.getvalue() == (words if shown else "")


def test_what_a_stream_has_no_letters_for_is_replaced() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Console(stream, io.StringIO()).result("L∞ ε\n")
    assert raw.getvalue() == b"L? ?\n"


def test_all_files_or_none(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "none" / "bad"
    with pytest.raises(ConfigurationError, match="cannot write"):
        write_all({good: "x", bad: "y"})
    assert list(tmp_path.iterdir()) == []
    write_all({good: "ε"})
    assert good.read_text("utf-8") == "ε"
    assert good.stat().st_mode & 0o777 == 0o644
