"""Backends as containers, through testcontainers, on whatever Docker engine answers.

Images of the same interface are taken from, in this order: `HEADRACE_TEST_IMAGE_*`; what `deploy/images/build.sh` has
made on the engine, where none can be pulled; the public ones.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic

import docker
import psycopg
from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from headrace_kit.testing.backends.packages import KAFKA_VERSION, VERSITYGW_VERSION
from headrace_kit.testing.backends.processes import free_port, http_answers, kafka_answers
from headrace_kit.testing.backends.servers import A, BackendError, Name, S3Address

# name: what deploy/images makes, and the public image
IMAGES: Final = {
    "postgres": ("headrace-test/postgres:latest", "postgres:18"),
    "kafka": ("headrace-test/kafka:latest", f"apache/kafka:{KAFKA_VERSION}"),
    "minio": ("headrace-test/minio:latest", "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"),
    "versitygw": ("headrace-test/versitygw:latest", f"versity/versitygw:{VERSITYGW_VERSION}"),
}
_OWNER_LABEL: Final = "headrace.test.owner"
_SECRET: Final = "headrace-test"  # noqa: S105 - of servers that live as long as the tests
_START_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.05


def engine_answers() -> bool:
    """Whether there is a Docker engine."""
    scheme, _, path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    if scheme == "unix":
        # Asked first: docker's client leaves the socket open with which it found nobody.
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) != 0:
                return False
    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            return bool(client.ping())
    except (DockerException, OSError):
        return False


@dataclass(frozen=True)
class Engine:
    """A Docker engine, the name under which its ports are reached, and a network for one run's containers."""

    host: str
    network: Network
    client: docker.DockerClient

    def image(self, name: str) -> str:
        """The image of `IMAGES` to use."""
        ours, public = IMAGES[name]
        return ours if self.client.images.list(ours) else public


@contextmanager
def engine() -> Iterator[Engine]:
    """The engine, with a network of its own; removes what runs that were killed left behind."""
    # Ryuk would be one more image to have and holds the engine's socket; our own labels do here.
    testcontainers_config.ryuk_disabled = True
    client = DockerClient()
    _remove_abandoned(client.client)
    with Network(docker_network_kw={"labels": owned()}) as network:
        yield Engine(client.host(), network, client.client)


class ContainerServer(Generic[A]):
    """A server in a container. Implements `Server`."""

    def __init__(self, address: A, inside: A, container: DockerContainer, answers: Callable[[], bool]) -> None:
        self.address = address
        self.inside = inside
        """The address for other containers of the same engine."""
        self._container = container
        self._answers = answers

    @property
    def pid(self) -> int | None:
        """See `Server`; of an engine on this machine."""
        return int(self._attributes()["State"]["Pid"]) or None

    def launch(self) -> None:
        """See `Server`."""
        try:
            if self._container.status == "not_started":
                self._container.start()
            else:
                self._wrapped().start()
        except DockerException as error:
            raise BackendError(
                f"the container of {self._container.image} does not start: {error}. Where an image can be neither found nor "
                f"pulled: build it with deploy/images/build.sh, name another in {_variable('*')}, or use none: "
                "HEADRACE_TEST_BACKENDS=local"
            ) from error

    def wait_ready(self) -> None:
        """See `Server`."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            state = self._attributes()["State"]["Status"]
            if state not in {"created", "running"} or time.monotonic() > deadline:
                said = self._wrapped().logs(tail=40).decode(errors="replace")
                raise BackendError(
                    f"the container of {self._container.image} is {state} and does not answer; it said:\n{said}"
                )
            time.sleep(_POLL_SECONDS)

    def start(self) -> None:
        """See `Server`."""
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """See `Server`."""
        self.resume()
        self._wrapped().stop(timeout=20)

    def kill(self) -> None:
        """See `Server`."""
        if self._attributes()["State"]["Running"]:
            self._wrapped().kill()
            self._wrapped().wait()

    def pause(self) -> None:
        """See `Server`."""
        self._wrapped().pause()

    def resume(self) -> None:
        """See `Server`."""
        if self._attributes()["State"]["Paused"]:
            self._wrapped().unpause()

    @property
    def network(self) -> str:
        """The name of the network on which `inside` holds, while it runs."""
        (name,) = self._attributes()["NetworkSettings"]["Networks"]
        return str(name)

    def remove(self) -> None:
        """Takes the container and its data away."""
        self._container.stop()

    def _wrapped(self) -> Any:
        return self._container.get_wrapped_container()

    def _attributes(self) -> Mapping[str, Any]:
        container = self._wrapped()
        container.reload()
        attributes: Mapping[str, Any] = container.attrs
        return attributes


def postgres(engine: Engine, environ: Mapping[str, str]) -> ContainerServer[str]:
    """PostgreSQL in a container; not started."""
    port = free_port()
    variables = {"POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": _SECRET, "POSTGRES_DB": "postgres"}
    # As EmbeddedPostgres(fast=True): a kill -9 loses nothing, a crash of the machine may lose all.
    settings = ["max_connections=200", "fsync=off", "full_page_writes=off"]
    command = ["postgres", *(part for setting in settings for part in ("-c", setting))]
    container = _container(engine, environ, "postgres", "postgres", {5432: port}, variables)
    address = f"postgresql://postgres:{_SECRET}@{engine.host}:{port}/postgres"
    inside = f"postgresql://postgres:{_SECRET}@postgres:5432/postgres"
    return ContainerServer(address, inside, container.with_command(command), lambda: _postgres_answers(address))


def kafka(engine: Engine, environ: Mapping[str, str]) -> ContainerServer[str]:
    """A Kafka of one broker in a container; not started."""
    port = free_port()
    variables = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": "OUTSIDE://:9092,INSIDE://:19092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"OUTSIDE://{engine.host}:{port},INSIDE://kafka:19092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "3000",
        "KAFKA_HEAP_OPTS": "-Xmx512m",
    }
    container = _container(engine, environ, "kafka", "kafka", {9092: port}, variables)
    return ContainerServer(
        f"{engine.host}:{port}", "kafka:19092", container, lambda: kafka_answers(engine.host, port)
    )  # fmt: skip


def minio(engine: Engine, environ: Mapping[str, str]) -> ContainerServer[S3Address]:
    """A MinIO in a container; not started."""
    port = free_port()
    address = S3Address(f"{engine.host}:{port}", "headrace", _SECRET)
    variables = {
        "MINIO_ROOT_USER": address.access_key,
        "MINIO_ROOT_PASSWORD": address.secret_key,
        "MINIO_BROWSER": "off",
    }
    container = _container(engine, environ, "minio", "s3", {9000: port}, variables)
    health = f"{address.url}/minio/health/ready"
    inside = S3Address("s3:9000", address.access_key, address.secret_key)
    return ContainerServer(address, inside, container.with_command(["server", "/data"]), lambda: http_answers(health))


def versitygw(engine: Engine, environ: Mapping[str, str]) -> ContainerServer[S3Address]:
    """A VersityGW in a container; not started."""
    port = free_port()
    address = S3Address(f"{engine.host}:{port}", "headrace", _SECRET)
    variables = {
        "ROOT_ACCESS_KEY": address.access_key,
        "ROOT_SECRET_KEY": address.secret_key,
        "VGW_HEALTH": "/health",
        "VGW_META_SIDECAR": "/attributes",
    }
    container = _container(engine, environ, "versitygw", "s3-other", {7070: port}, variables, entrypoint="sh")
    # Folders that stay with the container: the public image brings none.
    command = "mkdir -p /objects /attributes && exec versitygw --quiet posix /objects"
    container.with_command(["-c", command])
    inside = S3Address("s3-other:7070", address.access_key, address.secret_key)
    return ContainerServer(address, inside, container, lambda: http_answers(f"{address.url}/health"))


def _container(
    engine: Engine,
    environ: Mapping[str, str],
    image: str,
    alias: str,
    ports: Mapping[int, int],
    variables: dict[str, str],
    **options: str,
) -> DockerContainer:
    """A container whose ports are bound beforehand: Kafka must tell clients its own, and a restart would change them."""
    container = DockerContainer(environ.get(_variable(image)) or engine.image(image), env=variables)
    bind = "127.0.0.1" if engine.host in {"localhost", "127.0.0.1"} else "0.0.0.0"  # noqa: S104 - a remote engine
    bound: Any = {f"{inner}/tcp": (bind, outer) for inner, outer in ports.items()}
    container.ports = bound  # `with_bind_ports` would bind them on all addresses
    container.with_network(engine.network).with_network_aliases(alias)
    return container.with_kwargs(labels=owned(), **options)


def _variable(image: str) -> str:
    return f"HEADRACE_TEST_IMAGE_{image.upper()}"


def _postgres_answers(address: str) -> bool:
    try:
        psycopg.connect(address, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def owned() -> dict[str, str]:
    """Labels for what belongs to this process; a later run removes it should this one be killed."""
    return {_OWNER_LABEL: f"{socket.gethostname()}:{os.getpid()}"}


def _remove_abandoned(client: docker.DockerClient) -> None:
    """Removes what belongs to processes of this machine that are no more."""
    containers = client.containers.list(all=True, filters={"label": _OWNER_LABEL})
    networks = client.networks.list(filters={"label": _OWNER_LABEL})
    for thing, how in [*((c, {"force": True, "v": True}) for c in containers), *((n, {}) for n in networks)]:
        labels = thing.attrs.get("Labels") or thing.attrs["Config"]["Labels"]
        host, pid = labels[_OWNER_LABEL].split(":")
        if host == socket.gethostname() and not _alive(int(pid)):
            with contextlib.suppress(DockerException):  # another run removes it too
                thing.remove(**how)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


MAKERS: Final[Mapping[Name, Callable[[Engine, Mapping[str, str]], ContainerServer[Any]]]] = {
    "postgres": postgres,
    "kafka": kafka,
    "s3": minio,
    "s3_other": versitygw,
}
