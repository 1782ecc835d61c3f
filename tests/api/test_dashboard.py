"""The dashboard for Grafana asks for figures that there are, by labels that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from store.counters import Counters
from store.figures import FAMILIES, Kind
from tests.helpers.api import Api
from tests.helpers.engines import ScriptedEngine, certifying
from tests.helpers.imports import ROOT
from worker.certifying import CertificationWork
from worker.meters import Meters
from worker.observing import observed
from worker.tracing import NO_TRACING

_OF_PROMETHEUS = {"le", "job", "instance"}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "deploy/grafana/tightrope.json").read_text())
    return found


def queries(dashboard: Mapping[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    yield dashboard["templating"]["list"][1]["query"]["query"]


def sampled(text: str) -> dict[str, set[str]]:
    """Return the names of all samples of an exposition with their labels."""
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(tightrope_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def exercised(api: Api) -> str:
    """Let everything happen once that is counted, and return what /metrics says."""
    api.world.finish()
    api.world.certify([0, 1, 2], reuse=True)
    Counters(api.world.database, settled=timedelta(0)).count_jobs()
    meters = Meters()
    changes = {"status": {"exact": "timeout"}}
    engines = observed(
        certifying(ScriptedEngine(changes=changes)), meters, NO_TRACING, lambda _job: {}
    )
    blob = api.world.settings.data_dir
    work = CertificationWork(blob, "n", blob, "d", {}, (0,), "cpu")
    list(engines.certify(work, lambda: False))
    meters.count("tightrope_engine_failures_total", work="certify", error="MemoryError")
    meters.count("tightrope_webhook_attempts_total", outcome="delivered")
    meters.flush(Counters(api.world.database))
    api.client.get("/v1/jobs")
    return api.client.get("/metrics").text


def test_every_query_asks_for_what_there_is(api: Api, dashboard: dict[str, Any]) -> None:
    samples = sampled(exercised(api))
    asked = list(queries(dashboard))
    assert len(asked) > 15
    for query in asked:
        names = re.findall(r"tightrope_\w+", query)
        assert names, query
        for name in names:
            assert name in samples, f"{query}: {name}"
            by = re.findall(r"by \(([^)]*)\)", query)
            wanted = {label.strip() for labels in by for label in labels.split(",")}
            wanted |= set(re.findall(r"(\w+)=~", query))
            assert wanted <= samples[name] | _OF_PROMETHEUS, query


def test_every_family_is_shown(dashboard: dict[str, Any]) -> None:
    text = " ".join(queries(dashboard))
    assert [name for name in FAMILIES if name not in text] == []


def test_every_family_is_documented() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in FAMILIES if f"`{name}`" not in text] == []
    alerts = re.findall(r"tightrope_\w+", text)
    known = [*FAMILIES, *(f"{name}_count" for name in FAMILIES)]
    assert sorted(set(alerts) - set(known)) == []


def test_what_only_grows_is_shown_as_a_rate(dashboard: dict[str, Any]) -> None:
    growing = [name for name, family in FAMILIES.items() if family.kind is not Kind.GAUGE]
    for query in queries(dashboard):
        if any(name in query for name in growing):
            assert "rate(" in query, query
