"""OpenTelemetry, off unless the standard environment variables ask for it, and then through one object.

On when OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ or _METRICS_ form) is set and
OTEL_SDK_DISABLED is not "true". Off, `Telemetry` does nothing and the SDK is not even imported.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Literal, Protocol

from typing_extensions import override

TRACEPARENT: Final = "traceparent"
Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """What code may do with a span."""

    def set_attribute(self, key: str, value: str | float) -> None:
        """Adds an attribute."""
        ...


class _NoSpan:
    def set_attribute(self, key: str, value: str | float) -> None:
        """Does nothing."""


class Telemetry:
    """Telemetry that is off: every call is next to free. `configure` gives the one that is on."""

    enabled = False

    def span(
        self, name: str, kind: Kind = "internal", *, traceparent: str = "", attributes: Attributes | None = None
    ) -> AbstractContextManager[Span]:
        """A span around a block, below `traceparent` when given, else below the span under way.

        An exception that leaves the block marks the span as failed.
        """
        del name, kind, traceparent, attributes
        return nullcontext(_NO_SPAN)

    def traceparent(self) -> str:
        """W3C trace context of the span under way; empty where there is none."""
        return ""

    def count(self, name: str, amount: int = 1, attributes: Attributes | None = None) -> None:
        """Adds to a counter."""

    def record(self, name: str, value: float, attributes: Attributes | None = None) -> None:
        """Adds a measurement to a histogram; durations in seconds."""

    def close(self) -> None:
        """Sends what is left, for at most five seconds."""


_NO_SPAN: Final = _NoSpan()


def current_traceparent() -> str:
    """W3C trace context of the span under way in this task or thread, where no `Telemetry` is at hand; empty without.

    Free while telemetry is off: only the one that is on imports the SDK.
    """
    if "opentelemetry.sdk.trace" not in sys.modules:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT, "")


class _OpenTelemetry(Telemetry):
    enabled = True

    def __init__(self, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - half a second, only when it is on
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create({"service.name": service, "service.namespace": "headrace"})
        self._traces: TracerProvider = TracerProvider(resource=resource)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._metrics: MeterProvider = MeterProvider(
            resource=resource, metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())]
        )
        self._tracer = self._traces.get_tracer("headrace")
        self._meter = self._metrics.get_meter("headrace")
        self._instruments: dict[str, Any] = {}

    @override
    @contextmanager
    def span(
        self, name: str, kind: Kind = "internal", *, traceparent: str = "", attributes: Attributes | None = None
    ) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        parent = TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent}) if traceparent else None
        with self._tracer.start_as_current_span(
            name, context=parent, kind=SpanKind[kind.upper()], attributes=dict(attributes or {})
        ) as span:
            yield span

    @override
    def traceparent(self) -> str:
        return current_traceparent()

    @override
    def count(self, name: str, amount: int = 1, attributes: Attributes | None = None) -> None:
        if name not in self._instruments:
            self._instruments[name] = self._meter.create_counter(name)
        self._instruments[name].add(amount, dict(attributes or {}))

    @override
    def record(self, name: str, value: float, attributes: Attributes | None = None) -> None:
        if name not in self._instruments:
            self._instruments[name] = self._meter.create_histogram(name, unit="s")
        self._instruments[name].record(value, dict(attributes or {}))

    @override
    def close(self) -> None:
        self._traces.force_flush(5000)
        self._traces.shutdown()
        self._metrics.shutdown(timeout_millis=5000)


def configure(service: str, environ: Mapping[str, str]) -> Telemetry:
    """Telemetry as the environment asks for it, under this service name."""
    wanted = any(
        environ.get(name)
        for name in (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        )
    )
    if not wanted or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Telemetry()
    return _OpenTelemetry(environ.get("OTEL_SERVICE_NAME") or service)
