"""Reads charts: asks for the chunks, then for what the plan needs of them, and puts the buckets together."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Final
from uuid import UUID

import numpy as np

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.db import Connection
from headrace_tracking import bins, chunks, stored
from headrace_tracking.archives import Held
from headrace_tracking.bins import Bins
from headrace_tracking.charts import plan
from headrace_tracking.charts.asked import AskedCharts
from headrace_tracking.charts.plan import Level, Source
from headrace_tracking.chunks import Stored
from headrace_tracking.columns import BadColumns, Columns, Ints, Zstd, packed
from headrace_tracking.store import charts as store
from headrace_tracking.store.charts import Axis, ChartChunk

_NOTHING: Final[Held] = MappingProxyType({})
_MEASURED: Final = 200  # chunks of unknown range at a time: 48 MB unpacked

Name = tuple[UUID, str]


async def read(conn: Connection, wanted: AskedCharts, held: Held = _NOTHING) -> pb.GetMetricChartsResponse:
    """In a transaction with one snapshot; `held` is what was read of archives.

    Raises DomainError DATA_LOST for a damaged chunk; Unread when it needs more of archives, see `reads`.
    """
    zstd = Zstd()
    found: defaultdict[Name, list[ChartChunk]] = defaultdict(list)
    for chunk in await store.chunks_of(conn, wanted.run_ids, wanted.keys, wanted.axis):
        found[chunk.run_id, chunk.key].append(chunk)
    charts: dict[Name, _Chart] = {}
    sources: list[Source] = []
    for name, series in found.items():
        known = await _measured(conn, series, zstd, held)
        first = max(wanted.first, min(chunk.least for chunk in known))
        last = min(wanted.last, max(chunk.greatest for chunk in known))
        if first <= last:
            shift = bins.width(first, last, 2 * wanted.pixels)
            charts[name] = _Chart(wanted.axis, first, last, shift)
            sources += plan.sources(known, first, last, shift)
    for batch in plan.batches(sources):
        data = await store.bytes_of(conn, [one.chunk for one in batch], [one.level for one in batch], wanted.axis)
        stored.check([data[one.chunk.chunk_id] for one in batch if one.level is Level.POINTS], held)
        await asyncio.to_thread(_add, charts, batch, data, zstd, held)
    return await asyncio.to_thread(_answer, wanted, charts)


async def _measured(conn: Connection, series: Sequence[ChartChunk], zstd: Zstd, held: Held) -> Sequence[ChartChunk]:
    """The same with the steps of all known."""
    unknown = [at for at, chunk in enumerate(series) if chunk.least > chunk.greatest]
    if not unknown:
        return series
    known = list(series)
    for begin in range(0, len(unknown), _MEASURED):
        places = unknown[begin : begin + _MEASURED]
        data = await store.bytes_of(conn, [series[at] for at in places], [Level.POINTS] * len(places), "step")
        rows = [data[series[at].chunk_id] for at in places]
        for at, columns in zip(places, await asyncio.to_thread(stored.unpacked, rows, zstd, held), strict=True):
            least, greatest = int(columns.steps.min()), int(columns.steps.max())
            known[at] = replace(series[at], least=least, greatest=greatest)
    return known


class _Chart:
    """Gathers the buckets of one series, between first and last (both included); its chunks come in their order."""

    def __init__(self, axis: Axis, first: int, last: int, shift: int) -> None:
        self.shift = shift
        self._axis = axis
        self._first, self._last = first, last
        self._parts: list[Bins] = []
        self._unsettled = Columns.joined([])

    def add_bins(self, found: Bins, own_shifts: Ints) -> None:
        """Bins of chunks that stand alone."""
        self._settle()
        self._parts.append(bins.widened(found, own_shifts, self.shift, self._first, self._last))

    def add_points(self, read: Sequence[Columns], last_begin: tuple[int, int]) -> None:
        """Points of chunks, the last of which begins at this (time, step): the next ones begin no earlier."""
        points = chunks.ordered(Columns.joined([self._unsettled, *read]))
        settled = chunks.count_before(points, *last_begin)
        self._take(points[:settled])
        self._unsettled = points[settled:]

    def buckets(self) -> Bins:
        """All of them."""
        self._settle()
        return bins.combined(self._parts)

    def _settle(self) -> None:
        self._take(self._unsettled)
        self._unsettled = self._unsettled[:0]

    def _take(self, points: Columns) -> None:
        axis = points.steps if self._axis == "step" else points.times
        inside = (axis >= self._first) & (axis <= self._last)
        values = points.values
        if not inside.all():
            axis, values = axis[inside], values[inside]
        self._parts.append(bins.of_points(axis, values, self.shift))


def _add(
    charts: Mapping[Name, _Chart], batch: Sequence[Source], data: Mapping[int, Stored], zstd: Zstd, held: Held
) -> None:
    for level, stretch in plan.stretches(batch):
        of_stretch = [one.chunk for one in stretch]
        chart = charts[of_stretch[0].run_id, of_stretch[0].key]
        if level is Level.POINTS:
            rows = [data[chunk.chunk_id] for chunk in of_stretch]
            chart.add_points(stored.unpacked(rows, zstd, held), of_stretch[-1].begin)
        else:
            chart.add_bins(*_bins(of_stretch, level, [data[chunk.chunk_id].data or b"" for chunk in of_stretch], zstd))


def _bins(of_chunks: Sequence[ChartChunk], level: Level, raw: Sequence[bytes], zstd: Zstd) -> tuple[Bins, Ints]:
    """With the shift of each."""
    try:
        if level is Level.COARSE:
            found, sizes = bins.read_coarse(raw)
        else:
            bases = [chunk.least >> (chunk.fine_shift or 0) for chunk in of_chunks]
            found, sizes = bins.read_fine(raw, bases, zstd)
    except BadColumns as error:
        raise stored.damaged(error) from error
    own = [chunk.coarse_shift if level is Level.COARSE else chunk.fine_shift for chunk in of_chunks]
    return found, np.repeat(np.array(own, np.int64), sizes)


def _answer(wanted: AskedCharts, charts: Mapping[Name, _Chart]) -> pb.GetMetricChartsResponse:
    found = ((name, charts[name]) for name in product(wanted.run_ids, wanted.keys) if name in charts)
    made = ((run_id.hex, key, chart.shift, chart.buckets()) for (run_id, key), chart in found)
    return pb.GetMetricChartsResponse(charts=[_message(*one) for one in made if len(one[-1])])


def _message(run_id: str, key: str, shift: int, buckets: Bins) -> pb.MetricChart:
    minimums, maximums, firsts, lasts = map(packed, buckets.values)
    return pb.MetricChart(
        run_id=run_id,
        key=key,
        width=1 << shift,
        starts=packed(buckets.ids << shift),
        counts=packed(buckets.counts),
        minimums=minimums,
        maximums=maximums,
        firsts=firsts,
        lasts=lasts,
    )
