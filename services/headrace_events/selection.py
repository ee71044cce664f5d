"""Which events a subscription wants, and how it gets to see them; pure."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.api.events.v1 import event_service_pb2 as pb
from headrace_kit import names
from headrace_kit.bus import Received, cloudevents
from headrace_kit.bus.cloudevents import MalformedEvent
from headrace_kit.errors import InvalidField
from headrace_kit.topics import EVENT_TYPES

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """The events of one tenant, as far as they are wanted; in bytes, as records have them."""

    tenant: bytes
    types: frozenset[bytes]
    """None means all."""
    subject_prefix: bytes

    def takes(self, record: Received) -> bool:
        """Whether the record is one of them."""
        headers = record.headers
        return (
            tenant_of(record) == self.tenant
            and (not self.types or headers.get("ce_type") in self.types)
            and headers.get("ce_subject", b"").startswith(self.subject_prefix)
        )


def selection(tenant_id: str, types: Sequence[str], subject_prefix: str) -> Selection:
    """What a request asks for. Raises InvalidField for a type that there is not, a prefix that no subject can have."""
    for number, name in enumerate(types):
        if name not in EVENT_TYPES:
            known = ", ".join(sorted(EVENT_TYPES))
            raise InvalidField(f"types[{number}]", f"{name[:200]!r} is no event; there are {known}")
    own = f"{names.tenant(tenant_id)}/"
    if not (subject_prefix.startswith(own) or own.startswith(subject_prefix)):
        raise InvalidField("subject_prefix", f"must begin with {own!r}, or be empty; got {subject_prefix[:200]!r}")
    return Selection(tenant_id.encode(), frozenset(name.encode() for name in types), subject_prefix.encode())


def tenant_of(record: Received) -> bytes:
    """Whose event it is; empty for a record that says nothing, which nobody gets."""
    return record.headers.get("tenant", b"")


def response(record: Received, cursor: str) -> pb.SubscribeResponse | None:
    """The record as subscribers see it; None for one that is no event, which is left out as other consumers do."""
    try:
        event = cloudevents.from_received(record)
    except MalformedEvent as error:
        log.warning("left out of subscriptions: %s", error)
        return None
    answer = pb.SubscribeResponse(
        event=pb.Event(
            id=event.id,
            type=event.type,
            source=event.source,
            subject=event.subject,
            data=event.data,
            traceparent=event.traceparent,
        ),
        cursor=cursor,
    )
    answer.event.time.FromDatetime(event.time)
    return answer
