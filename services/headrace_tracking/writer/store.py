"""The writer's SQL, a function a statement; in the worker role, which row security does not hold."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, class_row

from headrace_tracking import notes
from headrace_tracking.chunks import Bounds, Chunk, Stored
from headrace_tracking.columns import Columns, Floats

Connection = psycopg.Connection[TupleRow]

T = TypeVar("T")
Answer: TypeAlias = Callable[[], T]
"""What a statement gives, to be called for when its pipeline has ended, or at once outside of one."""

_NO_BINS: Final = (None,) * 4
_NO_PLACE: Final = (None,) * 3


class Run(NamedTuple):
    """Whose run."""

    tenant_id: str
    run_id: UUID


class Stream(NamedTuple):
    """One producer of one run."""

    tenant_id: str
    run_id: UUID
    producer_id: bytes


class Series(NamedTuple):
    """One series of one run, points of streams and of unary calls apart."""

    tenant_id: str
    run_id: UUID
    key: str
    once_per_point: bool

    @property
    def run(self) -> Run:
        """Whose series."""
        return Run(self.tenant_id, self.run_id)


class Latest(NamedTuple):
    """The latest points of series, and their least and greatest values of late, NaN where all are; a row a series."""

    series: Sequence[Series]
    points: Columns
    least: Floats
    greatest: Floats


@dataclass(frozen=True, slots=True)
class Parked:
    """A frame that waits for one before it."""

    tenant_id: str
    run_id: UUID
    producer_id: bytes
    seq: int
    partition_number: int
    record_offset: int
    frame: bytes
    """A serialized `RoutedFrame`."""


@dataclass(frozen=True, slots=True)
class RunState:
    """What the writer needs to know of a run."""

    experiment_id: int
    settled: bool
    """The archiver is done with it: it is to be told of more points."""


@dataclass(frozen=True, slots=True)
class StoredChunk(Stored):
    """A chunk of points from unary calls."""

    tenant_id: str
    run_id: UUID
    key: str


@dataclass(frozen=True, slots=True)
class Move:
    """A partition's way from one offset to the next."""

    partition_number: int
    owner_epoch: int
    from_offset: int
    next_offset: int


def take_partition(conn: Connection, number: int) -> tuple[int, int]:
    """Becomes the owner: the offset where to go on, and the epoch. Waits for a transaction of the owner before."""
    row = conn.execute(
        "INSERT INTO tracking.ingest_partitions AS p (partition_number, next_offset, owner_epoch)"
        " VALUES (%(number)s, 0, 1)"
        " ON CONFLICT (partition_number) DO UPDATE SET owner_epoch = p.owner_epoch + 1"
        " RETURNING next_offset, owner_epoch",
        {"number": number},
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT ... DO UPDATE ... RETURNING gives a row or raises
    return row[0], row[1]


def move_partitions(conn: Connection, moves: Sequence[Move]) -> Answer[int]:
    """How many of the moves could be made: not those of a partition that has another owner or stands elsewhere."""
    cursor = conn.execute(
        "UPDATE tracking.ingest_partitions p SET next_offset = m.next_offset"
        " FROM unnest(%(numbers)s::int[], %(epochs)s::bigint[], %(froms)s::bigint[], %(nexts)s::bigint[])"
        " AS m (partition_number, owner_epoch, from_offset, next_offset)"
        " WHERE p.partition_number = m.partition_number AND p.owner_epoch = m.owner_epoch"
        " AND p.next_offset = m.from_offset",
        {
            "numbers": [m.partition_number for m in moves],
            "epochs": [m.owner_epoch for m in moves],
            "froms": [m.from_offset for m in moves],
            "nexts": [m.next_offset for m in moves],
        },
    )
    return lambda: cursor.rowcount


def states_of(conn: Connection, runs: Collection[Run]) -> Answer[dict[Run, RunState]]:
    """Those of the runs that exist under their tenant."""
    rows = conn.execute(
        "SELECT r.tenant_id, r.run_id, r.experiment_id, r.metrics_settled FROM tracking.runs r"
        " JOIN unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
        " ON r.tenant_id = w.tenant_id AND r.run_id = w.run_id",
        {"tenants": [run.tenant_id for run in runs], "runs": [run.run_id for run in runs]},
    )
    return lambda: {
        Run(tenant_id, run_id): RunState(experiment_id, settled) for tenant_id, run_id, experiment_id, settled in rows
    }


def purged(conn: Connection, runs: Collection[Run]) -> set[Run]:
    """Those of the runs that were purged lately."""
    rows = conn.execute(
        "SELECT p.tenant_id, p.run_id FROM tracking.purges p"
        " JOIN unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
        " ON p.tenant_id = w.tenant_id AND p.run_id = w.run_id",
        {"tenants": [run.tenant_id for run in runs], "runs": [run.run_id for run in runs]},
    )
    return {Run(*row) for row in rows}


def note_late(conn: Connection, runs: Collection[Run]) -> None:
    """Tells the archiver that these runs have more points."""
    conn.execute(
        "INSERT INTO tracking.late_metrics (tenant_id, run_id)"
        " SELECT * FROM unnest(%(tenants)s::text[], %(runs)s::uuid[])",
        {"tenants": [run.tenant_id for run in runs], "runs": [run.run_id for run in runs]},
    )


def add_streams(conn: Connection, streams: Collection[Stream]) -> None:
    """Begins streams at 0 that are not known."""
    conn.execute(
        "INSERT INTO tracking.ingest_producers (tenant_id, run_id, producer_id, applied_seq)"
        " SELECT w.tenant_id, w.run_id, w.producer_id, 0"
        " FROM unnest(%(tenants)s::text[], %(runs)s::uuid[], %(producers)s::bytea[])"
        " AS w (tenant_id, run_id, producer_id) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
        _streams(streams),
    )


def lock_streams(conn: Connection, streams: Collection[Stream]) -> Answer[dict[Stream, int]]:
    """The high-water marks of the known streams of runs that are there, theirs until the transaction ends.

    Always in the same order: when the number of partitions grew, two writers may want the same.
    """
    rows = conn.execute(
        "SELECT p.tenant_id, p.run_id, p.producer_id, p.applied_seq FROM tracking.ingest_producers p"
        " JOIN unnest(%(tenants)s::text[], %(runs)s::uuid[], %(producers)s::bytea[])"
        " AS w (tenant_id, run_id, producer_id)"
        " ON p.tenant_id = w.tenant_id AND p.run_id = w.run_id AND p.producer_id = w.producer_id"
        " JOIN tracking.runs r ON r.tenant_id = p.tenant_id AND r.run_id = p.run_id"
        " ORDER BY 1, 2, 3 FOR UPDATE OF p",
        _streams(streams),
    )
    return lambda: {Stream(tenant_id, run_id, producer_id): seq for tenant_id, run_id, producer_id, seq in rows}


def set_applied(conn: Connection, applied: Mapping[Stream, int]) -> None:
    """Moves high-water marks."""
    conn.execute(
        "UPDATE tracking.ingest_producers p SET applied_seq = w.seq"
        " FROM unnest(%(tenants)s::text[], %(runs)s::uuid[], %(producers)s::bytea[], %(seqs)s::bigint[])"
        " AS w (tenant_id, run_id, producer_id, seq)"
        " WHERE p.tenant_id = w.tenant_id AND p.run_id = w.run_id AND p.producer_id = w.producer_id",
        {**_streams(applied), "seqs": list(applied.values())},
    )


def parked_seqs(conn: Connection, streams: Collection[Stream]) -> Answer[dict[Stream, set[int]]]:
    """What waits, of those streams that have something waiting."""
    rows = conn.execute(
        "SELECT p.tenant_id, p.run_id, p.producer_id, array_agg(p.seq) FROM tracking.ingest_parked p"
        " JOIN unnest(%(tenants)s::text[], %(runs)s::uuid[], %(producers)s::bytea[])"
        " AS w (tenant_id, run_id, producer_id)"
        " ON p.tenant_id = w.tenant_id AND p.run_id = w.run_id AND p.producer_id = w.producer_id"
        " GROUP BY 1, 2, 3",
        _streams(streams),
    )
    return lambda: {Stream(tenant_id, run_id, producer_id): set(seqs) for tenant_id, run_id, producer_id, seqs in rows}


def take_parked(conn: Connection, applied: Mapping[Stream, int]) -> list[Parked]:
    """Removes the frames that wait at or below these seqs."""
    with conn.cursor(row_factory=class_row(Parked)) as cursor:
        cursor.execute(
            "DELETE FROM tracking.ingest_parked p"
            " USING unnest(%(tenants)s::text[], %(runs)s::uuid[], %(producers)s::bytea[], %(seqs)s::bigint[])"
            " AS w (tenant_id, run_id, producer_id, seq)"
            " WHERE p.tenant_id = w.tenant_id AND p.run_id = w.run_id AND p.producer_id = w.producer_id"
            " AND p.seq <= w.seq"
            " RETURNING p.tenant_id, p.run_id, p.producer_id, p.seq, p.partition_number, p.record_offset, p.frame",
            {**_streams(applied), "seqs": list(applied.values())},
        )
        return cursor.fetchall()


def park(conn: Connection, frames: Iterable[Parked]) -> None:
    """Keeps frames until the gap before them closes."""
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY tracking.ingest_parked (tenant_id, run_id, producer_id, seq, partition_number, record_offset, frame)"
            " FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["text", "uuid", "bytea", "int8", "int4", "int8", "bytea"])
        for f in frames:
            copy.write_row((f.tenant_id, f.run_id, f.producer_id, f.seq, f.partition_number, f.record_offset, f.frame))


def lock_runs(conn: Connection, runs: Collection[Run]) -> None:
    """Keeps other writers from adding points of unary calls to these runs until the transaction ends."""
    conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('metric points ' || run_id::text, 0))"
        " FROM unnest(%(runs)s::uuid[]) AS w (run_id)",
        {"runs": sorted(run.run_id for run in runs)},
    )


def chunks_between(conn: Connection, bounds: Mapping[Series, Bounds]) -> list[StoredChunk]:
    """The chunks from unary calls that overlap these bounds."""
    with conn.cursor(row_factory=class_row(StoredChunk)) as cursor:
        cursor.execute(
            "SELECT c.tenant_id, c.run_id, c.key, c.points, c.data, c.archive_id, c.row_group, c.first_row"
            " FROM tracking.metric_chunks c"
            " JOIN unnest(%(tenants)s::text[], %(runs)s::uuid[], %(keys)s::text[], %(first_times)s::bigint[],"
            " %(first_steps)s::bigint[], %(last_times)s::bigint[], %(last_steps)s::bigint[])"
            " AS w (tenant_id, run_id, key, first_time_ms, first_step, last_time_ms, last_step)"
            " ON c.once_per_point AND c.tenant_id = w.tenant_id AND c.run_id = w.run_id AND c.key = w.key"
            " AND (c.last_time_ms, c.last_step) >= (w.first_time_ms, w.first_step)"
            " AND (c.first_time_ms, c.first_step) <= (w.last_time_ms, w.last_step)",
            {
                "tenants": [series.tenant_id for series in bounds],
                "runs": [series.run_id for series in bounds],
                "keys": [series.key for series in bounds],
                "first_times": [bound.first_time_ms for bound in bounds.values()],
                "first_steps": [bound.first_step for bound in bounds.values()],
                "last_times": [bound.last_time_ms for bound in bounds.values()],
                "last_steps": [bound.last_step for bound in bounds.values()],
            },
        )
        return cursor.fetchall()


def add_chunks(conn: Connection, chunks: Iterable[tuple[Series, Chunk]]) -> None:
    """Stores chunks; by COPY, which row security allows to the worker role."""
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY tracking.metric_chunks (tenant_id, run_id, key, first_time_ms, first_step, last_time_ms, last_step,"
            " points, once_per_point, data, archive_id, row_group, first_row, min_step, max_step,"
            " step_shift, step_bins, coarse_step_shift, coarse_step_bins,"
            " time_shift, time_bins, coarse_time_shift, coarse_time_bins) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        names = ["text", "uuid", "text", *["int8"] * 4, "int4", "bool", "bytea", "uuid", "int4", "int4", "int8", "int8"]
        copy.set_types([*names, *["int2", "bytea"] * 4])
        for series, chunk in chunks:
            at, place = chunk.bounds, chunk.place
            copy.write_row(
                (
                    *(series.tenant_id, series.run_id, series.key),
                    *(at.first_time_ms, at.first_step, at.last_time_ms, at.last_step),
                    *(chunk.points, series.once_per_point, None if place else chunk.data),
                    *(_NO_PLACE if place is None else astuple(place)),
                    *(chunk.least_step, chunk.greatest_step),
                    *(_NO_BINS if chunk.step_bins is None else astuple(chunk.step_bins)),
                    *(_NO_BINS if chunk.time_bins is None else astuple(chunk.time_bins)),
                )
            )


_RAISE_LATEST: Final = sql.SQL(
    "INSERT INTO tracking.metric_latest AS l"
    " (tenant_id, run_id, experiment_id, key, value, step, time_ms, least, greatest, has_extremes)"
    " SELECT r.tenant_id, r.run_id, r.experiment_id, k.key, p.value, p.step, p.time_ms,"
    " nullif(p.least, 'NaN'), nullif(p.greatest, 'NaN'), true"
    " FROM unnest(%(run_numbers)s::bigint[], %(key_numbers)s::bigint[], %(values)s::float8[], %(steps)s::bigint[],"
    " %(times)s::bigint[], %(least)s::float8[], %(greatest)s::float8[])"
    " AS p (run_number, key_number, value, step, time_ms, least, greatest)"
    " JOIN unnest(%(tenants)s::text[], %(runs)s::uuid[], %(experiments)s::bigint[]) WITH ORDINALITY"
    " AS r (tenant_id, run_id, experiment_id, number) ON r.number = p.run_number"
    " JOIN unnest(%(keys)s::text[]) WITH ORDINALITY AS k (key, number) ON k.number = p.key_number"
    " ORDER BY 1, 2, 4"
    " ON CONFLICT (tenant_id, run_id, key) DO UPDATE"
    " SET value = CASE WHEN {later} THEN excluded.value ELSE l.value END,"
    " step = CASE WHEN {later} THEN excluded.step ELSE l.step END,"
    " time_ms = CASE WHEN {later} THEN excluded.time_ms ELSE l.time_ms END,"
    " least = least(l.least, excluded.least), greatest = greatest(l.greatest, excluded.greatest)"
).format(
    later=sql.SQL(
        "(excluded.step, excluded.time_ms, CASE WHEN excluded.value = 'NaN' THEN 0 ELSE excluded.value END)"
        " > (l.step, l.time_ms, CASE WHEN l.value = 'NaN' THEN 0 ELSE l.value END)"
    )
)


def raise_latest(conn: Connection, rows: Latest, runs: Mapping[Run, RunState]) -> None:
    """Keeps for each series the later point by (step, time, value), NaN taken as 0, and the extremes.

    At most one row a series, and `runs` knows the run of each.
    """
    # Runs and keys come again and again: each is sent once, and rows name them by number, from 1 on.
    run_numbers, key_numbers = defaultdict[Run, int](), defaultdict[str, int]()
    run_numbers.default_factory = lambda: len(run_numbers) + 1
    key_numbers.default_factory = lambda: len(key_numbers) + 1
    conn.execute(
        _RAISE_LATEST,
        {
            "run_numbers": np.array([run_numbers[name.run] for name in rows.series], np.int64),
            "key_numbers": np.array([key_numbers[name.key] for name in rows.series], np.int64),
            "values": rows.points.values,
            "steps": rows.points.steps,
            "times": rows.points.times,
            "least": rows.least,
            "greatest": rows.greatest,
            "tenants": [run.tenant_id for run in run_numbers],
            "runs": [run.run_id for run in run_numbers],
            "experiments": [runs[run].experiment_id for run in run_numbers],
            "keys": list(key_numbers),
        },
    )


def tell_readers(conn: Connection, moves: Iterable[Move]) -> None:
    """Tells, at commit, whoever waits for a position how far these partitions are; see `visible`."""
    note = notes.written({move.partition_number: move.next_offset for move in moves})
    conn.execute("SELECT pg_notify(%(channel)s, %(note)s)", {"channel": notes.CHANNEL, "note": note})


def _streams(streams: Iterable[Stream]) -> dict[str, list[object]]:
    rows = list(streams)
    return {
        "tenants": [stream.tenant_id for stream in rows],
        "runs": [stream.run_id for stream in rows],
        "producers": [stream.producer_id for stream in rows],
    }
