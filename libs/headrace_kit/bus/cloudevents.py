"""Events on the bus: CloudEvents 1.0 in Kafka's binary mode, the value being the bare protobuf message.

Headers `ce_specversion`, `ce_id`, `ce_type` (full proto name), `ce_source`, `ce_subject`, `ce_time`, `ce_partitionkey`,
`content-type`; besides them `tenant` and the W3C `traceparent`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from headrace_kit.bus import Received, Record

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/protobuf"


class MalformedEvent(Exception):  # noqa: N818 - says what it is
    """A record is not an event; the message says where it lies and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """A fact about one resource of a tenant."""

    id: str
    """Unique; a consumer that saw it has seen the event."""
    type: str
    """Full name of the message."""
    source: str
    """Who emitted it, a URI reference: "/headrace/registry"."""
    subject: str
    """Full name of the resource."""
    time: datetime
    """When it happened; aware."""
    tenant_id: str
    data: bytes
    """The message."""
    traceparent: str = ""

    def to_record(self, topic: str, key: str) -> Record:
        """As it is published. Events with one key keep their order."""
        headers = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": self.id,
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_subject": self.subject,
            "ce_time": self.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "ce_partitionkey": key,
            "content-type": CONTENT_TYPE,
            "tenant": self.tenant_id,
        }
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return Record(topic, key.encode(), self.data, {name: value.encode() for name, value in headers.items()})


def from_received(received: Received) -> CloudEvent:
    """The event that a record holds. Raises MalformedEvent."""
    where = f"{received.partition.topic}/{received.partition.number}, offset {received.offset}"
    try:
        headers = {name: value.decode() for name, value in received.headers.items()}
        _expect(headers, "ce_specversion", SPEC_VERSION)
        _expect(headers, "content-type", CONTENT_TYPE)
        return CloudEvent(
            id=headers["ce_id"],
            type=headers["ce_type"],
            source=headers["ce_source"],
            subject=headers["ce_subject"],
            time=_time(headers["ce_time"]),
            tenant_id=headers["tenant"],
            data=received.value,
            traceparent=headers.get("traceparent", ""),
        )
    except UnicodeDecodeError as error:
        raise MalformedEvent(f"{where}: a header is not UTF-8: {error}") from error
    except KeyError as error:
        raise MalformedEvent(f"{where}: header {error.args[0]} is missing") from error
    except ValueError as error:
        raise MalformedEvent(f"{where}: {error}") from error


def _expect(headers: Mapping[str, str], name: str, value: str) -> None:
    if headers[name] != value:
        raise ValueError(f"header {name} must be {value!r}, got {headers[name]!r}")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"header ce_time must be a time after RFC 3339, got {text!r}") from error
    if time.tzinfo is None:
        raise ValueError(f"header ce_time must have a UTC offset, got {text!r}")
    return time
