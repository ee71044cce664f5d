"""The merger's SQL, a function a statement; in the worker role, which row security does not hold."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from headrace_tracking.writer.store import Connection, Series


class Place(NamedTuple):
    """A chunk of a series: its place in the primary key, and how many points it has."""

    first_time_ms: int
    first_step: int
    chunk_id: int
    points: int


def take_notes(conn: Connection, most: int) -> set[Series]:
    """Removes the oldest notes that no other merger has in its hands."""
    rows = conn.execute(
        "DELETE FROM tracking.metric_merges WHERE note_id IN"
        " (SELECT note_id FROM tracking.metric_merges ORDER BY note_id LIMIT %(most)s FOR UPDATE SKIP LOCKED)"
        " RETURNING tenant_id, run_id, key, once_per_point",
        {"most": most},
    )
    return {Series(*row) for row in rows}


def add_notes(conn: Connection, series: Collection[Series]) -> None:
    """Says that these have chunks to merge."""
    conn.execute(
        "INSERT INTO tracking.metric_merges (tenant_id, run_id, key, once_per_point)"
        " SELECT * FROM unnest(%(tenants)s::text[], %(runs)s::uuid[], %(keys)s::text[], %(once)s::boolean[])",
        {
            "tenants": [name.tenant_id for name in series],
            "runs": [name.run_id for name in series],
            "keys": [name.key for name in series],
            "once": [name.once_per_point for name in series],
        },
    )


def try_lock(conn: Connection, series: Series) -> bool:
    """Keeps other mergers and the archiver from this series until the transaction ends; False when one is at it."""
    row = conn.execute(
        "SELECT pg_try_advisory_xact_lock_shared(hashtextextended('metric archive ' || %(run)s::uuid::text, 0))"
        " AND pg_try_advisory_xact_lock(hashtextextended(%(name)s, 0))",
        {
            "run": series.run_id,
            "name": f"metric merge {series.tenant_id} {series.run_id} {series.once_per_point} {series.key}",
        },
    ).fetchone()
    return row == (True,)


def newest_chunks(conn: Connection, series: Series, most: int) -> list[Place]:
    """In their order; without those that an archive has: they are full where they can be."""
    rows = conn.execute(
        "SELECT first_time_ms, first_step, chunk_id, points FROM tracking.metric_chunks"
        " WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND key = %(key)s AND once_per_point = %(once)s"
        " AND data IS NOT NULL"
        " ORDER BY first_time_ms DESC, first_step DESC, chunk_id DESC LIMIT %(most)s",
        {**_name(series), "most": most},
    ).fetchall()
    return [Place(*row) for row in reversed(rows)]


def take_chunks(conn: Connection, series: Series, places: Sequence[Place]) -> list[tuple[int, bytes]]:
    """Removes the chunks at these places: points and data of those that were still there."""
    return conn.execute(
        "DELETE FROM tracking.metric_chunks c"
        " USING unnest(%(times)s::bigint[], %(steps)s::bigint[], %(ids)s::bigint[])"
        " AS w (first_time_ms, first_step, chunk_id)"
        " WHERE c.tenant_id = %(tenant)s AND c.run_id = %(run)s AND c.key = %(key)s AND c.once_per_point = %(once)s"
        " AND c.first_time_ms = w.first_time_ms AND c.first_step = w.first_step AND c.chunk_id = w.chunk_id"
        " RETURNING c.points, c.data",
        {
            **_name(series),
            "times": [place.first_time_ms for place in places],
            "steps": [place.first_step for place in places],
            "ids": [place.chunk_id for place in places],
        },
        binary=True,
    ).fetchall()


def _name(series: Series) -> dict[str, object]:
    return {
        "tenant": series.tenant_id,
        "run": series.run_id,
        "key": series.key,
        "once": series.once_per_point,
    }
