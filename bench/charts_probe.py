"""How long a chart of a long series takes at the client, and what its bins cost: one tracking service, on this machine.

    python bench/charts_probe.py [--points 1000000] [--pixels 2000] [--rounds 15]

The service, PostgreSQL and the client are processes of their own and share the machine's cores. Series: a noisy and a
smooth loss curve and a constant, steps from 0, 33 ms apart with some jitter.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
from ingest_probe import service

import headrace as hr
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.config import ServiceConfig
from headrace_kit.migrate import migrate
from headrace_kit.testing.backends import open_backends
from headrace_server.schemas import SCHEMAS
from headrace_tracking import bins, chunks
from headrace_tracking.columns import Columns, Floats, Ints, Zstd


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--pixels", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    steps, times, series = _series(args.points)
    _print_writing(steps, times, series)
    with open_backends({"postgres"}) as backends:
        database = backends.postgres
        migrate(database, SCHEMAS)
        ensure_all_topics(ServiceConfig(database=database))
        with service(database, "", merge=False) as address, hr.Client(f"grpc://{address}") as client:
            with client.start_run(capture=False) as run:
                run.log_columns(steps, series, times / 1000)
                run.flush(visible=True)
            _print_storage(database)
            _print_charts(client, run.id, args)


def _series(points: int) -> tuple[Ints, Ints, dict[str, Floats]]:
    rng = np.random.default_rng(7)
    steps = np.arange(points)
    smooth = np.exp(-steps / (points / 3))
    times = 1_700_000_000_000 + np.cumsum(rng.integers(20, 47, points))
    series = {"noise": smooth + rng.normal(0, 0.01, points), "smooth": smooth, "constant": np.full(points, 0.1)}
    return steps, times, series


def _print_writing(steps: Ints, times: Ints, series: dict[str, Floats]) -> None:
    """CPU time, of a chunk of 10,000 points."""
    zstd = Zstd()
    for name, values in series.items():
        part = Columns(steps, times, values)[: chunks.MOST_POINTS]

        def levels(part: Columns = part) -> object:
            return [bins.levels(axis, part.values, zstd) for axis in (part.steps, part.times)]

        whole = _cpu(lambda part=part: list(chunks.cut(part, zstd)))  # type: ignore[misc] # mypy wants its type told
        print(f"{name}: a full chunk is packed in {whole:.2f} ms, of which {_cpu(levels):.2f} ms for its bins")


def _cpu(work: Callable[[], object]) -> float:
    def once() -> float:
        begin = time.thread_time()
        work()
        return (time.thread_time() - begin) * 1000

    return statistics.median(once() for _ in range(100))


def _print_storage(database: str) -> None:
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT key, count(*), sum(points), sum(octet_length(data)),"
            " sum(coalesce(octet_length(step_bins), 0) + coalesce(octet_length(time_bins), 0)),"
            " sum(coalesce(octet_length(coarse_step_bins), 0) + coalesce(octet_length(coarse_time_bins), 0))"
            " FROM tracking.metric_chunks GROUP BY key ORDER BY key"
        ).fetchall()
    for key, count, points, data, fine, coarse in rows:
        print(
            f"{key}: {count} chunks, bytes a point: data {data / points:.2f}, fine bins {fine / points:.2f},"
            f" coarse bins {coarse / points:.2f}"
        )


def _print_charts(client: hr.Client, run_id: str, args: Any) -> None:
    points = args.points
    looks: list[tuple[str, dict[str, Any]]] = [
        (f"{key}, by {axis}", {"keys": [key], "axis": axis}) for key in ("noise", "smooth") for axis in ("step", "time")
    ]
    for share in (2, 4, 20):
        start = points // 3 + 17
        looks.append((f"noise, 1/{share} of it", {"keys": ["noise"], "start": start, "end": start + points // share}))
    looks.append(("all three", {"keys": ["noise", "smooth", "constant"]}))
    for name, asked in looks:
        client.metric_charts([run_id], pixels=args.pixels, **asked)
        taken: list[float] = []
        for _ in range(args.rounds):
            begin = time.perf_counter()
            found = client.metric_charts([run_id], pixels=args.pixels, **asked)
            taken.append((time.perf_counter() - begin) * 1000)
        print(
            f"{name}: {statistics.median(taken):.1f} ms (least {min(taken):.1f}, most {max(taken):.1f}),"
            f" {len(found[0]):,} buckets of {found[0].width}"
        )


if __name__ == "__main__":
    main()
