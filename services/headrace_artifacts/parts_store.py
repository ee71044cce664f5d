"""Uploads in parts in SQL, a function a statement. All but the last see one tenant's rows; expired uploads are not there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow, class_row

from headrace_kit.db import Connection

State = Literal["open", "completed", "aborted"]


@dataclass(frozen=True, slots=True)
class UploadRow:
    """A row of `uploads`."""

    tenant_id: str
    upload_id: UUID
    owner_id: str
    path: str
    media_type: str
    part_count: int
    state: State
    artifact_id: UUID | None
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class PartRow:
    """A row of `upload_parts`, of a known upload."""

    number: int
    size_bytes: int
    sha256: bytes
    blob_key: str


async def insert_upload(
    conn: Connection,
    tenant_id: str,
    upload_id: UUID,
    owner_id: str,
    path: str,
    media_type: str,
    count: int,
    life_s: float,
) -> datetime:
    """Begins an upload; returns when it expires."""
    cursor = await conn.execute(
        "INSERT INTO artifacts.uploads (tenant_id, upload_id, owner_id, path, media_type, part_count, state, expire_time)"
        " VALUES (%(tenant)s, %(upload)s, %(owner)s, %(path)s, %(type)s, %(count)s, 'open',"
        " now() + make_interval(secs => %(life)s)) RETURNING expire_time",
        {
            "tenant": tenant_id,
            "upload": upload_id,
            "owner": owner_id,
            "path": path,
            "type": media_type,
            "count": count,
            "life": life_s,
        },
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING of one row
    expires: datetime = row[0]
    return expires


_UPLOAD: Final = (
    "SELECT tenant_id, upload_id, owner_id, path, media_type, part_count, state, artifact_id, expire_time"
    " FROM artifacts.uploads WHERE upload_id = %(upload)s AND expire_time > now()"
)


async def find_upload(conn: Connection, upload_id: UUID) -> UploadRow | None:
    """The upload."""
    return await _one(conn, _UPLOAD, upload_id)


async def lock_upload(conn: Connection, upload_id: UUID) -> UploadRow | None:
    """The upload, which nobody else changes until the end of the transaction."""
    return await _one(conn, _UPLOAD + " FOR UPDATE", upload_id)


async def end_upload(conn: Connection, upload_id: UUID, state: State, artifact_id: UUID | None) -> None:
    """It is open no more; its row is locked."""
    await conn.execute(
        "UPDATE artifacts.uploads SET state = %(state)s, artifact_id = %(artifact)s WHERE upload_id = %(upload)s",
        {"state": state, "artifact": artifact_id, "upload": upload_id},
    )


async def list_parts(conn: Connection, upload_id: UUID) -> list[PartRow]:
    """What came, by number."""
    async with conn.cursor(row_factory=class_row(PartRow)) as cursor:
        await cursor.execute(
            "SELECT number, size_bytes, sha256, blob_key FROM artifacts.upload_parts"
            " WHERE upload_id = %(upload)s ORDER BY number",
            {"upload": upload_id},
        )
        return await cursor.fetchall()


async def size_without(conn: Connection, upload_id: UUID, number: int) -> int:
    """Bytes of all other parts."""
    cursor = await conn.execute(
        "SELECT coalesce(sum(size_bytes), 0)::bigint FROM artifacts.upload_parts"
        " WHERE upload_id = %(upload)s AND number <> %(number)s",
        {"upload": upload_id, "number": number},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def keep_blob(conn: Connection, blob_key: str, until: datetime) -> bool:
    """The blob stays in `loose_blobs` until then; False when the sweeper was faster."""
    cursor = await conn.execute(
        "UPDATE artifacts.loose_blobs SET due_time = %(until)s WHERE blob_key = %(key)s AND uploading",
        {"until": until, "key": blob_key},
    )
    return cursor.rowcount == 1


async def delete_part(conn: Connection, upload_id: UUID, number: int) -> str | None:
    """The key of the blob that the part had."""
    cursor = await conn.execute(
        "DELETE FROM artifacts.upload_parts WHERE upload_id = %(upload)s AND number = %(number)s RETURNING blob_key",
        {"upload": upload_id, "number": number},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def insert_part(conn: Connection, tenant_id: str, upload_id: UUID, part: PartRow) -> None:
    """The upload is locked, and has no part of this number."""
    await conn.execute(
        "INSERT INTO artifacts.upload_parts (tenant_id, upload_id, number, size_bytes, sha256, blob_key)"
        " VALUES (%(tenant)s, %(upload)s, %(number)s, %(size)s, %(sha256)s, %(blob)s)",
        {
            "tenant": tenant_id,
            "upload": upload_id,
            "number": part.number,
            "size": part.size_bytes,
            "sha256": part.sha256,
            "blob": part.blob_key,
        },
    )


async def let_go_parts(conn: Connection, upload_id: UUID) -> None:
    """The upload has no parts any more; their blobs are due at once."""
    await conn.execute(
        "WITH gone AS (DELETE FROM artifacts.upload_parts WHERE upload_id = %(upload)s RETURNING blob_key)"
        " UPDATE artifacts.loose_blobs SET uploading = false, due_time = now()"
        " FROM gone WHERE loose_blobs.blob_key = gone.blob_key",
        {"upload": upload_id},
    )


def forget_expired(conn: psycopg.Connection[TupleRow]) -> None:
    """Deletes the uploads of all tenants whose time is over, with their parts; the blobs are due at the same time."""
    conn.execute("DELETE FROM artifacts.uploads WHERE expire_time <= now()")


async def _one(conn: Connection, query: LiteralString, upload_id: UUID) -> UploadRow | None:
    async with conn.cursor(row_factory=class_row(UploadRow)) as cursor:
        await cursor.execute(query, {"upload": upload_id})
        return await cursor.fetchone()
