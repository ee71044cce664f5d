"""The edge of the metric path: streams of frames in, cumulative acknowledgements out."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

import grpc
from typing_extensions import override

from headrace.api.tracking.v1 import ingest_service_pb2 as pb
from headrace.api.tracking.v1 import metrics_pb2
from headrace.api.tracking.v1.ingest_service_pb2_grpc import IngestServiceServicer
from headrace_kit import tenancy
from headrace_kit.db import Database
from headrace_kit.errors import DomainError, InvalidField
from headrace_tracking import frames, lookup
from headrace_tracking.doors import RunAddress
from headrace_tracking.frames import HeaderCheck
from headrace_tracking.packer import Packer, Parcel, Room, durable
from headrace_tracking.store import metrics as store
from headrace_tracking.visible import going_away

_WINDOW_BYTES: Final = 8 << 20
_MOST_SEQ: Final = 2**63 - 1

Requests = AsyncIterator[pb.StreamMetricsRequest]


class IngestService(IngestServiceServicer):
    """Streams have no end of their own: `end_streams` when the process drains."""

    def __init__(self, db: Database, packer: Packer, *, check_run_s: float = 30.0) -> None:
        """A run deleted while it streams is noticed by the first frame that comes `check_run_s` after the last look."""
        self._db = db
        self._check_run_s = check_run_s
        self._packer = packer
        self._streams: set[_Stream] = set()
        self._draining = False

    @override
    async def StreamMetrics(
        self, request_iterator: Requests, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.StreamMetricsResponse]:
        """See the proto."""
        requests = aiter(request_iterator)
        stream, applied_seq = await self._open(requests)
        self._streams.add(stream)
        try:
            if self._draining:
                raise going_away()
            yield pb.StreamMetricsResponse(
                opened=pb.StreamOpened(
                    applied_seq=applied_seq,
                    window_bytes=_WINDOW_BYTES,
                    max_frame_bytes=frames.MOST_BYTES,
                    max_frame_points=frames.MOST_POINTS,
                )
            )
            stream.start(requests)
            async for ack in stream.acks():
                yield pb.StreamMetricsResponse(ack=ack)
        finally:
            await stream.close()
            self._streams.discard(stream)

    def end_streams(self) -> None:
        """Takes no more frames, nor streams; those that are open end with the acknowledgements of what is under way."""
        self._draining = True
        for stream in self._streams:
            stream.end(going_away())

    async def _open(self, requests: Requests) -> "tuple[_Stream, int]":
        request = await anext(requests, None)
        if request is None or request.WhichOneof("message") != "open":
            raise InvalidField("open", "the first message of a stream must open it")
        producer_id = request.open.producer_id
        if len(producer_id) != frames.PRODUCER_ID_BYTES:
            raise InvalidField(
                "open.producer_id", f"must have {frames.PRODUCER_ID_BYTES} bytes, got {len(producer_id)}"
            )
        tenant_id = tenancy.caller().tenant_id

        async with self._db.tenant(tenant_id) as conn:
            run = await lookup.run_address(conn, tenant_id, request.open.run_id, active=True)
            applied_seq = await store.applied_seq(conn, run.run_id, producer_id)
        return _Stream(run, producer_id, applied_seq, self._packer, self._checked), applied_seq

    async def _checked(self, run: RunAddress, at: float) -> float:
        """When the run was found active, last at the time given; raises NOT_ACTIVE, or RUN_NOT_FOUND."""
        now = asyncio.get_running_loop().time()
        if now < at + self._check_run_s:
            return at
        async with self._db.tenant(run.tenant_id) as conn:
            await lookup.run_address(conn, run.tenant_id, run.run_id.hex, active=True)
        return now


class _Sent(NamedTuple):
    """A frame under way, or one sent again: that is acknowledged when all before it are."""

    seq: int
    size: int
    parcel: Parcel | None


class _Stream:
    """One open stream. Frames are taken by a task of its own, acknowledged by whoever iterates `acks`."""

    def __init__(
        self,
        run: RunAddress,
        producer_id: bytes,
        applied_seq: int,
        packer: Packer,
        check_run: Callable[[RunAddress, float], Awaitable[float]],
    ) -> None:
        self._run = run
        self._producer_id = producer_id
        self._packer = packer
        self._check_run = check_run
        self._run_checked = asyncio.get_running_loop().time()
        self._check_header = HeaderCheck()
        self._last_seq = applied_seq
        self._begun = False
        self._window = Room(_WINDOW_BYTES)
        self._sent: deque[_Sent] = deque()
        self._refused: deque[pb.RefusedFrame] = deque()
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    def start(self, requests: Requests) -> None:
        """Begins to take frames, unless it was ended already."""
        if self._failure is None:
            self._reader = asyncio.create_task(self._read(requests))
            self._reader.add_done_callback(lambda _: self._changed.set())

    def end(self, why: DomainError) -> None:
        """Takes no more frames; `acks` ends with this error when what is under way is acknowledged."""
        self._failure = self._failure or why
        if self._reader is not None:
            self._reader.cancel()

    async def close(self) -> None:
        """Waits for the reading task's end."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def acks(self) -> AsyncIterator[pb.FrameAck]:
        """Until the client has no more frames, or with the error that ended the stream. One ack for all that is ready."""
        while True:
            while not self._sent:
                if self._reader is None or self._reader.done():
                    if self._failure is not None:
                        raise self._failure
                    return
                self._changed.clear()
                await self._changed.wait()
            yield await self._ready()

    async def _ready(self) -> pb.FrameAck:
        ack = pb.FrameAck()
        last = self._sent[0].parcel
        if last is not None:
            await durable(last)
        while self._sent and ((parcel := self._sent[0].parcel) is None or parcel.durable.done()):
            if parcel is not None:
                if parcel.durable.exception() is not None:
                    break  # told by the next one
                last = parcel
            sent = self._sent.popleft()
            ack.seq = sent.seq
            self._window.give(sent.size)
        if last is not None:
            ack.position.CopyFrom(last.durable.result())
        while self._refused and self._refused[0].seq <= ack.seq:
            ack.refused.append(self._refused.popleft())
        return ack

    async def _read(self, requests: Requests) -> None:
        try:
            async for request in requests:
                await self._take(request)
        except Exception as error:  # noqa: BLE001 - raised where the stream's caller waits
            self._failure = self._failure or error

    async def _take(self, request: pb.StreamMetricsRequest) -> None:
        if request.WhichOneof("message") != "frame":
            raise InvalidField("open", "only the first message opens a stream; the others must hold a frame")
        frame = request.frame
        self._run_checked = await self._check_run(self._run, self._run_checked)
        new = frame.seq > self._last_seq
        if not 0 < frame.seq <= _MOST_SEQ or (new and self._begun and frame.seq != self._last_seq + 1):
            raise InvalidField(
                "frame.seq", f"must be {self._last_seq + 1}, or one sent before, got {frame.seq}: seqs have no gaps"
            )
        kept = self._kept(frame)
        if not new:
            self._sent.append(_Sent(self._last_seq, 0, None))
        else:
            size = kept.ByteSize()
            await self._window.take(size)
            parcel = await self._packer.send(self._run.run_id, self._routed(kept))
            self._begun, self._last_seq = True, frame.seq
            self._sent.append(_Sent(frame.seq, size, parcel))
        self._changed.set()

    def _kept(self, frame: metrics_pb2.Frame) -> metrics_pb2.Frame:
        """The frame; instead of one that is refused an empty one, so that its seq is not missing on the bus."""
        try:
            self._check_header(frame)
        except InvalidField as error:
            self._refused.append(
                pb.RefusedFrame(seq=frame.seq, points=frames.points_of(frame), field=error.field, message=error.problem)
            )
            return metrics_pb2.Frame(seq=frame.seq)
        return frame

    def _routed(self, frame: metrics_pb2.Frame) -> metrics_pb2.RoutedFrame:
        return metrics_pb2.RoutedFrame(
            tenant_id=self._run.tenant_id, run_id=self._run.run_id.hex, producer_id=self._producer_id, frame=frame
        )
