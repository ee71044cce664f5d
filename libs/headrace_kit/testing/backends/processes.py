"""Backends as processes of this machine, which end with the thread that started them (on Linux)."""

import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic

from headrace_kit.children import ended_with_parent
from headrace_kit.pgserver import EmbeddedPostgres, PostgresError
from headrace_kit.testing.backends import packages
from headrace_kit.testing.backends.servers import A, BackendError, S3Address

_HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.02
_SECRET: Final = "headrace-test"  # noqa: S105 - of stores on loopback that live as long as the tests


class ProcessServer(Generic[A]):
    """A server that is one process; what it prints goes to `folder`/server.log. Implements `Server`."""

    def __init__(
        self,
        address: A,
        command: Sequence[str],
        folder: Path,
        answers: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self._command = ended_with_parent(command, "KILL")
        self._folder = folder
        self._answers = answers
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """See `Server`."""
        return self._process.pid if self._process else None

    def launch(self) -> None:
        """See `Server`."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the tests first, and they end the servers
            )

    def wait_ready(self) -> None:
        """See `Server`."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = (self._folder / "server.log").read_text(errors="replace")[-2000:]
                what = "ended" if ended else f"did not answer within {_START_SECONDS:.0f} s"
                raise BackendError(f"`{' '.join(self._command)}` {what}; it said:\n{said}")
            time.sleep(_POLL_SECONDS)

    def start(self) -> None:
        """See `Server`."""
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """See `Server`."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """See `Server`."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """See `Server`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """See `Server`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class PostgresServer:
    """PostgreSQL from its wheel; durable but for a crash of the machine. Implements `Server`."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder, fast=True)
        self.address = self._server.dsn

    @property
    def pid(self) -> int | None:
        """See `Server`."""
        return self._server.pid

    def launch(self) -> None:
        """See `Server`; waits for PostgreSQL too, 0.6 s with new data."""
        try:
            self._server.start()
        except PostgresError as error:
            raise BackendError(str(error)) from error

    def wait_ready(self) -> None:
        """See `Server`."""

    def start(self) -> None:
        """See `Server`."""
        self.launch()

    def stop(self) -> None:
        """See `Server`."""
        self.resume()
        self._server.stop()

    def kill(self) -> None:
        """See `Server`."""
        children = _children(self.pid) if self.pid else []
        self._server.kill()
        # They notice that the server is gone when they next wait; a paused one never would.
        _signal_all(children, signal.SIGCONT)

    def pause(self) -> None:
        """See `Server`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """See `Server`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """To the server first, so that it makes no more processes, then to those it made."""
        if self.pid is not None:
            _signal_all([self.pid], number)
            _signal_all(_children(self.pid), number)


def postgres(folder: Path) -> PostgresServer:
    """PostgreSQL with its data in the folder; not started."""
    return PostgresServer(folder)


def kafka(folder: Path) -> ProcessServer[str]:
    """A Kafka of one broker, installed; not started."""
    home = packages.KAFKA.install(packages.say)
    classes = home / "classes.jsa"
    if not classes.exists():
        _archive_classes(home, classes)
    return _broker(home, folder, f"-XX:SharedArchiveFile={classes}")


def _archive_classes(home: Path, classes: Path) -> None:
    """Runs a broker once on this machine that leaves its classes parsed: every later one starts in two thirds of the time."""
    packages.say(f"archiving the classes of Kafka in {classes} (once on this machine)")
    with tempfile.TemporaryDirectory(prefix="headrace-backends-") as place:
        made = Path(place) / "classes.jsa"
        broker = _broker(home, Path(place) / "kafka", f"-XX:ArchiveClassesAtExit={made}")
        broker.start()
        broker.stop()
        new = classes.with_name(f"{classes.name}.{os.getpid()}")  # others may do the same now
        if made.exists():
            shutil.copyfile(made, new)
            new.replace(classes)


def _broker(home: Path, folder: Path, java_option: str) -> ProcessServer[str]:
    broker, controller = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    settings = packages.kafka_settings(
        log_dirs=folder / "data",
        listeners=f"PLAINTEXT://{_HOST}:{broker},CONTROLLER://{_HOST}:{controller}",
        advertised=f"PLAINTEXT://{_HOST}:{broker}",
        controller=f"{_HOST}:{controller}",
    )
    (folder / "server.properties").write_text(settings)
    shutil.copytree(home / "formatted", folder / "data", dirs_exist_ok=True)
    java, *rest = packages.kafka_command(home)
    command = [java, java_option, *rest, "kafka.Kafka", str(folder / "server.properties")]
    return ProcessServer(f"{_HOST}:{broker}", command, folder, lambda: kafka_answers(_HOST, broker))


def minio(folder: Path) -> ProcessServer[S3Address]:
    """A MinIO, installed; not started."""
    program = packages.MINIO.install(packages.say) / "minio"
    address = S3Address(f"{_HOST}:{free_port()}", "headrace", _SECRET)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    environment = {
        "MINIO_ROOT_USER": address.access_key,
        "MINIO_ROOT_PASSWORD": address.secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    command = [str(program), "server", "--quiet", "--address", address.endpoint, str(folder / "data")]
    health = f"{address.url}/minio/health/ready"
    return ProcessServer(address, command, folder, lambda: http_answers(health), environment)


def versitygw(folder: Path) -> ProcessServer[S3Address]:
    """A VersityGW, an S3 server over a folder, installed; not started."""
    program = packages.VERSITYGW.install(packages.say) / "versitygw"
    address = S3Address(f"{_HOST}:{free_port()}", "headrace", _SECRET)
    for name in ("data", "attributes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    environment = {"ROOT_ACCESS_KEY": address.access_key, "ROOT_SECRET_KEY": address.secret_key}
    # Attributes beside the data: not every file system keeps extended ones.
    command = [str(program), "--quiet", "--port", address.endpoint, "--health", "/health"]
    command += ["posix", "--sidecar", str(folder / "attributes"), str(folder / "data")]
    return ProcessServer(address, command, folder, lambda: http_answers(f"{address.url}/health"), environment)


def free_port() -> int:
    """As `claimed_port`, and claimed while this process lives."""
    port, claim = claimed_port()
    claim.detach()
    return port


def claimed_port() -> tuple[int, socket.socket]:
    """A TCP port of loopback that nothing uses now, below those that systems give to outgoing connections (Linux from
    32768, others from 49152): a server that is down for a moment finds its port free again.

    No other call, in whatever process, gets it until the socket is closed: this is bound to the UDP port of that number.
    """
    for port in random.sample(range(20_000, 32_768), 1_000):
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), socket.socket() as probe:
            claim.bind((_HOST, port))
            probe.bind((_HOST, port))
            return port, claim
        claim.close()
    raise BackendError("no free TCP port between 20000 and 32767")


def kafka_answers(host: str, port: int) -> bool:
    """Whether a broker answers the first request of its protocol: ApiVersions, version 0, of no named client."""
    try:
        with socket.create_connection((host, port), 1.0) as connection:
            connection.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
            return len(connection.recv(8)) == 8
    except OSError:
        return False


def http_answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=1.0) as answer:  # noqa: S310 - made here, http or https
            return bool(answer.status == 200)
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if listed.exists():
        return [int(child) for child in listed.read_text().split()]
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
