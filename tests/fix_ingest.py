"""The metric path alone: served on a real port, on a topic of its own, and a client's side of its streams."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fix_metrics import Point, make_runs
from fix_services import as_tenant, running
from headrace.api.tracking.v1 import ingest_service_pb2 as pb
from headrace.api.tracking.v1 import metrics_pb2, tracking_service_pb2
from headrace.api.tracking.v1.ingest_service_pb2_grpc import IngestServiceStub
from headrace_kit.bus import Bus
from headrace_kit.bus.choose import open_bus
from headrace_kit.db import Database
from headrace_kit.lifecycle import Runner
from headrace_kit.topics import FRAMES
from headrace_tracking import app
from headrace_tracking.archives import Archives
from headrace_tracking.doors import RunAddress
from headrace_tracking.metric_path import MetricPath, Storage, start_edge, start_workers

TENANT = "default"


@dataclass(frozen=True)
class Ended:
    """How the server ended a stream."""

    code: grpc.StatusCode
    reason: str
    message: str
    retry_after_s: float


@dataclass
class Path:
    """The metric path alone, running, on a topic of its own."""

    database: str
    channel: grpc.aio.Channel
    runner: Runner
    door: MetricPath
    bus: Bus
    topic: str

    def run(self, tenant_id: str = TENANT) -> RunAddress:
        run_id = uuid.uuid4()
        make_runs(self.database, tenant_id, [run_id])
        return RunAddress(tenant_id, 0, run_id)

    def stream(self, run: RunAddress, producer_id: bytes | None = None) -> "Stream":
        stub: Any = IngestServiceStub(self.channel)  # the stub file knows no call without its requests
        return Stream(stub.StreamMetrics(metadata=as_tenant(TENANT)), run.run_id.hex, producer_id or uuid.uuid4().bytes)

    async def history(self, run: RunAddress, key: str, page_size: int = 0) -> list[list[Point]]:
        """Pages."""
        pages: list[list[Point]] = []
        token = ""
        while token or not pages:
            request = tracking_service_pb2.GetMetricHistoryRequest(key=key, page_size=page_size, page_token=token)
            page = await self.door.history(run, request)
            pages.append(list(zip(page.time_ms, page.steps, page.values, strict=True)))
            token = page.next_page_token
        return pages


class Stream:
    """A client's side."""

    def __init__(self, call: Any, run_id: str, producer_id: bytes) -> None:
        self.call, self.run_id, self.producer_id = call, run_id, producer_id
        self.acked: list[pb.FrameAck] = []

    async def open(self) -> pb.StreamOpened:
        await self.call.write(
            pb.StreamMetricsRequest(open=pb.OpenStream(run_id=self.run_id, producer_id=self.producer_id))
        )
        return (await self.read()).opened

    async def read(self) -> pb.StreamMetricsResponse:
        message = await self.call.read()
        if message is grpc.aio.EOF:
            await self.call  # raises what ended it
            raise EOFError
        return cast("pb.StreamMetricsResponse", message)

    async def send(self, *sent: metrics_pb2.Frame) -> None:
        for one in sent:
            await self.call.write(pb.StreamMetricsRequest(frame=one))

    async def acks_to(self, seq: int) -> pb.FrameAck:
        """The ack that covers this seq."""
        while not self.acked or self.acked[-1].seq < seq:
            self.acked.append((await self.read()).ack)
        return self.acked[-1]

    async def ended(self) -> Ended:
        """Reads to the end, which must be an error."""
        with suppress(EOFError):
            while True:
                try:
                    self.acked.append((await self.read()).ack)
                except grpc.aio.AioRpcError as error:
                    return _ended(error)
        raise AssertionError("the stream ended well")


def _ended(error: Any) -> Ended:
    status = rpc_status.from_call(error)
    assert status is not None, error
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(retry)
    return Ended(error.code(), info.reason, error.details() or "", retry.retry_delay.ToTimedelta().total_seconds())


@asynccontextmanager
async def metric_path(
    database: str,
    kafka: str = "",
    around: Callable[[Bus], Bus] = lambda bus: bus,
    storage: Storage = Storage(),  # noqa: B008 - frozen
) -> AsyncIterator[Path]:
    topic = replace(FRAMES, name=f"{FRAMES.name}.{uuid.uuid4().hex}")
    found: dict[str, Any] = {}

    async def start(config: app.Config, runner: Runner) -> None:
        bus = around(runner.bus(open_bus(config)))
        db = await runner.resource(Database(config.database, "tracking", connections=4, constraints={}))
        archives = Archives(storage.blobs)
        found.update(bus=bus, door=await start_edge(config, runner, db, bus, archives, topic))
        await start_workers(config, runner, bus, storage, archives, topic)

    services = SimpleNamespace(Config=app.Config, start=start)
    async with running(database, cast("Any", services), kafka=kafka) as run:
        yield Path(database, run.channel, run.runner, found["door"], found["bus"], topic.name)
