"""One run's metrics in one process: from the queue that `log` fills to the last acknowledgement."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

from headrace import errors, forks
from headrace.api.tracking.v1.ingest_service_pb2 import FrameAck, OpenStream, StreamOpened
from headrace.api.tracking.v1.metrics_pb2 import Frame, Position
from headrace.connection import Connection
from headrace.ingest.columns import Block
from headrace.ingest.compression import Compressor
from headrace.ingest.frames import Limits
from headrace.ingest.losses import Losses
from headrace.ingest.outbox import Outbox
from headrace.ingest.overflow import Overflow
from headrace.ingest.queue import FIELDS, PointQueue
from headrace.ingest.sender import Sender
from headrace.ingest.settings import IngestSettings
from headrace.ingest.spool import Owner, SpoolFile
from headrace.ingest.stream import Stream

log: Final = logging.getLogger("headrace")

ALWAYS: Final = -1
"""A mark that every queue is longer than: the next `log` comes to `crowded`."""

_AWAY_S: Final = 2.0
"""A server that says nothing so long, when it should, is taken for away: what it has not acknowledged is spooled."""
_AWAY_FRAME_S: Final = 1.0
"""Frames for the spool are made so often: ten a second would fill memory with their sizes in a few days."""


class Producer:
    """Queue, frames and stream of one run in one process; a forked child has an id and frames of its own.

    `log` adds to `queue.items` without a lock, and calls `crowded` when that is longer than `mark` then; `put` adds
    blocks. Everything else is guarded by one condition. `on_leave(timeout_s)` is called when the program ends.
    An offline one opens no stream: all that is logged goes to the spool file.
    """

    def __init__(
        self,
        run_id: str,
        connection: Connection,
        sender: Sender,
        settings: IngestSettings,
        on_leave: Callable[[float], None],
        *,
        offline: bool = False,
    ) -> None:
        self.queue: Final = PointQueue()
        self.losses = Losses(run_id)
        self._run_id = run_id
        self._connection = connection
        self._sender = sender
        self._settings = settings
        self._on_leave = on_leave
        self._offline = offline
        self._begin(uuid.uuid4().bytes)
        forks.watch(self)

    def _begin(self, producer_id: bytes) -> None:
        self.mark = ALWAYS
        self.closed = False
        self._changed = threading.Condition()
        to = self._connection
        self._overflow = Overflow(Owner(self._run_id, producer_id.hex(), to.uri, to.workspace), self._settings)
        self._outbox = Outbox(self._overflow.load)
        opening = OpenStream(run_id=self._run_id, producer_id=producer_id)
        self._stream = Stream(opening, self._connection, self._changed, self)
        near = self._connection.near and not self._offline
        self._compress = Compressor(self._settings.compression, near=near)
        self._away = self._offline
        self._adopted = False
        self._framed_at = time.monotonic()
        self._held = False  # points stay in the queue for the acknowledgement of frames, or for room
        self._awaited = 0  # somebody waits for the points up to this one: they are not held
        self._limits: Limits | None = None  # no frame is made before the server told how large it may be
        self._positions: dict[int, int] = {}
        self._moved_at = time.monotonic()
        self._blocked_enough = False
        self._error: errors.HeadraceError | None = None
        self._to_raise: errors.HeadraceError | None = None  # with `strict`, by the next log

    def forked(self) -> None:
        """In a forked child: what the parent logged is the parent's to send."""
        forks.keep(self._changed)
        self._stream.forked()
        self._overflow.forked()
        self.queue.clear()
        closed = self.closed
        self._begin(uuid.uuid4().bytes)
        self.closed = closed
        self.losses = Losses(self._run_id)

    # --- for those who log ---

    def crowded(self) -> None:
        """For `log`, when the queue is longer than `mark`: sees to the sender, and to room where the queue is full.

        Waits for room up to `block_s`, unless the settings say otherwise. Raises with `strict` only.
        """
        settings = self._settings
        if self.mark == ALWAYS and not (self.closed or self._error or self._to_raise):
            self._sender.add(self)
            self.mark = FIELDS * min(settings.frame_points, settings.queue_points)
        if self.mark != ALWAYS:
            self._sender.wake(self)
        if self.mark == ALWAYS or self.queue.points() > settings.queue_points:
            with self._changed:
                self._make_room()
                error, self._to_raise = self._to_raise, None
            if error is not None:
                raise error

    def put(self, block: Block) -> None:
        """Takes many points of one series at once, behind all that was logged before; then as `crowded`."""
        with self._changed:
            self.queue.put(block)
        if self.mark == ALWAYS or self.queue.points() * FIELDS > self.mark:
            self.crowded()

    def lose(self, why: str, points: int = 1) -> None:
        """Counts points that will not be recorded; warns the first time, or raises with `strict`."""
        self.losses.add(why, points)
        if self._settings.strict:
            self._to_raise = errors.InvalidRequest(why)
            self.mark = ALWAYS

    @property
    def refusal(self) -> errors.HeadraceError | None:
        """Why the server takes no more points of this run; None while it does."""
        return self._error

    def flush(self, timeout_s: float) -> tuple[Position, ...]:
        """Waits until every point logged before is durable; answers where they stand.

        Raises TimedOut, or the error for which the server takes no more points of this run. Offline, it waits for the
        spool file instead, and raises Overloaded when that takes no more.
        """
        if self._offline:
            self._flush_to_spool()
            return ()
        until = time.monotonic() + timeout_s
        with self._changed:
            target = self._awaited = self.queue.gone + self.queue.points()
        while True:
            self.pump()
            step = min(until, time.monotonic() + self._settings.age_s)
            if self._wait(lambda: self.queue.gone >= target, step) or step >= until:
                break
        with self._changed:
            seq = self._outbox.made
        durable = self._wait(lambda: self.queue.gone >= target and self._outbox.acked >= seq, until)
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
        if self.closed:
            return
        try:
            self.flush(timeout_s)
        finally:
            with self._changed:
                self._spool_rest()
                self.closed = True
                self.mark = ALWAYS
                if pending := self.queue.points() + self._outbox.points_in_memory():
                    self.losses.add(f"they were not acknowledged before the run ended{self._overflow.trouble}", pending)
                self.queue.clear()
                self._changed.notify_all()
            self._sender.remove(self)
            self._stream.join()
            with self._changed:
                self._overflow.leave(self._outbox, quietly=self._offline)
            self.losses.tell()

    # --- for `headrace sync` ---

    @classmethod
    def adopting(cls, spool: SpoolFile, connection: Connection, sender: Sender, settings: IngestSettings) -> "Producer":
        """One that takes the place of the process that made these frames, and begins to send them."""
        made = cls(spool.owner.run_id, connection, sender, settings, lambda _: None)
        with made._changed:
            made._begin(bytes.fromhex(spool.owner.producer_id))
            made._overflow.adopt(spool)
            made._adopted = True
            for seq in range(spool.first_seq, spool.last_seq + 1):
                made._outbox.resume(spool.read(seq))
        sender.add(made)
        made._stream.start()
        return made

    def unacknowledged(self) -> int:
        """How many points were logged and are not acknowledged yet."""
        with self._changed:
            return self._pending()

    # --- for the sender ---

    def pump(self) -> None:
        """Frames what is due of the queue, as far as there is room; opens the stream with the first point."""
        with self._changed:  # one who flushes pumps beside the sender: a second stream would take every other frame
            if self.queue.items and not (self._stream.started or self.closed or self._offline):
                self._stream.start()
        self._frame_all()
        with self._changed:
            silent_s = time.monotonic() - self._moved_at
            waits = self._stream.under_way and (self._outbox.waiting or not self._stream.standing)
            if waits and silent_s > _AWAY_S:
                self._away = True
        if waits and silent_s > self._settings.stall_s:
            log.warning("no acknowledgement for %g s: opening the stream anew", self._settings.stall_s)
            self._stream.cut()

    def leave(self, timeout_s: float) -> None:
        """The program ends."""
        self._on_leave(timeout_s)

    # --- for the stream, which holds the condition ---

    @property
    def expects(self) -> bool:
        """Whether frames wait for an acknowledgement."""
        return not self._outbox.empty

    def next_frame(self) -> Frame | None:
        """The frame to send now, if there is one."""
        idle = not self._outbox.waiting
        frame = self._outbox.next()
        if frame is not None and idle:
            self._moved_at = time.monotonic()
        return frame

    def opened(self, answer: StreamOpened) -> None:
        """A new stream stands."""
        settings = self._settings
        self._limits = Limits(
            min(settings.frame_points, answer.max_frame_points or settings.frame_points),
            min(settings.frame_bytes, answer.max_frame_bytes or settings.frame_bytes),
        )
        applied = answer.applied_seq
        if self._adopted:  # its process may have sent more than it spooled
            applied = min(applied, self._outbox.made)
        self._outbox.reopen(applied, answer.window_bytes)
        self._overflow.drop(self._outbox)
        self._away = False
        self._sender.wake(self)

    def acked(self, ack: FrameAck) -> None:
        """The server has frames."""
        for refused in ack.refused:
            self.lose(f"the server refused them: {refused.field}: {refused.message}", refused.points)
        if ack.HasField("position"):
            known = self._positions.get(ack.position.partition, -1)
            self._positions[ack.position.partition] = max(known, ack.position.offset)
        self._outbox.ack(ack.seq)
        self._overflow.drop(self._outbox)
        self._away = False
        if self._held:
            self._frame_all()

    def heard(self) -> None:
        """The stream moves."""
        self._moved_at = time.monotonic()

    def broke(self, error: errors.HeadraceError | None) -> None:
        """The stream has ended; another one comes."""
        self._away = error is not None
        self._changed.notify_all()

    def refused(self, error: errors.HeadraceError) -> None:
        """The server takes no more points of this run."""
        self._error = error
        lost = self.queue.points() + self._outbox.points_in_memory()
        self.losses.add(f"the server takes no more points ({error})", lost)
        self._overflow.leave(self._outbox, quietly=False)
        self.queue.drop(0)
        self._outbox = Outbox(self._overflow.load)
        self._to_raise = error if self._settings.strict else None
        self.mark = ALWAYS
        self._changed.notify_all()

    # --- under the condition, but for the first two ---

    def _flush_to_spool(self) -> None:
        with self._changed:
            self._spool_rest()
            left = self.queue.points() + self._outbox.points_in_memory()
        if left:
            raise errors.Overloaded(f"run {self._run_id}: {left} points are in memory only{self._overflow.trouble}")

    def _wait(self, done: Callable[[], bool], until: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._error is not None or done(), max(0.0, until - time.monotonic()))

    def _pending(self) -> int:
        return self.queue.points() + self._outbox.points_kept()

    def _make_room(self) -> None:
        most = self._settings.queue_points
        trouble = self._overflow.trouble
        if self.closed or self._error:
            why = f"the server takes no more points ({self._error})" if self._error else "the run has ended"
            self._drop(0, why)
        elif self._settings.overflow == "drop_oldest":
            self._drop(most, f"the buffer was full{trouble}", oldest=True)
        elif self.queue.points() > most:
            if not self._blocked_enough:
                self._blocked_enough = not self._changed.wait_for(
                    lambda: self.queue.points() <= most or self._error is not None, self._settings.block_s
                )
            self._drop(most, f"the buffer was full for {self._settings.block_s:g} s{self._overflow.trouble}")

    def _drop(self, down_to: int, why: str, *, oldest: bool = False) -> None:
        if dropped := self.queue.drop(down_to, oldest=oldest):
            self.lose(why, dropped)

    def _frame_all(self) -> None:
        while self._frame_some():
            pass

    def _frame_some(self) -> bool:
        """Frames as many points as fit into one frame; whether there is more to do now."""
        with self._changed:
            if self.closed:  # the sender may come once more; what is left has been counted
                return False
            outbox, kept = self._outbox, self._settings.kept_bytes
            if self._away or outbox.size >= kept:
                self._overflow.move(outbox)
            limits = self._limits or (self._own_limits() if self._away else None)
            if limits is None or self._error or not self.queue.items:
                return False
            now = time.monotonic()
            self._held = outbox.size >= kept or self._too_early(limits, now)
            if self._held:
                return False
            self._framed_at = now
            self._frame(limits)
            if self._away:
                self._overflow.move(outbox)
            self._blocked_enough = False
            self._changed.notify_all()
            return True

    def _too_early(self, limits: Limits, now: float) -> bool:
        """Whether what is queued, less than a full frame, is to wait for more.

        Frames cost client and server by their number. So a run has one small frame under way at a time, as TCP by
        Nagle's algorithm (RFC 896): the slower the acknowledgements, the larger the frames become.
        """
        if self.queue.points() >= min(limits.points, self._settings.queue_points):
            return False
        if self._away:
            return now - self._framed_at < _AWAY_FRAME_S
        return self._stream.standing and not self._outbox.empty and self.queue.gone >= self._awaited

    def _frame(self, limits: Limits) -> None:
        for frame in self.queue.take_frames(limits, self.lose):
            self._compress(frame)
            self._outbox.add(frame)

    def _own_limits(self) -> Limits:
        return Limits(self._settings.frame_points, self._settings.frame_bytes)

    def _spool_rest(self) -> None:
        """The run ends: what is not acknowledged is for `headrace sync` to send."""
        if self._error or not self._overflow.able:
            return
        self._overflow.move(self._outbox)
        while self.queue.items and not self._overflow.trouble:
            self._frame(self._limits or self._own_limits())
            self._overflow.move(self._outbox)
