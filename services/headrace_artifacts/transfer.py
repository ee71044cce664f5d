"""Bytes between the streams of calls and the blocking store: bounded in memory, checked against their digest on the way."""

import asyncio
import hashlib
import io
import logging
import queue
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias, TypeVar, cast

from typing_extensions import override

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.common.v1 import error_reason_pb2
from headrace_artifacts import rules
from headrace_artifacts.store import ArtifactRow
from headrace_kit import rpc
from headrace_kit.blobs import Blobs, StoreFull, StoreUnavailable
from headrace_kit.errors import DomainError

log = logging.getLogger(__name__)

Sent: TypeAlias = pb.UploadArtifactRequest | pb.UploadPartRequest
"""A message of an upload: a part, or the trailer; the header came before."""
S = TypeVar("S", bound=Sent)

HEADER_TAKEN: Final = ((rpc.HEADER_TAKEN, "true"),)
_PARTS_UNDER_WAY: Final = 4  # of 1 MiB at most, between the call of an upload and the store


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one upload."""

    most_bytes: int
    idle_s: float
    """How long the next part may take to come."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came and was stored."""

    size_bytes: int
    sha256: bytes


async def receive(blobs: Blobs, threads: Executor, key: str, requests: AsyncIterator[Sent], limits: Limits) -> Received:
    """Stores what follows the header of an upload; returns once the blob is durable.

    When it raises, or is cancelled, nothing is stored and nothing is being written any more. Raises InvalidField and
    DomainError: DIGEST_MISMATCH, UPLOAD_TRUNCATED, TOO_LARGE, STORE_FULL, BACKEND_UNAVAILABLE.
    """
    loop = asyncio.get_running_loop()
    pipe = _Pipe(loop)
    stored = loop.run_in_executor(threads, put, blobs, key, pipe)
    sending = asyncio.create_task(_send(requests, pipe, limits))
    try:
        # What goes wrong with the sending reaches the store through the pipe, and comes back from there.
        await asyncio.wait({stored})
    finally:
        sending.cancel()
        pipe.fail(rules.truncated("the call was cancelled"))
        await asyncio.wait({stored})
    return await stored


async def parts(
    blobs: Blobs, threads: Executor, row: ArtifactRow, offset: int, length: int | None = None
) -> AsyncGenerator[bytes, None]:
    """The artifact's bytes from the offset, all or at most `length`, in parts of at most 1 MiB; close it when leaving early.

    Raises BlobNotFound before the first part, DomainError BACKEND_UNAVAILABLE at any, DATA_LOST when the store gives
    something else than was stored (of the size only, when it is not all of the artifact).
    """
    loop = asyncio.get_running_loop()
    reading = _Reading(blobs, row, offset, length)
    step: asyncio.Future[bytes] | None = None
    try:
        while True:
            step = loop.run_in_executor(threads, reading.next)
            part = await asyncio.shield(step)
            if not part:
                return
            yield part
    finally:
        if step is not None:
            await asyncio.wait({step})  # a generator cannot be closed while another thread is in it
        await loop.run_in_executor(threads, reading.close)


class Source(io.RawIOBase):
    """The bytes of a blob to be, as the file that `Blobs.put` reads in its thread; hashed on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()
        self._rest = memoryview(b"")

    def more(self) -> bytes:
        """The next of them, empty at the end; from the store's thread, which waits."""
        raise NotImplementedError

    @override
    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""
        if not self._rest:
            part = self.more()
            self.sha256.update(part)
            self._rest = memoryview(part)
        count = len(self._rest) if size < 0 else size
        part = bytes(self._rest[:count])
        self._rest = self._rest[count:]
        return part


class _Pipe(Source):
    """What an upload sends.

    It ends only when the trailer agrees with what was read; otherwise `read` raises, and the store keeps nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._size = 0
        self._loop = loop
        self._room = asyncio.Semaphore(_PARTS_UNDER_WAY)
        self._queue: queue.SimpleQueue[bytes | pb.UploadTrailer | BaseException] = queue.SimpleQueue()
        self._ended = False

    async def send(self, part: bytes) -> None:
        """Hands a part over, once there is room; from the loop, as `end` and `fail`."""
        await self._room.acquire()
        self._queue.put(part)

    def end(self, trailer: pb.UploadTrailer) -> None:
        """No part follows."""
        self._queue.put(trailer)

    def fail(self, error: BaseException) -> None:
        """The upload is over; `read` raises this if it still reads."""
        self._queue.put(error)

    @override
    def more(self) -> bytes:
        if self._ended:
            return b""
        match self._queue.get():
            case bytes() as part:
                self._loop.call_soon_threadsafe(self._room.release)
                self._size += len(part)
                return part
            case pb.UploadTrailer() as trailer:
                rules.check_trailer(trailer, self._size, self.sha256.digest())
                self._ended = True
                return b""
            case BaseException() as error:
                raise error


async def _send(requests: AsyncIterator[Sent], pipe: _Pipe, limits: Limits) -> None:
    """As `_move`; what goes wrong goes into the pipe too."""
    try:
        pipe.end(await _move(requests, pipe, limits))
    except Exception as error:  # noqa: BLE001 - whatever it is, `receive` raises it
        pipe.fail(error)


async def _move(requests: AsyncIterator[Sent], pipe: _Pipe, limits: Limits) -> pb.UploadTrailer:
    """Moves parts from the call into the pipe until the trailer, which it returns."""
    size = 0
    while True:
        request = await next_request(requests, limits.idle_s)
        match request.WhichOneof("message"):
            case "part":
                size += len(rules.part(request.part))
                rules.check_size(size, limits.most_bytes)
                await pipe.send(request.part)
            case "trailer":
                return request.trailer
            case kind:
                raise rules.out_of_order(kind)


async def next_request(requests: AsyncIterator[S], idle_s: float) -> S:
    """The next message of an upload. Raises DomainError UPLOAD_TRUNCATED when none comes."""
    try:
        async with asyncio.timeout(idle_s):
            return await anext(requests)
    except StopAsyncIteration:
        raise rules.truncated("the stream ended without a trailer") from None
    except TimeoutError:
        raise rules.truncated(f"nothing came for {idle_s:g} s") from None


def put(blobs: Blobs, key: str, source: Source) -> Received:
    """As `Blobs.put`, with the digest; raises DomainError STORE_FULL, BACKEND_UNAVAILABLE, and what the source raises."""
    with store_errors():
        size = blobs.put(key, cast("BinaryIO", source))
    return Received(size, source.sha256.digest())


class _Reading:
    """A blob being read, a part at a time, from any thread but one at a time."""

    def __init__(self, blobs: Blobs, row: ArtifactRow, offset: int, length: int | None) -> None:
        self._parts = blobs.get(row.blob_key, offset, length)
        self._row = row
        self._position = offset
        self._end = row.size_bytes if length is None else min(offset + length, row.size_bytes)
        self._sha256 = hashlib.sha256() if self._end - offset == row.size_bytes else None

    def next(self) -> bytes:
        """The next part; empty at the end, which is checked."""
        with store_errors():
            part = next(self._parts, b"")
        self._position += len(part)
        if self._sha256:
            self._sha256.update(part)
        row = self._row
        if self._position > self._end or (not part and self._position < self._end):
            raise rules.data_lost(
                f"artifact {row.artifact_id}", f"the store has another size than the {row.size_bytes:,} bytes stored"
            )
        if not part and self._sha256 and self._sha256.digest() != row.sha256:
            raise rules.data_lost(f"artifact {row.artifact_id}", "the store has other bytes than those stored")
        return part

    def close(self) -> None:
        """Frees what the store holds for it."""
        self._parts.close()


@contextmanager
def store_errors() -> Iterator[None]:
    """The store's errors as the caller may understand them; the log has what the store said."""
    try:
        yield
    except StoreFull as error:
        log.error("the artifact store is full: %s", error)  # noqa: TRY400 - the stack tells nothing more
        raise DomainError(
            error_reason_pb2.ERROR_REASON_STORE_FULL,
            "the artifact store has no room left; nothing was stored, try again when there is",
            retry_after_s=30,
        ) from error
    except StoreUnavailable as error:
        log.warning("the artifact store is away: %s", error)
        raise DomainError(
            error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
            "the artifact store does not answer now; try again",
            retry_after_s=1,
        ) from error
