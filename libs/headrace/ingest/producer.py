"""One run's metrics in one process: from the queue that `log` fills to the last acknowledgement."""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import grpc

from headrace import errors, forks, retry
from headrace.api.tracking.v1.ingest_service_pb2 import FrameAck, OpenStream, StreamMetricsRequest, StreamOpened
from headrace.api.tracking.v1.metrics_pb2 import Frame, Position
from headrace.connection import Connection
from headrace.ingest.columns import Block
from headrace.ingest.frames import Limits, Point, make_frames, make_mixed_frames
from headrace.ingest.losses import Losses
from headrace.ingest.outbox import Outbox, Overtaken
from headrace.ingest.sender import Sender
from headrace.ingest.settings import IngestSettings
from headrace.ingest.spool import Owner, SpoolFile, directory, supported

if TYPE_CHECKING:
    from headrace.api.tracking.v1.ingest_service_pb2 import StreamMetricsResponse

log: Final = logging.getLogger("headrace")

ALWAYS: Final = -1
"""A mark that every queue is longer than: the next `log` comes to `crowded`."""

_AWAY_S: Final = 2.0
"""A server that says nothing so long, when it should, is taken for away: what it has not acknowledged is spooled."""
_AWAY_FRAME_S: Final = 1.0
"""Frames for the spool are made so often: ten a second would fill memory with their sizes in a few days."""


class Producer:
    """Queue, frames and stream of one run in one process; a forked child has an id and frames of its own.

    `log` appends to `queue` without a lock, and calls `crowded` when it is longer than `mark` then; `put` adds blocks.
    Everything else is guarded by one condition. `on_leave(timeout_s)` is called when the program ends.
    """

    def __init__(
        self,
        run_id: str,
        connection: Connection,
        sender: Sender,
        settings: IngestSettings,
        on_leave: Callable[[float], None],
    ) -> None:
        self.queue: deque[Point | Block] = deque()
        self.losses = Losses(run_id)
        self._run_id = run_id
        self._connection = connection
        self._sender = sender
        self._settings = settings
        self._on_leave = on_leave
        self._begin()
        forks.watch(self)

    def _begin(self) -> None:
        self.mark = ALWAYS
        self._id = uuid.uuid4().bytes
        self._changed = threading.Condition()
        self._outbox = Outbox(self._load)
        self._spool: SpoolFile | None = None
        self._trouble = ""  # why nothing can be spooled now
        self._away = False
        self._adopted = False
        self._framed_at = time.monotonic()
        self._in_blocks = 0  # points of the blocks in the queue, less the number of blocks
        self._gone = 0  # points taken out of the queue so far, into frames or to be dropped
        self._limits: Limits | None = None  # no frame is made before the server told how large it may be
        self._positions: dict[int, int] = {}
        self._thread: threading.Thread | None = None
        self._stream = 0  # counts up with every stream, so that an old one notices
        self._opened = False
        self._call: grpc.Call | None = None
        self._moved_at = time.monotonic()
        self._blocked_enough = False
        self._closed = False
        self._error: errors.HeadraceError | None = None
        self._to_raise: errors.HeadraceError | None = None  # with `strict`, by the next log

    def forked(self) -> None:
        """In a forked child: what the parent logged is the parent's to send."""
        forks.keep(self._call, self._changed)
        if self._spool is not None:
            self._spool.release()
        self.queue.clear()  # _begin sees to the rest
        closed = self._closed
        self._begin()
        self._closed = closed
        self.losses = Losses(self._run_id)

    def crowded(self) -> None:
        """For `log`, when the queue is longer than `mark`: sees to the sender, and to room where the queue is full.

        Waits for room up to `block_s`, unless the settings say otherwise. Raises with `strict` only.
        """
        settings = self._settings
        if self.mark == ALWAYS and not (self._closed or self._error or self._to_raise):
            self._sender.add(self)
            self.mark = min(settings.frame_points, settings.queue_points)
        self._sender.wake()
        if self.mark == ALWAYS or self._queued() > settings.queue_points:
            with self._changed:
                self._make_room()
                error, self._to_raise = self._to_raise, None
            if error is not None:
                raise error

    def put(self, block: Block) -> None:
        """Takes many points of one series at once, behind all that was logged before; then as `crowded`."""
        if len(block):
            with self._changed:
                self._put_back(block, first=False)
        if self.mark == ALWAYS or self._queued() > self.mark:
            self.crowded()

    def lose(self, why: str, points: int = 1) -> None:
        """Counts points that will not be recorded; warns the first time, or raises with `strict`."""
        self.losses.add(why, points)
        if self._settings.strict:
            self._to_raise = errors.InvalidRequest(why)
            self.mark = ALWAYS

    def pump(self) -> None:
        """Frames what is queued, as far as there is room; opens the stream with the first point."""
        if self.queue and self._thread is None and not self._closed:
            self._start()
        while self._frame_some():
            pass
        with self._changed:
            waits = self._call is not None and (self._outbox.waiting or not self._opened)
            if waits and time.monotonic() - self._moved_at > _AWAY_S:
                self._away = True
            stalled = waits and time.monotonic() - self._moved_at > self._settings.stall_s
            call = self._call
        if stalled and call is not None:
            log.warning("no acknowledgement for %g s: opening the stream anew", self._settings.stall_s)
            call.cancel()

    def flush(self, timeout_s: float) -> tuple[Position, ...]:
        """Waits until every point logged before is durable; answers where they stand.

        Raises TimedOut, or the error for which the server takes no more points of this run.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            target = self._gone + self._queued()
        while True:
            self.pump()
            step = min(until, time.monotonic() + self._settings.age_s)
            if self._wait(lambda: self._gone >= target, step) or step >= until:
                break
        with self._changed:
            seq = self._outbox.made
        durable = self._wait(lambda: self._gone >= target and self._outbox.acked >= seq, until)
        with self._changed:
            if self._error is not None:
                raise self._error
            if not durable:
                raise errors.TimedOut(
                    f"run {self._run_id}: {self._pending()} points were not acknowledged within {timeout_s:g} s"
                )
            return tuple(Position(partition=p, offset=offset) for p, offset in sorted(self._positions.items()))

    def close(self, timeout_s: float) -> None:
        """Flushes, ends the stream, and tells what was lost. Raises what `flush` raises, after having done so; once only."""
        if self._closed:
            return
        try:
            self.flush(timeout_s)
        finally:
            with self._changed:
                self._spool_rest()
                self._closed = True
                self.mark = ALWAYS
                if pending := self._queued() + self._outbox.points_in_memory():
                    self.losses.add(f"they were not acknowledged before the run ended{self._trouble}", pending)
                self._empty()
                self._changed.notify_all()
            self._sender.remove(self)
            self._end_stream()
            with self._changed:
                self._leave_spooled()
            self.losses.tell()

    def adopt(self, spool: SpoolFile) -> None:
        """Takes the place of the process that made these frames, and begins to send them; for a producer just made."""
        with self._changed:
            self._id = bytes.fromhex(spool.owner.producer_id)
            self._spool = spool
            self._adopted = True
            for seq in range(spool.first_seq, spool.last_seq + 1):
                self._outbox.resume(spool.read(seq))
        self._sender.add(self)
        self._start()

    def unacknowledged(self) -> int:
        """How many points were logged and are not acknowledged yet."""
        with self._changed:
            return self._pending()

    def leave(self, timeout_s: float) -> None:
        """The program ends."""
        self._on_leave(timeout_s)

    def _pending(self) -> int:
        return self._queued() + self._outbox.points_kept()

    def _wait(self, done: Callable[[], bool], until: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._error is not None or done(), max(0.0, until - time.monotonic()))

    # --- the queue, under the condition ---

    def _queued(self) -> int:
        return len(self.queue) + self._in_blocks

    def _empty(self) -> None:
        self.queue.clear()
        self._in_blocks = 0

    def _make_room(self) -> None:
        most = self._settings.queue_points
        if self._closed or self._error:
            why = f"the server takes no more points ({self._error})" if self._error else "the run has ended"
            self._drop(0, why)
        elif self._settings.overflow == "drop_oldest":
            self._drop(most, f"the buffer was full{self._trouble}", oldest=True)
        elif self._queued() > most:
            if not self._blocked_enough:
                self._blocked_enough = not self._changed.wait_for(
                    lambda: self._queued() <= most or self._error is not None, self._settings.block_s
                )
            self._drop(most, f"the buffer was full for {self._settings.block_s:g} s{self._trouble}")

    def _drop(self, down_to: int, why: str, *, oldest: bool = False) -> None:
        dropped = 0
        while (surplus := self._queued() - down_to) > 0:
            dropped += self._take_off(surplus, oldest=oldest)
        self._gone += dropped
        if dropped:
            self.lose(why, dropped)

    def _take_off(self, most: int, *, oldest: bool) -> int:
        """Takes one item off an end of the queue, or of a block so many points as are to go; how many points went."""
        item = self.queue.popleft() if oldest else self.queue.pop()
        if not isinstance(item, Block):
            return 1
        gone = min(most, len(item))
        rest = item.cut(gone, len(item)) if oldest else item.cut(0, len(item) - gone)
        self._in_blocks -= len(item) - 1
        if len(rest):
            self._put_back(rest, first=oldest)
        return gone

    def _put_back(self, rest: Block, *, first: bool) -> None:
        """Queues a block at an end; one of a single point as that point, so that `_in_blocks` is 0 only without blocks."""
        item = rest if len(rest) > 1 else (rest.key, rest.values[0], rest.steps[0], rest.times[0])
        self._in_blocks += len(rest) - 1
        if first:
            self.queue.appendleft(item)
        else:
            self.queue.append(item)

    def _next_items(self, most: int) -> tuple[list[Point | Block], int]:
        """The oldest items of the queue that together have at most so many points, and how many they have."""
        items: list[Point | Block] = []
        points = 0
        while self.queue and points < most:
            item = self.queue.popleft()
            if isinstance(item, Block):
                self._in_blocks -= len(item) - 1
                if len(item) > most - points:
                    self._put_back(item.cut(most - points, len(item)), first=True)
                    item = item.cut(0, most - points)
                points += len(item)
            else:
                points += 1
            items.append(item)
        return items, points

    def _take_frames(self, limits: Limits) -> tuple[list[Frame], int]:
        """Frames of the oldest points of the queue, as many as one frame may have, and how many those are."""
        if self._in_blocks == 0:  # the usual case, at a third of the cost
            found = [self.queue.popleft() for _ in range(min(len(self.queue), limits.points))]
            return list(make_frames(found, limits, self.lose)), len(found)  # type: ignore[arg-type] # no block is in it
        items, points = self._next_items(limits.points)
        return list(make_mixed_frames(items, limits, self.lose)), points

    def _frame_some(self) -> bool:
        """Frames as many points as fit into one frame; whether there is more to do now."""
        with self._changed:
            if self._closed:  # the sender may come once more; what is left has been counted
                return False
            outbox = self._outbox
            if self._away or outbox.size >= self._settings.kept_bytes:
                self._spool_all()
            limits = self._limits or (self._own_limits() if self._away else None)
            if limits is None or self._error or not self.queue or outbox.size >= self._settings.kept_bytes:
                return False
            now = time.monotonic()
            enough = min(limits.points, self._settings.queue_points)
            if self._away and self._queued() < enough and now - self._framed_at < _AWAY_FRAME_S:
                return False
            self._framed_at = now
            made, points = self._take_frames(limits)
            for frame in made:
                outbox.add(frame)
            self._gone += points
            if self._away:
                self._spool_all()
            self._blocked_enough = False
            self._changed.notify_all()
            return True

    # --- the spool, under the condition ---

    def _own_limits(self) -> Limits:
        return Limits(self._settings.frame_points, self._settings.frame_bytes)

    def _load(self, seq: int) -> Frame:
        if self._spool is None:
            raise errors.DataLost(f"frame {seq} is in no spool file")
        return self._spool.read(seq)

    def _spool_all(self) -> None:
        """Moves the frames in memory to the spool file, as far as it takes them."""
        settings = self._settings
        if not settings.spool_bytes or not supported():
            return
        try:
            for frame in self._outbox.in_memory():
                if self._spool is None:
                    owner = Owner(self._run_id, self._id.hex(), self._connection.uri)
                    self._spool = SpoolFile.create(directory(settings.spool_dir), owner, settings.spool_bytes)
                self._spool.append(frame)
                self._outbox.moved(frame.seq)
            self._trouble = ""
        except OSError as error:
            if not self._trouble:
                log.warning("run %s: nothing more can be spooled: %s", self._run_id, error.strerror or error)
            self._trouble = f", and the spool takes no more ({error.strerror or error})"

    def _spool_rest(self) -> None:
        """The run ends: what is not acknowledged is for `headrace sync` to send."""
        if self._error or not self._settings.spool_bytes or not supported():
            return
        self._spool_all()
        while self.queue and not self._trouble:
            made, points = self._take_frames(self._limits or self._own_limits())
            for frame in made:
                self._outbox.add(frame)
            self._gone += points
            self._spool_all()

    def _drop_spool(self) -> None:
        """The file goes when all its frames are acknowledged."""
        if self._spool is not None and self._outbox.acked >= self._spool.last_seq:
            self._spool.remove()
            self._spool = None

    def _leave_spooled(self) -> None:
        if self._spool is not None:
            points = self._outbox.points_kept() - self._outbox.points_in_memory()
            log.warning(
                "run %s: %d points wait in %s; `headrace sync` sends them", self._run_id, points, self._spool.path
            )
            self._spool.release()
            self._spool = None

    # --- the stream ---

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._keep_stream, name="headrace-stream", daemon=True)
        self._thread.start()

    def _end_stream(self) -> None:
        """The stream ends by itself once its requests do; one that does not is cut."""
        thread, call = self._thread, self._call
        if thread is not None:
            thread.join(1.0)
            if thread.is_alive() and call is not None:
                call.cancel()

    def _keep_stream(self) -> None:
        """What the stream's thread does: opens streams until the producer is closed or the server will have no more."""
        backoff = retry.Backoff(self._connection.policy)
        while not self._closed:
            try:
                error = self._converse(backoff)
            except Exception as defect:
                log.exception("the stream of run %s failed", self._run_id)
                error = errors.InvalidRequest(f"this client failed: {defect!r}")
            with self._changed:
                self._stream += 1
                self._call = None
                self._opened = False
                if isinstance(error, errors.LASTING):
                    self._give_up(error)
                    return
                self._away = error is not None
                self._changed.notify_all()
                asked = error.retry_after_s if error else None
                self._changed.wait_for(lambda: self._closed, backoff.next(asked))

    def _give_up(self, error: errors.HeadraceError) -> None:
        self._error = error
        lost = self._queued() + self._outbox.points_in_memory()
        self.losses.add(f"the server takes no more points ({error})", lost)
        self._leave_spooled()
        self._gone += self._queued()
        self._empty()
        self._outbox = Outbox(self._load)
        self._to_raise = error if self._settings.strict else None
        self.mark = ALWAYS
        self._changed.notify_all()

    def _converse(self, backoff: retry.Backoff) -> errors.HeadraceError | None:
        """Holds one stream; returns when it has ended, with why."""
        connection = self._connection
        try:
            call = connection.ingest.StreamMetrics(self._requests(self._stream), metadata=connection.metadata())
        except errors.HeadraceError as error:
            return error
        with self._changed:
            self._call = call
            self._moved_at = time.monotonic()
        try:
            for answer in call:
                self._take(answer)
                if answer.HasField("ack"):
                    backoff.reset()
        except grpc.RpcError as error:
            return connection.failure(error)
        except Overtaken as error:
            return errors.InternalError(str(error))
        finally:
            call.cancel()  # nothing, where it has ended
        return None

    def _requests(self, stream: int) -> Iterator[StreamMetricsRequest]:
        yield StreamMetricsRequest(open=OpenStream(run_id=self._run_id, producer_id=self._id))
        while (frame := self._next_frame(stream)) is not None:
            yield StreamMetricsRequest(frame=frame)

    def _next_frame(self, stream: int) -> Frame | None:
        """Waits for the frame to send next; None when this stream is to end."""
        with self._changed:
            while self._stream == stream and not self._closed:
                idle = not self._outbox.waiting
                if self._opened and (frame := self._outbox.next()) is not None:
                    if idle:
                        self._moved_at = time.monotonic()
                    return frame
                self._changed.wait()
            return None

    def _take(self, answer: "StreamMetricsResponse") -> None:
        with self._changed:
            self._moved_at = time.monotonic()
            if answer.HasField("opened"):
                self._take_opened(answer.opened)
            elif answer.HasField("ack"):
                self._take_ack(answer.ack)
            self._changed.notify_all()

    def _take_opened(self, opened: StreamOpened) -> None:
        settings = self._settings
        self._limits = Limits(
            min(settings.frame_points, opened.max_frame_points or settings.frame_points),
            min(settings.frame_bytes, opened.max_frame_bytes or settings.frame_bytes),
        )
        applied = opened.applied_seq
        if self._adopted:  # its process may have sent more than it spooled
            applied = min(applied, self._outbox.made)
        self._outbox.reopen(applied, opened.window_bytes)
        self._drop_spool()
        self._opened = True
        self._away = False
        self._sender.wake()

    def _take_ack(self, ack: FrameAck) -> None:
        for refused in ack.refused:
            self.lose(f"the server refused them: {refused.field}: {refused.message}", refused.points)
        if ack.HasField("position"):
            known = self._positions.get(ack.position.partition, -1)
            self._positions[ack.position.partition] = max(known, ack.position.offset)
        self._outbox.ack(ack.seq)
        self._drop_spool()
        self._away = False
        if self.queue:
            self._sender.wake()
