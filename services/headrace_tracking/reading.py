"""Puts runs together as callers see them: the row, the latest metrics, the inputs."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from headrace.api.tracking.v1 import tracking_pb2
from headrace_kit.db import Connection
from headrace_tracking import messages
from headrace_tracking.store import inputs, runs
from headrace_tracking.store.runs import RunRow

PAGE_BYTES: Final = 6 << 20
"""A page ends early rather than take more: a message of gRPC may have 8 MiB, the last run of a page adds to it."""


async def read_runs(conn: Connection, rows: Sequence[RunRow], most_bytes: int = PAGE_BYTES) -> list[tracking_pb2.Run]:
    """The first of these runs, as many as fit in so many bytes."""
    ids = [row.run_id for row in rows]
    latest = await runs.latest_metrics(conn, ids)
    used = await inputs.of_runs(conn, ids)
    found = [messages.run(row) for row in rows]
    messages.add_metrics(found, latest)
    sizes = [
        run.ByteSize() + sum(one.size for one in used.get(row.run_id, ())) for run, row in zip(found, rows, strict=True)
    ]
    kept = fitting(sizes, most_bytes)
    keys = {one.dataset_key for row in rows[:kept] for one in used.get(row.run_id, ())}
    datasets = await inputs.datasets(conn, list(keys)) if keys else {}
    for run, row in zip(found[:kept], rows, strict=False):
        run.inputs.extend(messages.inputs(used.get(row.run_id, ()), datasets))
    return found[:kept]


async def read_run(conn: Connection, row: RunRow) -> tracking_pb2.Run:
    """One run, however large."""
    return (await read_runs(conn, [row], sys.maxsize))[0]


def fitting(sizes: Iterable[int], most_bytes: int) -> int:
    """How many of the first things, of these sizes, take no more than `most_bytes` together."""
    count = 0
    for size in sizes:
        most_bytes -= size
        if most_bytes < 0:
            break
        count += 1
    return count
