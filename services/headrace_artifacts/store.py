"""The artifacts schema in SQL, a function a statement. All but the last two see one tenant's rows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow, class_row

from headrace_kit.db import Connection, Constraints

CONSTRAINTS: Final[Constraints] = {}
"""None can break by what a caller does: paths are locked, ids are random."""


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """A row of `artifacts`."""

    tenant_id: str
    artifact_id: UUID
    owner_id: str
    path: str
    size_bytes: int
    sha256: bytes
    media_type: str
    blob_key: str
    create_time: datetime


async def lock_path(conn: Connection, owner_id: str, path: str) -> None:
    """Until the end of the transaction, nobody else puts an artifact at this path."""
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(current_setting('headrace.tenant') || %(owner)s || %(path)s, 0))",
        {"owner": owner_id, "path": path},
    )


async def insert_artifact(conn: Connection, row: ArtifactRow) -> None:
    """The path is locked and free."""
    await conn.execute(
        "INSERT INTO artifacts.artifacts (tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type,"
        " blob_key, create_time) VALUES (%(tenant)s, %(id)s, %(owner)s, %(path)s, %(size)s, %(sha256)s, %(type)s,"
        " %(blob)s, %(created)s)",
        {
            "tenant": row.tenant_id,
            "id": row.artifact_id,
            "owner": row.owner_id,
            "path": row.path,
            "size": row.size_bytes,
            "sha256": row.sha256,
            "type": row.media_type,
            "blob": row.blob_key,
            "created": row.create_time,
        },
    )


async def find_by_id(conn: Connection, artifact_id: UUID) -> ArtifactRow | None:
    """The artifact."""
    async with conn.cursor(row_factory=class_row(ArtifactRow)) as cursor:
        await cursor.execute(
            "SELECT tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type, blob_key, create_time"
            " FROM artifacts.artifacts WHERE artifact_id = %(id)s",
            {"id": artifact_id},
        )
        return await cursor.fetchone()


async def find_by_path(conn: Connection, owner_id: str, path: str) -> ArtifactRow | None:
    """The owner's artifact at exactly this path."""
    async with conn.cursor(row_factory=class_row(ArtifactRow)) as cursor:
        await cursor.execute(
            "SELECT tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type, blob_key, create_time"
            " FROM artifacts.artifacts WHERE owner_id = %(owner)s AND path = %(path)s",
            {"owner": owner_id, "path": path},
        )
        return await cursor.fetchone()


async def list_below(conn: Connection, owner_id: str, folder: str, after: str, limit: int) -> list[ArtifactRow]:
    """The owner's artifacts below the folder (empty: all) and behind this path, in order of path."""
    async with conn.cursor(row_factory=class_row(ArtifactRow)) as cursor:
        await cursor.execute(
            "SELECT tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type, blob_key, create_time"
            " FROM artifacts.artifacts WHERE owner_id = %(owner)s AND path > %(after)s"
            # "0" comes right after "/": all that begins with the folder and "/".
            " AND (%(folder)s = '' OR (path > %(folder)s || '/' AND path < %(folder)s || '0'))"
            " ORDER BY path LIMIT %(limit)s",
            {"owner": owner_id, "folder": folder, "after": after, "limit": limit},
        )
        return await cursor.fetchall()


async def list_level(conn: Connection, owner_id: str, folder: str, after: str, limit: int) -> list[ArtifactRow]:
    """As `list_below`, and of each folder directly in the folder its first file alone; none of the folder that has `after`.

    A step of the index for each row, however many files the folders have.
    """
    async with conn.cursor(row_factory=class_row(ArtifactRow)) as cursor:
        await cursor.execute(
            "WITH RECURSIVE level AS ("
            "(SELECT a.* FROM artifacts.artifacts a WHERE a.owner_id = %(owner)s AND a.path >= %(start)s"
            " AND (%(end)s = '' OR a.path < %(end)s) ORDER BY a.path LIMIT 1)"
            " UNION ALL SELECT following.* FROM level CROSS JOIN LATERAL ("
            "SELECT a.* FROM artifacts.artifacts a WHERE a.owner_id = %(owner)s"
            # Paths have no control character: nothing stands between one and itself with the least character behind it.
            " AND a.path >= CASE strpos(substr(level.path, %(skip)s), '/') WHEN 0 THEN level.path || chr(1)"
            " ELSE left(level.path, %(skip)s - 2 + strpos(substr(level.path, %(skip)s), '/')) || '0' END"
            " AND (%(end)s = '' OR a.path < %(end)s) ORDER BY a.path LIMIT 1) AS following)"
            " SELECT tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type, blob_key, create_time"
            " FROM level LIMIT %(limit)s",
            {
                "owner": owner_id,
                "start": _behind(folder, after),
                "end": folder and f"{folder}0",
                "skip": len(folder) + 2 if folder else 1,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


def _behind(folder: str, after: str) -> str:
    """Where a level goes on behind the file `after`, or begins."""
    start = f"{folder}/" if folder else ""
    if not after:
        return start
    name, below, _ = after[len(start) :].partition("/")
    return f"{start}{name}0" if below else f"{after}\x01"


async def delete_by_id(conn: Connection, artifact_id: UUID) -> ArtifactRow | None:
    """What was deleted."""
    async with conn.cursor(row_factory=class_row(ArtifactRow)) as cursor:
        await cursor.execute(
            "DELETE FROM artifacts.artifacts WHERE artifact_id = %(id)s"
            " RETURNING tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type, blob_key, create_time",
            {"id": artifact_id},
        )
        return await cursor.fetchone()


async def delete_at_path(conn: Connection, owner_id: str, path: str) -> ArtifactRow | None:
    """What was deleted."""
    async with conn.cursor(row_factory=class_row(ArtifactRow)) as cursor:
        await cursor.execute(
            "DELETE FROM artifacts.artifacts WHERE owner_id = %(owner)s AND path = %(path)s"
            " RETURNING tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type, blob_key, create_time",
            {"owner": owner_id, "path": path},
        )
        return await cursor.fetchone()


async def begin_blob(conn: Connection, tenant_id: str, blob_key: str, lease_s: float) -> None:
    """Writes down that a blob is being uploaded."""
    await conn.execute(
        "INSERT INTO artifacts.loose_blobs (tenant_id, blob_key, uploading, due_time)"
        " VALUES (%(tenant)s, %(key)s, true, now() + make_interval(secs => %(lease)s))",
        {"tenant": tenant_id, "key": blob_key, "lease": lease_s},
    )


async def renew_blob(conn: Connection, blob_key: str, lease_s: float) -> None:
    """The upload goes on; what is kept for longer stays so."""
    await conn.execute(
        "UPDATE artifacts.loose_blobs SET due_time = greatest(due_time, now() + make_interval(secs => %(lease)s))"
        " WHERE blob_key = %(key)s AND uploading",
        {"key": blob_key, "lease": lease_s},
    )


async def take_blob(conn: Connection, blob_key: str) -> bool:
    """An artifact has the blob from now on; False when the sweeper was faster."""
    cursor = await conn.execute(
        "DELETE FROM artifacts.loose_blobs WHERE blob_key = %(key)s AND uploading", {"key": blob_key}
    )
    return cursor.rowcount == 1


async def give_up_blob(conn: Connection, blob_key: str) -> None:
    """The upload failed: due at once. Does nothing when an artifact has the blob after all (a commit whose answer was
    lost), and waits for a commit that is still under way.
    """
    await conn.execute(
        "UPDATE artifacts.loose_blobs SET uploading = false, due_time = now() WHERE blob_key = %(key)s AND uploading",
        {"key": blob_key},
    )


async def let_go_blob(conn: Connection, tenant_id: str, blob_key: str) -> None:
    """No artifact has the blob any more: due at once."""
    await conn.execute(
        "INSERT INTO artifacts.loose_blobs (tenant_id, blob_key, uploading, due_time)"
        " VALUES (%(tenant)s, %(key)s, false, now())"
        " ON CONFLICT (tenant_id, blob_key) DO UPDATE SET uploading = false, due_time = now()",
        {"tenant": tenant_id, "key": blob_key},
    )


def claim_due_blobs(conn: psycopg.Connection[TupleRow], limit: int, retry_s: float) -> list[tuple[str, str]]:
    """Tenant and key of blobs that are due, of all tenants; each comes again after `retry_s` if it is still there."""
    return conn.execute(
        "UPDATE artifacts.loose_blobs SET uploading = false, due_time = now() + make_interval(secs => %(retry)s)"
        " WHERE (tenant_id, blob_key) IN (SELECT tenant_id, blob_key FROM artifacts.loose_blobs"
        " WHERE due_time <= now() ORDER BY due_time LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
        " RETURNING tenant_id, blob_key",
        {"limit": limit, "retry": retry_s},
    ).fetchall()


def forget_blob(conn: psycopg.Connection[TupleRow], tenant_id: str, blob_key: str) -> None:
    """The blob is deleted."""
    conn.execute(
        "DELETE FROM artifacts.loose_blobs WHERE tenant_id = %(tenant)s AND blob_key = %(key)s AND NOT uploading",
        {"tenant": tenant_id, "key": blob_key},
    )
