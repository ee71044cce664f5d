"""Files that come in parts: each part a blob of its own, until all of them are read once more to become one artifact."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace_artifacts import events, joining, parts_rules, parts_store, rules, store, transfer
from headrace_artifacts.owners import Owners
from headrace_artifacts.parts_store import PartRow, UploadRow
from headrace_artifacts.placing import Placing
from headrace_artifacts.store import ArtifactRow
from headrace_kit import tickets
from headrace_kit.blobs import Blobs
from headrace_kit.db import Database
from headrace_kit.tickets import Ticket


@dataclass(frozen=True, slots=True)
class InParts:
    """How uploads in parts are treated."""

    life_s: float
    """From its start, until an upload is forgotten."""
    wait_s: float
    """How long a part, or a completion, waits for a slot: MLflow's client does not send a part twice."""
    limits: transfer.Limits


class Multipart:
    """The uploads in parts of one process; others may serve other parts of the same upload."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        owners: Owners,
        placing: Placing,
        how: InParts,
        *,
        writing: Executor,
        secret: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._owners = owners
        self._placing = placing
        self._how = how
        self._writing = writing
        self._secret = secret
        self._now = now
        self._new_id = new_id
        self._completing: dict[tuple[str, bytes], asyncio.Task[pb.CompleteUploadResponse]] = {}

    async def open(self) -> None:
        """Nothing is under way."""

    async def close(self) -> None:
        """Ends completions that nobody waits for any more; they can be called again elsewhere."""
        for task in self._completing.values():
            task.cancel()
        if self._completing:
            await asyncio.wait(self._completing.values())

    async def start(self, tenant_id: str, request: pb.StartUploadRequest) -> pb.StartUploadResponse:
        """As the RPC."""
        path = rules.artifact_path(request.path, "path")
        owner_id = rules.owner_id(request.owner, "owner")
        media_type = rules.media_type(request.media_type, path, "media_type")
        count = parts_rules.part_count(request.part_count)
        await self._owners.check_active(tenant_id, owner_id)
        upload_id = self._new_id()
        async with self._db.tenant(tenant_id) as conn:
            expires = await parts_store.insert_upload(
                conn, tenant_id, upload_id, owner_id, path, media_type, count, self._how.life_s
            )
        ticket = Ticket("part", tenant_id, int(expires.timestamp()), (str(upload_id),))
        answer = pb.StartUploadResponse(upload_id=str(upload_id), ticket=tickets.issue(self._secret, ticket))
        answer.expire_time.FromDatetime(expires)
        return answer

    async def part(
        self, tenant_id: str, requests: AsyncIterator[pb.UploadPartRequest], header_taken: Callable[[], Awaitable[None]]
    ) -> pb.UploadPartResponse:
        """As the RPC."""
        header = parts_rules.header(await transfer.next_request(requests, self._how.limits.idle_s))
        async with self._db.tenant(tenant_id) as conn:
            upload = parts_rules.open_upload(await parts_store.find_upload(conn, header.upload_id), header.upload_id)
        parts_rules.check_number(header.number, upload)
        await header_taken()
        key = rules.blob_key(tenant_id, self._new_id())
        async with self._placing.slot(self._how.wait_s), self._placing.loose(tenant_id, key):
            received = await transfer.receive(self._blobs, self._writing, key, requests, self._how.limits)
            freed = await self._keep(upload, PartRow(header.number, received.size_bytes, received.sha256, key))
        if freed:
            self._placing.sweep()
        return pb.UploadPartResponse(etag=received.sha256.hex())

    async def _keep(self, upload: UploadRow, part: PartRow) -> bool:
        """The part instead of the one that had its number; whether one had."""
        async with self._db.tenant(upload.tenant_id) as conn:
            locked = await parts_store.lock_upload(conn, upload.upload_id)
            upload = parts_rules.open_upload(locked, upload.upload_id)
            others = await parts_store.size_without(conn, upload.upload_id, part.number)
            rules.check_size(others + part.size_bytes, self._how.limits.most_bytes)
            if await parts_store.keep_blob(conn, part.blob_key, upload.expire_time):
                replaced = await parts_store.delete_part(conn, upload.upload_id, part.number)
                if replaced:
                    await store.let_go_blob(conn, upload.tenant_id, replaced)
                await parts_store.insert_part(conn, upload.tenant_id, upload.upload_id, part)
                return replaced is not None
            await store.let_go_blob(conn, upload.tenant_id, part.blob_key)
        raise rules.given_up()

    async def complete(self, tenant_id: str, request: pb.CompleteUploadRequest) -> pb.CompleteUploadResponse:
        """As the RPC. Goes on when the caller gives up waiting: it calls again, and finds more of it done."""
        which = tenant_id, request.SerializeToString(deterministic=True)
        task = self._completing.get(which)
        if task is None:
            task = asyncio.create_task(self._complete(tenant_id, request))
            self._completing[which] = task

            def ended(task: asyncio.Task[pb.CompleteUploadResponse]) -> None:
                del self._completing[which]
                if not task.cancelled():
                    task.exception()  # whoever waits for it is told; perhaps nobody does

            task.add_done_callback(ended)
        return await asyncio.shield(task)

    async def _complete(self, tenant_id: str, request: pb.CompleteUploadRequest) -> pb.CompleteUploadResponse:
        upload_id = parts_rules.upload_id(request.upload_id)
        async with self._db.tenant(tenant_id) as conn:
            upload = parts_rules.named_upload(await parts_store.find_upload(conn, upload_id), upload_id, request)
            if upload.state == "completed" and upload.artifact_id:
                row = await store.find_by_id(conn, upload.artifact_id)
                return pb.CompleteUploadResponse(artifact=events.artifact(row) if row else None)
            parts_rules.open_upload(upload, upload_id)
            parts = parts_rules.all_parts(request.parts, await parts_store.list_parts(conn, upload_id), upload)
        await self._owners.check_active(tenant_id, upload.owner_id)
        artifact_id = self._new_id()
        key = rules.blob_key(tenant_id, artifact_id)
        async with self._placing.slot(self._how.wait_s), self._placing.loose(tenant_id, key):
            received = await joining.join(self._blobs, self._writing, key, upload_id, parts)
            row = ArtifactRow(
                tenant_id=tenant_id,
                artifact_id=artifact_id,
                owner_id=upload.owner_id,
                path=upload.path,
                size_bytes=received.size_bytes,
                sha256=received.sha256,
                media_type=upload.media_type,
                blob_key=key,
                create_time=self._now(),
            )
            await self._end(upload_id, parts, row)
        self._placing.sweep()
        return pb.CompleteUploadResponse(artifact=events.artifact(row))

    async def _end(self, upload_id: UUID, parts: list[PartRow], row: ArtifactRow) -> None:
        """The artifact, made of these parts, instead of the upload."""
        async with self._db.tenant(row.tenant_id) as conn:
            parts_rules.open_upload(await parts_store.lock_upload(conn, upload_id), upload_id)
            parts_rules.check_unchanged(parts, await parts_store.list_parts(conn, upload_id))
            placed = await self._placing.put(conn, row)
            if placed.taken:
                await parts_store.end_upload(conn, upload_id, "completed", row.artifact_id)
                await parts_store.let_go_parts(conn, upload_id)
        if not placed.taken:
            raise rules.given_up()

    async def abort(self, tenant_id: str, request: pb.AbortUploadRequest) -> None:
        """As the RPC."""
        upload_id = parts_rules.upload_id(request.upload_id)
        async with self._db.tenant(tenant_id) as conn:
            upload = parts_rules.named_upload(await parts_store.lock_upload(conn, upload_id), upload_id, request)
            if upload.state != "aborted":
                parts_rules.open_upload(upload, upload_id)
                await parts_store.end_upload(conn, upload_id, "aborted", None)
                await parts_store.let_go_parts(conn, upload_id)
        self._placing.sweep()
