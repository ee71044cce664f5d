"""Chunks as charts read them: what is known of each, then the bins or the points that are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, LiteralString
from uuid import UUID

from psycopg.rows import args_row

from headrace_kit.db import Connection
from headrace_tracking.chunks import Stored

Axis = Literal["step", "time"]

_SELECT: Final[dict[Axis, LiteralString]] = {
    "step": "SELECT run_id, key, first_time_ms, first_step, chunk_id, last_time_ms, last_step, points,"
    " coalesce(min_step, 1), coalesce(max_step, 0), step_shift, coarse_step_shift",
    "time": "SELECT run_id, key, first_time_ms, first_step, chunk_id, last_time_ms, last_step, points,"
    " first_time_ms, last_time_ms, time_shift, coarse_time_shift",
}
_SELECT_BYTES: Final[dict[Axis, LiteralString]] = {
    "step": "SELECT c.points, CASE w.level WHEN 0 THEN c.coarse_step_bins WHEN 1 THEN c.step_bins ELSE c.data END",
    "time": "SELECT c.points, CASE w.level WHEN 0 THEN c.coarse_time_bins WHEN 1 THEN c.time_bins ELSE c.data END",
}


@dataclass(frozen=True, slots=True)
class ChartChunk:
    """What a row of `metric_chunks` says of one axis, the bytes aside."""

    run_id: UUID
    key: str
    first_time_ms: int
    first_step: int
    chunk_id: int
    last_time_ms: int
    last_step: int
    points: int
    least: int
    """Of the steps, or the times."""
    greatest: int
    """Below `least` where it is not known: an older release wrote the chunk."""
    fine_shift: int | None
    coarse_shift: int | None

    @property
    def begin(self) -> tuple[int, int]:
        """(time, step) of the first point."""
        return self.first_time_ms, self.first_step

    @property
    def end(self) -> tuple[int, int]:
        """(time, step) of the last point."""
        return self.last_time_ms, self.last_step


async def chunks_of(conn: Connection, run_ids: Sequence[UUID], keys: Sequence[str], axis: Axis) -> list[ChartChunk]:
    """All chunks of these series, by run, key and where they begin."""
    async with conn.cursor(row_factory=args_row(ChartChunk)) as cursor:
        await cursor.execute(
            _SELECT[axis] + " FROM tracking.metric_chunks"
            " WHERE run_id = ANY(%(runs)s) AND key = ANY(%(keys)s)"
            " ORDER BY run_id, key, first_time_ms, first_step, chunk_id",
            {"runs": list(run_ids), "keys": list(keys)},
            binary=True,
        )
        return await cursor.fetchall()


async def bytes_of(
    conn: Connection, chunks: Sequence[ChartChunk], levels: Sequence[int], axis: Axis
) -> dict[int, Stored]:
    """By chunk_id the coarse bins (level 0), the fine bins (1) or the points (2), or where an archive has them; in the snapshot of `chunks_of`."""
    cursor = conn.cursor(row_factory=args_row(_by_id))
    await cursor.execute(
        _SELECT_BYTES[axis] + ", c.archive_id, c.row_group, c.first_row, c.chunk_id FROM tracking.metric_chunks c"
        # Numbers in one text: of each element of an array the driver takes as long as PostgreSQL of the whole row.
        " JOIN unnest(string_to_array(%(ids)s, ',')::bigint[], string_to_array(%(levels)s, ',')::int[])"
        " AS w (chunk_id, level) ON c.chunk_id = w.chunk_id"
        " WHERE c.run_id = ANY(%(runs)s) AND c.key = ANY(%(keys)s)",
        {
            "ids": ",".join(str(chunk.chunk_id) for chunk in chunks),
            "levels": ",".join(map(str, levels)),
            "runs": list({chunk.run_id for chunk in chunks}),
            "keys": list({chunk.key for chunk in chunks}),
        },
        binary=True,
    )
    return dict(await cursor.fetchall())


def _by_id(
    points: int,
    data: bytes | None,
    archive_id: UUID | None,
    row_group: int | None,
    first_row: int | None,
    chunk_id: int,
) -> tuple[int, Stored]:
    return chunk_id, Stored(points, data, archive_id, row_group, first_row)
