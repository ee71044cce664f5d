"""The archiver's SQL, a function a statement; in the worker role, which row security does not hold."""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from psycopg.rows import class_row

from headrace_tracking.chunks import Stored
from headrace_tracking.writer.store import Connection, Run, Series


class Ended(NamedTuple):
    """A run that has ended."""

    tenant_id: str
    run_id: UUID
    experiment_id: int
    end_ms: int

    @property
    def run(self) -> Run:
        """Whose."""
        return Run(self.tenant_id, self.run_id)


class Place(NamedTuple):
    """Where a chunk stands among those of its series."""

    first_time_ms: int
    first_step: int
    chunk_id: int


BEFORE_ALL: Final = Place(-(2**63), -(2**63), 0)


@dataclass(frozen=True, slots=True)
class PlacedChunk(Stored):
    """A chunk and where it stands."""

    first_time_ms: int
    first_step: int
    chunk_id: int

    @property
    def place(self) -> Place:
        """Among the chunks of its series."""
        return Place(self.first_time_ms, self.first_step, self.chunk_id)


def take_late(conn: Connection, most: int) -> set[Run]:
    """Removes notes of points that came late: whose."""
    rows = conn.execute(
        "DELETE FROM tracking.late_metrics WHERE note_id IN"
        " (SELECT note_id FROM tracking.late_metrics ORDER BY note_id LIMIT %(most)s FOR UPDATE SKIP LOCKED)"
        " RETURNING tenant_id, run_id",
        {"most": most},
    )
    return {Run(*row) for row in rows}


def reopen(conn: Connection, run: Run) -> None:
    """The archiver is to look at the run again."""
    conn.execute(
        "UPDATE tracking.runs SET metrics_settled = false"
        " WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND metrics_settled",
        {"tenant": run.tenant_id, "run": run.run_id},
    )


def ended_before(conn: Connection, ms: int, most: int) -> list[Ended]:
    """Runs that ended by then and that the archiver is not done with, the oldest first."""
    rows = conn.execute(
        "SELECT tenant_id, run_id, experiment_id, end_ms FROM tracking.runs"
        " WHERE NOT metrics_settled AND end_ms <= %(ms)s ORDER BY end_ms LIMIT %(most)s",
        {"ms": ms, "most": most},
    )
    return [Ended(*row) for row in rows]


@contextmanager
def locked(conn: Connection, run: Run) -> Iterator[bool]:
    """Keeps mergers and other archivers from the run's chunks during the block; False when one is at it.

    Of the session, not of a transaction: none is open while the object store works.
    """
    name = {"run": run.run_id}
    row = conn.execute(
        "SELECT pg_try_advisory_lock(hashtextextended('metric archive ' || %(run)s::uuid::text, 0))", name
    ).fetchone()
    got = row == (True,)
    try:
        yield got
    finally:
        if got and not conn.closed:
            conn.execute(
                "SELECT pg_advisory_unlock(hashtextextended('metric archive ' || %(run)s::uuid::text, 0))", name
            )


def count_points(conn: Connection, run: Run) -> tuple[int, int]:
    """How many points of a run have their bytes here, and how many in an archive."""
    row = conn.execute(
        "SELECT coalesce(sum(points) FILTER (WHERE archive_id IS NULL), 0),"
        " coalesce(sum(points) FILTER (WHERE archive_id IS NOT NULL), 0)"
        " FROM tracking.metric_chunks WHERE tenant_id = %(tenant)s AND run_id = %(run)s",
        {"tenant": run.tenant_id, "run": run.run_id},
    ).fetchone()
    assert row is not None  # noqa: S101 - sums without GROUP BY are one row
    return int(row[0]), int(row[1])


def series_of(conn: Connection, run: Run) -> list[Series]:
    """All series of a run, by key."""
    rows = conn.execute(
        "SELECT DISTINCT key, once_per_point FROM tracking.metric_chunks"
        " WHERE tenant_id = %(tenant)s AND run_id = %(run)s ORDER BY key, once_per_point",
        {"tenant": run.tenant_id, "run": run.run_id},
    )
    return [Series(run.tenant_id, run.run_id, key, once) for key, once in rows]


def chunks_after(conn: Connection, series: Series, after: Place, most: int) -> Sequence[PlacedChunk]:
    """The next chunks of a series in their order."""
    with conn.cursor(row_factory=class_row(PlacedChunk), binary=True) as cursor:
        cursor.execute(
            "SELECT points, data, archive_id, row_group, first_row, first_time_ms, first_step, chunk_id"
            " FROM tracking.metric_chunks"
            " WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND key = %(key)s AND once_per_point = %(once)s"
            " AND (first_time_ms, first_step, chunk_id) > (%(time)s, %(step)s, %(id)s)"
            " ORDER BY first_time_ms, first_step, chunk_id LIMIT %(most)s",
            {
                "tenant": series.tenant_id,
                "run": series.run_id,
                "key": series.key,
                "once": series.once_per_point,
                "time": after.first_time_ms,
                "step": after.first_step,
                "id": after.chunk_id,
                "most": most,
            },
        )
        return cursor.fetchall()


def settle(conn: Connection, ended: Ended) -> bool:
    """The archiver is done with the run, unless it ended anew meanwhile; False when there is no such run any more.

    Locks the run until the transaction ends.
    """
    return (
        conn.execute(
            "UPDATE tracking.runs SET metrics_settled = (end_ms IS NOT DISTINCT FROM %(end)s)"
            " WHERE tenant_id = %(tenant)s AND run_id = %(run)s",
            {"tenant": ended.tenant_id, "run": ended.run_id, "end": ended.end_ms},
        ).rowcount
        == 1
    )


def delete_chunks(conn: Connection, run: Run, ids: "array[int]") -> int:
    """How many of these chunks were still there."""
    return conn.execute(
        "DELETE FROM tracking.metric_chunks"
        " WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND chunk_id = ANY(%(ids)s)",
        {"tenant": run.tenant_id, "run": run.run_id, "ids": list(ids)},
    ).rowcount


def archive_of(conn: Connection, run: Run) -> UUID | None:
    """The archive that a run has."""
    row = conn.execute(
        "SELECT archive_id FROM tracking.metric_archives WHERE tenant_id = %(tenant)s AND run_id = %(run)s",
        {"tenant": run.tenant_id, "run": run.run_id},
    ).fetchone()
    return row[0] if row else None


def set_archive(conn: Connection, run: Run, archive_id: UUID, points: int, size_bytes: int) -> None:
    """Gives the run this archive in the place of the one it may have."""
    conn.execute(
        "INSERT INTO tracking.metric_archives (tenant_id, run_id, archive_id, points, size_bytes)"
        " VALUES (%(tenant)s, %(run)s, %(archive)s, %(points)s, %(size)s)"
        " ON CONFLICT (tenant_id, run_id) DO UPDATE SET archive_id = excluded.archive_id, points = excluded.points,"
        " size_bytes = excluded.size_bytes",
        {
            "tenant": run.tenant_id,
            "run": run.run_id,
            "archive": archive_id,
            "points": points,
            "size": size_bytes,
        },
    )


def add_loose(conn: Connection, tenant_id: str, archive_id: UUID, *, writing: bool, due_in_s: float) -> None:
    """Notes an archive that no run has: one that is about to be written, or one to be deleted."""
    conn.execute(
        "INSERT INTO tracking.loose_archives (tenant_id, archive_id, writing, due_time)"
        " VALUES (%(tenant)s, %(archive)s, %(writing)s, now() + make_interval(secs => %(due)s))",
        {"tenant": tenant_id, "archive": archive_id, "writing": writing, "due": due_in_s},
    )


def take_loose(conn: Connection, tenant_id: str, archive_id: UUID) -> bool:
    """A run takes the archive; False when it was given up for dead."""
    return (
        conn.execute(
            "DELETE FROM tracking.loose_archives WHERE tenant_id = %(tenant)s AND archive_id = %(archive)s AND writing",
            {"tenant": tenant_id, "archive": archive_id},
        ).rowcount
        == 1
    )


def claim_loose(conn: Connection, most: int, retry_s: float) -> list[tuple[str, UUID]]:
    """Archives whose time has come: no run can take them any more. They are due again after `retry_s`."""
    rows = conn.execute(
        "UPDATE tracking.loose_archives SET writing = false, due_time = now() + make_interval(secs => %(retry)s)"
        " WHERE (tenant_id, archive_id) IN (SELECT tenant_id, archive_id FROM tracking.loose_archives"
        " WHERE due_time <= now() ORDER BY due_time LIMIT %(most)s FOR UPDATE SKIP LOCKED)"
        " RETURNING tenant_id, archive_id",
        {"most": most, "retry": retry_s},
    )
    return [(tenant_id, archive_id) for tenant_id, archive_id in rows]


def forget_loose(conn: Connection, tenant_id: str, archive_id: UUID) -> None:
    """The archive is deleted."""
    conn.execute(
        "DELETE FROM tracking.loose_archives WHERE tenant_id = %(tenant)s AND archive_id = %(archive)s",
        {"tenant": tenant_id, "archive": archive_id},
    )
