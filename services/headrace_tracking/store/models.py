"""Logged models."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    user_id: str = ""
    delete_ms: int | None = None
    artifact_location: str = ""
    """That of its experiment."""


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """A row of `logged_model_metrics`."""

    model_id: UUID
    key: str
    dataset_name: str
    dataset_digest: str
    run_id: UUID
    value: float
    step: int
    time_ms: int


_SELECT: Final = (
    "SELECT m.model_id, m.experiment_id, m.run_id, m.name, m.model_type, m.state, m.state_message, m.params, m.tags,"
    " m.create_ms, m.update_ms, m.user_id, m.delete_ms, e.artifact_location"
    " FROM tracking.logged_models m JOIN tracking.experiments e USING (tenant_id, experiment_id)"
)
_BEHIND: Final = (
    " AND m.delete_ms IS NULL"
    " AND (%(time)s::bigint IS NULL OR m.create_ms < %(time)s OR (m.create_ms = %(time)s AND m.model_id > %(model)s))"
    " ORDER BY m.create_ms DESC, m.model_id LIMIT %(limit)s"
)
ModelPlace = tuple[int, UUID]
"""create_ms and id of the model behind which a page begins."""


async def insert(conn: Connection, tenant_id: str, row: ModelRow) -> bool:
    """False when the tenant has a model of this id."""
    cursor = await conn.execute(
        "INSERT INTO tracking.logged_models (tenant_id, model_id, experiment_id, run_id, name, model_type, state,"
        " state_message, params, tags, create_ms, update_ms, user_id, delete_ms)"
        " VALUES (%(tenant)s, %(id)s, %(experiment)s, %(run)s, %(name)s, %(type)s, %(state)s, %(message)s, %(params)s,"
        " %(tags)s, %(created)s, %(updated)s, %(user)s, %(deleted)s) ON CONFLICT (tenant_id, model_id) DO NOTHING",
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
            "user": row.user_id,
            "deleted": row.delete_ms,
        },
    )
    return cursor.rowcount == 1


async def find(conn: Connection, model_id: UUID) -> ModelRow | None:
    """By id."""
    return await _one(conn, _SELECT + " WHERE m.model_id = %(id)s", model_id)


async def lock(conn: Connection, model_id: UUID) -> ModelRow | None:
    """By id, for a change."""
    return await _one(conn, _SELECT + " WHERE m.model_id = %(id)s FOR NO KEY UPDATE OF m", model_id)


async def find_many(conn: Connection, model_ids: Sequence[UUID]) -> dict[UUID, ModelRow]:
    """By id."""
    async with conn.cursor(row_factory=class_row(ModelRow)) as cursor:
        await cursor.execute(_SELECT + " WHERE m.model_id = ANY(%(ids)s)", {"ids": list(model_ids)})
        return {row.model_id: row for row in await cursor.fetchall()}


async def update(conn: Connection, row: ModelRow) -> None:
    """Writes all that can change."""
    await conn.execute(
        "UPDATE tracking.logged_models SET name = %(name)s, model_type = %(type)s, state = %(state)s,"
        " state_message = %(message)s, params = %(params)s, tags = %(tags)s, create_ms = %(created)s,"
        " update_ms = %(updated)s, user_id = %(user)s, delete_ms = %(deleted)s WHERE model_id = %(id)s",
        {
            "id": row.model_id,
            "name": row.name,
            "type": row.model_type,
            "created": row.create_ms,
            "user": row.user_id,
            "state": row.state,
            "message": row.state_message,
            "params": Jsonb(row.params),
            "tags": Jsonb(row.tags),
            "updated": row.update_ms,
            "deleted": row.delete_ms,
        },
    )


async def upsert_measured(
    conn: Connection, tenant_id: str, experiments: Mapping[UUID, int], rows: Sequence[MeasuredRow]
) -> None:
    """Keeps the later of each and what is there, by (step, time, value); the models are locked, and in `experiments`."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO tracking.logged_model_metrics AS m (tenant_id, experiment_id, model_id, key, dataset_name,"
            " dataset_digest, run_id, value, step, time_ms)"
            " VALUES (%(tenant)s, %(experiment)s, %(model_id)s, %(key)s, %(dataset_name)s, %(dataset_digest)s,"
            " %(run_id)s, %(value)s, %(step)s, %(time_ms)s)"
            " ON CONFLICT (tenant_id, model_id, key, dataset_name, dataset_digest, run_id)"
            " DO UPDATE SET value = excluded.value, step = excluded.step, time_ms = excluded.time_ms"
            " WHERE (m.step, m.time_ms, m.value) < (excluded.step, excluded.time_ms, excluded.value)",
            [asdict(row) | {"tenant": tenant_id, "experiment": experiments[row.model_id]} for row in rows],
        )


async def measured(conn: Connection, model_ids: Sequence[UUID]) -> Mapping[UUID, list[MeasuredRow]]:
    """What was measured of these models, by key, dataset and run."""
    async with conn.cursor(row_factory=class_row(MeasuredRow)) as cursor:
        await cursor.execute(
            "SELECT model_id, key, dataset_name, dataset_digest, run_id, value, step, time_ms"
            " FROM tracking.logged_model_metrics WHERE model_id = ANY(%(ids)s)"
            " ORDER BY model_id, key, dataset_name, dataset_digest, run_id",
            {"ids": list(model_ids)},
        )
        found: defaultdict[UUID, list[MeasuredRow]] = defaultdict(list)
        for row in await cursor.fetchall():
            found[row.model_id].append(row)
        return found


async def of_experiment(conn: Connection, experiment_id: int, after: ModelPlace | None, limit: int) -> list[ModelRow]:
    """The models of an experiment, newest first."""
    return await _page(conn, _SELECT + " WHERE m.experiment_id = %(of)s" + _BEHIND, experiment_id, after, limit)


async def of_run(conn: Connection, run_id: UUID, after: ModelPlace | None, limit: int) -> list[ModelRow]:
    """The models of a run, newest first."""
    return await _page(conn, _SELECT + " WHERE m.run_id = %(of)s" + _BEHIND, run_id, after, limit)


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
