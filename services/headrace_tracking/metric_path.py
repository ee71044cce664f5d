"""The metric path as `TrackingService` sees it, and its wiring."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.api.tracking.v1 import ingest_service_pb2, metrics_pb2, tracking_pb2, tracking_service_pb2
from headrace.api.tracking.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from headrace_kit.blobs import Blobs
from headrace_kit.bus import Bus
from headrace_kit.config import ServiceConfig
from headrace_kit.db import Database
from headrace_kit.errors import InvalidField
from headrace_kit.lifecycle import Runner
from headrace_kit.rpc import Servicer
from headrace_kit.topics import FRAMES, Topic, partition_counts
from headrace_tracking import blocks, columns, history, limits
from headrace_tracking.archiver.export import Exports
from headrace_tracking.archiver.loop import MetricArchiver
from headrace_tracking.archiver.step import When
from headrace_tracking.archives import Archives
from headrace_tracking.charts import reading
from headrace_tracking.charts.asked import AskedCharts
from headrace_tracking.columns import Columns
from headrace_tracking.doors import Asked, RunAddress
from headrace_tracking.frames import MOST_BYTES, HeaderCheck
from headrace_tracking.ingest import IngestService
from headrace_tracking.merger.loop import MetricMerger
from headrace_tracking.packer import Packer, Parcel, durable
from headrace_tracking.reads import Reads
from headrace_tracking.visible import Visible
from headrace_tracking.writer.loop import MetricWriter

_MOST_POINTS: Final = 10_000
_POINT_BYTES: Final = 48  # at most, beside its key: three numbers as columns, and the header of a series of its own


@dataclass(frozen=True, slots=True)
class Storage:
    """What a process does to points behind the bus."""

    blobs: Blobs | None = None
    """Where finished runs go; None keeps them in PostgreSQL."""
    write: bool = True
    """Whether it stores them."""
    merge: bool = True
    """Whether it merges small chunks."""
    archive: When | None = None
    """Which runs it moves to `blobs`; None for none."""


class MetricPath:
    """A `MetricDoor`."""

    def __init__(self, reads: Reads, packer: Packer, visible: Visible, exports: Exports) -> None:
        self._reads = reads
        self._packer = packer
        self._visible = visible
        self._exports = exports
        self._check_header = HeaderCheck()

    async def log(self, run: RunAddress, metrics: Sequence[tracking_pb2.Metric]) -> Sequence[metrics_pb2.Position]:
        """See `MetricDoor`. The points go without a producer: they are a set, and the call may be made again."""
        if len(metrics) > _MOST_POINTS:
            raise InvalidField(
                "metrics", f"may hold {_MOST_POINTS:,} points, got {len(metrics):,}: stream them instead"
            )
        for index, metric in enumerate(metrics):
            limits.key(f"metrics[{index}].key", metric.key)
        parcels: dict[Parcel, None] = {}
        for part in _fitting(metrics):
            frame = metrics_pb2.RoutedFrame(tenant_id=run.tenant_id, run_id=run.run_id.hex, frame=_frame(part))
            parcels[await self._packer.send(run.run_id, frame)] = None
        return [await durable(parcel) for parcel in parcels]

    async def log_frame(self, run: RunAddress, frame: metrics_pb2.Frame) -> Sequence[metrics_pb2.Position]:
        """See `MetricDoor`."""
        if frame.seq:
            raise InvalidField("frame.seq", f"must be 0 in a call of its own, got {frame.seq}")
        try:
            self._check_header(frame)
        except InvalidField as error:
            raise InvalidField(f"frame.{error.field}", error.problem) from None
        if not frame.series:
            return []
        routed = metrics_pb2.RoutedFrame(tenant_id=run.tenant_id, run_id=run.run_id.hex, frame=frame)
        return [await durable(await self._packer.send(run.run_id, routed))]

    async def history(
        self, run: RunAddress, request: tracking_service_pb2.GetMetricHistoryRequest
    ) -> tracking_service_pb2.GetMetricHistoryResponse:
        """See `MetricDoor`."""
        return await self._reads.points(
            run.tenant_id, lambda conn, held: history.read_page(conn, run.run_id, request, held)
        )

    async def charts(self, tenant_id: str, wanted: AskedCharts) -> tracking_service_pb2.GetMetricChartsResponse:
        """See `MetricDoor`."""
        return await self._reads.points(tenant_id, lambda conn, held: reading.read(conn, wanted, held), snapshot=True)

    def read(self, asked: Asked) -> AsyncIterator[tracking_service_pb2.ReadMetricsResponse]:
        """See `MetricDoor`."""
        return blocks.read(self._reads, asked)

    def watch(self, asked: Asked) -> AsyncIterator[tracking_service_pb2.WatchMetricsResponse]:
        """See `MetricDoor`."""
        return blocks.watch(self._reads, self._visible, asked)

    async def turns(self) -> AsyncIterator[None]:
        """See `MetricDoor`."""
        while True:
            turn = self._visible.turn
            yield
            await self._visible.next_turn(turn)

    def export(self, run: RunAddress) -> AsyncGenerator[bytes | int, None]:
        """See `MetricDoor`."""
        return self._exports.parts(run)

    async def wait_for(self, positions: Sequence[metrics_pb2.Position], seconds: float | None) -> None:
        """See `MetricDoor`."""
        await self._visible.wait_for(positions, seconds)


async def start_edge(
    config: ServiceConfig, runner: Runner, db: Database, bus: Bus, archives: Archives, topic: Topic = FRAMES
) -> MetricPath:
    """Wires edge and reads into the process; `db` is in the request role."""
    await _ensure(bus, topic)
    partitions = len(await asyncio.to_thread(bus.end_offsets, [topic.name]))
    packer = Packer(runner.producer(bus.producer()), partitions, runner.fail, topic=topic.name)
    ingest = IngestService(db, packer)
    runner.on_drain(ingest.end_streams)
    runner.serve(
        Servicer(
            ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
            add_IngestServiceServicer_to_server,
            ingest,
        )
    )
    visible = await runner.resource(Visible(config.database, db))
    runner.on_drain(visible.end_watches)
    return MetricPath(Reads(db, archives), packer, visible, Exports(config.database, archives))


async def start_workers(
    config: ServiceConfig, runner: Runner, bus: Bus, storage: Storage, archives: Archives, topic: Topic = FRAMES
) -> None:
    """Wires writer, merger and archiver into the process, or some of them; they share the work with those of others."""
    if storage.write:
        await _ensure(bus, topic)
        letters = runner.producer(bus.producer())
        runner.worker(MetricWriter(config.database, bus, letters, runner.fail, topic=topic.name, archives=archives))
    if storage.merge:
        runner.worker(MetricMerger(config.database, runner.fail))
    if storage.blobs and storage.archive:
        runner.worker(MetricArchiver(config.database, storage.blobs, archives, storage.archive, runner.fail))


async def _ensure(bus: Bus, topic: Topic) -> None:
    await asyncio.to_thread(bus.ensure_topics, partition_counts([topic]))


def _fitting(metrics: Sequence[tracking_pb2.Metric]) -> Iterator[Sequence[tracking_pb2.Metric]]:
    """The metrics in parts, each of which fits in a frame."""
    start = size = 0
    for index, metric in enumerate(metrics):
        needed = len(metric.key.encode()) + _POINT_BYTES
        if size + needed > MOST_BYTES:
            yield metrics[start:index]
            start, size = index, 0
        size += needed
    if size:
        yield metrics[start:]


def _frame(metrics: Sequence[tracking_pb2.Metric]) -> metrics_pb2.Frame:
    ordered = sorted(metrics, key=lambda metric: metric.key)
    points = Columns(
        np.array([metric.step for metric in ordered], np.int64),
        np.array([metric.time_ms for metric in ordered], np.int64),
        np.array([metric.value for metric in ordered], np.float64),
    )
    counts = Counter(metric.key for metric in ordered)
    return metrics_pb2.Frame(
        series=[metrics_pb2.SeriesHeader(key=key, count=count) for key, count in counts.items()],
        columns=columns.encode(points),
    )
