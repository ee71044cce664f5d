"""Producers: records come from any thread, one thread delivers them in their order."""

import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from headrace_kit.bus import MAX_RECORD_BYTES, BusError, BusUnavailable, Partition, Record, RecordTooLarge
from headrace_kit.worker import Worker

Position = tuple[Partition, int]

_BATCH_RECORDS: Final = 5_000
_BATCH_BYTES: Final = 8 << 20
_FLUSH_S: Final = 10.0


@dataclass(slots=True, eq=False)
class Pending:
    """A record that waits to become durable."""

    record: Record
    size: int
    deadline: float
    """Of `time.monotonic`; whoever delivers fails the future then."""
    future: Future[Position] = field(default_factory=Future)

    def succeed(self, position: Position) -> None:
        """Sets the result, unless it was failed: a producer that is closed does not wait."""
        with suppress(InvalidStateError):
            self.future.set_result(position)

    def fail(self, error: BusError) -> None:
        """Fails the future unless it has a result."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Handover:
    """Between callers of `publish` and the one thread that calls `take`."""

    def __init__(self, delivery_timeout_s: float) -> None:
        self._delivery_timeout_s = delivery_timeout_s
        self._waiting: deque[Pending] = deque()
        self._under_way: set[Pending] = set()
        self._closed: BusError | None = None
        self._changed = threading.Condition()

    def publish(self, record: Record) -> Future[Position]:
        """See `Producer.publish`."""
        size = len(record.key) + len(record.value) + sum(len(k) + len(v) for k, v in record.headers.items())
        pending = Pending(record, size, time.monotonic() + self._delivery_timeout_s)
        pending.future.set_running_or_notify_cancel()
        if size > MAX_RECORD_BYTES:
            pending.fail(RecordTooLarge(f"{record.topic}: the record has {size} bytes, at most {MAX_RECORD_BYTES} go"))
            return pending.future
        with self._changed:
            if self._closed is None:
                self._under_way.add(pending)
                self._waiting.append(pending)
                self._changed.notify_all()
                pending.future.add_done_callback(lambda _: self._settled(pending))
                return pending.future
        pending.fail(self._closed)
        return pending.future

    def take(self, timeout: float) -> list[Pending]:
        """Waits for records and returns the oldest, as many as make a good batch; none after `timeout` seconds."""
        taken: list[Pending] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            while self._waiting and len(taken) < _BATCH_RECORDS:
                size += self._waiting[0].size
                if taken and size > _BATCH_BYTES:
                    break
                taken.append(self._waiting.popleft())
        return taken

    def under_way(self) -> int:
        """How many records have no result yet."""
        return len(self._under_way)

    def flush(self, timeout: float) -> bool:
        """Waits until every record has its result; False when the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def close(self, error: BusError | None = None) -> None:
        """Fails all that is under way, and whatever is published from now on; `take` returns at once."""
        with self._changed:
            self._closed = self._closed or error or BusUnavailable("the producer is closed")
            left = list(self._under_way)
            self._waiting.clear()
            self._changed.notify_all()
        for pending in left:
            pending.fail(self._closed)

    def _settled(self, pending: Pending) -> None:
        with self._changed:
            self._under_way.discard(pending)
            if not self._under_way:
                self._changed.notify_all()


class ThreadProducer:
    """Implements `Producer`: callers hand over, and a thread of its own delivers. Starts the thread."""

    def __init__(self, handover: Handover, delivery: Worker) -> None:
        """`delivery` takes from the handover until it is closed, and may wait a second in `take`."""
        self._handover = handover
        self._delivery = delivery
        delivery.start()

    def publish(self, record: Record) -> Future[Position]:
        """See `Producer`."""
        return self._handover.publish(record)

    def flush(self, timeout: float) -> bool:
        """See `Producer`."""
        return self._handover.flush(timeout)

    def close(self) -> None:
        """See `Producer`; ten seconds for what is under way."""
        self._handover.flush(_FLUSH_S)
        self._handover.close()
        self._delivery.close()
        self._delivery.join(_FLUSH_S)
