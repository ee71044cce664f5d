"""The Headrace image runs every service, as an ordinary user, with backends in containers beside it."""

import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any, Final

import docker
import pytest
from testcontainers.core.docker_client import DockerClient

from headrace_kit.testing.backends import open_backends
from headrace_kit.testing.backends.containers import owned
from headrace_kit.testing.backends.processes import free_port
from headrace_server.services import NAMES

pytestmark = pytest.mark.docker

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


@pytest.fixture(scope="module")
def uri(engine: docker.DockerClient) -> Iterator[str]:
    """The gateway of a Headrace whose services are a container each."""
    with ExitStack() as stack:
        servers: dict[Any, Any] = dict(stack.enter_context(open_backends({"postgres", "kafka", "s3"}, DOCKER)).servers)
        s3 = servers["s3"].inside
        prefix = f"headrace-test-{uuid.uuid4().hex[:8]}"  # containers find one another by name
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
        }
        network = servers["postgres"].network
        for command in ("migrate", "topics"):
            engine.containers.run(IMAGE, [command], environment=environment, network=network, remove=True)
        port = free_port()
        containers = []
        for name in NAMES:
            container = engine.containers.create(
                IMAGE,
                ["serve", name],
                name=f"{prefix}-{name}",
                environment=environment,
                network=network,
                ports={"8080/tcp": ("127.0.0.1", port)} if name == "gateway" else {},
                labels=owned(),
            )
            stack.callback(container.remove, force=True, v=True)
            container.start()
            containers.append(container)
        uri = f"http://localhost:{port}"
        if told := wait_healthy(uri):
            logs = "\n".join(f"{c.name}:\n{c.logs(tail=20).decode(errors='replace')}" for c in containers)
            pytest.fail(f"not healthy within {READY_S} s: {told}\n{logs}")
        yield uri


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


def test_all_services_serve(uri: str) -> None:
    with urllib.request.urlopen(f"{uri}/version", timeout=5) as answer:
        assert answer.read().decode().strip() == version("headrace")


def test_it_runs_as_an_ordinary_user(engine: docker.DockerClient) -> None:
    told = engine.containers.run(IMAGE, ["-c", "id -u; touch here && echo written"], entrypoint="sh", remove=True)
    assert told.decode().split() == ["10001", "written"]
