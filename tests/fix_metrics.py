"""Metric frames, and what the writer made of them, for the tests of the metric path."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from uuid import UUID

import numpy as np
import psycopg
import zstandard

from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.bus import Partition, Received, Record
from headrace_kit.topics import FRAMES
from headrace_tracking import chunks, columns
from headrace_tracking.columns import Columns, Zstd

Point = tuple[int, int, float]
"""(time_ms, step, value)"""


def columns_of(points: Sequence[Point]) -> Columns:
    return Columns(
        np.array([step for _, step, _ in points], np.int64),
        np.array([time for time, _, _ in points], np.int64),
        np.array([value for _, _, value in points], np.float64),
    )


def frame(seq: int, series: Mapping[str, Sequence[Point]], *, zstd: bool = False) -> metrics_pb2.Frame:
    data = columns.encode(columns_of([point for points in series.values() for point in points]))
    return metrics_pb2.Frame(
        seq=seq,
        series=[metrics_pb2.SeriesHeader(key=key, count=len(points)) for key, points in series.items()],
        encoding=metrics_pb2.ENCODING_ZSTD if zstd else metrics_pb2.ENCODING_UNSPECIFIED,
        columns=zstandard.compress(data) if zstd else data,
    )


def pack(
    tenant_id: str, run_id: UUID, producer_id: bytes, frames: Iterable[metrics_pb2.Frame]
) -> metrics_pb2.FramePack:
    return metrics_pb2.FramePack(
        frames=[
            metrics_pb2.RoutedFrame(tenant_id=tenant_id, run_id=run_id.hex, producer_id=producer_id, frame=one)
            for one in frames
        ]
    )


def received(value: bytes, offset: int, partition: int = 0) -> Received:
    return Received(Partition(FRAMES.name, partition), offset, b"", value, {}, 0)


class Letters:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def publish(self, record: Record) -> Future[tuple[Partition, int]]:
        self.records.append(record)
        done: Future[tuple[Partition, int]] = Future()
        done.set_result((Partition(record.topic, 0), len(self.records) - 1))
        return done

    def flush(self, timeout: float) -> bool:
        return True

    def close(self) -> None:
        pass


def make_runs(dsn: str, tenant_id: str, run_ids: Iterable[UUID], experiment_id: int = 0) -> None:
    """Rows that runs need at least."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "INSERT INTO tracking.experiments (tenant_id, experiment_id, name, tags, create_ms, update_ms)"
            " VALUES (%s, %s, %s, '{}', 0, 0) ON CONFLICT DO NOTHING",
            [tenant_id, experiment_id, f"experiment {experiment_id}"],
        )
        for run_id in run_ids:
            conn.execute(
                "INSERT INTO tracking.runs (tenant_id, run_id, experiment_id, user_id, state, start_ms, params, tags)"
                " VALUES (%s, %s, %s, '', 'RUNNING', 0, '{}', '{}')",
                [tenant_id, run_id, experiment_id],
            )


def stored(
    conn: psycopg.Connection, tenant_id: str, *, once: bool | None = None
) -> dict[tuple[UUID, str], list[Point]]:
    """All points that are visible, by run and key, in the order of the chunks."""
    rows = conn.execute(
        "SELECT run_id, key, points, data FROM tracking.metric_chunks WHERE tenant_id = %s"
        " AND (%s::boolean IS NULL OR once_per_point = %s)"
        " ORDER BY run_id, key, first_time_ms, first_step, chunk_id",
        [tenant_id, once, once],
    ).fetchall()
    found: dict[tuple[UUID, str], list[Point]] = {}
    for run_id, key, points, data in rows:
        part = chunks.unpack(points, data, Zstd())
        found.setdefault((run_id, key), []).extend(
            zip(part.times.tolist(), part.steps.tolist(), part.values.tolist(), strict=True)
        )
    return found
