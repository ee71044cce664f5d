"""Headrace's gateway and MLflow's own server behind one interface, so that each test of the description runs on both."""

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import httpx
import pytest

from fix_platform import up
from fix_webhooks import REACHABLE_ENVIRON
from headrace_kit.testing import peers
from headrace_kit.testing.backends.processes import ProcessServer, free_port, http_answers

REQUIREMENTS: Final = Path(__file__).parent.parent / "bench" / "peers" / "mlflow.txt"
Name = Literal["headrace", "mlflow"]
WORKSPACES: Final = "/api/3.0/mlflow/workspaces"


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    body: Any
    """JSON where it is some, else text."""
    headers: httpx.Headers

    @property
    def code(self) -> str:
        """Of an error."""
        return str(self.body["error_code"])

    @property
    def message(self) -> str:
        """Of an error."""
        return str(self.body["message"])


@dataclass(frozen=True)
class Rest:
    """A server's REST interface."""

    name: Name
    http: httpx.Client

    def within(self, workspace: str) -> "Rest":
        """The same, in a workspace."""
        base, headers = self.http.base_url, {**self.http.headers, "x-mlflow-workspace": workspace}
        return Rest(self.name, httpx.Client(base_url=base, headers=headers, timeout=30))

    def workspace(self) -> str:
        """The name of a new one."""
        name = unique("team")
        assert self.call("POST", WORKSPACES, name=name).status == 201
        return name

    @property
    def uri(self) -> str:
        """For clients."""
        return str(self.http.base_url).rstrip("/")

    def call(self, verb: str, route: str, /, *, raw: bytes | None = None, headers: Any = None, **fields: Any) -> Answer:
        """`route` is behind /api/2.0/mlflow/, or whole where it begins with "/"."""
        url = route if route.startswith("/") else f"/api/2.0/mlflow/{route}"
        if verb == "GET" and raw is None:
            got = self.http.request(verb, url, params=fields, headers=headers)
        else:
            content = json.dumps(fields).encode() if raw is None else raw
            got = self.http.request(
                verb, url, content=content, headers={"content-type": "application/json", **(headers or {})}
            )
        try:
            body = got.json()
        except ValueError:
            body = got.text
        return Answer(got.status_code, body, got.headers)

    def get(self, route: str, /, **fields: Any) -> Any:
        """The body of a GET that succeeds."""
        return self._well(self.call("GET", route, **fields))

    def post(self, route: str, /, **fields: Any) -> Any:
        """The body of a POST that succeeds."""
        return self._well(self.call("POST", route, **fields))

    def other(self, verb: str, route: str, /, **fields: Any) -> Any:
        """The body of another call that succeeds."""
        return self._well(self.call(verb, route, **fields))

    @staticmethod
    def _well(answer: Answer) -> Any:
        assert answer.status == 200, answer.body
        return answer.body

    def experiment(self) -> str:
        """A new one's id."""
        return str(self.post("experiments/create", name=unique("experiment"))["experiment_id"])

    def run(self, experiment_id: str | None = None, **fields: Any) -> str:
        """A new one's id."""
        made = self.post("runs/create", experiment_id=experiment_id or self.experiment(), **fields)
        return str(made["run"]["info"]["run_id"])

    def model(self) -> str:
        """The name of a new registered model."""
        name = unique("model")
        self.post("registered-models/create", name=name)
        return name

    def version(self, name: str, **fields: Any) -> str:
        """The number of a new version of it."""
        made = self.post("model-versions/create", **{"name": name, "source": "s3://elsewhere/model", **fields})
        return str(made["model_version"]["version"])


def unique(kind: str) -> str:
    """A name that no other test has."""
    return f"{kind}-{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def mlflow_python() -> Path:
    """The interpreter of an environment with MLflow in it, and nothing of Headrace."""
    return peers.python(REQUIREMENTS)


@pytest.fixture(scope="session")
def servers(mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Name, Rest]]:
    """Both, for all tests of a process: they use names of their own."""
    with (
        mlflow_server(mlflow_python, tmp_path_factory.mktemp("mlflow")) as theirs,
        up(tmp_path_factory.mktemp("headrace") / "data", REACHABLE_ENVIRON) as ours,
        httpx.Client(base_url=theirs, timeout=30) as their_http,
        httpx.Client(base_url=ours, timeout=30) as our_http,
    ):
        yield {"headrace": Rest("headrace", our_http), "mlflow": Rest("mlflow", their_http)}


@pytest.fixture(scope="session")
def divided_servers(
    servers: dict[Name, Rest], mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Name, Rest]]:
    """Headrace, and an MLflow of which workspaces are asked."""
    folder = tmp_path_factory.mktemp("mlflow-divided")
    with (
        mlflow_server(mlflow_python, folder, "--enable-workspaces") as theirs,
        httpx.Client(base_url=theirs, timeout=30) as their_http,
    ):
        yield {**servers, "mlflow": Rest("mlflow", their_http)}


@pytest.fixture(params=["headrace", "mlflow"])
def divided(request: pytest.FixtureRequest, divided_servers: dict[Name, Rest]) -> Rest:
    """Each of them in turn."""
    return divided_servers[request.param]


@pytest.fixture(params=["headrace", "mlflow"])
def rest(request: pytest.FixtureRequest, servers: dict[Name, Rest]) -> Rest:
    """Each of them in turn."""
    return servers[request.param]


@contextmanager
def mlflow_server(
    python: Path,
    folder: Path,
    *options: str,
    store: str = "",
    artifacts: str = "",
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """`mlflow server` on the database named, else on SQLite, with files in the folder, or where `artifacts` says; its address."""
    port = free_port()
    command = [str(python.with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store or f"sqlite:///{folder / 'mlflow.db'}"]
    command += [
        "--artifacts-destination",
        artifacts or str(folder / "artifacts"),
        "--uvicorn-opts",
        "--timeout-worker-healthcheck 60",
        *options,
    ]
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",  # else a new webhook is told nothing for a minute
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        **environ,
    }
    address = f"http://127.0.0.1:{port}"
    server = ProcessServer(address, command, folder, lambda: http_answers(f"{address}/health"), environment)
    server.start()
    try:
        yield address
    finally:
        server.stop()


def run_client(python: Path, uri: str, script: Path, *arguments: str, **environ: str) -> str:
    """What a script of MLflow's client prints; fails with what it said where it fails."""
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(python), str(script), *arguments],
        env={**os.environ, "PATH": path, "PYTHONPATH": "", "MLFLOW_TRACKING_URI": uri, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout
