"""What lies between an earlier place and the tail."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.events.v1 import event_service_pb2 as pb
from headrace_events import positions, selection
from headrace_events.selection import Selection
from headrace_events.tail import TOPICS
from headrace_kit.bus import Bus, BusError, Partition
from headrace_kit.errors import DomainError

_POLL_S: Final = 0.2
_MOST: Final = 1_000
_MOST_BYTES: Final = 2 << 20  # every subscription on its way may hold so much
_MOST_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the past: the wanted events in it, each with its cursor, and where it ends."""

    responses: list[pb.SubscribeResponse]
    end: dict[Partition, int]


class Past:
    """Reads stretches, a few at a time whoever asks; nothing is held while a subscriber takes what was found."""

    def __init__(self, bus: Bus, *, readers: int) -> None:
        self._bus = bus
        self._threads = ThreadPoolExecutor(readers, "event past")

    async def open(self) -> None:
        """Threads and readers come with the first question."""

    async def close(self) -> None:
        """Waits for the stretches under way, a few seconds at most."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def read(self, wanted: Selection, start: Mapping[Partition, int], end: Mapping[Partition, int]) -> Stretch:
        """The first stretch from `start`, ending at `end` or before; what retention took is passed over.

        Ends early when it has 1,000 events or 2 MiB, or after five seconds. Raises BACKEND_UNAVAILABLE.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, wanted, start, end)
        except BusError as error:
            raise unavailable(str(error)) from error

    async def ends(self) -> Mapping[Partition, int]:
        """The place behind the last record of the bus. Raises BACKEND_UNAVAILABLE."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._bus.end_offsets, TOPICS)
        except BusError as error:
            raise unavailable(str(error)) from error

    def _read(self, wanted: Selection, start: Mapping[Partition, int], end: Mapping[Partition, int]) -> Stretch:
        here = dict(start)
        found: list[pb.SubscribeResponse] = []
        room = _MOST_BYTES
        until = time.monotonic() + _MOST_S
        reader = self._bus.reader(TOPICS, start)
        try:
            while positions.gap(here, end) and time.monotonic() < until:
                for record in reader.poll(_POLL_S, _MOST):
                    if record.offset >= end.get(record.partition, 0):
                        continue  # the hub has it
                    here[record.partition] = record.offset + 1
                    if wanted.takes(record) and (response := selection.response(record, positions.encode(here))):
                        found.append(response)
                        room -= len(record.value)
                        if len(found) >= _MOST or room <= 0:
                            return Stretch(found, here)
                for partition, offset in reader.positions().items():
                    here[partition] = max(here.get(partition, 0), min(offset, end.get(partition, 0)))
            return Stretch(found, here)
        finally:
            reader.close()


def unavailable(why: str) -> DomainError:
    """The bus is away; the cursor stays good."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
        f"the event bus does not answer now; subscribe again from the last cursor ({why})",
        retry_after_s=1,
    )
