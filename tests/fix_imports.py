"""MLflows with one of every kind of thing in them, and a Headrace to bring these to and from."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from psycopg import conninfo

from fix_backends import a_database
from fix_mlflow import mlflow_server, run_client
from fix_platform import up
from headrace.client import Client

_FILL: Final = Path(__file__).parent / "imports" / "fill.py"
_LIMIT_S: Final = 300


@dataclass(frozen=True)
class Filled:
    """An MLflow that `imports/fill.py` recorded to."""

    ids: dict[str, str]
    ways: dict[str, tuple[str, ...]]
    """Arguments of `headrace import mlflow`, by the kind of source."""
    server: str = ""


@dataclass(frozen=True)
class Moved:
    """A Headrace, and the command line for it."""

    uri: str
    state: Path

    def client(self) -> Client:
        """Close it."""
        return Client(self.uri)

    def start(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        """`headrace ARGUMENTS --uri`; its output in pipes."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("headrace")), *arguments, "--uri", self.uri],
            env={**os.environ, "HEADRACE_STATE": str(self.state), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **environ: str) -> Any:
        """What it prints as JSON, once it has ended with this code."""
        with self.start(*arguments, "--json", **environ) as process:
            said, told = process.communicate(timeout=_LIMIT_S)
        assert process.returncode == code, f"{process.returncode}\n{said[-4000:]}\n{told[-4000:]}"
        return json.loads(said)

    def refused(self, *arguments: str) -> str:
        """The one line that it ends with."""
        with self.start(*arguments) as process:
            _, told = process.communicate(timeout=_LIMIT_S)
        assert process.returncode == 1, told
        return told.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    """For all tests of a process: they bring things of their own."""
    folder = tmp_path_factory.mktemp("moved")
    with up(folder / "data", {"HEADRACE_ALLOW_MODEL_CODE": "true"}) as uri:
        yield Moved(uri, folder / "state")


@pytest.fixture(scope="session")
def on_sqlite(mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A server on SQLite, and its database."""
    folder = tmp_path_factory.mktemp("on-sqlite")
    with mlflow_server(mlflow_python, folder) as uri:
        ids = filled(mlflow_python, uri, "sqlite")
        database = (f"sqlite:///{folder / 'mlflow.db'}", "--artifacts", str(folder / "artifacts"))
        yield Filled(ids, {"server": (uri,), "sqlite": database}, uri)


@pytest.fixture(scope="session")
def on_postgres(
    mlflow_python: Path, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filled]:
    """A server on PostgreSQL, and its database."""
    folder = tmp_path_factory.mktemp("on-postgres")
    with ExitStack() as stack:
        name = stack.enter_context(a_database(postgres_server))
        found = conninfo.conninfo_to_dict(conninfo.make_conninfo(postgres_server, dbname=name))
        login = f"{found['user']}:{found.get('password', '')}".rstrip(":")
        # By parameters: the host may be the folder of a socket. SQLAlchemy names the driver, which MLflow's environment has.
        store = f"postgresql+psycopg2://{login}@/{name}?host={found['host']}&port={found['port']}"
        uri = stack.enter_context(mlflow_server(mlflow_python, folder, store=store))
        ids = filled(mlflow_python, uri, "postgres")
        yield Filled(ids, {"postgres": (store, "--artifacts", uri), "postgres's server": (uri,)}, uri)


@pytest.fixture(scope="session")
def in_files(mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A folder mlruns."""
    folder = tmp_path_factory.mktemp("in-files") / "mlruns"
    ids = filled(mlflow_python, str(folder), "files", MLFLOW_ALLOW_FILE_STORE="true")
    return Filled(ids, {"files": (str(folder),)})


def filled(python: Path, uri: str, mark: str, **environ: str) -> dict[str, str]:
    """Runs `imports/fill.py`; the ids of what it recorded."""
    said = run_client(python, uri, _FILL, mark, **environ)
    found: dict[str, str] = json.loads(said.strip().splitlines()[-1])
    return found
