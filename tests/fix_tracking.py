"""The tracking service alone, with a door to the metric path that only notes who came."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2, tracking_service_pb2
from headrace.api.tracking.v1.tracking_service_pb2_grpc import (
    TrackingServiceStub,
    add_TrackingServiceServicer_to_server,
)
from headrace_kit.db import Database, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.rpc import Servicer
from headrace_tracking import app, store
from headrace_tracking.charts.asked import AskedCharts
from headrace_tracking.doors import Asked, RunAddress
from headrace_tracking.purger.emptying import Emptying
from headrace_tracking.service import TrackingService

if TYPE_CHECKING:
    from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

    Tracking = TrackingServiceAsyncStub
else:
    Tracking = Any  # the async form exists in the stub file only


def tracking_stub(channel: grpc.aio.Channel) -> Tracking:
    return cast("Tracking", TrackingServiceStub(channel))


@dataclass
class NotedDoor:
    """A `MetricDoor`."""

    logged: list[tuple[RunAddress, int]] = field(default_factory=list)
    waited: list[tuple[int, float | None]] = field(default_factory=list)

    async def log_frame(self, run: RunAddress, frame: metrics_pb2.Frame) -> Sequence[metrics_pb2.Position]:
        raise NotImplementedError

    async def log(self, run: RunAddress, metrics: Sequence[tracking_pb2.Metric]) -> Sequence[metrics_pb2.Position]:
        self.logged.append((run, len(metrics)))
        return [metrics_pb2.Position(partition=1, offset=len(self.logged))]

    async def history(
        self, run: RunAddress, request: tracking_service_pb2.GetMetricHistoryRequest
    ) -> tracking_service_pb2.GetMetricHistoryResponse:
        return tracking_service_pb2.GetMetricHistoryResponse(next_page_token=f"{run.run_id.hex} {request.key}")

    async def charts(self, tenant_id: str, wanted: AskedCharts) -> tracking_service_pb2.GetMetricChartsResponse:
        return tracking_service_pb2.GetMetricChartsResponse()

    async def read(self, asked: Asked) -> AsyncIterator[tracking_service_pb2.ReadMetricsResponse]:
        for run_id in asked.run_ids:
            yield tracking_service_pb2.ReadMetricsResponse(block=metrics_pb2.MetricBlock(run_id=run_id.hex))

    async def watch(self, asked: Asked) -> AsyncIterator[tracking_service_pb2.WatchMetricsResponse]:
        yield tracking_service_pb2.WatchMetricsResponse()

    async def turns(self) -> AsyncIterator[None]:
        while True:
            yield
            await asyncio.sleep(0.1)

    async def export(self, run: RunAddress) -> AsyncGenerator[bytes | int, None]:
        yield 3
        yield b"PAR"

    async def wait_for(self, positions: Sequence[metrics_pb2.Position], seconds: float | None) -> None:
        self.waited.append((positions[-1].offset, seconds))


def alone(door: NotedDoor | None = None) -> Any:
    """What `running` takes."""

    async def start(config: app.Config, runner: Runner) -> None:
        def database(role: str | None) -> Database:
            return Database(config.database, "tracking", connections=4, constraints=store.CONSTRAINTS, role=role)

        requests = await runner.resource(database(None))
        finder = await runner.resource(database(worker_role("tracking")))
        runner.serve(
            Servicer(
                tracking_service_pb2.DESCRIPTOR.services_by_name["TrackingService"],
                add_TrackingServiceServicer_to_server,
                TrackingService(requests, finder, door or NotedDoor(), Emptying(config.database)),
            )
        )

    return SimpleNamespace(Config=app.Config, start=start)


@dataclass(frozen=True)
class Refused:
    """How a call was refused."""

    code: grpc.StatusCode
    reason: str
    message: str
    field: str


async def refusal(call: Callable[..., Awaitable[Any]], request: Any, **options: Any) -> Refused:
    """Makes a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request, **options)
    status = rpc_status.from_call(cast("grpc.Call", caught.value))
    assert status is not None, caught.value
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return Refused(
        caught.value.code(),
        info.reason,
        caught.value.details() or "",
        bad.field_violations[0].field if bad.field_violations else "",
    )
