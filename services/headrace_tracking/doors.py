"""The door between the two halves of tracking: what `TrackingService` needs of the metric path.

The metric path (edge, writer, history) implements it; `app.py` puts the two together.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2, tracking_service_pb2
from headrace_tracking.charts.asked import AskedCharts


@dataclass(frozen=True, slots=True)
class RunAddress:
    """Where a run belongs: found and checked by `TrackingService` before it opens the door."""

    tenant_id: str
    experiment_id: int
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Asked:
    """The series of a request."""

    tenant_id: str
    run_ids: Sequence[UUID]
    keys: Sequence[str]
    """None means all that the runs have."""


class MetricDoor(Protocol):
    """Metrics in and out. Callers hold no transaction while they wait at it."""

    async def log(self, run: RunAddress, metrics: Sequence[tracking_pb2.Metric]) -> Sequence[metrics_pb2.Position]:
        """Writes points to the bus and returns when they are durable, with where they stand; none for no points.

        The run exists and is active. Checks the points themselves: raises InvalidField naming `metrics[i].key` and
        the like: then none is kept. Raises DomainError OVERLOADED or BACKEND_UNAVAILABLE when the bus does not take them: then
        any may be kept. The same call made again shows each point once.
        """
        ...

    async def log_frame(self, run: RunAddress, frame: metrics_pb2.Frame) -> Sequence[metrics_pb2.Position]:
        """As `log`, of points that are a frame already, with seq 0. Raises InvalidField naming `frame.series[i].key` and the like."""
        ...

    async def history(
        self, run: RunAddress, request: tracking_service_pb2.GetMetricHistoryRequest
    ) -> tracking_service_pb2.GetMetricHistoryResponse:
        """A page of one series by (time, step, value); empty for a key never logged.

        Reads key, range, page_size and page_token of the request; `at_least` was waited for before.
        Raises InvalidField for a bad key, range, page_size or page_token.
        """
        ...

    def read(self, asked: Asked) -> AsyncIterator[tracking_service_pb2.ReadMetricsResponse]:
        """All points of these series; the runs were found before."""
        ...

    def watch(self, asked: Asked) -> AsyncIterator[tracking_service_pb2.WatchMetricsResponse]:
        """All points of these series, then new ones, without end; the runs were found before.

        Raises DomainError SERVICE_UNAVAILABLE when this process drains.
        """
        ...

    def turns(self) -> AsyncIterator[None]:
        """A turn now, and then whenever something may have become visible: a few in a second, without end.

        Raises DomainError SERVICE_UNAVAILABLE when this process drains.
        """
        ...

    async def charts(self, tenant_id: str, wanted: AskedCharts) -> tracking_service_pb2.GetMetricChartsResponse:
        """The charts of those of the series that have points; the tenant has the runs. `at_least` was waited for before."""
        ...

    def export(self, run: RunAddress) -> AsyncGenerator[bytes | int, None]:
        """The size in bytes of a Parquet file with all points of the run, then its bytes in parts; close it when leaving early.

        Raises DomainError: DATA_LOST, BACKEND_UNAVAILABLE, STORE_FULL.
        """
        ...

    async def wait_for(self, positions: Sequence[metrics_pb2.Position], seconds: float | None) -> None:
        """Waits until everything up to these positions is visible; returns at once for none.

        `seconds` is how long at most; None means a limit of the door's own. Raises DomainError DEADLINE_EXCEEDED when it ran
        out, InvalidField for a position that no bus can have.
        """
        ...
