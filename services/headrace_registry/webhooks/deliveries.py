"""Deliveries in SQL, a function a statement; for threads, in the worker role, which sees all tenants."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow, class_row

Connection = psycopg.Connection[TupleRow]
Finished = Literal["DELIVERED", "FAILED"]

CHANNEL: Final = "registry_webhooks"
"""Notified when there is something to send."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that is due, with what its webhook says now."""

    tenant_id: str
    delivery_id: UUID
    webhook_id: UUID
    attempts: int
    """Before this one."""
    body: bytes
    url: str
    secret: bytes
    """Encrypted; empty for none."""


@dataclass(frozen=True, slots=True)
class Room:
    """What may be under way at the same time, from one process."""

    total: int
    of_tenant: int
    of_webhook: int


def record(
    conn: Connection, tenant_id: str, event_id: str, number: int, event: str, time: datetime, body: bytes
) -> int:
    """A delivery for each webhook that wants the event and wanted it then; returns how many are new.

    The id of each follows from what it is about: an event that comes twice makes no second one. Waits for those who
    change one of the webhooks.
    """
    return conn.execute(
        "INSERT INTO registry.webhook_deliveries (tenant_id, delivery_id, webhook_id, body)"
        " SELECT tenant_id, md5(webhook_id || '/' || %(id)s || '/' || %(number)s::text)::uuid, webhook_id, %(body)s"
        " FROM registry.webhooks WHERE tenant_id = %(tenant)s AND delete_time IS NULL AND NOT disabled"
        " AND %(event)s = ANY(events) AND active_time <= %(time)s FOR SHARE"
        " ON CONFLICT (tenant_id, delivery_id) DO NOTHING",
        {"tenant": tenant_id, "id": event_id, "number": number, "event": event, "time": time, "body": body},
    ).rowcount


def notify(conn: Connection) -> None:
    """Wakes the senders when the transaction commits."""
    conn.execute("SELECT pg_notify(%(channel)s, '')", {"channel": CHANNEL})


def claim(
    conn: Connection, under_way: Sequence[tuple[str, UUID]], room: Room, again_s: float, most: int
) -> list[Parcel]:
    """Deliveries whose time has come, tenants by turns; each comes again after `again_s`, whatever becomes of the claimer.

    `under_way` are tenant and webhook of those that the caller has in hand: they count against the room.
    """
    with conn.cursor(row_factory=class_row(Parcel), binary=True) as cursor:
        return cursor.execute(
            _CLAIM,
            {
                "tenants": [tenant for tenant, _ in under_way],
                "webhooks": [webhook for _, webhook in under_way],
                "of_tenant": room.of_tenant,
                "of_webhook": room.of_webhook,
                "most": most,
                "again": again_s,
            },
        ).fetchall()


# Each webhook's first ones come by an index: a long queue of one costs the others nothing. Who else claims the same row
# meanwhile has moved its due_time, which the UPDATE sees.
_CLAIM: Final = """
WITH under_way AS (
    SELECT * FROM unnest(%(tenants)s::text[], %(webhooks)s::uuid[]) AS u (tenant_id, webhook_id)
), due AS (
    SELECT d.tenant_id, d.delivery_id, d.due_time, w.webhook_id, w.url, w.secret,
           row_number() OVER (PARTITION BY w.tenant_id ORDER BY d.due_time)
               + (SELECT count(*) FROM under_way u WHERE u.tenant_id = w.tenant_id) AS turn
      FROM registry.webhooks w
     CROSS JOIN LATERAL (
            SELECT p.tenant_id, p.delivery_id, p.due_time FROM registry.webhook_deliveries p
             WHERE p.tenant_id = w.tenant_id AND p.webhook_id = w.webhook_id
               AND p.state = 'PENDING' AND p.due_time <= now()
             ORDER BY p.due_time
             LIMIT greatest(0, %(of_webhook)s - (SELECT count(*) FROM under_way u WHERE u.webhook_id = w.webhook_id))
           ) d
     WHERE w.delete_time IS NULL AND NOT w.disabled
), chosen AS (
    SELECT * FROM due WHERE turn <= %(of_tenant)s ORDER BY turn, due_time LIMIT %(most)s
)
UPDATE registry.webhook_deliveries d SET due_time = now() + make_interval(secs => %(again)s)
  FROM chosen c
 WHERE d.tenant_id = c.tenant_id AND d.delivery_id = c.delivery_id AND d.state = 'PENDING' AND d.due_time <= now()
RETURNING d.tenant_id, d.delivery_id, c.webhook_id, d.attempts, d.body, c.url, c.secret
"""


def finish(conn: Connection, parcel: Parcel, state: Finished, status: int, problem: str) -> None:
    """The last attempt is over."""
    conn.execute(
        "UPDATE registry.webhook_deliveries SET state = %(state)s, body = '', attempts = attempts + 1,"
        " status = %(status)s, problem = %(problem)s, finish_time = now()"
        " WHERE tenant_id = %(tenant)s AND delivery_id = %(id)s AND state = 'PENDING'",
        {
            "state": state,
            "status": status,
            "problem": problem,
            "tenant": parcel.tenant_id,
            "id": parcel.delivery_id,
        },
    )


def put_off(conn: Connection, parcel: Parcel, seconds: float, status: int, problem: str) -> None:
    """The attempt was in vain; another one follows after so long."""
    conn.execute(
        "UPDATE registry.webhook_deliveries SET attempts = attempts + 1, status = %(status)s, problem = %(problem)s,"
        " due_time = now() + make_interval(secs => %(seconds)s)"
        " WHERE tenant_id = %(tenant)s AND delivery_id = %(id)s AND state = 'PENDING'",
        {
            "seconds": seconds,
            "status": status,
            "problem": problem,
            "tenant": parcel.tenant_id,
            "id": parcel.delivery_id,
        },
    )


def release(conn: Connection, parcels: Sequence[Parcel]) -> None:
    """Nothing came of these claims: they are due at once."""
    conn.execute(
        "UPDATE registry.webhook_deliveries d SET due_time = now()"
        " FROM unnest(%(tenants)s::text[], %(ids)s::uuid[]) AS r (tenant_id, delivery_id)"
        " WHERE d.tenant_id = r.tenant_id AND d.delivery_id = r.delivery_id AND d.state = 'PENDING'",
        {"tenants": [one.tenant_id for one in parcels], "ids": [one.delivery_id for one in parcels]},
    )


def give_up(conn: Connection, after_s: float) -> int:
    """What waits for longer than this is not delivered any more; how many."""
    return conn.execute(
        "UPDATE registry.webhook_deliveries SET state = 'FAILED', body = '', finish_time = now(),"
        " problem = 'was not delivered in time; the last attempt: ' || coalesce(nullif(problem, ''), 'none')"
        " WHERE state = 'PENDING' AND create_time < now() - make_interval(secs => %(after)s)",
        {"after": after_s},
    ).rowcount


def forget(conn: Connection, after_s: float, most: int) -> None:
    """Deletes deliveries that ended longer ago than this, and then the webhooks that were deleted before them."""
    conn.execute(
        "DELETE FROM registry.webhook_deliveries WHERE (tenant_id, delivery_id) IN ("
        " SELECT tenant_id, delivery_id FROM registry.webhook_deliveries"
        " WHERE finish_time < now() - make_interval(secs => %(after)s) LIMIT %(most)s)",
        {"after": after_s, "most": most},
    )
    conn.execute(
        "DELETE FROM registry.webhooks w WHERE delete_time < now() - make_interval(secs => %(after)s)"
        " AND NOT EXISTS (SELECT FROM registry.webhook_deliveries d"
        "                  WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.webhook_id)",
        {"after": after_s},
    )
