"""Traces: request, job, piece of work, method; and nothing at all where nobody wants them."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from store.settings import SettingsError
from tests.helpers.engines import ScriptedEngine, certifying
from tests.helpers.imports import ROOT
from tests.helpers.service import service_settings
from worker import tracing
from worker.certifying import CertificationWork
from worker.logs import job_logged
from worker.meters import Meters
from worker.observing import observed
from worker.tracing import NO_TRACING, OpenTelemetry, open_tracing


def test_a_trace_leads_from_the_request_to_the_methods() -> None:
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    api = OpenTelemetry(exporter, service="api", version="1", at_once=True)
    worker = OpenTelemetry(exporter, service="worker", version="1", at_once=True)
    with api.span("POST request"), api.span("certification job"):
        parent = api.traceparent()
    assert parent is not None
    assert api.traceparent() is None
    engines = observed(
        certifying(ScriptedEngine(changes={"seconds": {"crown": 0.25}})),
        Meters(),
        worker,
        lambda _job: {"traceparent": parent},
    )
    work = CertificationWork(Path("x"), "n", Path("y"), "d", {}, (3,), "cpu")
    with job_logged("job_1"):
        list(engines.certify(work, lambda: False))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"POST request", "certification job", "certify", "crown"}
    assert len({span.context.trace_id for span in spans.values()}) == 1
    chain = ["crown", "certify", "certification job", "POST request"]
    for child, above in pairwise(chain):
        assert spans[child].parent.span_id == spans[above].context.span_id
    assert spans["certify"].attributes["job"] == "job_1"
    assert spans["crown"].attributes["index"] == 3
    assert spans["crown"].end_time - spans["crown"].start_time == 250_000_000
    api.close()
    worker.close()


def test_an_error_is_noted_in_its_span() -> None:
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    traced = OpenTelemetry(exporter, service="worker", version="1", at_once=True)
    with pytest.raises(LookupError), traced.span("certify"):
        raise LookupError("gone")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok


def test_nothing_is_loaded_where_nobody_wants_traces() -> None:
    script = (
        "import sys, worker.tracing, worker.reporter\n"
        "print(*(name for name in sys.modules if name.startswith('opentelemetry.sdk')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    with NO_TRACING.span("certify", parent=None, job="x"):
        NO_TRACING.past_span("crown", 1.0)
        assert NO_TRACING.traceparent() is None


def test_settings_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = service_settings(tmp_path)
    assert open_tracing(quiet, service="api", version="1") is NO_TRACING
    loud = service_settings(tmp_path, otlp_endpoint="http://127.0.0.1:9/v1/traces")

    def missing(*_: object, **__: object) -> None:
        raise ImportError

    monkeypatch.setattr(tracing, "OpenTelemetry", missing)
    with pytest.raises(SettingsError, match=r"install tightrope\[otel\]"):
        open_tracing(loud, service="api", version="1")
