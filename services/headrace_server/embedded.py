"""`headrace up`: all services in one process, on a PostgreSQL of its own and a folder of files."""

import asyncio
import dataclasses
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import uvloop
from psycopg import conninfo

from headrace.models.code import SETTING
from headrace_kit import config, migrate, telemetry
from headrace_kit.auth import NoIdentity
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.lifecycle import Runner
from headrace_kit.pgserver import EmbeddedPostgres
from headrace_server import services
from headrace_server.schemas import SCHEMAS

_DATABASE: Final = "headrace"


@dataclass(frozen=True, slots=True)
class Options:
    """What `headrace up` was told."""

    data_dir: Path
    host: str
    http_port: int
    grpc_port: int


class CannotStart(RuntimeError):  # noqa: N818 - read by people
    """Why `up` does not start, and what to do."""


def up(options: Options, say: Callable[[str], None]) -> None:
    """Runs until SIGINT or SIGTERM. Raises CannotStart."""
    started = time.perf_counter()
    with _folder(options.data_dir), _postgres(options.data_dir, say) as database:
        applied = migrate.migrate(database, SCHEMAS)
        if applied:
            say(f"database: {len(applied)} migration{'s' if len(applied) > 1 else ''} applied")
        _check_address(options, database)
        values = _values(options, database)
        uvloop.run(_serve(values, lambda runner: _ready(runner, options, started, say)))
    say("stopped; all data is kept")


@contextmanager
def _folder(data_dir: Path) -> Iterator[None]:
    """The data folder, ours alone."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotStart(
                f"{data_dir} is in use by another `headrace up` (process {lock.read().strip() or '?'});"
                " stop that one, or choose another --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _postgres(data_dir: Path, say: Callable[[str], None]) -> Iterator[str]:
    """DSN of the database: the one that HEADRACE_DATABASE names, or one of our own below the data folder."""
    given = os.environ.get(config.PREFIX + "DATABASE")
    if given:
        yield given
        return
    if not (data_dir / "postgres").exists():
        say(f"first start: making a database in {data_dir / 'postgres'}")
    with EmbeddedPostgres(data_dir / "postgres") as server:
        with psycopg.connect(server.dsn, autocommit=True) as conn:
            if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone():
                conn.execute(f'CREATE DATABASE "{_DATABASE}"')
        yield conninfo.make_conninfo(server.dsn, dbname=_DATABASE)


def _check_address(options: Options, database: str) -> None:
    if config.is_loopback(options.host):
        return
    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT count(*) FROM identity.tokens WHERE revoke_time IS NULL").fetchone()
    if row is None or row[0] == 0:
        raise CannotStart(
            f"--host {options.host} would serve other machines, and no token exists yet: start without --host,"
            " make one with `headrace tokens create --role admin NAME`, then start again"
        )


def _values(options: Options, database: str) -> dict[str, Any]:
    """Settings of all services; what the environment says of anything else stays."""
    grpc = f"{options.host}:{options.grpc_port or _free_port(options.host)}"
    # Whoever runs it here wrote the models, too.
    code = {} if SETTING in os.environ else {"allow_model_code": config.is_loopback(options.host)}
    return {
        "listen": grpc,
        "database": database,
        "kafka": "",
        "auth": "open" if config.is_loopback(options.host) else "token",
        "service_secret": _secret(options.data_dir / "secret"),
        "http_listen": f"{options.host}:{options.http_port}",
        "allowed_hosts": () if config.is_loopback(options.host) else ("*",),
        "public_grpc": (f":{grpc.rpartition(':')[2]}",),  # whatever name or address a client has for this machine
        "blobs_dir": options.data_dir / "artifacts",
        "archive_dir": options.data_dir / "metrics",
        "work_dir": options.data_dir / "deployments",
        **code,
        **dict.fromkeys(services.NAMES[:-1], grpc),
    }


def _free_port(host: str) -> int:
    """A port to be told to all services before one of them listens on it."""
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def _secret(path: Path) -> str:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text()


async def _serve(values: dict[str, Any], ready: Callable[[Runner], None]) -> None:
    apps = {name: services.app(name) for name in services.NAMES}
    configs = {name: _config(app.Config, values) for name, app in apps.items()}
    runner = Runner(configs["identity"], telemetry=telemetry.configure("headrace", os.environ), identity=NoIdentity())
    runner.stop_on_signals()
    try:
        await asyncio.to_thread(ensure_all_topics, configs["identity"])
        for name, app in apps.items():
            await app.start(configs[name], runner)
    except BaseException:
        await runner.drain()
        raise
    try:
        await runner.run(lambda: ready(runner))
    except OSError as error:
        raise CannotStart(f"{error.strerror or error}") from error


def _config(kind: type[config.ServiceConfig], values: dict[str, Any]) -> config.ServiceConfig:
    names = {field.name for field in dataclasses.fields(kind)}
    environ = {k: v for k, v in os.environ.items() if k.removeprefix(config.PREFIX).lower() not in values}
    base = config.read(kind, environ)
    return config.checked(dataclasses.replace(base, **{k: v for k, v in values.items() if k in names}))


def _ready(runner: Runner, options: Options, started: float, say: Callable[[str], None]) -> None:
    (front,) = runner.fronts
    say(
        f"Headrace is ready after {time.perf_counter() - started:.1f} s\n"
        f"  web, JSON, models   http://{front.address}\n"
        f"  gRPC                {runner.address}\n"
        f"  data                {options.data_dir}\n"
        "Stop with Ctrl-C."
    )
