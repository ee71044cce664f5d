"""How far the metric writers have come, and waiting for them."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import psycopg

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit import db
from headrace_kit.db import Database
from headrace_kit.errors import DomainError, InvalidField
from headrace_tracking import notes
from headrace_tracking.store import metrics as store

log = logging.getLogger(__name__)

_REST_S: Final = 0.1
_POLL_S: Final = 0.5  # backs the notifications
_RECONNECT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_MOST_POSITIONS: Final = 1000


class Visible:
    """What is visible, for this process: offsets only grow, so what was seen once holds. A `lifecycle.Resource`.

    Listens on a connection of its own to the writers, who tell how far they came; asks the database where they cannot.
    """

    def __init__(self, dsn: str, requests: Database) -> None:
        self._dsn = db.as_role(dsn, db.request_role("tracking"))
        self._db = requests
        self._offsets: dict[int, int] = {}
        self._told = False
        """Whether every move since the last look is heard."""
        self._waiting: dict[asyncio.Future[None], Mapping[int, int]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._turns = 0
        self._turned = asyncio.Event()
        self._ending = False

    async def open(self) -> None:
        """Begins to listen; the database may be away."""
        self._listener = asyncio.create_task(self._listen(), name="metric positions")

    async def close(self) -> None:
        """Stops listening."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener

    async def wait_for(self, positions: Sequence[metrics_pb2.Position], seconds: float | None) -> None:
        """See `MetricDoor`."""
        needed = _needed(positions)
        if self._holds(needed):
            return
        if not self._told:
            await self._look()
            if self._holds(needed):
                return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = needed
        try:
            async with asyncio.timeout(_LONGEST_WAIT_S if seconds is None else seconds):
                await turn
        except TimeoutError:
            raise self._too_late(needed) from None
        finally:
            self._waiting.pop(turn, None)

    @property
    def turn(self) -> int:
        """Grows whenever something may have become visible; for `next_turn`."""
        return self._turns

    def check_open(self) -> None:
        """Raises DomainError SERVICE_UNAVAILABLE once this process drains."""
        if self._ending:
            raise going_away()

    async def next_turn(self, since: int) -> None:
        """Waits for another turn than this one: ten times a second at most and, while PostgreSQL is there, twice at least.

        Raises DomainError SERVICE_UNAVAILABLE once this process drains.
        """
        self.check_open()
        await asyncio.sleep(_REST_S)
        while self._turns == since:
            self.check_open()
            await self._turned.wait()
        self.check_open()

    def end_watches(self) -> None:
        """Lets nobody wait in `next_turn` any more."""
        self._ending = True
        self._wake()

    def _wake(self) -> None:
        self._turns += 1
        self._turned.set()
        self._turned = asyncio.Event()

    def _holds(self, needed: Mapping[int, int]) -> bool:
        return all(self._offsets.get(partition, 0) > offset for partition, offset in needed.items())

    async def _look(self) -> None:
        async with self._db.tenant("") as conn:
            self._reach(await store.next_offsets(conn))

    async def _hear(self, heard: Sequence[str]) -> None:
        try:
            offsets = notes.read(heard)
        except ValueError:  # too much to be told, or told by somebody else
            await self._look()
        else:
            self._reach(offsets)

    def _reach(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            self._offsets[partition] = max(offset, self._offsets.get(partition, 0))
        for turn, needed in self._waiting.items():
            if not turn.done() and self._holds(needed):
                turn.set_result(None)

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
                    await conn.execute(f"LISTEN {notes.CHANNEL}")
                    await self._look()
                    self._told = True
                    while True:
                        heard = [note.payload async for note in conn.notifies(timeout=_POLL_S, stop_after=1)]
                        if heard:
                            await self._hear(heard)
                        elif self._waiting:
                            await self._look()
                        self._wake()
            except (psycopg.Error, DomainError) as error:
                self._told = False
                log.warning("not told of visible metrics for now: %s", error)
                await asyncio.sleep(_RECONNECT_S)

    def _too_late(self, needed: Mapping[int, int]) -> DomainError:
        behind = ", ".join(
            f"partition {partition} is visible below offset {self._offsets.get(partition, 0)}, {offset} was asked for"
            for partition, offset in needed.items()
            if self._offsets.get(partition, 0) <= offset
        )
        return DomainError(
            error_reason_pb2.ERROR_REASON_DEADLINE_EXCEEDED,
            f"the metrics asked for are durable but not visible yet ({behind}); try again, or read without at_least",
            retry_after_s=1,
        )


def going_away() -> DomainError:
    """The error that ends streams when the process drains."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE,
        "this server is going away; reconnect and send again what has no acknowledgement",
        retry_after_s=0.5,
    )


def _needed(positions: Sequence[metrics_pb2.Position]) -> dict[int, int]:
    if len(positions) > _MOST_POSITIONS:
        raise InvalidField("at_least", f"may hold {_MOST_POSITIONS} positions, got {len(positions)}")
    needed: dict[int, int] = {}
    for index, position in enumerate(positions):
        if position.partition < 0 or position.offset < 0:
            raise InvalidField(
                f"at_least[{index}]", f"must not be negative, got {position.partition}:{position.offset}"
            )
        needed[position.partition] = max(position.offset, needed.get(position.partition, 0))
    return needed
