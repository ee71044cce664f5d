"""Runs with their params and tags, and their latest metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from headrace_kit.db import Connection

USED: Final = "in"
MADE: Final = "out"
"""What a run did with a logged model, in `RunRow.models`."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of `runs`; a run is also deleted while its experiment is."""

    run_id: UUID
    experiment_id: int
    user_id: str
    state: str
    start_ms: int
    end_ms: int | None
    delete_ms: int | None
    params: dict[str, str]
    tags: dict[str, str]
    models: dict[str, dict[str, int]] = field(default_factory=dict)
    """`USED` and `MADE`: ids of logged models, each with its step."""
    artifact_location: str = ""
    """That of its experiment."""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run belongs, and whether it is deleted."""

    experiment_id: int
    deleted: bool


LatestMetric: TypeAlias = tuple[int, str, float, int, int, float | None, float | None]
"""Number of the run among those asked for, from 1 on; key, value, step, milliseconds since 1970; least and greatest of all
values but NaN, None where there are none or where they are not known. As it comes: a page of runs has thousands.
"""
_SELECT: Final = (
    "SELECT r.run_id, r.experiment_id, r.user_id, r.state, r.start_ms, r.end_ms,"
    " coalesce(r.delete_ms, e.delete_ms) AS delete_ms, r.params, r.tags, r.models,"
    " e.artifact_location"
    " FROM tracking.runs r JOIN tracking.experiments e USING (tenant_id, experiment_id)"
)


async def insert(conn: Connection, tenant_id: str, row: RunRow) -> bool:
    """False when the tenant has a run of this id."""
    cursor = await conn.execute(
        "INSERT INTO tracking.runs (tenant_id, run_id, experiment_id, user_id, state, start_ms, end_ms, delete_ms, params,"
        " tags, models) VALUES (%(tenant)s, %(id)s, %(experiment)s, %(user)s, %(state)s, %(start)s, %(end)s, %(deleted)s,"
        " %(params)s, %(tags)s, %(models)s) ON CONFLICT (tenant_id, run_id) DO NOTHING",
        {
            "tenant": tenant_id,
            "id": row.run_id,
            "experiment": row.experiment_id,
            "user": row.user_id,
            "state": row.state,
            "start": row.start_ms,
            "end": row.end_ms,
            "deleted": row.delete_ms,
            "params": Jsonb(row.params),
            "tags": Jsonb(row.tags),
            "models": Jsonb(row.models),
        },
    )
    return cursor.rowcount == 1


async def overwrite(conn: Connection, row: RunRow) -> None:
    """Writes all but what is deleted; the archiver comes (again) some time after another end."""
    await conn.execute(
        "UPDATE tracking.runs SET user_id = %(user)s, state = %(state)s, start_ms = %(start)s, end_ms = %(end)s,"
        " params = %(params)s, tags = %(tags)s, models = %(models)s,"
        " metrics_settled = metrics_settled AND state = %(state)s AND end_ms IS NOT DISTINCT FROM %(end)s"
        " WHERE run_id = %(id)s",
        {
            "id": row.run_id,
            "user": row.user_id,
            "state": row.state,
            "start": row.start_ms,
            "end": row.end_ms,
            "params": Jsonb(row.params),
            "tags": Jsonb(row.tags),
            "models": Jsonb(row.models),
        },
    )


async def place(conn: Connection, run_id: UUID) -> RunPlace | None:
    """The little that a write elsewhere needs to know of a run."""
    async with conn.cursor(row_factory=class_row(RunPlace)) as cursor:
        await cursor.execute(
            "SELECT r.experiment_id, coalesce(r.delete_ms, e.delete_ms) IS NOT NULL AS deleted"
            " FROM tracking.runs r JOIN tracking.experiments e USING (tenant_id, experiment_id)"
            " WHERE r.run_id = %(id)s",
            {"id": run_id},
        )
        return await cursor.fetchone()


async def known(conn: Connection, run_ids: Sequence[UUID]) -> set[UUID]:
    """Those that are there, deleted or not."""
    cursor = await conn.execute("SELECT run_id FROM tracking.runs WHERE run_id = ANY(%(ids)s)", {"ids": list(run_ids)})
    return {row[0] for row in await cursor.fetchall()}


async def purged(conn: Connection, run_id: UUID) -> bool:
    """Whether a run of this id was purged lately."""
    cursor = await conn.execute("SELECT FROM tracking.purges WHERE run_id = %(id)s", {"id": run_id})
    return await cursor.fetchone() is not None


async def lock(conn: Connection, run_id: UUID) -> RunRow | None:
    """A run for a change; other changes wait for this transaction's end."""
    async with conn.cursor(row_factory=class_row(RunRow)) as cursor:
        await cursor.execute(_SELECT + " WHERE r.run_id = %(id)s FOR NO KEY UPDATE OF r", {"id": run_id})
        return await cursor.fetchone()


async def find_many(conn: Connection, run_ids: Sequence[UUID]) -> dict[UUID, RunRow]:
    """By id."""
    async with conn.cursor(row_factory=class_row(RunRow)) as cursor:
        await cursor.execute(_SELECT + " WHERE r.run_id = ANY(%(ids)s)", {"ids": list(run_ids)})
        return {row.run_id: row for row in await cursor.fetchall()}


async def latest_metrics(conn: Connection, run_ids: Sequence[UUID]) -> Sequence[LatestMetric]:
    """The latest point of each series of these runs, which the metric writer keeps; ordered by run and key."""
    cursor = conn.cursor(binary=True)  # numbers take half the time to read
    await cursor.execute(
        "SELECT i.number, m.key, m.value, m.step, m.time_ms,"
        " CASE WHEN m.has_extremes THEN m.least END AS least, CASE WHEN m.has_extremes THEN m.greatest END AS greatest"
        " FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS i (run_id, number)"
        " JOIN tracking.metric_latest m ON m.run_id = i.run_id ORDER BY i.number, m.key",
        {"ids": list(run_ids)},
    )
    return await cursor.fetchall()


async def set_state(conn: Connection, run_id: UUID, state: str, end_ms: int | None) -> None:
    """Writes state and end; the archiver comes (again) some time after the end."""
    await conn.execute(
        "UPDATE tracking.runs SET state = %(state)s, end_ms = %(end)s, metrics_settled = false WHERE run_id = %(id)s",
        {"id": run_id, "state": state, "end": end_ms},
    )


async def set_deleted(conn: Connection, run_id: UUID, delete_ms: int | None) -> None:
    """Moves a run to the bin or out of it."""
    await conn.execute(
        "UPDATE tracking.runs SET delete_ms = %(deleted)s WHERE run_id = %(id)s", {"id": run_id, "deleted": delete_ms}
    )


async def set_params(conn: Connection, run_id: UUID, params: Mapping[str, str]) -> None:
    """Replaces all params."""
    await conn.execute(
        "UPDATE tracking.runs SET params = %(params)s WHERE run_id = %(id)s", {"id": run_id, "params": Jsonb(params)}
    )


async def set_models(conn: Connection, run_id: UUID, models: Mapping[str, Mapping[str, int]]) -> None:
    """Replaces all uses of models."""
    await conn.execute(
        "UPDATE tracking.runs SET models = %(models)s WHERE run_id = %(id)s", {"id": run_id, "models": Jsonb(models)}
    )


async def set_tags(conn: Connection, run_id: UUID, tags: Mapping[str, str]) -> None:
    """Replaces all tags."""
    await conn.execute(
        "UPDATE tracking.runs SET tags = %(tags)s WHERE run_id = %(id)s", {"id": run_id, "tags": Jsonb(tags)}
    )
