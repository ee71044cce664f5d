"""Where the schedules play: PostgreSQL, Kafka and tracking processes of their own, and a directory of the latter."""

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from faults.processes import Process, Service
from fix_platform import ServiceProcess
from headrace_kit.bus.postgres import SCHEMA as BUS
from headrace_kit.migrate import migrate
from headrace_kit.testing.backends import processes
from headrace_tracking.app import SCHEMA as TRACKING

_SERVICES: Final = ("headrace.api.tracking.v1.TrackingService", "headrace.api.tracking.v1.IngestService")
_PARTS: Final = {
    "tracking": {},
    "edge": {"HEADRACE_WRITE_METRICS": "false", "HEADRACE_MERGE_METRICS": "false"},
    "writer": {"HEADRACE_SERVE_TRACKING": "false"},
}
"""Two edges and two writers, once in one process and once apart."""
_QUICK_BROKER: Final = "broker.session.timeout.ms=1000\nbroker.heartbeat.interval.ms=200\n"
"""So long does one that was killed wait for the end of its old session; a freeze as long costs it its leadership."""


class Directory(ThreadingHTTPServer):
    """Says, as the gateway does, where tracking answers: at each one in turn, but those that are known to be down."""

    daemon_threads = True

    def __init__(self, edges: list[Service]) -> None:
        self._edges = edges
        self._turn = count()
        super().__init__(("127.0.0.1", 0), _Answer)
        self.uri = f"http://127.0.0.1:{self.server_port}"

    def address(self) -> str:
        up = [edge for edge in self._edges if edge.listed] or self._edges
        return up[next(self._turn) % len(up)].address


class _Answer(BaseHTTPRequestHandler):
    server: Directory  # pyright: ignore[reportIncompatibleVariableOverride] # the one that makes it

    def do_GET(self) -> None:
        address = self.server.address()
        body = json.dumps({"grpc": dict.fromkeys(_SERVICES, address)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass(frozen=True)
class Place:
    """Everything that runs from one schedule to the next."""

    folder: Path
    uri: str
    processes: Mapping[str, Process]

    def wait_ready(self) -> None:
        """Until all is up again, what others need first."""
        for name in ("kafka", "postgres", *_PARTS):
            self.processes[name].wait_ready()

    def restart(self) -> None:
        """All of it, in whatever state a schedule that broke off has left it."""
        for process in self.processes.values():
            process.kill()
            process.launch()
        self.wait_ready()


@contextmanager
def open_place(folder: Path) -> Iterator[Place]:
    """Call from a thread that lives as long: the backends end with it."""
    with ExitStack() as stack:
        kafka, postgres = processes.kafka(folder / "kafka"), processes.postgres(folder / "postgres")
        with (folder / "kafka" / "server.properties").open("a") as settings:
            settings.write(_QUICK_BROKER)
        for server in (kafka, postgres):
            stack.callback(server.stop)
            server.launch()
        migrate(postgres.address, [BUS, TRACKING])
        kafka.wait_ready()
        uri, services = stack.enter_context(open_services(folder, postgres.address, kafka.address, _PARTS))
        place = Place(folder, uri, {"kafka": kafka, "postgres": postgres, **services})
        place.wait_ready()
        yield place


@contextmanager
def open_services(
    folder: Path, postgres: str, kafka: str, parts: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, dict[str, Service]]]:
    """Tracking processes, each with settings of its own, not ready yet; and where clients are told of their edges."""
    services = {name: _service(name, folder, postgres, kafka, settings) for name, settings in parts.items()}
    edges = [service for name, service in services.items() if "HEADRACE_SERVE_TRACKING" not in parts[name]]
    directory = Directory(edges)
    threading.Thread(target=directory.serve_forever, daemon=True).start()
    try:
        for service in services.values():
            service.launch()
        yield directory.uri, services
    finally:
        for service in services.values():
            service.end()
        directory.shutdown()
        directory.server_close()


def _service(name: str, folder: Path, postgres: str, kafka: str, settings: Mapping[str, str]) -> Service:
    address = f"127.0.0.1:{processes.free_port()}"
    environ = {
        "HEADRACE_DATABASE": postgres,
        "HEADRACE_KAFKA": kafka,
        "HEADRACE_LISTEN": address,
        "HEADRACE_SERVICE_SECRET": secrets.token_hex(16),
        "HEADRACE_AUTH": "open",
        **settings,
    }
    return Service(ServiceProcess("tracking", environ, folder / f"{name}.log"), address)
