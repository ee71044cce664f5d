"""Experiments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from headrace_kit.db import Connection


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """A row of `experiments`."""

    experiment_id: int
    name: str
    tags: dict[str, str]
    create_ms: int
    update_ms: int
    delete_ms: int | None = None
    artifact_location: str = ""


_SELECT: Final = (
    "SELECT experiment_id, name, tags, create_ms, update_ms, delete_ms, artifact_location FROM tracking.experiments"
)


async def next_id(conn: Connection, tenant_id: str) -> int:
    """The tenant's next id, from 1; others that make an experiment wait for this transaction's end."""
    cursor = await conn.execute(
        "INSERT INTO tracking.experiment_counters AS c (tenant_id, last) VALUES (%(tenant)s, 1)"
        " ON CONFLICT (tenant_id) DO UPDATE SET last = c.last + 1 RETURNING last",
        {"tenant": tenant_id},
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - INSERT ... RETURNING gives a row or raises
    return int(row[0])


async def hold_ids(conn: Connection, tenant_id: str) -> None:
    """Nobody else makes an experiment until this transaction ends."""
    await conn.execute(
        "INSERT INTO tracking.experiment_counters AS c (tenant_id, last) VALUES (%(tenant)s, 0)"
        " ON CONFLICT (tenant_id) DO UPDATE SET last = c.last",
        {"tenant": tenant_id},
    )


async def insert(conn: Connection, tenant_id: str, row: ExperimentRow, request_id: UUID | None) -> None:
    """Breaks `experiments_name` when the name is in use."""
    await conn.execute(
        "INSERT INTO tracking.experiments"
        " (tenant_id, experiment_id, name, tags, create_ms, update_ms, delete_ms, request_id, artifact_location)"
        " VALUES (%(tenant)s, %(id)s, %(name)s, %(tags)s, %(created)s, %(updated)s, %(deleted)s, %(request)s,"
        " %(location)s)",
        {
            "tenant": tenant_id,
            "id": row.experiment_id,
            "name": row.name,
            "tags": Jsonb(row.tags),
            "created": row.create_ms,
            "updated": row.update_ms,
            "deleted": row.delete_ms,
            "request": request_id,
            "location": row.artifact_location,
        },
    )


async def insert_default(conn: Connection, tenant_id: str, name: str, now_ms: int) -> bool:
    """Makes experiment 0; False where it exists, deleted or renamed ones included."""
    cursor = await conn.execute(
        "INSERT INTO tracking.experiments (tenant_id, experiment_id, name, tags, create_ms, update_ms)"
        " VALUES (%(tenant)s, 0, %(name)s, '{}', %(now)s, %(now)s) ON CONFLICT DO NOTHING",
        {"tenant": tenant_id, "name": name, "now": now_ms},
    )
    return cursor.rowcount == 1


async def find(conn: Connection, experiment_id: int) -> ExperimentRow | None:
    """By id."""
    return await _one(conn, _SELECT + " WHERE experiment_id = %(by)s", experiment_id)


async def find_by_name(conn: Connection, name: str) -> ExperimentRow | None:
    """By name."""
    return await _one(conn, _SELECT + " WHERE name = %(by)s", name)


async def find_by_request(conn: Connection, request_id: UUID) -> ExperimentRow | None:
    """What an earlier request of this id made."""
    return await _one(conn, _SELECT + " WHERE request_id = %(by)s", request_id)


async def lock(conn: Connection, experiment_id: int) -> ExperimentRow | None:
    """By id, for a change; other changes wait for this transaction's end."""
    return await _one(conn, _SELECT + " WHERE experiment_id = %(by)s FOR NO KEY UPDATE", experiment_id)


async def find_many(conn: Connection, experiment_ids: Sequence[int]) -> dict[int, ExperimentRow]:
    """By id."""
    async with conn.cursor(row_factory=class_row(ExperimentRow)) as cursor:
        await cursor.execute(_SELECT + " WHERE experiment_id = ANY(%(ids)s)", {"ids": list(experiment_ids)})
        return {row.experiment_id: row for row in await cursor.fetchall()}


async def update(conn: Connection, row: ExperimentRow) -> None:
    """Writes all that can change; breaks `experiments_name` when the name is in use."""
    await conn.execute(
        "UPDATE tracking.experiments"
        " SET name = %(name)s, tags = %(tags)s, create_ms = %(created)s, update_ms = %(updated)s,"
        " delete_ms = %(deleted)s, artifact_location = %(location)s WHERE experiment_id = %(id)s",
        {
            "id": row.experiment_id,
            "name": row.name,
            "tags": Jsonb(row.tags),
            "created": row.create_ms,
            "updated": row.update_ms,
            "deleted": row.delete_ms,
            "location": row.artifact_location,
        },
    )


async def restore_runs(conn: Connection, experiment_id: int) -> None:
    """Takes the runs out of the bin that were moved there one by one."""
    await conn.execute(
        "UPDATE tracking.runs SET delete_ms = NULL WHERE experiment_id = %(id)s AND delete_ms IS NOT NULL",
        {"id": experiment_id},
    )


async def _one(conn: Connection, query: LiteralString, by: int | str | UUID) -> ExperimentRow | None:
    async with conn.cursor(row_factory=class_row(ExperimentRow)) as cursor:
        await cursor.execute(query, {"by": by})
        return await cursor.fetchone()
