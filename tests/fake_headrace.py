"""A Headrace in memory, for tests of the client: as much of the services as they need, and faults on demand.

The real services are in tests/service and tests/e2e; here it matters that the test can lose an acknowledgement or cut a
stream at a chosen place.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf import message_factory

from fake_ingest import FakeIngest
from fake_platform import FakeArtifacts, FakeDeployments, FakeEvents, FakeIdentity, FakeRegistry
from fake_tracking import FakeTracking
from headrace.api.artifacts.v1 import artifact_service_pb2 as artifacts_wire
from headrace.api.deployment.v1 import deployment_service_pb2
from headrace.api.events.v1 import event_service_pb2
from headrace.api.identity.v1 import identity_service_pb2
from headrace.api.registry.v1 import registry_service_pb2
from headrace.api.tracking.v1 import ingest_service_pb2 as ingest_wire
from headrace.api.tracking.v1 import tracking_service_pb2 as tracking_wire
from headrace_kit.testing.backends.processes import claimed_port


class FakeHeadrace:
    """All of them behind one gRPC address, and behind a gateway that tells it."""

    def __init__(self) -> None:
        self.ingest = FakeIngest()
        self.tracking = FakeTracking()
        self.artifacts = FakeArtifacts()
        self.registry = FakeRegistry()
        self.deployments = FakeDeployments()
        self.events = FakeEvents()
        self.identity = FakeIdentity()
        self.port = 0
        self._server: grpc.Server | None = None

    def start(self, port: int = 0) -> None:
        """Serves; at the port it had before, after a stop."""
        server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        for module, fake in (
            (ingest_wire, self.ingest),
            (tracking_wire, self.tracking),
            (artifacts_wire, self.artifacts),
            (registry_service_pb2, self.registry),
            (deployment_service_pb2, self.deployments),
            (event_service_pb2, self.events),
            (identity_service_pb2, self.identity),
        ):
            (service,) = module.DESCRIPTOR.services_by_name.values()
            server.add_generic_rpc_handlers((handlers(service, fake),))
        self.port = server.add_insecure_port(f"127.0.0.1:{port or self.port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        """Cuts everything."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    @property
    def uri(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"


def handlers(service: Any, fake: object) -> grpc.GenericRpcHandler:
    """The methods of a service that the fake has; the others are UNIMPLEMENTED."""
    made = {}
    for method in service.methods:
        if hasattr(fake, method.name):
            make = {
                (False, False): grpc.unary_unary_rpc_method_handler,
                (True, False): grpc.stream_unary_rpc_method_handler,
                (False, True): grpc.unary_stream_rpc_method_handler,
                (True, True): grpc.stream_stream_rpc_method_handler,
            }[method.client_streaming, method.server_streaming]
            request, answer = (message_factory.GetMessageClass(t) for t in (method.input_type, method.output_type))
            made[method.name] = make(
                getattr(fake, method.name),
                request_deserializer=request.FromString,
                response_serializer=answer.SerializeToString,
            )
    return grpc.method_handlers_generic_handler(service.full_name, made)


@contextmanager
def serving() -> Iterator[FakeHeadrace]:
    """One that serves, on a port that stays its own while it is stopped."""
    fake = FakeHeadrace()
    port, claim = claimed_port()
    try:
        fake.start(port)
        yield fake
    finally:
        fake.stop()
        claim.close()


@contextmanager
def gateway(answer: Callable[[], tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server that answers discovery; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer() if self.path == "/.well-known/headrace" else (404, b"")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name above
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def well_known(port: int, services: Sequence[str]) -> bytes:
    """What a gateway tells."""
    return json.dumps({"version": "0", "grpc": dict.fromkeys(services, f"127.0.0.1:{port}")}).encode()
