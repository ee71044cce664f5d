"""Real PostgreSQL, Kafka and S3 stores for tests, benches and the demo, found or started.

Each backend comes from the first of these that has it:

1. the environment: `HEADRACE_TEST_POSTGRES` (a superuser's URI), `HEADRACE_TEST_KAFKA` (host:port,...),
   `HEADRACE_TEST_S3_ENDPOINT` (host:port, or a URL) with `_ACCESS_KEY` and `_SECRET_KEY`, `HEADRACE_TEST_S3_OTHER_*`;
2. a Docker engine that answers: testcontainers, see `containers` for its images;
3. processes of this machine, installed into a cache from PyPI, Maven and Go's proxy.

`HEADRACE_TEST_BACKENDS=docker|local` says which of 2 and 3. A backend that cannot be had is an error that says what
is missing and how to get it. `python -m headrace_kit.testing.backends` installs, checks and runs them by hand.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from headrace_kit.testing.backends import packages, processes
from headrace_kit.testing.backends.servers import BackendError, Given, Name, S3Address, Server

__all__ = ["BackendError", "Backends", "Name", "S3Address", "Server", "install", "missing", "open_backends", "source"]

_PROCESSES: Final[Mapping[Name, Callable[[Path], Server[Any]]]] = {
    "postgres": processes.postgres,
    "kafka": processes.kafka,
    "s3": processes.minio,
    "s3_other": processes.versitygw,
}
PACKAGES: Final[Mapping[Name, packages.Package]] = {
    "kafka": packages.KAFKA,
    "s3": packages.MINIO,
    "s3_other": packages.VERSITYGW,
}
"""What a backend's process needs installed beyond the wheels."""


@dataclass(frozen=True)
class Backends:
    """The backends asked for, running. Asking for another is a LookupError."""

    servers: Mapping[Name, Server[Any]]
    """To ill-treat them; leave them running and resumed."""

    @property
    def postgres(self) -> str:
        """A superuser's URI."""
        return cast("str", self._address("postgres"))

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return cast("str", self._address("kafka"))

    @property
    def s3(self) -> S3Address:
        """The S3 store."""
        return cast("S3Address", self._address("s3"))

    @property
    def s3_other(self) -> S3Address:
        """A second S3 store, of another make."""
        return cast("S3Address", self._address("s3_other"))

    def _address(self, name: Name) -> object:
        if name not in self.servers:
            raise LookupError(
                f"open_backends was not asked for {name}, only for {', '.join(self.servers) or 'nothing'}"
            )
        return self.servers[name].address


@contextmanager
def open_backends(needs: AbstractSet[Name], environ: Mapping[str, str] = os.environ) -> Iterator[Backends]:
    """The backends, all started at the same time and answering; those that were started end with the context.

    The first time on a machine, installing takes minutes and says so on stderr. On Linux they end with the calling
    thread too. Raises `BackendError`.
    """
    given: dict[Name, Server[Any]] = {name: server for name in needs if (server := _given(name, environ))}
    by_docker, by_process = _split(needs - given.keys(), environ)
    install(by_process, packages.say)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-backends-")))
        started = _containers(by_docker, environ, stack) if by_docker else {}
        for name in by_process:
            started[name] = _PROCESSES[name](folder / name)
            stack.callback(started[name].stop)
        for server in started.values():
            server.launch()
        for server in started.values():
            server.wait_ready()
        yield Backends(given | started)


def source(environ: Mapping[str, str] = os.environ) -> Literal["docker", "local"]:
    """Where backends that the environment does not name come from."""
    asked = environ.get("HEADRACE_TEST_BACKENDS", "")
    if asked not in {"", "docker", "local"}:
        raise BackendError(f'HEADRACE_TEST_BACKENDS is "{asked}": must be "docker", "local" or not set')
    if asked == "local":
        return "local"
    answers = _engine_answers()
    if asked == "docker" and not answers:
        raise BackendError(
            'HEADRACE_TEST_BACKENDS is "docker" and no Docker engine answers: start one, or see DOCKER_HOST'
        )
    return "docker" if answers else "local"


def missing(needs: AbstractSet[Name], environ: Mapping[str, str] = os.environ) -> list[str]:
    """What keeps the backends from being had, a line each, with the way out; nothing when all can be."""
    named = {name for name in needs if _given(name, environ)}
    _, by_process = _split(needs - named, environ)
    lines: dict[str, None] = {}
    for name in by_process:
        if name in PACKAGES:
            lines |= {tool.needed(why): None for tool, why in PACKAGES[name].missing()}
    return list(lines)


def install(needs: Iterable[Name], say: Callable[[str], None]) -> None:
    """Installs what the backends' processes need and is not there yet, all at the same time. Raises `BackendError`."""
    wanted = [PACKAGES[name] for name in needs if name in PACKAGES]
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        for future in [pool.submit(package.install, say) for package in wanted]:
            future.result()


def _split(names: AbstractSet[Name], environ: Mapping[str, str]) -> tuple[Sequence[Name], Sequence[Name]]:
    """Which are to be containers and which processes."""
    # PostgreSQL last: launching its process waits for it, and the others start meanwhile.
    ordered: list[Name] = sorted(names, key=lambda name: (name == "postgres", name))
    return (ordered, []) if ordered and source(environ) == "docker" else ([], ordered)


def _given(name: Name, environ: Mapping[str, str]) -> Server[Any] | None:
    """The server that the environment names."""
    if name == "postgres" and (dsn := environ.get("HEADRACE_TEST_POSTGRES")):
        return Given(dsn, "HEADRACE_TEST_POSTGRES")
    if name == "kafka" and (servers := environ.get("HEADRACE_TEST_KAFKA")):
        return Given(servers, "HEADRACE_TEST_KAFKA")
    if name in {"s3", "s3_other"} and (endpoint := environ.get(f"HEADRACE_TEST_{name.upper()}_ENDPOINT")):
        return Given(
            _s3_address(f"HEADRACE_TEST_{name.upper()}", endpoint, environ), f"HEADRACE_TEST_{name.upper()}_ENDPOINT"
        )
    return None


def _s3_address(prefix: str, endpoint: str, environ: Mapping[str, str]) -> S3Address:
    access, secret = f"{prefix}_ACCESS_KEY", f"{prefix}_SECRET_KEY"
    if not (environ.get(access) and environ.get(secret)):
        raise BackendError(f"{prefix}_ENDPOINT is set: set {access} and {secret} too")
    scheme, _, host = endpoint.rpartition("://")
    return S3Address(host.rstrip("/"), environ[access], environ[secret], secure=scheme == "https")


def _engine_answers() -> bool:
    try:
        from headrace_kit.testing.backends import containers  # noqa: PLC0415 - not everybody has testcontainers
    except ImportError:
        return False
    return containers.engine_answers()


def _containers(names: Iterable[Name], environ: Mapping[str, str], stack: ExitStack) -> dict[Name, Server[Any]]:
    from headrace_kit.testing.backends import containers  # noqa: PLC0415 - not everybody has testcontainers

    engine = stack.enter_context(containers.engine())
    servers: dict[Name, Server[Any]] = {}
    for name in names:
        server = containers.MAKERS[name](engine, environ)
        stack.callback(server.remove)
        servers[name] = server
    return servers
