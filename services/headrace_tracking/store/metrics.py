"""What the metric writer keeps, as requests read it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncServerCursor
from psycopg.rows import class_row

from headrace_kit.db import Connection
from headrace_tracking.chunks import Stored


@dataclass(frozen=True, slots=True)
class Range:
    """Which points of a series are asked for: all bounds included."""

    first_step: int
    last_step: int
    first_time_ms: int
    last_time_ms: int


@dataclass(frozen=True, slots=True)
class ChunkRow(Stored):
    """A row of `metric_chunks`."""

    first_time_ms: int
    first_step: int


async def applied_seq(conn: Connection, run_id: UUID, producer_id: bytes) -> int:
    """Every frame of the producer up to here is applied."""
    cursor = await conn.execute(
        "SELECT applied_seq FROM tracking.ingest_producers WHERE run_id = %(run)s AND producer_id = %(producer)s",
        {"run": run_id, "producer": producer_id},
    )
    row = await cursor.fetchone()
    return row[0] if row else 0


@asynccontextmanager
async def chunks_from(
    conn: Connection, run_id: UUID, key: str, time_ms: int, step: int, within: Range
) -> AsyncIterator[AsyncServerCursor[ChunkRow]]:
    """The chunks of a series that may hold points of the range at or behind this place, by where they begin."""
    async with conn.cursor("metric_chunks", row_factory=class_row(ChunkRow)) as cursor:
        await cursor.execute(
            "SELECT points, first_time_ms, first_step, data, archive_id, row_group, first_row FROM tracking.metric_chunks"
            " WHERE run_id = %(run)s AND key = %(key)s AND (last_time_ms, last_step) >= (%(time)s, %(step)s)"
            " AND first_time_ms <= %(last_time)s AND last_time_ms >= %(first_time)s"
            # NULL in chunks that an older release wrote: they may hold any steps.
            " AND (min_step <= %(last_step)s AND max_step >= %(first_step)s) IS NOT FALSE"
            " ORDER BY first_time_ms, first_step, chunk_id",
            {
                "run": run_id,
                "key": key,
                "time": time_ms,
                "step": step,
                "first_time": within.first_time_ms,
                "last_time": within.last_time_ms,
                "first_step": within.first_step,
                "last_step": within.last_step,
            },
            binary=True,
        )
        yield cursor


async def series_of(conn: Connection, run_ids: Sequence[UUID], keys: Sequence[str]) -> list[tuple[UUID, str]]:
    """The series that these runs have; with keys only of these."""
    cursor = await conn.execute(
        "SELECT run_id, key FROM tracking.metric_latest WHERE run_id = ANY(%(runs)s)"
        " AND (key = ANY(%(keys)s) OR %(keys)s = '{}') ORDER BY run_id, key",
        {"runs": list(run_ids), "keys": list(keys)},
    )
    return await cursor.fetchall()


async def points_of(conn: Connection, run_ids: Sequence[UUID], keys: Sequence[str]) -> dict[tuple[UUID, str], int]:
    """How many points each series has; as `series_of`."""
    cursor = await conn.execute(
        "SELECT run_id, key, sum(points) FROM tracking.metric_chunks WHERE run_id = ANY(%(runs)s)"
        " AND (key = ANY(%(keys)s) OR %(keys)s = '{}') GROUP BY run_id, key",
        {"runs": list(run_ids), "keys": list(keys)},
    )
    return {(run_id, key): points for run_id, key, points in await cursor.fetchall()}


async def next_offsets(conn: Connection) -> dict[int, int]:
    """For each partition that a writer ever had: everything below this offset is applied."""
    cursor = await conn.execute("SELECT partition_number, next_offset FROM tracking.ingest_partitions")
    return dict(await cursor.fetchall())
