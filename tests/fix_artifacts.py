"""The artifacts service in tests: a tracking service of the test's own, a store, and calls with checked answers."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import grpc
import psycopg
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fix_services import SECRET, as_tenant
from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_pb2, tracking_service_pb2
from headrace.api.tracking.v1.tracking_service_pb2_grpc import (
    TrackingServiceServicer,
    add_TrackingServiceServicer_to_server,
)
from headrace_kit import errors, rpc
from headrace_kit.auth import AUTHORIZATION, TENANT
from headrace_kit.blobs import Blobs
from headrace_kit.blobs.s3 import S3Config

if TYPE_CHECKING:
    from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceAsyncStub

MIB = 1 << 20
RUN = "0123456789abcdef" * 2
DELETED_RUN = "dead" * 8
MILLS_RUN = "beef" * 8
MODEL = "m-" + "cafe" * 8
OWNER = artifacts_pb2.Owner(run_id=RUN)


class Tracking(TrackingServiceServicer):
    """The runs and models that the tests know, over gRPC as the real one answers."""

    def __init__(self) -> None:
        self.known = {("default", RUN), ("default", MODEL), ("default", DELETED_RUN), ("mill", MILLS_RUN)}
        self.asked: list[str] = []

    async def GetRun(
        self, request: tracking_service_pb2.GetRunRequest, context: Any
    ) -> tracking_service_pb2.GetRunResponse:
        await self._check(request.run_id, error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, context)
        deleted = request.run_id == DELETED_RUN
        stage = tracking_pb2.LIFECYCLE_STAGE_DELETED if deleted else tracking_pb2.LIFECYCLE_STAGE_ACTIVE
        run = tracking_pb2.Run(run_id=request.run_id, lifecycle_stage=stage)
        return tracking_service_pb2.GetRunResponse(run=run)

    async def GetLoggedModel(
        self, request: tracking_service_pb2.GetLoggedModelRequest, context: Any
    ) -> tracking_service_pb2.GetLoggedModelResponse:
        await self._check(request.model_id, error_reason_pb2.ERROR_REASON_LOGGED_MODEL_NOT_FOUND, context)
        return tracking_service_pb2.GetLoggedModelResponse()

    async def _check(self, owner_id: str, reason: error_reason_pb2.ErrorReason, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        assert metadata[AUTHORIZATION] == f"Bearer hrs_{SECRET}"
        self.asked.append(owner_id)
        if (metadata[TENANT], owner_id) not in self.known:
            error = errors.DomainError(reason, f"no owner has the id {owner_id!r}")
            await context.abort_with_status(rpc_status.to_status(errors.status_of(error)))


@asynccontextmanager
async def tracking_server() -> AsyncIterator[tuple[Tracking, str]]:
    tracking = Tracking()  # pyright: ignore[reportAbstractUsage] - what is not written answers UNIMPLEMENTED
    server = grpc.aio.server()
    add_TrackingServiceServicer_to_server(tracking, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield tracking, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@dataclass(frozen=True)
class Store:
    """A place for blobs, as the settings of the service and as the test sees it."""

    settings: dict[str, object]
    blobs: Blobs

    @property
    def keys(self) -> list[str]:
        return list(self.blobs.keys(""))


def s3_settings(config: S3Config) -> dict[str, object]:
    return {
        "s3_endpoint": config.endpoint,
        "s3_access_key": config.access_key,
        "s3_secret_key": config.secret_key,
        "s3_bucket": config.bucket,
        "s3_secure": config.secure,
    }


@dataclass
class Service:
    stub: "ArtifactServiceAsyncStub"
    uploads: ArtifactServiceStub
    """For uploads: grpc's asyncio client takes a call that ends before all is sent for a broken one, and says INTERNAL
    in the place of what the server said.
    """
    asked: list[str]
    """The owners that tracking was asked for."""
    database: str
    store: Store
    tenant: str = "default"
    metadata: tuple[tuple[str, str], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.metadata = as_tenant(self.tenant)

    async def upload(
        self, path: str, data: bytes, owner: artifacts_pb2.Owner = OWNER, **header: str
    ) -> artifacts_pb2.Artifact:
        return await self.send(upload_of(path, data, owner, **header))

    async def send(self, requests: Iterable[pb.UploadArtifactRequest]) -> artifacts_pb2.Artifact:
        """Sends them from a thread."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        call = self.uploads.UploadArtifact.future(iter(requests), metadata=self.metadata)

        def end(_: object) -> None:
            loop.call_soon_threadsafe(ended.set)

        call.add_done_callback(end)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            call.cancel()
            raise
        return call.result().artifact

    async def download(self, offset: int = 0, **by: Any) -> tuple[artifacts_pb2.Artifact, bytes]:
        answers = [
            a
            async for a in self.stub.DownloadArtifact(
                pb.DownloadArtifactRequest(offset=offset, **by), metadata=self.metadata
            )
        ]
        assert answers[0].WhichOneof("message") == "artifact"
        assert all(0 < len(a.part) <= MIB for a in answers[1:])
        return answers[0].artifact, b"".join(a.part for a in answers[1:])

    async def list(self, folder: str = "", owner: artifacts_pb2.Owner = OWNER, **page: Any) -> pb.ListArtifactsResponse:
        return await self.stub.ListArtifacts(
            pb.ListArtifactsRequest(owner=owner, folder=folder, **page), metadata=self.metadata
        )

    async def paths(self, folder: str = "") -> Sequence[str]:
        return [artifact.path for artifact in (await self.list(folder)).artifacts]

    def rows(self, query: str, *values: object) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(self.database) as conn:
            return conn.execute(cast("Any", query), values or None).fetchall()

    @asynccontextmanager
    async def transaction(self, query: str, *values: object) -> AsyncIterator[None]:
        """Around the block, a transaction that began with the query and is rolled back."""
        async with await psycopg.AsyncConnection.connect(self.database) as conn:
            await conn.execute(cast("Any", query), values)
            yield
            await conn.rollback()

    async def left_behind(self, blobs: int) -> None:
        """Waits until nothing but so many blobs is there."""
        await until(lambda: not self.rows("SELECT FROM artifacts.loose_blobs") and len(self.store.keys) == blobs)


@asynccontextmanager
async def service_at(address: str, asked: list[str], database: str, store: Store) -> AsyncIterator[Service]:
    with grpc.insecure_channel(address, options=rpc.CHANNEL_OPTIONS) as uploads:
        async with rpc.channel(address) as channel:
            stub = cast("ArtifactServiceAsyncStub", ArtifactServiceStub(channel))
            yield Service(stub, ArtifactServiceStub(uploads), asked, database, store)


def header(path: str, owner: artifacts_pb2.Owner = OWNER, media_type: str = "") -> pb.UploadArtifactRequest:
    return pb.UploadArtifactRequest(header=pb.UploadHeader(owner=owner, path=path, media_type=media_type))


def part(data: bytes) -> pb.UploadArtifactRequest:
    return pb.UploadArtifactRequest(part=data)


def trailer(data: bytes) -> pb.UploadArtifactRequest:
    digest = hashlib.sha256(data).digest()
    return pb.UploadArtifactRequest(trailer=pb.UploadTrailer(size_bytes=len(data), sha256=digest))


def upload_of(
    path: str, data: bytes, owner: artifacts_pb2.Owner = OWNER, **more: str
) -> list[pb.UploadArtifactRequest]:
    parts = [part(data[at : at + MIB]) for at in range(0, len(data), MIB)]
    return [header(path, owner, **more), *parts, trailer(data)]


async def refused(call: Any, code: grpc.StatusCode, reason: str) -> str:
    """Awaits the call, which must fail so; returns the message."""
    with pytest.raises(grpc.RpcError) as caught:
        await call
    error = cast("grpc.Call", caught.value)
    status = rpc_status.from_call(error)
    assert status is not None, caught.value
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert (error.code(), info.reason) == (code, reason)
    return error.details() or ""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is another process or thread that makes it true
            await asyncio.sleep(0.02)


def parts_then_wait(data: bytes, go_on: threading.Event, path: str = "a") -> Iterator[pb.UploadArtifactRequest]:
    """An upload that sends its trailer only when it may, or after half a minute."""
    requests = upload_of(path, data)
    yield from requests[:-1]
    go_on.wait(30)
    yield requests[-1]
