"""Between kafka-python's words and ours."""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# The stubs that pyright brings are of kafka-python 2; mypy sees none, and checks what is ours.

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import errors
from kafka.structs import TopicPartition

from headrace_kit.bus import BusError, BusUnavailable, Partition, Received, RecordTooLarge


@contextmanager
def translated() -> Iterator[None]:
    """The one place where kafka-python's errors become ours."""
    try:
        yield
    except (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError) as error:
        raise RecordTooLarge(str(error)) from error
    except (errors.RetriableError, errors.BrokerNotAvailableError) as error:
        raise BusUnavailable(f"Kafka does not answer: {error}") from error
    except errors.KafkaError as error:
        raise BusError(f"Kafka refused: {error}") from error


def make_no_topics(metadata: Any) -> None:
    """Asking Kafka about a topic may make it, with other settings than ours. kafka-python 3.0.12 has an option against
    that, `allow_auto_create_topics`, and does not pass it on to where it counts.
    """
    metadata.config["allow_auto_create_topics"] = False


def received(record: Any) -> Received:
    """A record of theirs."""
    return Received(
        partition=Partition(record.topic, record.partition),
        offset=record.offset,
        key=record.key or b"",
        value=record.value or b"",
        headers=dict(record.headers),
        time_ms=record.timestamp,
    )


def ours(tp: TopicPartition) -> Partition:
    """A partition of theirs."""
    return Partition(tp.topic, tp.partition)


def theirs(partition: Partition) -> TopicPartition:
    """A partition of ours."""
    return TopicPartition(partition.topic, partition.number)
