"""From one reader of the bus to every subscription that goes along with it. All of this is for the loop's thread."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.events.v1 import event_service_pb2 as pb
from headrace_events import positions, selection
from headrace_events.selection import Selection
from headrace_kit.bus import Partition, Received
from headrace_kit.errors import DomainError

_MOST: Final = 1_000
_MOST_BYTES: Final = 16 << 20


class Live:
    """One subscription that goes along; made by `Hub.join`."""

    def __init__(self, wanted: Selection, start: Mapping[Partition, int], most: int) -> None:
        self.wanted = wanted
        self.start = start
        """Where it joined: `next` gives everything behind this place, in the order of the hub."""
        self._most = most
        self._waiting: deque[pb.SubscribeResponse] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()
        self._end: DomainError | None = None

    def offer(self, response: pb.SubscribeResponse) -> None:
        """Gives it an event; ends the subscription when too many wait already."""
        size = len(response.event.data)
        if self._waiting and (len(self._waiting) >= self._most or self._bytes + size > _MOST_BYTES):
            self.end(_too_slow(len(self._waiting)))
            return
        self._waiting.append(response)
        self._bytes += size
        self._woken.set()

    def end(self, error: DomainError) -> None:
        """What waits is dropped: the subscriber has the cursor from which to get it again."""
        self._end = error
        self._waiting.clear()
        self._woken.set()

    async def next(self, seconds: float) -> pb.SubscribeResponse | None:
        """The next event; None when there was none for so many seconds. Raises what it was ended with."""
        if not self._waiting and self._end is None:
            self._woken.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                pass
        if self._end is not None:
            raise self._end
        if not self._waiting:
            return None
        response = self._waiting.popleft()
        self._bytes -= len(response.event.data)
        return response


class Hub:
    """Knows how far the process has read the bus, and who wants what comes next. An idle subscription costs nothing."""

    def __init__(self, *, most_waiting: int = _MOST) -> None:
        self.place: Mapping[Partition, int] = {}
        self.started = asyncio.Event()
        """Set once the place is known."""
        self.moved = asyncio.Event()
        """Set, and replaced by another, when the place moves on."""
        self._most_waiting = most_waiting
        self._live: dict[bytes, set[Live]] = {}
        self._cursor = ""
        self._end: DomainError | None = None

    @property
    def subscriptions(self) -> int:
        """How many go along now."""
        return sum(map(len, self._live.values()))

    def start(self, place: Mapping[Partition, int]) -> None:
        """The place behind which everything will be published here."""
        self.place = dict(place)
        self.started.set()

    def publish(self, records: Sequence[Received]) -> None:
        """The next records, in the order of the bus."""
        for record in records:
            self.place = {**self.place, record.partition: record.offset + 1}
            self._cursor = ""
            takers = [live for live in self._live.get(selection.tenant_of(record), ()) if live.wanted.takes(record)]
            if takers and (response := selection.response(record, self.cursor())):
                for live in takers:
                    live.offer(response)
        self.moved.set()
        self.moved = asyncio.Event()

    def cursor(self) -> str:
        """Of the place; for a subscription that has had everything up to it."""
        self._cursor = self._cursor or positions.encode(self.place)
        return self._cursor

    @contextmanager
    def join(self, wanted: Selection) -> Iterator[Live]:
        """A subscription to what is published from now on, for the length of the block."""
        self.check_open()
        live = Live(wanted, self.place, self._most_waiting)
        group = self._live.setdefault(wanted.tenant, set())
        group.add(live)
        try:
            yield live
        finally:
            group.discard(live)
            if not group:
                self._live.pop(wanted.tenant, None)

    def close(self) -> None:
        """Ends every subscription, those that have not joined yet at their next `check_open`."""
        self._end = DomainError(
            error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE,
            "this event service is stopping; subscribe again from the last cursor",
            retry_after_s=1,
        )
        for group in self._live.values():
            for live in group:
                live.end(self._end)

    def check_open(self) -> None:
        """Raises SERVICE_UNAVAILABLE once `close` was called."""
        if self._end is not None:
            raise self._end


def _too_slow(waiting: int) -> DomainError:
    return DomainError(
        error_reason_pb2.ERROR_REASON_OVERLOADED,
        f"this subscription is read more slowly than events happen: {waiting:,} waited for it."
        " Subscribe again from the last cursor to get them",
        retry_after_s=1,
    )
