"""The one reader of the bus that all subscriptions of a process share."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from typing_extensions import override

from headrace.api.common.v1 import error_reason_pb2
from headrace_events.hub import Hub
from headrace_kit.bus import Bus, BusError, Partition
from headrace_kit.errors import DomainError
from headrace_kit.topics import EVENT_TOPICS
from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

TOPICS: Final = tuple(topic.name for topic in EVENT_TOPICS)
_POLL_S: Final = 0.5
_MOST: Final = 100  # records handed over at once: the loop has other things to do between
_AGAIN_S: Final = 1.0
_SILENT_S: Final = 10.0


class Tail(Worker):
    """Reads on from the end that the bus has at the first moment, for ever; goes on where it was when the bus comes back."""

    def __init__(self, bus: Bus, hub: Hub, on_death: Callable[[BaseException], None]) -> None:
        super().__init__("event tail", on_death)
        self._bus = bus
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._place: dict[Partition, int] | None = None
        self._answered = time.monotonic()

    async def check(self) -> None:
        """Raises BACKEND_UNAVAILABLE when the bus has not answered for ten seconds."""
        silent = time.monotonic() - self._answered
        if silent > _SILENT_S:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, f"the event bus has not answered for {silent:.0f} s"
            )

    @override
    def run(self, stopping: threading.Event) -> None:
        """Reads until told to stop."""
        while not stopping.is_set():
            try:
                self._follow(stopping)
            except BusError as error:
                log.warning("the event bus does not answer, trying again: %s", error)
                stopping.wait(_AGAIN_S)

    def _follow(self, stopping: threading.Event) -> None:
        if self._place is None:
            self._place = dict(self._bus.end_offsets(TOPICS))
            self._on_loop(self._hub.start, self._place)
        reader = self._bus.reader(TOPICS, self._place)
        self._hurry = reader.wakeup
        try:
            while not stopping.is_set():
                records = reader.poll(_POLL_S, _MOST)
                self._answered = time.monotonic()
                if records:
                    self._on_loop(self._hub.publish, records)
                    self._place |= {record.partition: record.offset + 1 for record in records}
        finally:
            reader.close()

    def _on_loop(self, call: Callable[[Any], None], argument: object) -> None:
        """Waits until the loop has done it, so that what is read never piles up before it."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                call(argument)
                done.set_result(None)
            except BaseException as error:  # noqa: BLE001 - raised in the tail's thread, whose death ends the process
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        done.result()
