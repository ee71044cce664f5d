"""The Headrace image runs every service, as an ordinary user, with backends in containers beside it."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import docker
import pytest
from docker.models.containers import Container
from testcontainers.core.docker_client import DockerClient

from headrace_kit.testing.backends import open_backends
from headrace_kit.testing.backends.containers import owned
from headrace_kit.testing.backends.processes import free_port
from headrace_server.services import NAMES

pytestmark = pytest.mark.docker

ROOT: Final = Path(__file__).parents[2]
IMAGE: Final = os.environ.get("HEADRACE_TEST_IMAGE") or "headrace:latest"
DOCKER: Final = {
    **os.environ,
    **dict.fromkeys(("HEADRACE_TEST_POSTGRES", "HEADRACE_TEST_KAFKA", "HEADRACE_TEST_S3_ENDPOINT"), ""),
    "HEADRACE_TEST_BACKENDS": "docker",
}
READY_S: Final = 90


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    return DockerClient().client


@dataclass(frozen=True)
class Installation:
    """A Headrace whose services are containers, and the ways in from outside."""

    uri: str
    containers: dict[str, Container]
    """By the first of the services inside."""

    def inside(self, service: str, *command: str) -> str:
        """What a command says that is run in the container of a service."""
        done: Any = self.containers[service].exec_run(list(command))
        assert done.exit_code == 0, done.output.decode()
        return str(done.output.decode()).strip()


COMMANDS = {"deployment": ["deployment", "gateway"], "tracking-writer": ["tracking"]}
WORK = ("WRITE_METRICS", "MERGE_METRICS", "ARCHIVE_METRICS", "PURGE_RUNS")
SETTINGS = {
    "tracking": {f"HEADRACE_{kind}": "false" for kind in WORK},
    "tracking-writer": {"HEADRACE_SERVE_TRACKING": "false"},
}


@pytest.fixture(scope="module")
def installation(engine: docker.DockerClient) -> Iterator[Installation]:
    """Laid out as deploy/compose.yaml has it: the router calls models where the deployment service runs them."""
    with ExitStack() as stack:
        servers: dict[Any, Any] = dict(stack.enter_context(open_backends({"postgres", "kafka", "s3"}, DOCKER)).servers)
        s3 = servers["s3"].inside
        prefix = f"headrace-test-{uuid.uuid4().hex[:8]}"  # containers find one another by name
        ports = {name: free_port() for name in NAMES}
        environment = {
            "HEADRACE_DATABASE": servers["postgres"].inside,
            "HEADRACE_KAFKA": servers["kafka"].inside,
            "HEADRACE_SERVICE_SECRET": "secret-of-the-tests",
            "HEADRACE_S3_ENDPOINT": s3.endpoint,
            "HEADRACE_S3_ACCESS_KEY": s3.access_key,
            "HEADRACE_S3_SECRET_KEY": s3.secret_key,
            "HEADRACE_S3_SECURE": "false",
            "HEADRACE_HTTP_LISTEN": "0.0.0.0:8080",
            **{f"HEADRACE_{name.upper()}": f"{prefix}-{name}:7100" for name in NAMES if name != "gateway"},
            "HEADRACE_LISTEN": "0.0.0.0:7100",
            "HEADRACE_PUBLIC_GRPC": ",".join(f"{name}=:{ports[name]}" for name in NAMES if name != "gateway"),
        }
        network = servers["postgres"].network
        for command in ("migrate", "topics"):
            engine.containers.run(IMAGE, [command], environment=environment, network=network, remove=True)
        containers: dict[str, Container] = {}
        for name in (*NAMES[:-1], "tracking-writer"):
            published = {"7100/tcp": ("127.0.0.1", ports[name])} if name in ports else {}
            container = engine.containers.create(
                IMAGE,
                ["serve", *COMMANDS.get(name, [name])],
                name=f"{prefix}-{name}",
                environment=environment | SETTINGS.get(name, {}),
                network=network,
                ports=published | ({"8080/tcp": ("127.0.0.1", ports["gateway"])} if name == "deployment" else {}),
                labels=owned(),
            )
            stack.callback(container.remove, force=True, v=True)
            container.start()
            containers[name] = container
        uri = f"http://localhost:{ports['gateway']}"
        if told := wait_healthy(uri):
            logs = "\n".join(f"{c.name}:\n{c.logs(tail=20).decode(errors='replace')}" for c in containers.values())
            pytest.fail(f"not healthy within {READY_S} s: {told}\n{logs}")
        yield Installation(uri, containers)


def wait_healthy(uri: str) -> str:
    """Empty once /health answers 200, or what it told last."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5):
                return ""
        except urllib.error.HTTPError as error:
            told = error.read().decode()
        except OSError as error:
            told = str(error)
        if time.monotonic() > deadline:
            return told
        time.sleep(0.2)


def test_all_services_serve(installation: Installation) -> None:
    with urllib.request.urlopen(f"{installation.uri}/version", timeout=5) as answer:
        assert answer.read().decode().strip() == version("headrace")


def test_a_new_tenant_bakes_cookies(installation: Installation) -> None:
    token = installation.inside("identity", "headrace", "tenants", "create", "bakery")
    story = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples/cookie_factory/bake.py"), "--uri", installation.uri],
        env={**os.environ, "HEADRACE_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert story.returncode == 0, story.stdout + story.stderr
    assert story.stdout.rstrip().endswith("failed: 0")


def test_it_runs_as_an_ordinary_user(engine: docker.DockerClient) -> None:
    told = engine.containers.run(IMAGE, ["-c", "id -u; touch here && echo written"], entrypoint="sh", remove=True)
    assert told.decode().split() == ["10001", "written"]
