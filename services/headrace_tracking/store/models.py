"""Logged models."""

from dataclasses import dataclass
from typing import Final, LiteralString
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from headrace_kit.db import Connection


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A row of `logged_models`."""

    model_id: UUID
    experiment_id: int
    run_id: UUID | None
    name: str
    model_type: str
    state: str
    state_message: str
    params: dict[str, str]
    tags: dict[str, str]
    create_ms: int
    update_ms: int


_SELECT: Final = (
    "SELECT model_id, experiment_id, run_id, name, model_type, state, state_message, params, tags, create_ms, update_ms"
    " FROM tracking.logged_models"
)
_BEHIND: Final = (
    " AND (%(time)s::bigint IS NULL OR create_ms < %(time)s OR (create_ms = %(time)s AND model_id > %(model)s))"
    " ORDER BY create_ms DESC, model_id LIMIT %(limit)s"
)
ModelPlace = tuple[int, UUID]
"""create_ms and id of the model behind which a page begins."""


async def insert(conn: Connection, tenant_id: str, row: ModelRow) -> bool:
    """False when the tenant has a model of this id."""
    cursor = await conn.execute(
        "INSERT INTO tracking.logged_models (tenant_id, model_id, experiment_id, run_id, name, model_type, state,"
        " state_message, params, tags, create_ms, update_ms)"
        " VALUES (%(tenant)s, %(id)s, %(experiment)s, %(run)s, %(name)s, %(type)s, %(state)s, %(message)s, %(params)s,"
        " %(tags)s, %(created)s, %(updated)s) ON CONFLICT (tenant_id, model_id) DO NOTHING",
        {
            "tenant": tenant_id,
            "id": row.model_id,
            "experiment": row.experiment_id,
            "run": row.run_id,
            "name": row.name,
            "type": row.model_type,
            "state": row.state,
            "message": row.state_message,
            "params": Jsonb(row.params),
            "tags": Jsonb(row.tags),
            "created": row.create_ms,
            "updated": row.update_ms,
        },
    )
    return cursor.rowcount == 1


async def find(conn: Connection, model_id: UUID) -> ModelRow | None:
    """By id."""
    return await _one(conn, _SELECT + " WHERE model_id = %(id)s", model_id)


async def lock(conn: Connection, model_id: UUID) -> ModelRow | None:
    """By id, for a change."""
    return await _one(conn, _SELECT + " WHERE model_id = %(id)s FOR NO KEY UPDATE", model_id)


async def set_state(conn: Connection, row: ModelRow) -> None:
    """Writes the state, its message and the time."""
    await conn.execute(
        "UPDATE tracking.logged_models SET state = %(state)s, state_message = %(message)s, update_ms = %(updated)s"
        " WHERE model_id = %(id)s",
        {"id": row.model_id, "state": row.state, "message": row.state_message, "updated": row.update_ms},
    )


async def of_experiment(conn: Connection, experiment_id: int, after: ModelPlace | None, limit: int) -> list[ModelRow]:
    """The models of an experiment, newest first."""
    return await _page(conn, _SELECT + " WHERE experiment_id = %(of)s" + _BEHIND, experiment_id, after, limit)


async def of_run(conn: Connection, run_id: UUID, after: ModelPlace | None, limit: int) -> list[ModelRow]:
    """The models of a run, newest first."""
    return await _page(conn, _SELECT + " WHERE run_id = %(of)s" + _BEHIND, run_id, after, limit)


async def _one(conn: Connection, query: LiteralString, model_id: UUID) -> ModelRow | None:
    async with conn.cursor(row_factory=class_row(ModelRow)) as cursor:
        await cursor.execute(query, {"id": model_id})
        return await cursor.fetchone()


async def _page(
    conn: Connection, query: LiteralString, of: int | UUID, after: ModelPlace | None, limit: int
) -> list[ModelRow]:
    time, model_id = after or (None, None)
    async with conn.cursor(row_factory=class_row(ModelRow)) as cursor:
        await cursor.execute(query, {"of": of, "time": time, "model": model_id, "limit": limit})
        return await cursor.fetchall()
