"""Delivery to Kafka. kafka-python's `send` may block for its metadata, so a thread of ours calls it."""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# The stubs that pyright brings are of kafka-python 2; mypy sees none, and checks what is ours.

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import kafka
from kafka import errors
from typing_extensions import override

from headrace_kit.bus import BusBroken, BusError, BusUnavailable, Partition, UnknownTopic
from headrace_kit.bus.handover import Handover, Pending
from headrace_kit.bus.kafka.config import KafkaConfig
from headrace_kit.bus.kafka.translation import make_no_topics, translated
from headrace_kit.worker import Worker

_BATCH_BYTES: Final = 256 << 10
_REQUEST_BYTES: Final = 4 << 20
_TOPIC_MS: Final = 5_000
_LINGER_MS: Final = 5
_SLICE_S: Final = 0.1
_IDLE_S: Final = 1.0


class Sender(Worker):
    """Gives records to kafka-python in their order, and its answers to their futures."""

    def __init__(self, config: KafkaConfig, exists: Callable[[str], bool], handover: Handover) -> None:
        super().__init__("bus producer", self._died)
        self._config = config
        self._exists = exists
        self._handover = handover
        self._client: kafka.KafkaProducer | None = None
        self._known: set[str] = set()
        self._linger_ms = _LINGER_MS

    @override
    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            taken = self._handover.take(_IDLE_S)
            # Waiting for company costs nothing while others are under way (RFC 896); what is alone goes at once.
            self._linger_ms = _LINGER_MS if self._handover.under_way() > len(taken) else 0
            for pending in taken:
                while not pending.future.done() and not self._send(pending, stopping):
                    stopping.wait(_SLICE_S)
        if self._client is not None:
            self._close(self._client)

    def _send(self, pending: Pending, stopping: threading.Event) -> bool:
        """Hands the record to kafka-python; False when that has to be tried again."""
        record = pending.record
        try:
            with translated():
                if self._client is None:
                    self._client = self._connect()
                if record.topic not in self._known:
                    self._learn(self._client, record.topic)
                self._client._accumulator.config["linger_ms"] = self._linger_ms  # noqa: SLF001 - has no other way to change it
                sent = self._client.send(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers.items()),
                    partition=record.partition,
                )
        except BusUnavailable as error:
            if not stopping.is_set() and time.monotonic() < pending.deadline:
                return False
            pending.fail(error)
        except BusError as error:
            pending.fail(error)
        except ValueError as error:
            pending.fail(BusError(f"topic {record.topic} has no partition {record.partition}: {error}"))
        else:
            sent.add_callback(_succeeded, pending)
            sent.add_errback(_failed, pending)
        return True

    def _learn(self, client: kafka.KafkaProducer, topic: str) -> None:
        """Waits for the metadata of a topic, from which on `send` does not block."""
        if not self._exists(topic):
            raise UnknownTopic(f"topic {topic} does not exist: make it with `headrace topics`")
        client.partitions_for(topic)
        self._known.add(topic)

    def _connect(self) -> kafka.KafkaProducer:
        timeout_ms = round(self._config.delivery_timeout_s * 1000)
        client = kafka.KafkaProducer(
            **self._config.client(),
            acks="all",
            enable_idempotence=True,
            linger_ms=_LINGER_MS,
            batch_size=_BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            delivery_timeout_ms=timeout_ms,
            request_timeout_ms=min(30_000, timeout_ms // 2),
            max_block_ms=_TOPIC_MS,
            metrics_enabled=False,
        )
        make_no_topics(client._metadata)  # noqa: SLF001 - see there
        return client

    def _close(self, client: kafka.KafkaProducer) -> None:
        try:
            client.close(timeout=_IDLE_S)
        except errors.KafkaError:
            client._sender.force_close()  # noqa: SLF001 - its own close leaves the thread running when a flush times out

    def _died(self, error: BaseException) -> None:
        self._handover.close(BusBroken(f"the thread that writes to the bus died: {error!r}"))


def _succeeded(pending: Pending, metadata: Any) -> None:
    pending.succeed((Partition(metadata.topic, metadata.partition), metadata.offset))


def _failed(pending: Pending, error: BaseException) -> None:
    try:
        with translated():
            raise error
    except BusError as ours:
        pending.fail(ours)
