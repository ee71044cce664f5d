"""Webhooks in SQL, a function a statement; all see the rows of the transaction's tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from headrace_kit.db import Connection


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A row of `webhooks`."""

    tenant_id: str
    webhook_id: UUID
    name: str
    description: str
    url: str
    events: Sequence[str]
    secret: bytes
    """Encrypted."""
    disabled: bool
    create_time: datetime
    update_time: datetime


_WEBHOOKS: Final = """
SELECT tenant_id, webhook_id, name, description, url, events, secret, disabled, create_time, update_time
  FROM registry.webhooks WHERE delete_time IS NULL
"""


async def count(conn: Connection) -> int:
    """How many webhooks there are."""
    cursor = await conn.execute("SELECT count(*) FROM registry.webhooks WHERE delete_time IS NULL")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def insert(conn: Connection, row: WebhookRow) -> None:
    """A new webhook."""
    await conn.execute(
        "INSERT INTO registry.webhooks"
        " (tenant_id, webhook_id, name, description, url, events, secret, disabled, create_time, update_time)"
        " VALUES (%(tenant)s, %(id)s, %(name)s, %(description)s, %(url)s, %(events)s, %(secret)s, %(disabled)s,"
        " %(created)s, %(updated)s)",
        {
            "tenant": row.tenant_id,
            "id": row.webhook_id,
            "name": row.name,
            "description": row.description,
            "url": row.url,
            "events": list(row.events),
            "secret": row.secret,
            "disabled": row.disabled,
            "created": row.create_time,
            "updated": row.update_time,
        },
    )


async def find(conn: Connection, webhook_id: UUID) -> WebhookRow | None:
    """One that is not deleted."""
    async with conn.cursor(row_factory=class_row(WebhookRow)) as cursor:
        await cursor.execute(_WEBHOOKS + " AND webhook_id = %(id)s", {"id": webhook_id})
        return await cursor.fetchone()


async def find_to_change(conn: Connection, webhook_id: UUID) -> WebhookRow | None:
    """As `find`; until the end of the transaction nobody else changes it, nor records a delivery for it."""
    async with conn.cursor(row_factory=class_row(WebhookRow)) as cursor:
        await cursor.execute(_WEBHOOKS + " AND webhook_id = %(id)s FOR UPDATE", {"id": webhook_id})
        return await cursor.fetchone()


async def find_page(conn: Connection, behind: tuple[datetime, UUID] | None, limit: int) -> list[WebhookRow]:
    """Webhooks, newest first, behind (time, id)."""
    time, webhook_id = behind or (None, None)
    async with conn.cursor(row_factory=class_row(WebhookRow)) as cursor:
        await cursor.execute(
            _WEBHOOKS + " AND (%(time)s::timestamptz IS NULL OR (create_time, webhook_id) < (%(time)s, %(id)s))"
            " ORDER BY create_time DESC, webhook_id DESC LIMIT %(limit)s",
            {"time": time, "id": webhook_id, "limit": limit},
        )
        return await cursor.fetchall()


async def update(conn: Connection, row: WebhookRow) -> None:
    """Writes all but ids and create_time; one that is enabled again is told what happens from now on."""
    await conn.execute(
        "UPDATE registry.webhooks SET name = %(name)s, description = %(description)s, url = %(url)s,"
        " events = %(events)s, secret = %(secret)s, disabled = %(disabled)s, update_time = %(updated)s,"
        " active_time = CASE WHEN disabled AND NOT %(disabled)s THEN clock_timestamp() ELSE active_time END"
        " WHERE webhook_id = %(id)s",
        {
            "id": row.webhook_id,
            "name": row.name,
            "description": row.description,
            "url": row.url,
            "events": list(row.events),
            "secret": row.secret,
            "disabled": row.disabled,
            "updated": row.update_time,
        },
    )


async def delete(conn: Connection, webhook_id: UUID) -> None:
    """It is there no more for anyone; its secret goes at once, the rest when its deliveries do."""
    await conn.execute(
        "UPDATE registry.webhooks SET delete_time = now(), secret = '' WHERE webhook_id = %(id)s", {"id": webhook_id}
    )


async def drop_pending(conn: Connection, webhook_id: UUID) -> None:
    """What waits for this webhook is not delivered any more."""
    await conn.execute(
        "UPDATE registry.webhook_deliveries SET state = 'DROPPED', body = '', finish_time = now()"
        " WHERE webhook_id = %(id)s AND state = 'PENDING'",
        {"id": webhook_id},
    )
