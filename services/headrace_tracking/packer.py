"""Packs frames of many streams into records of the frames topic, and bounds what is under way. For one event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.bus import BusBroken, BusError, BusUnavailable, Partition, Producer, Record
from headrace_kit.bus.partitioning import partition_of
from headrace_kit.errors import DomainError
from headrace_kit.topics import FRAMES

_LINGER_S: Final = 0.003
_FULL_BYTES: Final = 512 << 10
_UNDER_WAY_BYTES: Final = 64 << 20
_DURABLE_S: Final = 30.0


class Room:
    """So many bytes at a time: `take` before, `give` after. First come, first served."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._size = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_free(self, size: int) -> bool:
        """Takes what is free and nobody waits for; else nothing."""
        if self._waiting or not self._fits(size):
            return False
        self._free -= size
        return True

    async def take(self, size: int) -> None:
        """Waits until there is room. More than all of it at once is let through when nothing else is inside."""
        if self.take_free(size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self.give(0 if turn.cancelled() else size)  # its turn had come, or those behind it need not wait for it
            raise

    def give(self, size: int) -> None:
        """Makes room, and lets in who waits for it."""
        self._free += size
        while self._waiting and (self._waiting[0][1].cancelled() or self._fits(self._waiting[0][0])):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= wanted
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return size <= self._free or self._free == self._size


@dataclass(slots=True, eq=False)
class Parcel:
    """A record to come, with frames of any streams."""

    durable: asyncio.Future[metrics_pb2.Position]
    """Where it stands, once it does; shared by all whose frames are inside: shield it."""
    packs: list[bytes] = field(default_factory=list)
    size: int = 0


class Packer:
    """Sends frames to the partition of their run. Frames of one run become durable in the order of the calls."""

    def __init__(
        self,
        producer: Producer,
        partitions: int,
        on_death: Callable[[BaseException], None],
        *,
        topic: str = FRAMES.name,
        overloaded_s: float = 10.0,
    ) -> None:
        """`partitions` is how many the topic has; `on_death` is called when the bus is broken for this process.
        `overloaded_s` is how long a frame may wait for room.
        """
        self._producer = producer
        self._on_death = on_death
        self._topic = topic
        self._overloaded_s = overloaded_s
        self._partitions = partitions
        self._open: dict[int, Parcel] = {}
        self._under_way = 0
        self._room = Room(_UNDER_WAY_BYTES)

    async def send(self, run_id: UUID, frame: metrics_pb2.RoutedFrame) -> Parcel:
        """Waits for room, not for the bus; see `durable`. Raises OVERLOADED when there is none for too long."""
        # Serialized packs, one after the other, are the pack of all their frames: so protobuf has it.
        pack = metrics_pb2.FramePack(frames=[frame]).SerializeToString()
        if not self._room.take_free(len(pack)):
            await self._wait_for_room(len(pack))
        return self._add(partition_of(run_id.bytes, self._partitions), pack)

    async def _wait_for_room(self, size: int) -> None:
        try:
            async with asyncio.timeout(self._overloaded_s):
                await self._room.take(size)
        except TimeoutError:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_OVERLOADED,
                f"{_UNDER_WAY_BYTES:,} bytes of metrics wait for the event bus already; send these again later",
                retry_after_s=5,
            ) from None

    def _add(self, number: int, pack: bytes) -> Parcel:
        parcel = self._open.get(number)
        if parcel is not None and parcel.size + len(pack) > FRAMES.max_bytes:
            self._publish(number, parcel)
            parcel = None
        if parcel is None:
            loop = asyncio.get_running_loop()
            parcel = self._open[number] = Parcel(loop.create_future())
            # Nobody is held up by waiting for company while the bus is busy (RFC 896); alone, a frame goes at once.
            loop.call_later(_LINGER_S if self._under_way else 0.0, self._publish, number, parcel)
        parcel.packs.append(pack)
        parcel.size += len(pack)
        if parcel.size >= _FULL_BYTES:
            self._publish(number, parcel)
        return parcel

    def _publish(self, number: int, parcel: Parcel) -> None:
        if self._open.get(number) is not parcel:
            return  # it was full before its time
        del self._open[number]
        self._under_way += 1
        loop = asyncio.get_running_loop()
        record = Record(self._topic, b"", b"".join(parcel.packs), partition=number)
        parcel.packs.clear()
        self._producer.publish(record).add_done_callback(
            lambda sent: loop.call_soon_threadsafe(self._arrived, parcel, sent)
        )

    def _arrived(self, parcel: Parcel, sent: Future[tuple[Partition, int]]) -> None:
        self._under_way -= 1
        self._room.give(parcel.size)
        error = sent.exception()
        if error is None:
            partition, offset = sent.result()
            parcel.durable.set_result(metrics_pb2.Position(partition=partition.number, offset=offset))
        else:
            if isinstance(error, BusBroken):
                self._on_death(error)
            parcel.durable.set_exception(_as_domain_error(error))
            parcel.durable.exception()  # seen, though every stream inside may be gone


async def durable(parcel: Parcel) -> metrics_pb2.Position:
    """Waits until the bus has it. Raises BACKEND_UNAVAILABLE when that fails or takes half a minute: then it may, or
    may not, become durable later.
    """
    if not parcel.durable.done():
        # Not cancelled with those who wait: it is of many.
        await asyncio.wait([parcel.durable], timeout=_DURABLE_S)
    if not parcel.durable.done():
        raise _unavailable(f"not within {_DURABLE_S:.0f} s")
    return parcel.durable.result()


def _as_domain_error(error: BaseException) -> BaseException:
    if isinstance(error, BusUnavailable):
        return _unavailable(str(error))
    if isinstance(error, BusError):
        return DomainError(error_reason_pb2.ERROR_REASON_INTERNAL, f"the event bus refused a record: {error}")
    return error


def _unavailable(why: str) -> DomainError:
    return DomainError(
        error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
        f"the event bus does not take metrics now; send what has no acknowledgement again ({why})",
        retry_after_s=2,
    )
