"""The servers under measurement, each a process of its own, and their PostgreSQL and Kafka.

PostgreSQL is durable: fsync, full pages and WAL as installed; Headrace and the peers have databases of their own in it.
Headrace's metric writer does not wait for the disk, as the bus has what a crash takes back; so that this is no advantage,
the databases of the peers do not wait either (`synchronous_commit = off`), though with them a crash loses points.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg import conninfo, sql

from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.children import ended_with_parent
from headrace_kit.config import ServiceConfig
from headrace_kit.migrate import migrate
from headrace_kit.pgserver import PORT, EmbeddedPostgres
from headrace_kit.testing.backends.processes import ProcessServer, free_port, http_answers, kafka
from headrace_server.schemas import SCHEMAS
from rig.processes import Failed

_READY_S: Final = 300.0


class Service:
    """A Headrace process that says READY, or whatever else `ready` is, on its first lines."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path, ready: str = "READY") -> None:
        self._command = ended_with_parent(command, "KILL")
        self._environ = {**os.environ, **environ}
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[str] | None = None
        self.said: list[str] = []

    @property
    def pids(self) -> list[int]:
        """Its process, while it runs."""
        return [self._process.pid] if self._process else []

    def start(self) -> None:
        """Returns when it is ready."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        self.said = []
        for line in self._process.stdout or ():
            self.said.append(line.strip())
            if self._ready in line:
                return
        raise Failed(f"{' '.join(self._command)} did not start:\n{self._log.read_text()[-3000:]}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it and waits."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.communicate(timeout=60)
            self._process = None

    def pause(self) -> None:
        """Freezes it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends the pause."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)


@dataclass(frozen=True)
class Headrace:
    """One under measurement."""

    uri: str
    """For clients."""
    database: str
    """DSN, of the superuser: what no call tells is read there."""
    service: Service
    workers: Sequence[Service] = ()
    """Its other processes."""
    kafka: str = ""
    """host:port of its broker, where it has one."""
    backends: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    """Processes that work for it beside the service, by group of the CPU account."""
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings that its services share."""

    @property
    def pids(self) -> dict[str, Sequence[int]]:
        """Group of the CPU account → processes on top of it, as they are now."""
        own = [pid for process in (self.service, *self.workers) for pid in process.pids]
        return {"Headrace": own, **self.backends}

    def settle(self, seconds: float = 60.0) -> None:
        """Waits until the merger has nothing left to do, as far as it ever has."""
        until = time.monotonic() + seconds
        with psycopg.connect(self.database, autocommit=True) as conn:
            while conn.execute("SELECT FROM tracking.metric_merges LIMIT 1").fetchone() and time.monotonic() < until:
                time.sleep(0.1)


class Postgres:
    """The server that all have in common."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder)
        self._folder = folder

    @contextmanager
    def running(self) -> Iterator["Postgres"]:
        """Starts and stops it."""
        with self._server:
            yield self

    @property
    def pids(self) -> list[int]:
        """Its process."""
        return [self._server.pid] if self._server.pid else []

    def database(self, name: str, *, synchronous: bool) -> str:
        """Makes one and returns its DSN."""
        with psycopg.connect(self._server.dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            if not synchronous:
                conn.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(name)))
        return conninfo.make_conninfo(self._server.dsn, dbname=name)

    def uri(self, scheme: str, name: str) -> str:
        """The database in the way that SQLAlchemy and pgx want it."""
        host = conninfo.conninfo_to_dict(self._server.dsn)["host"]
        return f"{scheme}://postgres@/{name}?host={host}&port={PORT}"

    def settings(self) -> dict[str, str]:
        """Those that decide how long a commit takes."""
        names = ("server_version", "fsync", "full_page_writes", "synchronous_commit", "wal_level", "shared_buffers")
        with psycopg.connect(self._server.dsn) as conn:
            rows = conn.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(names)])
            return dict(rows.fetchall())


@contextmanager
def distributed(folder: Path, postgres: Postgres) -> Iterator[Headrace]:
    """Tracking as two processes, edge and writer with merger, as `deploy/compose.yaml` has it; with Kafka and PostgreSQL."""
    database = postgres.database("headrace", synchronous=True)
    migrate(database, SCHEMAS)
    broker: ProcessServer[str] = kafka(folder / "kafka")
    broker.start()
    environ = {
        "HEADRACE_DATABASE": database,
        "HEADRACE_KAFKA": broker.address,
        "HEADRACE_AUTH": "open",
        "HEADRACE_SERVICE_SECRET": secrets.token_hex(16),
    }
    ensure_all_topics(ServiceConfig(database=database, kafka=broker.address))
    with ExitStack() as stack:
        stack.callback(broker.stop)

        def tracking(name: str, **settings: str) -> tuple[str, Service]:
            address = f"127.0.0.1:{free_port()}"
            own = {"HEADRACE_LISTEN": address, **settings}
            service = Service([sys.executable, "-m", "headrace_tracking"], {**environ, **own}, folder / f"{name}.log")
            stack.callback(service.stop)
            service.start()
            return address, service

        no_work = {f"HEADRACE_{what}": "false" for what in ("WRITE_METRICS", "MERGE_METRICS", "PURGE_RUNS")}
        address, edge = tracking("edge", **no_work)
        _, writer = tracking("writer", HEADRACE_SERVE_TRACKING="false")
        backends = {"PostgreSQL": postgres.pids, "Kafka": [broker.pid or 0]}
        yield Headrace(f"grpc://{address}", database, edge, [writer], broker.address, backends, environ)


@contextmanager
def gateway(folder: Path, headrace: Headrace) -> Iterator["Gateway"]:
    """Gateway and artifacts, a process each, beside tracking that runs already; files are kept in a folder."""
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("artifacts", "http")}
    settings = {
        **headrace.environ,
        "HEADRACE_TRACKING": headrace.uri.removeprefix("grpc://"),
        "HEADRACE_ARTIFACTS": addresses["artifacts"],
        "HEADRACE_HTTP_LISTEN": addresses["http"],
        "HEADRACE_BLOBS_DIR": str(folder / "blobs"),
    }
    with ExitStack() as stack:
        started: list[Service] = []
        for name, listen in (("artifacts", addresses["artifacts"]), ("gateway", f"127.0.0.1:{free_port()}")):
            environ = {**settings, "HEADRACE_LISTEN": listen}
            service = Service([sys.executable, "-m", f"headrace_{name}"], environ, folder / f"{name}.log")
            stack.callback(service.stop)
            service.start()
            started.append(service)
        yield Gateway(f"http://{addresses['http']}", headrace, started)


@dataclass(frozen=True)
class Gateway:
    """MLflow's REST interface, as Headrace answers it."""

    uri: str
    headrace: Headrace
    services: Sequence[Service]

    @property
    def pids(self) -> dict[str, Sequence[int]]:
        """Group of the CPU account → processes."""
        own = [pid for service in self.services for pid in service.pids]
        groups = self.headrace.pids
        return {**groups, "Headrace": [*groups["Headrace"], *own]}


@contextmanager
def embedded(folder: Path) -> Iterator[Headrace]:
    """`headrace up`, which brings a PostgreSQL of its own: a child of it, in the CPU account too."""
    arguments = ["up", "--data-dir", str(folder / "data"), "--http-port", "0", "--grpc-port", "0"]
    command = [str(Path(sys.executable).with_name("headrace")), *arguments]
    service = Service(command, {}, folder / "up.log", ready="Stop with")
    try:
        service.start()
        address = next(line.split()[-1] for line in service.said if line.startswith("gRPC"))
        server = EmbeddedPostgres(folder / "data" / "postgres")
        database = conninfo.make_conninfo(server.dsn, dbname="headrace")
        yield Headrace(f"grpc://{address}", database, service)
    finally:
        service.stop(signal.SIGINT)


@dataclass(frozen=True)
class PeerServer:
    """A peer's server that answers."""

    uri: str
    database: str
    python: Path
    """For its client."""
    pids: Mapping[str, Sequence[int]]


@contextmanager
def mlflow(folder: Path, postgres: Postgres, python: Path) -> Iterator[PeerServer]:
    """MLflow's server with its default of four workers."""
    database = postgres.database("mlflow", synchronous=False)
    port = free_port()
    store = ["--backend-store-uri", postgres.uri("postgresql+psycopg2", "mlflow")]
    where = ["--host", "127.0.0.1", "--port", str(port), "--artifacts-destination", str(folder / "mlflow-artifacts")]
    # On a busy machine its workers take more than five seconds to come up, and would be ended for it, again and again.
    where += ["--uvicorn-opts", "--timeout-worker-healthcheck 60"]
    environ = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [str(python.with_name("mlflow")), "server", *store, *where]
    with _http_server("MLflow", command, folder / "mlflow", port, environ) as pid:
        pids = {"MLflow": [pid], "PostgreSQL": postgres.pids}
        yield PeerServer(f"http://127.0.0.1:{port}", database, python, pids)


@contextmanager
def fasttrackml(folder: Path, postgres: Postgres, python: Path) -> Iterator[PeerServer]:
    """FastTrackML's server."""
    database = postgres.database("fasttrackml", synchronous=False)
    port = free_port()
    command = [str(python.with_name("fml")), "server", "--listen-address", f"127.0.0.1:{port}"]
    command += ["--database-uri", postgres.uri("postgres", "fasttrackml")]
    command += ["--default-artifact-root", str(folder / "fasttrackml-artifacts")]
    with _http_server("FastTrackML", command, folder / "fasttrackml", port, {}) as pid:
        pids = {"FastTrackML": [pid], "PostgreSQL": postgres.pids}
        yield PeerServer(f"http://127.0.0.1:{port}", database, python, pids)


@contextmanager
def _http_server(
    name: str, command: Sequence[str], folder: Path, port: int, environ: Mapping[str, str]
) -> Iterator[int]:
    folder.mkdir()
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            ended_with_parent(command, "TERM"),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": "", **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + _READY_S
        while not http_answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > until:
                raise Failed(f"{name} did not start:\n{(folder / 'server.log').read_text()[-3000:]}")
            time.sleep(0.2)
        yield process.pid
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
