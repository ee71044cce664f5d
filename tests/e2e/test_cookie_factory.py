"""The story of the product, told on real Kafka, PostgreSQL and MinIO with every service a process of its own."""

import re
import subprocess
import sys
import threading
import uuid
from pathlib import Path

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from fix_platform import Platform
from headrace.api.registry.v1.registry_events_pb2 import ModelVersionPromoted

ROOT = Path(__file__).parents[2]
TOPIC = "headrace.registry.model-versions.v1"


def promotions(bootstrap: str, until: int, found: list[tuple[dict[str, bytes], ModelVersionPromoted]]) -> None:
    """A plain Kafka consumer: it knows the topic, the headers of CloudEvents and the published protobuf, nothing else."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(TOPIC, number) for number in consumer.partitions_for_topic(TOPIC)])
    consumer.seek_to_beginning()
    for _ in range(600):
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                headers = dict(record.headers)
                # Other tests promote models of their own on the same platform.
                ours = b"/models/cookie-judge/" in headers["ce_subject"]
                if ours and headers["ce_type"] == b"headrace.api.registry.v1.ModelVersionPromoted":
                    found.append((headers, ModelVersionPromoted.FromString(record.value)))
        if len(found) >= until:
            break
    consumer.close()


def test_story_ends_well_and_a_plain_consumer_sees_the_promotions(platform: Platform) -> None:
    found: list[tuple[dict[str, bytes], ModelVersionPromoted]] = []
    plain = threading.Thread(target=promotions, args=(platform.backends.kafka, 2, found))
    plain.start()
    story = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples/cookie_factory/bake.py"), "--uri", platform.uri],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert story.returncode == 0, story.stdout + story.stderr
    last = story.stdout.strip().splitlines()[-4:]
    assert last[0].startswith("best of the first batches: batch-")
    assert last[1].endswith("cookie-judge version 2")
    changed = re.search(r"(\d+) by version 1, then (\d+) by version 2", last[2])
    assert changed is not None
    assert int(changed[1]) > 0
    assert int(changed[2]) > 0
    assert last[3].endswith("failed: 0")

    plain.join(60)
    (first, second) = [event for _, event in found][:2]
    assert (first.version.version, first.alias, first.previous_version) == (1, "production", 0)
    assert (second.version.version, second.alias, second.previous_version) == (2, "production", 1)
    headers = found[0][0]
    assert headers["ce_specversion"] == b"1.0"
    assert headers["content-type"] == b"application/protobuf"
    assert headers["tenant"] == b"default"
    assert headers["ce_subject"] == b"tenants/default/models/cookie-judge/versions/1"
    assert str(uuid.UUID(headers["ce_id"].decode())) == headers["ce_id"].decode()
