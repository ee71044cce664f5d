"""Turns the registry's events into deliveries."""

from typing import Any, Final

import psycopg

from headrace_kit.bus.cloudevents import CloudEvent
from headrace_registry.webhooks import deliveries, payloads

GROUP: Final = "registry webhooks"


def record(conn: psycopg.Connection[Any], event: CloudEvent) -> None:
    """A delivery for each webhook of the tenant that wants to hear of it, in the transaction that handles the event."""
    added = 0
    for number, told in enumerate(payloads.occurrences(event)):
        body = payloads.body(told.event, event.time, told.data, event.tenant_id)
        added += deliveries.record(conn, event.tenant_id, event.id, number, told.event, event.time, body)
    if added:
        deliveries.notify(conn)
