"""Every backend works with its usual client, and can be ended, killed, frozen and started again with its data."""

import io
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import TopicPartition
from minio import Minio
from urllib3 import PoolManager, Retry

from headrace_kit.testing.backends import Backends, Name, S3Address, Server, open_backends
from headrace_kit.testing.backends.processes import kafka_answers

pytestmark = pytest.mark.real


@dataclass
class Usage:
    """Puts something durable into a backend and counts what is there; raises when it does not answer in 2 s."""

    name: Name
    put_and_count: Callable[[Any], int]


def use_postgres(dsn: str) -> int:
    with psycopg.connect(dsn, connect_timeout=2) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row
    return int(row[0])


def use_kafka(servers: str) -> int:
    host, _, port = servers.partition(":")
    if not kafka_answers(host, int(port)):  # asked first: a KafkaProducer that cannot connect leaves sockets open
        raise ConnectionError(f"Kafka does not answer on {servers}")
    producer = KafkaProducer(bootstrap_servers=servers, acks="all")
    try:
        producer.send("kept", b"x").get(5)
    finally:
        producer.close()
    consumer = KafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    try:
        kept = TopicPartition("kept", 0)
        consumer.assign([kept])
        (end,) = consumer.end_offsets([kept]).values()
        found, deadline = 0, time.monotonic() + 60
        while (consumer.position(kept) or 0) < end and time.monotonic() < deadline:
            found += sum(len(records) for records in consumer.poll(timeout_ms=500).values())
        return found
    finally:
        consumer.close()


def use_s3(address: S3Address) -> int:
    # MinIO says that it is ready a moment before it takes requests.
    patient = Retry(connect=0, read=0, status=6, status_forcelist=(500, 503), backoff_factor=0.2, raise_on_status=False)
    http = PoolManager(timeout=2.0, retries=patient)
    client = Minio(address.endpoint, address.access_key, address.secret_key, secure=False, http_client=http)
    try:
        if not client.bucket_exists("kept"):
            client.make_bucket("kept")
        client.put_object("kept", uuid.uuid4().hex, io.BytesIO(b"x"), 1)
        return len(list(client.list_objects("kept")))
    finally:
        http.clear()


NOT_GIVEN = dict.fromkeys(
    (f"HEADRACE_TEST_{name}" for name in ("POSTGRES", "KAFKA", "S3_ENDPOINT", "S3_OTHER_ENDPOINT")), ""
)
USAGES = [
    Usage("postgres", use_postgres),
    Usage("kafka", use_kafka),
    Usage("s3", use_s3),
    Usage("s3_other", use_s3),
]


@pytest.fixture(scope="module", params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def own(request: pytest.FixtureRequest) -> Iterator[Backends]:
    """Servers of this module's own: the run's may be given, or in use by other tests."""
    with open_backends(
        {usage.name for usage in USAGES}, {**os.environ, **NOT_GIVEN, "HEADRACE_TEST_BACKENDS": request.param}
    ) as backends:
        yield backends


@pytest.fixture(params=USAGES, ids=lambda usage: usage.name)
def used(request: pytest.FixtureRequest, own: Backends) -> tuple[Server[Any], Callable[[], int]]:
    usage: Usage = request.param
    server = own.servers[usage.name]
    return server, lambda: usage.put_and_count(server.address)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_data_and_address_outlive_the_server(used: tuple[Server[Any], Callable[[], int]], end: str) -> None:
    server, put_and_count = used
    before = put_and_count()
    getattr(server, end)()
    with pytest.raises(Exception):  # noqa: B017 - each client has its own
        put_and_count()
    server.start()
    assert put_and_count() == before + 1


def test_a_paused_server_answers_nothing_and_goes_on(used: tuple[Server[Any], Callable[[], int]]) -> None:
    server, put_and_count = used
    before = put_and_count()
    server.pause()
    try:
        with pytest.raises(Exception):  # noqa: B017 - each client has its own
            put_and_count()
    finally:
        server.resume()
    server.wait_ready()
    # What was sent during the pause may have arrived.
    assert put_and_count() > before


def test_the_runs_own_backends_answer(backends: Backends) -> None:
    assert use_postgres(backends.postgres)
    admin = KafkaAdminClient(bootstrap_servers=backends.kafka)
    admin.create_topics([NewTopic(f"test-{uuid.uuid4()}", 3, 1)])
    admin.close()
    assert use_s3(backends.s3)
