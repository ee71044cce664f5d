"""The distributed set-up for tests from outside: every service a process of its own, on real backends."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from minio import Minio
from psycopg import conninfo

from fix_backends import a_database
from fix_webhooks import REACHABLE_ENVIRON
from headrace_kit.testing.backends import Backends
from headrace_kit.testing.backends.processes import free_port

SERVICES: Final = ("identity", "tracking", "artifacts", "registry", "deployment", "events", "gateway")
_READY_S: Final = 60


@dataclass
class ServiceProcess:
    """One service as `python -m headrace_<name>`; `kill` and `start` as often as a test likes, on the same ports."""

    name: str
    environ: dict[str, str]
    log: Path
    process: "subprocess.Popen[str] | None" = None
    _ready: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Starts it; `wait` for it afterwards."""
        self._ready = threading.Event()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"headrace_{self.name}"],
                env={**os.environ, **self.environ},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        threading.Thread(target=self._read, args=(self.process, self._ready), daemon=True).start()

    def _read(self, process: "subprocess.Popen[str]", ready: threading.Event) -> None:
        with process.stdout or open(os.devnull) as lines:  # noqa: PTH123 - the pipe is always there
            for line in lines:
                if line.startswith("READY"):
                    ready.set()

    def wait(self) -> None:
        """Until it says READY; fails with the end of its log when it does not."""
        deadline = time.monotonic() + _READY_S
        while not self._ready.wait(0.05):
            if self.ended or time.monotonic() > deadline:
                pytest.fail(f"{self.name} {'ended' if self.ended else 'is not ready'}:\n{self.log.read_text()[-4000:]}")

    @property
    def ready(self) -> bool:
        """Whether it has said READY since it was last started."""
        return self._ready.is_set()

    @property
    def ended(self) -> bool:
        """Whether there is no process, or none any more."""
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """kill -9, and waits until it is gone."""
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """A signal, and does not wait for what it does."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; the exit code of the drained process."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        return self.process.wait(60)


@dataclass
class Platform:
    """All services; `uri` is the gateway's."""

    uri: str
    services: dict[str, ServiceProcess]
    addresses: dict[str, str]
    """Service → gRPC address."""
    backends: Backends
    environ: dict[str, str]

    def start(self) -> None:
        """Starts all and waits until /health says so."""
        for service in self.services.values():
            service.start()
        for service in self.services.values():
            service.wait()
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Until /health answers 200."""
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                told = error.read().decode()
            except OSError as error:
                told = str(error)
            if time.monotonic() > deadline:
                pytest.fail(f"the platform does not become healthy: {told}")
            time.sleep(0.05)

    def stop(self) -> dict[str, int]:
        """Stops all, gateway first; service → exit code."""
        return {name: self.services[name].stop() for name in reversed(SERVICES)}


@pytest.fixture(scope="session")
def platform(
    backends: Backends, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """One platform for all end-to-end tests: they use names of their own."""
    folder = tmp_path_factory.mktemp("platform")
    with a_database(backends.postgres, template_database) as name:
        built = _build(backends, conninfo.make_conninfo(backends.postgres, dbname=name), folder)
        subprocess.run([_headrace(), "topics"], env={**os.environ, **built.environ}, check=True, capture_output=True)
        built.start()
        try:
            yield built
        finally:
            codes = built.stop()
    assert set(codes.values()) == {0}, f"not every service drained cleanly: {codes}, logs in {folder}"


def _build(backends: Backends, database: str, folder: Path) -> Platform:
    ports = [free_port() for _ in range(len(SERVICES) + 1)]
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(SERVICES, ports, strict=False)}
    bucket = f"e2e-{secrets.token_hex(6)}"
    s3 = backends.s3
    Minio(s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key, secure=s3.secure).make_bucket(bucket)
    environ = {
        "HEADRACE_DATABASE": database,
        "HEADRACE_KAFKA": backends.kafka,
        "HEADRACE_S3_ENDPOINT": s3.endpoint,
        "HEADRACE_S3_ACCESS_KEY": s3.access_key,
        "HEADRACE_S3_SECRET_KEY": s3.secret_key,
        "HEADRACE_S3_SECURE": str(s3.secure).lower(),
        "HEADRACE_S3_BUCKET": bucket,
        "HEADRACE_WORK_DIR": str(folder / "deployments"),
        "HEADRACE_SERVICE_SECRET": secrets.token_hex(16),
        "HEADRACE_AUTH": "open",
        "HEADRACE_HTTP_LISTEN": f"127.0.0.1:{ports[-1]}",
        "HEADRACE_ALLOW_MODEL_CODE": "true",
        **REACHABLE_ENVIRON,
        **{f"HEADRACE_{name.upper()}": address for name, address in addresses.items() if name != "gateway"},
    }
    services = {
        name: ServiceProcess(name, {**environ, "HEADRACE_LISTEN": addresses[name]}, folder / f"{name}.log")
        for name in SERVICES
    }
    return Platform(f"http://127.0.0.1:{ports[-1]}", services, addresses, backends, environ)


@contextmanager
def up(data: Path, environ: dict[str, str] | None = None) -> Iterator[str]:
    """`headrace up`; yields its URI once it is ready, and lets it drain."""
    command = [_headrace(), "up", "--data-dir", str(data)]
    command += ["--http-port", "0", "--grpc-port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})}) as process:
        try:
            lines = iter(process.stdout or ())
            yield next(line.split()[-1] for line in lines if "http://" in line)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 0


def _headrace() -> str:
    return str(Path(sys.executable).with_name("headrace"))
