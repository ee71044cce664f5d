"""The event bus on Kafka, by kafka-python."""
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# The stubs that pyright brings are of kafka-python 2; mypy sees none, and checks what is ours.

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import crc32c  # noqa: F401 - kafka-python sums by it 40 times faster than without; better to fail here than to crawl
import kafka
from kafka import errors
from kafka.protocol.consumer import OffsetSpec

from headrace_kit.bus import Assignment, BusError, BusUnavailable, Partition
from headrace_kit.bus.handover import Handover, ThreadProducer
from headrace_kit.bus.kafka.config import KafkaConfig
from headrace_kit.bus.kafka.consumer import KafkaConsumer, KafkaReader
from headrace_kit.bus.kafka.producer import Sender
from headrace_kit.bus.kafka.translation import ours, theirs, translated

__all__ = ["KafkaBus", "KafkaConfig"]

_MAX_BATCH_BYTES: Final = 2 << 20  # of the broker: a record of the greatest size and what a batch adds to it
_REQUEST_S: Final = 10.0
_SLICE_S: Final = 0.1


class KafkaBus:
    """Implements `Bus`. Connects when first used."""

    def __init__(self, config: KafkaConfig, *, retention_s: Mapping[str, float] | None = None) -> None:
        """`retention_s` says by topic how long the records of topics made by `ensure_topics` are kept; else Kafka does."""
        self._config = config
        self._retention_s = retention_s or {}
        self._admin: kafka.KafkaAdminClient | None = None
        self._lock = threading.Lock()

    def producer(self) -> ThreadProducer:
        """See `Bus`."""
        handover = Handover(self._config.delivery_timeout_s)
        return ThreadProducer(handover, Sender(self._config, self._exists, handover))

    def consumer(self, group: str, topics: Sequence[str], assignment: Assignment | None = None) -> KafkaConsumer:
        """See `Bus`."""
        return KafkaConsumer(self._config, group, topics, assignment or Assignment())

    def reader(self, topics: Sequence[str], positions: Mapping[Partition, int]) -> KafkaReader:
        """See `Bus`."""
        return KafkaReader(self._config, topics, positions, self._partitions)

    def end_offsets(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """See `Bus`."""
        with translated(), self._connected() as admin:
            latest = {theirs(p): OffsetSpec.LATEST for p in self._partitions(topics)}
            found = admin.list_partition_offsets(latest, timeout_ms=self._config.patience_ms) if latest else {}
        return {ours(tp): at.offset for tp, at in found.items()}

    def ensure_topics(self, topics: Mapping[str, int]) -> None:
        """See `Bus`. Returns when every partition has a leader."""
        with translated(), self._connected() as admin:
            counts = self._counts(topics)
            missing = {name: self._options(name, count) for name, count in topics.items() if name not in counts}
            growing = {name: count for name, count in topics.items() if 0 < counts.get(name, 0) < count}
            if missing:
                made = admin.create_topics(missing, timeout_ms=self._config.patience_ms, raise_errors=False)
                _raise_refused(made["topics"], errors.TopicAlreadyExistsError)
            if growing:
                grown = admin.create_partitions(
                    growing, timeout_ms=self._config.patience_ms, raise_errors=False
                ).to_dict()
                _raise_refused(grown["results"], errors.InvalidPartitionsError)
            self._wait_for(topics, time.monotonic() + _REQUEST_S)
            if topics:
                admin.wait_for_topics(list(topics), timeout_ms=self._config.patience_ms)

    def close(self) -> None:
        """See `Bus`."""
        with self._lock:
            if self._admin is not None:
                self._admin.close()
                self._admin = None

    def _options(self, topic: str, partitions: int) -> dict[str, Any]:
        configs = {"max.message.bytes": str(_MAX_BATCH_BYTES)}
        if self._config.replication >= 3:
            configs["min.insync.replicas"] = str(self._config.replication - 1)
        if topic in self._retention_s:
            configs["retention.ms"] = str(round(self._retention_s[topic] * 1000))
        return {"num_partitions": partitions, "replication_factor": self._config.replication, "configs": configs}

    @contextmanager
    def _connected(self) -> Iterator[kafka.KafkaAdminClient]:
        with self._lock:
            if self._admin is None:
                self._admin = kafka.KafkaAdminClient(
                    **self._config.client(), request_timeout_ms=self._config.patience_ms
                )
            admin = self._admin
        yield admin

    def _described(self, topics: Sequence[str]) -> list[Mapping[str, Any]]:
        with translated(), self._connected() as admin:
            described = admin.describe_topics(list(topics)) if topics else []
        return [topic for topic in described if topic["error_code"] != errors.UnknownTopicOrPartitionError.errno]

    def _counts(self, topics: Mapping[str, int]) -> dict[str, int]:
        return {topic["name"]: len(topic["partitions"]) for topic in self._described(list(topics))}

    def _partitions(self, topics: Sequence[str]) -> list[Partition]:
        return [
            Partition(topic["name"], partition["partition_index"])
            for topic in self._described(topics)
            for partition in topic["partitions"]
        ]

    def _exists(self, topic: str) -> bool:
        return bool(self._described([topic]))

    def _wait_for(self, topics: Mapping[str, int], deadline: float) -> None:
        """What was made shows a moment later."""
        while any(self._counts(topics).get(name, 0) < count for name, count in topics.items()):
            if time.monotonic() > deadline:
                raise BusUnavailable(f"Kafka still has not all of these partitions: {dict(topics)}")
            time.sleep(_SLICE_S)


def _raise_refused(results: Sequence[Mapping[str, Any]], harmless: type[errors.BrokerResponseError]) -> None:
    """`harmless` is what comes when somebody else was faster."""
    for result in results:
        if result["error_code"] not in {0, harmless.errno}:
            why = result["error_message"] or errors.for_code(result["error_code"]).__name__
            raise BusError(f"Kafka refused topic {result['name']}: {why}")
