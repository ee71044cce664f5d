"""Puts runs together as callers see them: the row, the latest metrics, the inputs."""

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from headrace.api.tracking.v1 import tracking_pb2
from headrace_kit.db import Connection
from headrace_tracking import messages
from headrace_tracking.store import inputs, runs
from headrace_tracking.store.inputs import InputRow
from headrace_tracking.store.runs import LatestMetric, RunRow

PAGE_BYTES: Final = 6 << 20
"""A page ends early rather than take more: a message of gRPC may have 8 MiB, the last run of a page adds to it."""


async def read_found(conn: Connection, run_ids: Sequence[UUID], most_bytes: int = PAGE_BYTES) -> list[tracking_pb2.Run]:
    """The first of these runs, which are there, as many as fit in so many bytes."""
    async with conn.pipeline():  # PostgreSQL goes on reading while the rows before are taken apart here
        known, latest, used = await asyncio.gather(
            runs.find_many(conn, run_ids), runs.latest_metrics(conn, run_ids), inputs.of_runs(conn, run_ids)
        )
    return await _fitting(conn, [known[run_id] for run_id in run_ids], latest, used, most_bytes)


async def read_run(conn: Connection, row: RunRow) -> tracking_pb2.Run:
    """One run, however large."""
    latest = await runs.latest_metrics(conn, [row.run_id])
    used = await inputs.of_runs(conn, [row.run_id])
    return (await _fitting(conn, [row], latest, used, sys.maxsize))[0]


async def _fitting(
    conn: Connection,
    rows: Sequence[RunRow],
    latest: Iterable[LatestMetric],
    used: Mapping[UUID, Sequence[InputRow]],
    most_bytes: int,
) -> list[tracking_pb2.Run]:
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


def fitting(sizes: Iterable[int], most_bytes: int) -> int:
    """How many of the first things, of these sizes, take no more than `most_bytes` together."""
    count = 0
    for size in sizes:
        most_bytes -= size
        if most_bytes < 0:
            break
        count += 1
    return count
