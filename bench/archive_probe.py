"""What moving a finished run into a Parquet file saves and costs: bytes a point, and the time of its whole history.

    python bench/archive_probe.py [--points 1000000] [--rounds 3]

One run with three series, a noisy curve, a smooth one and a constant, on PostgreSQL without fsync and a folder for the
files. The points are written by the metric writer's own code in frames of 1,000; a history is read over gRPC in pages of
100,000 points by a client on the same machine, from a tracking service of its own process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import psycopg

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.config import ServiceConfig
from headrace_kit.migrate import migrate
from headrace_kit.testing.backends import open_backends
from headrace_server.schemas import SCHEMAS
from headrace_tracking import chunks
from headrace_tracking.archiver.step import Archiver, When
from headrace_tracking.archives import Archives
from headrace_tracking.columns import Columns, Zstd
from headrace_tracking.segments import Segments
from headrace_tracking.writer.applier import connect
from headrace_tracking.writer.store import Series, add_chunks

KEYS: Final = ("noisy", "smooth", "constant")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000, help="of each series")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=10_000, help="points of a chunk before")
    args = parser.parse_args()
    with open_backends({"postgres"}) as backends, tempfile.TemporaryDirectory() as folder:
        database = backends.postgres
        migrate(database, SCHEMAS)
        ensure_all_topics(ServiceConfig(database=database))
        with _service(database, folder) as address, grpc.insecure_channel(address) as channel:
            tracking = TrackingServiceStub(channel)
            run_id = tracking.CreateRun(pb.CreateRunRequest()).run.run_id
            for key in KEYS:
                _fill(database, run_id, key, args.points, args.chunk)
            _report(database, "before", 3 * args.points, None)
            before = [_history(tracking, run_id, args.points) for _ in range(args.rounds)]
            file, seconds = _archive(database, folder, run_id)
            _report(database, "after", 3 * args.points, file)
            _parts(file)
            after = [_history(tracking, run_id, args.points) for _ in range(args.rounds)]
    print(f"archived in {seconds:.2f} s")
    print(f"whole history of {args.points:,} points: {_told(before)} before, {_told(after)} after")


@contextmanager
def _service(database: str, folder: str) -> Iterator[str]:
    environ = {
        "HEADRACE_DATABASE": database,
        "HEADRACE_AUTH": "open",
        "HEADRACE_LISTEN": "127.0.0.1:0",
        "HEADRACE_SERVICE_SECRET": uuid.uuid4().hex,
        "HEADRACE_ARCHIVE_DIR": folder,
        "HEADRACE_ARCHIVE_METRICS": "false",  # it is done, and timed, here
    }
    command = [sys.executable, "-m", "headrace_tracking"]
    with subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split("grpc=")[1].split()[0]
        finally:
            process.terminate()


def _fill(database: str, run_id: str, key: str, count: int, chunk_points: int) -> None:
    rng = np.random.default_rng(1)
    steps = np.arange(count)
    curve = np.exp(-steps / 300_000)
    values = {"noisy": curve + rng.normal(0, 0.01, count), "smooth": curve, "constant": np.full(count, 0.5)}[key]
    points = Columns(steps, 1_700_000_000_000 + np.cumsum(rng.integers(5, 60, count)), values)
    with closing(connect(database)) as conn:
        series = Series("default", uuid.UUID(run_id), key, False)
        add_chunks(conn, ((series, chunk) for _, chunk in chunks.cut(Segments.of([points]), Zstd(), chunk_points)))


def _archive(database: str, folder: str, run_id: str) -> tuple[Path, float]:
    blobs = FileBlobs(Path(folder))
    blobs.check()
    with closing(connect(database)) as conn:
        conn.execute("UPDATE tracking.runs SET state = 'FINISHED', end_ms = 1 WHERE run_id = %s", [run_id])
        archiver = Archiver(conn, blobs, Archives(blobs), When(after_ms=0, least_points=1))
        started = time.perf_counter()
        archiver.step()
        seconds = time.perf_counter() - started
    (file,) = (Path(folder) / "metrics").iterdir()
    return file, seconds


def _report(database: str, when: str, points: int, file: Path | None) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("VACUUM FULL tracking.metric_chunks")  # what the space will be when it is used again
        row = conn.execute("SELECT pg_total_relation_size('tracking.metric_chunks')").fetchone()
    assert row is not None
    beside = f", {file.stat().st_size / points:.2f} in Parquet" if file else ""
    print(f"{when}: {row[0] / points:.3f} bytes a point in PostgreSQL with indexes{beside}")


def _parts(file: Path) -> None:
    from pyarrow import parquet  # noqa: PLC0415 - only here

    footer = parquet.read_metadata(file)
    sizes: dict[str, list[int]] = {}
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        size = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
        sizes.setdefault(group.column(0).statistics.min, []).append(size / group.num_rows)
    for key, found in sizes.items():
        print(f"  {key}: {np.mean(found):.2f} bytes a point")


def _history(tracking: TrackingServiceStub, run_id: str, count: int) -> float:
    started = time.perf_counter()
    read, token = 0, ""
    while not read or token:
        page = tracking.GetMetricHistory(
            pb.GetMetricHistoryRequest(run_id=run_id, key="noisy", page_size=100_000, page_token=token)
        )
        read, token = read + len(page.values), page.next_page_token
    assert read == count
    return time.perf_counter() - started


def _told(seconds: list[float]) -> str:
    return f"{sorted(seconds)[len(seconds) // 2]:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
