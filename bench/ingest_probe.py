"""How many points a second become durable, and visible: one tracking service, one client, all on this machine.

    python bench/ingest_probe.py [--bus postgres|kafka] [--points 1000] [--frames 2000] [--streams 4] [--series 1] [--no-merge]

Frames are made beforehand, so that the client's own work is not in the figure beyond sending them; they are sent as the
light client sends them, uncompressed. The service (edge and writer in one process), PostgreSQL and Kafka are real
processes and share the machine's cores with the client. PostgreSQL runs without fsync, as the tests have it.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import numpy as np
import psycopg

from headrace.api.tracking.v1 import ingest_service_pb2 as pb
from headrace.api.tracking.v1 import metrics_pb2, tracking_service_pb2
from headrace.api.tracking.v1.ingest_service_pb2_grpc import IngestServiceStub
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.config import ServiceConfig
from headrace_kit.migrate import migrate
from headrace_kit.testing.backends import open_backends
from headrace_server.schemas import SCHEMAS

_VISIBLE_S: Final = 300.0


@dataclass(frozen=True)
class Load:
    """What is sent."""

    points: int
    frames: int
    streams: int
    series: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bus", choices=("postgres", "kafka"), default="postgres")
    parser.add_argument("--points", type=int, default=1000, help="in a frame")
    parser.add_argument("--frames", type=int, default=2000, help="of all streams together")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--series", type=int, default=1, help="in a frame")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--merge", action=argparse.BooleanOptionalAction, default=True, help="of small chunks")
    args = parser.parse_args()
    load = Load(args.points, args.frames, args.streams, args.series)
    with open_backends({"postgres", "kafka"} if args.bus == "kafka" else {"postgres"}) as backends:
        database = backends.postgres
        migrate(database, SCHEMAS)
        kafka = backends.kafka if args.bus == "kafka" else ""
        ensure_all_topics(ServiceConfig(database=database, kafka=kafka))
        with service(database, kafka, merge=args.merge) as address:
            for _ in range(args.rounds):
                asyncio.run(_round(address, load))
            if args.merge:
                _wait_for_mergers(database)
            _print_storage(database)


def _print_storage(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("VACUUM FULL tracking.metric_chunks")  # what the space will be when it is used again
        row = conn.execute(
            "SELECT count(*), sum(points), sum(octet_length(data)), pg_total_relation_size('tracking.metric_chunks')"
            " FROM tracking.metric_chunks"
        ).fetchone()
    assert row is not None
    chunks, points, size, whole = row
    print(
        f"{chunks:,} chunks, {points:,} points, {size / points:.1f} bytes a point, {whole / points:.1f} with the table"
    )


def _wait_for_mergers(database: str) -> None:
    """Waits until no series is noted."""
    with psycopg.connect(database, autocommit=True) as conn:
        while conn.execute("SELECT FROM tracking.metric_merges LIMIT 1").fetchone() is not None:
            time.sleep(0.2)


@contextmanager
def service(database: str, kafka: str, *, merge: bool) -> Iterator[str]:
    environ = {
        "HEADRACE_DATABASE": database,
        "HEADRACE_KAFKA": kafka,
        "HEADRACE_AUTH": "open",
        "HEADRACE_LISTEN": "127.0.0.1:0",
        "HEADRACE_SERVICE_SECRET": uuid.uuid4().hex,
        "HEADRACE_MERGE_METRICS": str(merge),
    }
    command = [sys.executable, "-m", "headrace_tracking"]
    with subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split("grpc=")[1].split()[0]
        finally:
            process.terminate()


async def _round(address: str, load: Load) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        tracking: Any = TrackingServiceStub(channel)
        ingest: Any = IngestServiceStub(channel)
        frames = [_frames(load, number) for number in range(load.streams)]
        runs = [
            (await tracking.CreateRun(tracking_service_pb2.CreateRunRequest())).run.run_id for _ in range(load.streams)
        ]
        started = time.perf_counter()
        positions = await asyncio.gather(*(_stream(ingest, run, sent) for run, sent in zip(runs, frames, strict=True)))
        durable = time.perf_counter() - started
        await tracking.GetRun(
            tracking_service_pb2.GetRunRequest(run_id=runs[0], at_least=positions), timeout=_VISIBLE_S
        )
        visible = time.perf_counter() - started
    total = load.points * (load.frames // load.streams) * load.streams
    print(
        f"{total:,} points in frames of {load.points:,} ({load.series} series), {load.streams} streams:"
        f" {total / durable:,.0f}/s durable, {total / visible:,.0f}/s visible",
        flush=True,
    )


async def _stream(ingest: Any, run_id: str, frames: list[metrics_pb2.Frame]) -> metrics_pb2.Position:
    """Keeps to the window, as a client must; returns where the last frame stands."""
    size = max(frame.ByteSize() for frame in frames)
    window = asyncio.Semaphore(0)

    async def requests() -> AsyncIterator[pb.StreamMetricsRequest]:
        yield pb.StreamMetricsRequest(open=pb.OpenStream(run_id=run_id, producer_id=uuid.uuid4().bytes))
        for frame in frames:
            await window.acquire()
            yield pb.StreamMetricsRequest(frame=frame)

    acked = 0
    position = metrics_pb2.Position()
    async for answer in ingest.StreamMetrics(requests()):
        released = answer.opened.window_bytes // size if answer.HasField("opened") else answer.ack.seq - acked
        acked, position = answer.ack.seq, answer.ack.position
        for _ in range(released):
            window.release()
    assert acked == len(frames)
    return position


def _frames(load: Load, number: int) -> list[metrics_pb2.Frame]:
    """A noisy loss curve, steps a few dozen milliseconds apart."""
    rng = np.random.default_rng(number)
    each = load.points // load.series
    series = [metrics_pb2.SeriesHeader(key=f"train/loss_{i}", count=each) for i in range(load.series)]
    made: list[metrics_pb2.Frame] = []
    step, time_ms = 0, 1_700_000_000_000
    for seq in range(1, load.frames // load.streams + 1):
        steps, times = np.ones((load.series, each), np.int64), rng.integers(5, 60, (load.series, each))
        steps[0, 0], times[0, 0] = step + 1, time_ms
        steps[1:, 0], times[1:, 0] = 1 - each, -times[:-1, 1:].sum(axis=1)  # each series begins where the first did
        values = np.exp(-np.arange(step, step + each) / 30_000) + rng.normal(0, 0.01, (load.series, each))
        columns = metrics_pb2.MetricColumns(
            step_deltas=steps.ravel().tolist(), time_deltas=times.ravel().tolist(), values=values.ravel().tolist()
        )
        made.append(metrics_pb2.Frame(seq=seq, series=series, columns=columns.SerializeToString()))
        step, time_ms = step + each, time_ms + 60 * each
    return made


if __name__ == "__main__":
    main()
