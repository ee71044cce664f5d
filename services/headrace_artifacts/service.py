"""ArtifactService: translates requests, owns the transactions."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import grpc

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceServicer
from headrace.api.common.v1 import error_reason_pb2
from headrace_artifacts import collecting, events, rules, store, transfer
from headrace_artifacts.owners import Owners
from headrace_artifacts.store import ArtifactRow
from headrace_kit import paging, tenancy
from headrace_kit.blobs import BlobNotFound, Blobs
from headrace_kit.db import Connection, Database
from headrace_kit.errors import DomainError, InvalidField

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Uploads:
    """How uploads share this process."""

    slots: int
    """At the same time; each holds a thread and, with an S3 store, three of its upload parts."""
    slot_wait_s: float
    """How long one waits for a slot before it is told to come back later."""
    lease_s: float
    """How long after this process died its half-done uploads are deleted."""
    limits: transfer.Limits


class ArtifactService(ArtifactServiceServicer):
    """`writing` has a thread for every slot of `uploads`, `reading` those that downloads share."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        owners: Owners,
        uploads: Uploads,
        *,
        writing: Executor,
        reading: Executor,
        sweep: Callable[[], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._owners = owners
        self._uploads = uploads
        self._writing = writing
        self._reading = reading
        self._sweep = sweep
        self._now = now
        self._new_id = new_id
        self._slots = asyncio.Semaphore(uploads.slots)

    async def UploadArtifact(
        self, request_iterator: AsyncIterator[pb.UploadArtifactRequest], context: Context
    ) -> pb.UploadArtifactResponse:
        tenant_id = tenancy.caller().tenant_id
        limits = self._uploads.limits
        header = rules.header(await transfer.next_request(request_iterator, limits.idle_s))
        await self._owners.check_active(tenant_id, header.owner_id)
        artifact_id = self._new_id()
        key = rules.blob_key(tenant_id, artifact_id)
        async with self._slot(), self._loose(tenant_id, key):
            received = await transfer.receive(self._blobs, self._writing, key, request_iterator, limits)
            row = ArtifactRow(
                tenant_id=tenant_id,
                artifact_id=artifact_id,
                owner_id=header.owner_id,
                path=header.path,
                size_bytes=received.size_bytes,
                sha256=received.sha256,
                media_type=header.media_type,
                blob_key=key,
                create_time=self._now(),
            )
            replaced = await self._put_in_place(row)
        if replaced:
            self._sweep()
        return pb.UploadArtifactResponse(artifact=events.artifact(row))

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: Context
    ) -> AsyncGenerator[pb.DownloadArtifactResponse, None]:
        row: ArtifactRow | None = None
        while True:
            before, row = row, await self._find(request)
            if before and before.blob_key == row.blob_key:
                raise rules.data_lost(row.artifact_id, "the store has lost it")
            rules.offset(request.offset, row.size_bytes)
            try:
                async with aclosing(transfer.parts(self._blobs, self._reading, row, request.offset)) as parts:
                    first = await anext(parts, b"")
                    yield pb.DownloadArtifactResponse(artifact=events.artifact(row))
                    if first:
                        yield pb.DownloadArtifactResponse(part=first)
                    async for part in parts:
                        yield pb.DownloadArtifactResponse(part=part)
            except BlobNotFound:
                continue  # deleted or replaced since it was found: look again
            return

    async def GetArtifact(self, request: pb.GetArtifactRequest, context: Context) -> pb.GetArtifactResponse:
        return pb.GetArtifactResponse(artifact=events.artifact(await self._find(request)))

    async def ListArtifacts(self, request: pb.ListArtifactsRequest, context: Context) -> pb.ListArtifactsResponse:
        tenant_id = tenancy.caller().tenant_id
        owner_id = rules.owner_id(request.owner, "owner")
        folder = rules.folder_path(request.folder)
        size = paging.page_size(request.page_size, default=1_000, most=10_000)
        binding = ("artifacts", owner_id, folder, request.shallow)
        after = rules.page_key(paging.decode(request.page_token, binding))
        find = store.list_level if request.shallow else store.list_below
        async with self._db.tenant(tenant_id) as conn:
            rows = await find(conn, owner_id, folder, after, size + 1)
        if not rows and not after:
            await self._owners.check_exists(tenant_id, owner_id)
        page = list(rules.fitting(map(events.artifact, rows[:size])))
        token = paging.encode(binding, [page[-1].path]) if len(page) < len(rows) else ""
        if not request.shallow:
            return pb.ListArtifactsResponse(artifacts=page, next_page_token=token)
        folders = [rules.folder_in(folder, one.path) for one in page]
        return pb.ListArtifactsResponse(
            artifacts=[one for one, within in zip(page, folders, strict=True) if not within],
            folders=filter(None, folders),
            next_page_token=token,
        )

    async def DeleteArtifact(self, request: pb.DeleteArtifactRequest, context: Context) -> pb.DeleteArtifactResponse:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row = await store.delete_by_id(conn, rules.artifact_id(request.artifact_id))
            if row is None:
                raise rules.artifact_not_found(f"the id {request.artifact_id!r}")
            await store.let_go_blob(conn, row.tenant_id, row.blob_key)
            await events.deleted(conn, row)
        self._sweep()
        return pb.DeleteArtifactResponse()

    async def _find(self, request: pb.GetArtifactRequest | pb.DownloadArtifactRequest) -> ArtifactRow:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row, which = await _find(conn, request)
        if row is None:
            raise rules.artifact_not_found(which)
        return row

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._uploads.slot_wait_s):
                await self._slots.acquire()
        except TimeoutError:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_OVERLOADED,
                f"{self._uploads.slots} uploads are under way here, as many as may be; try again",
                retry_after_s=5,
            ) from None
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def _loose(self, tenant_id: str, key: str) -> AsyncIterator[None]:
        """Around the upload of a blob: whatever becomes of it or of this process, it is deleted unless an artifact
        took it.
        """
        async with self._db.tenant(tenant_id) as conn:
            await store.begin_blob(conn, tenant_id, key, self._uploads.lease_s)
        renewing = asyncio.create_task(self._renew(tenant_id, key))
        try:
            yield
        except BaseException:
            # Should this fail too, the lease runs out.
            async with self._db.tenant(tenant_id) as conn:
                await store.give_up_blob(conn, key)
            self._sweep()
            raise
        finally:
            renewing.cancel()

    async def _renew(self, tenant_id: str, key: str) -> None:
        while True:
            await asyncio.sleep(self._uploads.lease_s / 3)
            try:
                async with self._db.tenant(tenant_id) as conn:
                    await store.renew_blob(conn, key, self._uploads.lease_s)
            except DomainError as error:
                log.warning("upload %s: its lease was not renewed: %s", key, error)

    async def _put_in_place(self, row: ArtifactRow) -> bool:
        """The artifact instead of the one that had its path; whether one had."""
        async with self._db.tenant(row.tenant_id) as conn:
            if not await collecting.lock_owner(conn, row.owner_id):
                raise rules.owner_purged(row.owner_id)
            taken = await store.take_blob(conn, row.blob_key)
            if taken:
                await store.lock_path(conn, row.owner_id, row.path)
                replaced = await store.delete_at_path(conn, row.owner_id, row.path)
                if replaced:
                    await store.let_go_blob(conn, replaced.tenant_id, replaced.blob_key)
                await store.insert_artifact(conn, row)
                await events.stored(conn, row, replaced)
                return replaced is not None
            await store.let_go_blob(conn, row.tenant_id, row.blob_key)
        raise DomainError(
            error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
            "the upload was given up for dead while it went on; upload the file again",
            retry_after_s=1,
        )


async def _find(
    conn: Connection, request: pb.GetArtifactRequest | pb.DownloadArtifactRequest
) -> tuple[ArtifactRow | None, str]:
    """The artifact asked for, and how it was named."""
    match request.WhichOneof("by"):
        case "artifact_id":
            which = f"the id {request.artifact_id!r}"
            return await store.find_by_id(conn, rules.artifact_id(request.artifact_id)), which
        case "path":
            owner_id = rules.owner_id(request.path.owner, "path.owner")
            path = rules.artifact_path(request.path.path, "path.path")
            return await store.find_by_path(conn, owner_id, path), f"the path {path!r} in {owner_id}"
        case _:
            raise InvalidField("by", "must name an artifact, by artifact_id or by path")
