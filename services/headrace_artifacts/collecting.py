"""The collector's SQL, a function a statement, and the lock that uploads share; in the worker role but for that."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import TupleRow, class_row

from headrace_artifacts.store import ArtifactRow
from headrace_kit import db

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True, slots=True)
class PurgedOwner:
    """A row of `purged_owners`."""

    tenant_id: str
    owner_id: str
    empty: bool
    """The last file was gone when somebody looked."""


async def lock_owner(conn: db.Connection, owner_id: str) -> bool:
    """Keeps the owner from being purged until the transaction ends; False when it was purged lately."""
    await conn.execute(
        "SELECT pg_advisory_xact_lock_shared(hashtextextended("
        "'artifacts of ' || current_setting('headrace.tenant') || ' ' || %(owner)s, 0))",
        {"owner": owner_id},
    )
    cursor = await conn.execute("SELECT FROM artifacts.purged_owners WHERE owner_id = %(owner)s", {"owner": owner_id})
    return await cursor.fetchone() is None


def add_owner(conn: Connection, tenant_id: str, owner_id: str, due_in_s: float) -> None:
    """Notes that the owner was purged; waits for uploads that are just being put in their place."""
    values = {"tenant": tenant_id, "owner": owner_id, "due": due_in_s}
    conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended("
        "'artifacts of ' || %(tenant)s::text || ' ' || %(owner)s::text, 0))",
        values,
    )
    conn.execute(
        "INSERT INTO artifacts.purged_owners (tenant_id, owner_id, due_time)"
        " VALUES (%(tenant)s, %(owner)s, now() + make_interval(secs => %(due)s))"
        " ON CONFLICT (tenant_id, owner_id) DO UPDATE SET due_time = excluded.due_time, empty_time = NULL",
        values,
    )


def claim(conn: Connection, most: int, again_s: float) -> list[PurgedOwner]:
    """Owners whose time has come; each comes again after `again_s`, whatever becomes of the claimer."""
    with conn.cursor(row_factory=class_row(PurgedOwner)) as cursor:
        return cursor.execute(
            "UPDATE artifacts.purged_owners SET due_time = now() + make_interval(secs => %(again)s)"
            " WHERE (tenant_id, owner_id) IN (SELECT tenant_id, owner_id FROM artifacts.purged_owners"
            " WHERE due_time <= now() ORDER BY due_time LIMIT %(most)s FOR UPDATE SKIP LOCKED)"
            " RETURNING tenant_id, owner_id, empty_time IS NOT NULL AS empty",
            {"most": most, "again": again_s},
        ).fetchall()


def put_off(conn: Connection, owner: PurgedOwner, seconds: float) -> None:
    """Looks at it again after so long."""
    conn.execute(
        "UPDATE artifacts.purged_owners SET due_time = now() + make_interval(secs => %(seconds)s)"
        " WHERE tenant_id = %(tenant)s AND owner_id = %(owner)s",
        {"tenant": owner.tenant_id, "owner": owner.owner_id, "seconds": seconds},
    )


def set_empty(conn: Connection, owner: PurgedOwner, remembered_s: float) -> None:
    """Its last file is gone; it is remembered for so long."""
    conn.execute(
        "UPDATE artifacts.purged_owners SET empty_time = now(), due_time = now() + make_interval(secs => %(seconds)s)"
        " WHERE tenant_id = %(tenant)s AND owner_id = %(owner)s",
        {"tenant": owner.tenant_id, "owner": owner.owner_id, "seconds": remembered_s},
    )


def forget(conn: Connection, owner: PurgedOwner) -> None:
    """Nothing late can come for it any more."""
    conn.execute(
        "DELETE FROM artifacts.purged_owners WHERE tenant_id = %(tenant)s AND owner_id = %(owner)s",
        {"tenant": owner.tenant_id, "owner": owner.owner_id},
    )


def delete_some(conn: Connection, owner: PurgedOwner, most: int) -> list[ArtifactRow]:
    """Some artifacts of the owner, which are gone now."""
    with conn.cursor(row_factory=class_row(ArtifactRow)) as cursor:
        return cursor.execute(
            "DELETE FROM artifacts.artifacts WHERE tenant_id = %(tenant)s AND artifact_id IN ("
            " SELECT artifact_id FROM artifacts.artifacts WHERE tenant_id = %(tenant)s AND owner_id = %(owner)s"
            " LIMIT %(most)s FOR UPDATE SKIP LOCKED)"
            " RETURNING tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type, blob_key, create_time",
            {"tenant": owner.tenant_id, "owner": owner.owner_id, "most": most},
        ).fetchall()


def has_any(conn: Connection, owner: PurgedOwner) -> bool:
    """Whether the owner has an artifact."""
    row = conn.execute(
        "SELECT FROM artifacts.artifacts WHERE tenant_id = %(tenant)s AND owner_id = %(owner)s LIMIT 1",
        {"tenant": owner.tenant_id, "owner": owner.owner_id},
    ).fetchone()
    return row is not None


def let_go_blobs(conn: Connection, blobs: list[tuple[str, str]]) -> None:
    """No artifact has these blobs, tenant and key, any more: due at once."""
    conn.execute(
        "INSERT INTO artifacts.loose_blobs (tenant_id, blob_key, uploading, due_time)"
        " SELECT w.tenant_id, w.blob_key, false, now()"
        " FROM unnest(%(tenants)s::text[], %(keys)s::text[]) AS w (tenant_id, blob_key)"
        " ON CONFLICT (tenant_id, blob_key) DO UPDATE SET uploading = false, due_time = now()",
        {"tenants": [tenant for tenant, _ in blobs], "keys": [key for _, key in blobs]},
    )
