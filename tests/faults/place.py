"""Where the schedules play: PostgreSQL, Kafka and two tracking processes of their own, and a directory of the latter."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

from typing_extensions import override

from fix_platform import ServiceProcess
from headrace_kit.bus.postgres import SCHEMA as BUS
from headrace_kit.migrate import migrate
from headrace_kit.testing.backends import open_backends, processes
from headrace_tracking.app import SCHEMA as TRACKING

_SERVICES: Final = ("headrace.api.tracking.v1.TrackingService", "headrace.api.tracking.v1.IngestService")
_READY_S: Final = 60


class Process(Protocol):
    """What a fault is done to."""

    def kill(self) -> None: ...
    def launch(self) -> None: ...
    def wait_ready(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Died(AssertionError):  # noqa: N818 - says what happened
    """A process ended that nobody had killed."""


class Tracking:
    """One tracking service, edge and writer, as whatever runs it would keep it: started again while it cannot start."""

    def __init__(self, service: ServiceProcess, address: str) -> None:
        self.address = address
        self.listed = False
        self._service = service

    def launch(self) -> None:
        self._service.start()
        self.listed = True

    def wait_ready(self) -> None:
        """Raises Died when it had been ready, and ended by itself."""
        deadline = time.monotonic() + _READY_S
        while True:
            ready = self._service._ready.is_set()
            ended = self._service.process is None or self._service.process.poll() is not None
            if ready and not ended:
                return
            if ready or time.monotonic() > deadline:
                raise Died(f"{self._service.name}: {self._service.log.read_text()[-3000:]}")
            if ended:
                self._service.start()
            time.sleep(0.05)

    def kill(self) -> None:
        if (
            self._service.process is not None
            and self._service.process.poll() is not None
            and self._service._ready.is_set()
        ):
            raise Died(f"{self._service.name}: {self._service.log.read_text()[-3000:]}")
        self._service.kill()
        self.listed = False

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        self.resume()
        self._service.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._service.process is not None:
            self._service.process.send_signal(number)


class Client:
    """A process of `client.py`. Implements `Process`."""

    def __init__(self, uri: str, record: Path, seed: int) -> None:
        self.record = record
        self.killed = False
        self._log = record.with_suffix(".log")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_python("client.py"), uri, str(record), str(seed)], stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def wait_ready(self) -> None:
        """Until it has a run."""
        deadline = time.monotonic() + _READY_S
        while not (self.killed or (self.record.exists() and self.record.stat().st_size)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Died(f"a client that got no run: {self._log.read_text()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        self.killed = True
        self._process.kill()
        self._process.communicate()

    def launch(self) -> None:
        """It stays away."""

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """Lets it end; raises Died when it does not end well."""
        if self.killed:
            return
        try:
            self._process.communicate(b"\n", timeout=180)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.returncode != 0:
            raise Died(f"a client: {self._log.read_text()[-3000:]}")


class Directory(ThreadingHTTPServer):
    """Says, as the gateway does, where tracking answers: at each one in turn, but those that are known to be down."""

    daemon_threads = True

    def __init__(self, edges: list[Tracking]) -> None:
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


class Place:
    """Everything that runs from one schedule to the next."""

    def __init__(self, folder: Path, uri: str, processes: Mapping[str, Process]) -> None:
        self.folder = folder
        self.uri = uri
        self.processes = processes

    def wait_ready(self) -> None:
        """Until all is up again, what others need first."""
        for name in ("kafka", "postgres", "tracking-0", "tracking-1"):
            self.processes[name].wait_ready()


@contextmanager
def open_place(folder: Path) -> Iterator[Place]:
    """Call from a thread that lives as long: the backends end with it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_TEST_")}
    with open_backends({"postgres", "kafka"}, {**environ, "HEADRACE_TEST_BACKENDS": "local"}) as backends:
        migrate(backends.postgres, [BUS, TRACKING])
        edges = [_tracking(f"tracking-{n}", folder, backends.postgres, backends.kafka) for n in range(2)]
        directory = Directory(edges)
        threading.Thread(target=directory.serve_forever, daemon=True).start()
        place = Place(
            folder,
            directory.uri,
            {**backends.servers, **{f"tracking-{number}": edge for number, edge in enumerate(edges)}},
        )
        try:
            for edge in edges:
                edge.launch()
            place.wait_ready()
            yield place
        finally:
            for edge in edges:
                edge.stop()
            directory.shutdown()
            directory.server_close()


def check(place: Place, records: list[Path], seconds: float) -> list[dict[str, Any]]:
    """What `check.py` says of each."""
    done = subprocess.run(
        [*_python("check.py"), place.uri, str(seconds), *map(str, records)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Died(f"the checker: {done.stderr[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _tracking(name: str, folder: Path, postgres: str, kafka: str) -> Tracking:
    address = f"127.0.0.1:{processes.free_port()}"
    environ = {
        "HEADRACE_DATABASE": postgres,
        "HEADRACE_KAFKA": kafka,
        "HEADRACE_LISTEN": address,
        "HEADRACE_SERVICE_SECRET": secrets.token_hex(16),
        "HEADRACE_AUTH": "open",
    }
    return Tracking(ServiceProcess("tracking", environ, folder / f"{name}.log"), address)


def _python(program: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(program))]
