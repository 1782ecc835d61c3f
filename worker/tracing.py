"""Traces in the form of OpenTelemetry, where an operator wants them; nothing is loaded otherwise.

A request that makes a job leaves a span for the job, whose context is kept with it; the pieces of
work that workers do for the job are children of that span, and what each method did on each input
is a child of its piece: request, job, piece, method.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from store.settings import PREFIX, Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["NO_TRACING", "OpenTelemetry", "Tracing", "open_tracing"]

Attribute = str | int | float | bool
_NANOSECONDS = 1_000_000_000


class Tracing(Protocol):
    """Makes spans.

    Attributes:
        enabled: Whether anybody will see them.
    """

    enabled: bool

    def span(
        self, name: str, *, parent: str | None = None, **attributes: Attribute
    ) -> AbstractContextManager[None]:
        """Open a span for as long as a block lasts.

        Args:
            name: Of the span.
            parent: Its `traceparent`; None for the span that is open here, if there is one.
            attributes: What to know about it.
        """
        ...

    def past_span(self, name: str, seconds: float, **attributes: Attribute) -> None:
        """Note a span that ends now and began so many seconds ago."""
        ...

    def traceparent(self) -> str | None:
        """Return what carries the open span into another process; None where none is open."""
        ...

    def close(self) -> None:
        """Send what is not sent yet."""
        ...


class _NoTracing:
    """Makes no spans and costs nothing."""

    enabled = False

    def span(
        self, name: str, *, parent: str | None = None, **attributes: Attribute
    ) -> AbstractContextManager[None]:
        """Do nothing."""
        del name, parent, attributes
        return nullcontext()

    def past_span(self, name: str, seconds: float, **attributes: Attribute) -> None:
        """Do nothing."""

    def traceparent(self) -> str | None:
        """Return None."""
        return None

    def close(self) -> None:
        """Do nothing."""


NO_TRACING: Tracing = _NoTracing()


class OpenTelemetry:
    """Makes spans with OpenTelemetry's own package.

    Args:
        exporter: Takes the spans.
        service: Name of the process among others.
        version: Of the software.
        at_once: Export each span as it ends, in place of now and then.
    """

    enabled = True

    def __init__(
        self, exporter: SpanExporter, *, service: str, version: str, at_once: bool = False
    ) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 (an extra)
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
            BatchSpanProcessor,
            SimpleSpanProcessor,
        )
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        resource = Resource.create({"service.name": service, "service.version": version})
        self._provider = TracerProvider(resource=resource)
        processor = SimpleSpanProcessor if at_once else BatchSpanProcessor
        self._provider.add_span_processor(processor(exporter))
        self._tracer = self._provider.get_tracer("tightrope", version)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, *, parent: str | None = None, **attributes: Attribute
    ) -> Iterator[None]:
        """Open a span; an error that leaves the block is noted in it."""
        carrier = {} if parent is None else {"traceparent": parent}
        context = self._propagator.extract(carrier) if carrier else None
        with self._tracer.start_as_current_span(name, context, attributes=attributes):
            yield

    def past_span(self, name: str, seconds: float, **attributes: Attribute) -> None:
        """Note a span that ends now."""
        now = time.time_ns()
        began = now - int(seconds * _NANOSECONDS)
        self._tracer.start_span(name, attributes=attributes, start_time=began).end(now)

    def traceparent(self) -> str | None:
        """Return the header that carries the open span."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        """Send what is not sent yet."""
        self._provider.shutdown()


def open_tracing(settings: Settings, *, service: str, version: str) -> Tracing:
    """Return what the settings ask for.

    Args:
        settings: Of this process.
        service: Name of the process among others.
        version: Of the software.

    Raises:
        SettingsError: The packages are missing.
    """
    if settings.otlp_endpoint is None:
        return NO_TRACING
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )

        exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint)
        return OpenTelemetry(exporter, service=service, version=version)
    except ImportError as error:
        raise SettingsError(
            f"{PREFIX}OTLP_ENDPOINT asks for traces, but OpenTelemetry is not installed; "
            "install tightrope[otel], or unset it"
        ) from error
