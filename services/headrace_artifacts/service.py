"""ArtifactService: translates requests, owns the transactions."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import grpc

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceServicer
from headrace_artifacts import events, rules, store, transfer
from headrace_artifacts.multipart import Multipart
from headrace_artifacts.owners import Owners
from headrace_artifacts.placing import Placing
from headrace_artifacts.store import ArtifactRow
from headrace_kit import paging, tenancy, tickets
from headrace_kit.blobs import BlobNotFound, Blobs
from headrace_kit.db import Connection, Database
from headrace_kit.errors import InvalidField
from headrace_kit.tickets import Purpose, Ticket

Context = grpc.aio.ServicerContext[Any, Any]
_Named = pb.GetArtifactRequest | pb.DownloadArtifactRequest | pb.SignDownloadRequest


class ArtifactService(ArtifactServiceServicer):
    """`writing` has a thread for every slot of `placing`, which an upload waits for `slot_wait_s`; downloads share `reading`."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        owners: Owners,
        placing: Placing,
        multipart: Multipart,
        *,
        slot_wait_s: float,
        limits: transfer.Limits,
        writing: Executor,
        reading: Executor,
        secret: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._owners = owners
        self._placing = placing
        self._multipart = multipart
        self._slot_wait_s = slot_wait_s
        self._limits = limits
        self._writing = writing
        self._reading = reading
        self._secret = secret
        self._now = now
        self._new_id = new_id

    async def UploadArtifact(
        self, request_iterator: AsyncIterator[pb.UploadArtifactRequest], context: Context
    ) -> pb.UploadArtifactResponse:
        tenant_id = tenancy.caller().tenant_id
        header = rules.header(await transfer.next_request(request_iterator, self._limits.idle_s))
        await self._owners.check_active(tenant_id, header.owner_id)
        await context.send_initial_metadata(transfer.HEADER_TAKEN)
        artifact_id = self._new_id()
        key = rules.blob_key(tenant_id, artifact_id)
        async with self._placing.slot(self._slot_wait_s), self._placing.loose(tenant_id, key):
            received = await transfer.receive(self._blobs, self._writing, key, request_iterator, self._limits)
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
            async with self._db.tenant(tenant_id) as conn:
                placed = await self._placing.put(conn, row)
            if not placed.taken:
                raise rules.given_up()
        if placed.freed:
            self._placing.sweep()
        return pb.UploadArtifactResponse(artifact=events.artifact(row))

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: Context
    ) -> AsyncGenerator[pb.DownloadArtifactResponse, None]:
        row: ArtifactRow | None = None
        while True:
            before, row = row, await self._find(request)
            if before and before.blob_key == row.blob_key:
                raise rules.data_lost(f"artifact {row.artifact_id}", "the store has lost it")
            offset, length = rules.offset(request.offset, row.size_bytes), rules.length(request.length)
            try:
                async with aclosing(transfer.parts(self._blobs, self._reading, row, offset, length)) as parts:
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
        self._placing.sweep()
        return pb.DeleteArtifactResponse()

    async def StartUpload(self, request: pb.StartUploadRequest, context: Context) -> pb.StartUploadResponse:
        return await self._multipart.start(tenancy.caller().tenant_id, request)

    async def UploadPart(
        self, request_iterator: AsyncIterator[pb.UploadPartRequest], context: Context
    ) -> pb.UploadPartResponse:
        tenant_id = tenancy.caller().tenant_id
        return await self._multipart.part(
            tenant_id, request_iterator, lambda: context.send_initial_metadata(transfer.HEADER_TAKEN)
        )

    async def CompleteUpload(self, request: pb.CompleteUploadRequest, context: Context) -> pb.CompleteUploadResponse:
        return await self._multipart.complete(tenancy.caller().tenant_id, request)

    async def AbortUpload(self, request: pb.AbortUploadRequest, context: Context) -> pb.AbortUploadResponse:
        await self._multipart.abort(tenancy.caller().tenant_id, request)
        return pb.AbortUploadResponse()

    async def SignDownload(self, request: pb.SignDownloadRequest, context: Context) -> pb.SignDownloadResponse:
        seconds = rules.valid_seconds(request.valid_seconds)
        row = await self._find(request)
        answer = pb.SignDownloadResponse(artifact=events.artifact(row))
        answer.ticket, expires = self._signed("read", seconds, str(row.artifact_id))
        answer.expire_time.FromSeconds(expires)
        return answer

    async def SignUpload(self, request: pb.SignUploadRequest, context: Context) -> pb.SignUploadResponse:
        seconds = rules.valid_seconds(request.valid_seconds)
        owner_id, path = rules.owner_id(request.owner, "owner"), rules.artifact_path(request.path, "path")
        media_type = rules.media_type(request.media_type, path, "media_type")
        await self._owners.check_active(tenancy.caller().tenant_id, owner_id)
        answer = pb.SignUploadResponse()
        answer.ticket, expires = self._signed("write", seconds, owner_id, path, media_type)
        answer.expire_time.FromSeconds(expires)
        return answer

    def _signed(self, purpose: Purpose, seconds: int, *names: str) -> tuple[str, int]:
        """A ticket, and when it expires."""
        expires = int(self._now().timestamp()) + seconds
        return tickets.issue(self._secret, Ticket(purpose, tenancy.caller().tenant_id, expires, names)), expires

    async def _find(self, request: _Named) -> ArtifactRow:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row, which = await _find(conn, request)
        if row is None:
            raise rules.artifact_not_found(which)
        return row


async def _find(conn: Connection, request: _Named) -> tuple[ArtifactRow | None, str]:
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
