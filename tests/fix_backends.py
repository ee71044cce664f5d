"""Fixtures of real backends: started once a run, as many as the selected tests need; missing ones fail the tests."""

import importlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any, Final, cast

import psycopg
import pytest
from minio import Minio
from psycopg import conninfo, sql

from headrace_kit.blobs.s3 import S3Config
from headrace_kit.migrate import Schema, migrate
from headrace_kit.testing.backends import Backends, Name, S3Address, Server, open_backends

_FIXTURES: Final[dict[str, set[Name]]] = {
    "postgres_server": {"postgres"},
    "kafka": {"kafka"},
    "s3": {"s3"},
    "s3_other": {"s3_other"},
    "backends": {"postgres", "kafka", "s3"},
}
_OWNERS: Final = (
    "headrace_kit.bus.postgres",
    *(f"headrace_{service}.app" for service in ("identity", "tracking", "artifacts", "registry", "deployment")),
)


class BackendPool:
    """Opens what the selected tests name when the first is used, at the same time; others when they are used."""

    def __init__(self, stack: ExitStack, expected: set[Name]) -> None:
        self._stack = stack
        self._expected = expected
        self._servers: dict[Name, Server[Any]] = {}

    def get(self, *names: Name) -> Backends:
        if not self._servers.keys() >= set(names):
            needs = (self._expected | set(names)) - self._servers.keys()
            self._servers |= self._stack.enter_context(open_backends(needs)).servers
        return Backends(self._servers)


@pytest.fixture(scope="session")
def backend_pool(request: pytest.FixtureRequest) -> Iterator[BackendPool]:
    named = {name for item in request.session.items for name in cast("pytest.Function", item).fixturenames}
    expected: set[Name] = {need for name in named & _FIXTURES.keys() for need in _FIXTURES[name]}
    with ExitStack() as stack:
        yield BackendPool(stack, expected)


@pytest.fixture(scope="session")
def backends(backend_pool: BackendPool) -> Backends:
    """PostgreSQL, Kafka and an S3 store."""
    return backend_pool.get("postgres", "kafka", "s3")


@pytest.fixture(scope="session")
def postgres_server(backend_pool: BackendPool) -> str:
    """A superuser's URI."""
    return backend_pool.get("postgres").postgres


@pytest.fixture(scope="session")
def kafka(backend_pool: BackendPool) -> str:
    """Bootstrap servers, shared by the run: tests name their own topics and groups."""
    return backend_pool.get("kafka").kafka


@pytest.fixture
def own_kafka() -> Iterator[str]:
    """Bootstrap servers of a Kafka of the test's own: for what reads Headrace's topics with a database of its own."""
    with open_backends({"kafka"}) as opened:
        yield opened.kafka


@pytest.fixture(scope="session")
def s3_server(backend_pool: BackendPool) -> S3Address:
    return backend_pool.get("s3").s3


@pytest.fixture(scope="session")
def s3_other_server(backend_pool: BackendPool) -> S3Address:
    return backend_pool.get("s3_other").s3_other


@pytest.fixture
def s3(s3_server: S3Address) -> Iterator[S3Config]:
    """A bucket of the test's own, not made yet."""
    with _bucket(s3_server) as config:
        yield config


@pytest.fixture
def s3_other(s3_other_server: S3Address) -> Iterator[S3Config]:
    """As `s3`, in a store of another make."""
    with _bucket(s3_other_server) as config:
        yield config


@pytest.fixture(scope="session")
def schemas() -> Sequence[Schema]:
    """What `database` holds: the schemas of the bus and of every service that has one."""
    return [importlib.import_module(owner).SCHEMA for owner in _OWNERS if find_spec(owner)]


@pytest.fixture(scope="session")
def template_database(postgres_server: str, schemas: Sequence[Schema]) -> Iterator[str]:
    """The name of a migrated database that others are copied from."""
    with a_database(postgres_server) as name:
        migrate(conninfo.make_conninfo(postgres_server, dbname=name), schemas)
        yield name


@pytest.fixture
def make_database(postgres_server: str, template_database: str) -> Iterator[Callable[[], str]]:
    """Makes a migrated, empty database at each call and returns its superuser's DSN."""
    with ExitStack() as stack:

        def make() -> str:
            name = stack.enter_context(a_database(postgres_server, template_database))
            return conninfo.make_conninfo(postgres_server, dbname=name)

        yield make


@pytest.fixture
def database(make_database: Callable[[], str]) -> str:
    """The DSN of a migrated, empty database, dropped after the test whoever is still connected."""
    return make_database()


@contextmanager
def a_database(server: str, template: str = "template1") -> Iterator[str]:
    name = f"headrace_test_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(create)
    yield name
    # A connection of its own: the test may have restarted the server.
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _bucket(address: S3Address) -> Iterator[S3Config]:
    config = S3Config(
        endpoint=address.endpoint,
        access_key=address.access_key,
        secret_key=address.secret_key,
        secure=address.secure,
        bucket=f"test-{uuid.uuid4().hex}",
    )
    yield config
    client = Minio(
        address.endpoint, access_key=address.access_key, secret_key=address.secret_key, secure=address.secure
    )
    if client.bucket_exists(config.bucket):
        for found in client.list_objects(config.bucket, recursive=True):
            client.remove_object(config.bucket, str(found.object_name))
        client.remove_bucket(config.bucket)
