"""One trace leads from the client's promotion to the first answer of the new version."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pandas as pd
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider

import headrace as hr
from fix_platform import up


class Collector(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """What an OpenTelemetry collector does, as far as receiving goes."""

    def __init__(self) -> None:
        self.spans: defaultdict[str, set[str]] = defaultdict(set)
        """Trace id → names of its spans."""
        self.metrics: set[str] = set()
        self._arrived = threading.Condition()

    def Export(self, request: object, context: object) -> object:
        with self._arrived:
            if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
                for scope in (scope for resource in request.resource_spans for scope in resource.scope_spans):
                    for span in scope.spans:
                        self.spans[span.trace_id.hex()].add(span.name)
                self._arrived.notify_all()
                return trace_service_pb2.ExportTraceServiceResponse()
            assert isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest)
            for scopes in (scope for resource in request.resource_metrics for scope in resource.scope_metrics):
                self.metrics |= {metric.name for metric in scopes.metrics}
            self._arrived.notify_all()
            return metrics_service_pb2.ExportMetricsServiceResponse()

    def wait_for(self, trace_id: str, wanted: set[str]) -> set[str]:
        """The names of the trace's spans, once the wanted ones are among them or 15 s have passed."""
        with self._arrived:
            self._arrived.wait_for(lambda: wanted <= self.spans[trace_id], timeout=15)
            return set(self.spans[trace_id])


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(1).wait()


@pytest.fixture
def tracer() -> trace.Tracer:
    return TracerProvider().get_tracer("test")


def test_one_trace_from_promotion_to_first_answer(tmp_path: Path, tracer: trace.Tracer) -> None:
    def double(frame: pd.DataFrame) -> list[int]:
        return [2] * len(frame)

    with collecting() as (collector, endpoint):
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        environ["OTEL_METRIC_EXPORT_INTERVAL"] = "500"
        with up(tmp_path / "data", environ) as uri, hr.connect(uri) as client:
            with tracer.start_as_current_span("a training job") as span:
                with client.start_run("traced", capture=False) as run:
                    model = run.log_model(double)
                version = client.registry.register_model(model, "doubler")
                client.registry.promote("doubler", version.version)
            trace_id = f"{span.get_span_context().trace_id:032x}"
            client.deployments.wait("doubler", version=1, timeout=60)
            answer = httpx.post(f"{uri}/serving/doubler/invocations", json={"dataframe_records": [{"x": 1}]})
            assert answer.json() == {"predictions": [2]}
            wanted = {
                "headrace.api.tracking.v1.TrackingService/CreateLoggedModel",
                "headrace.api.registry.v1.RegistryService/PromoteModelVersion",
                "serve doubler",
            }
            names = collector.wait_for(trace_id, wanted)
            assert names >= wanted
            assert any("deploy" in name or "instance" in name for name in names - wanted), names
            deadline = time.monotonic() + 60
            while "rpc.server.duration" not in collector.metrics and time.monotonic() < deadline:
                time.sleep(0.1)
            assert "rpc.server.duration" in collector.metrics
