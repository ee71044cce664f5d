"""The route table as routers see it, and who of them uses which."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from uuid import UUID

from headrace.api.deployment.v1 import route_service_pb2 as pb
from headrace_deployment import messages
from headrace_deployment.store import reads
from headrace_kit.db import Database
from headrace_kit.errors import DomainError

log = logging.getLogger(__name__)

_POLL_S: Final = 1.0
_SEEN_EVERY_S: Final = 10.0


class RouteBoard:
    """Holds the newest table; reads it when poked, and once a second for what other replicas changed."""

    def __init__(self, everyone: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._db = everyone
        self._now = now
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._poked = asyncio.Event()
        self._changed = asyncio.Event()
        self._ended = False
        self._table = pb.WatchRoutesResponse()
        self._routers: set[UUID] = set()
        self._gone: list[UUID] = []
        self._seen_at = monotonic()

    async def open(self) -> None:
        """Reads the table, and begins to follow it."""
        self._loop = asyncio.get_running_loop()
        await self._read()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stops following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def poke(self) -> None:
        """The table may have changed; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._poked.set)

    def end(self) -> None:
        """Ends all `tables`; on the loop."""
        self._ended = True
        self._changed.set()

    async def tables(self) -> AsyncIterator[pb.WatchRoutesResponse]:
        """The table now, and every newer one; some may be passed over."""
        sent = 0
        while not self._ended:
            changed = self._changed
            if self._table.generation > sent:
                sent = self._table.generation
                yield self._table
            else:
                await changed.wait()

    async def uses(self, router_id: UUID, generation: int) -> None:
        """The router says which table it uses."""
        self._routers.add(router_id)
        async with self._db.tenant("") as conn:
            await reads.router_says(conn, router_id, generation, self._now())

    def left(self, router_id: UUID) -> None:
        """The router is gone; on the loop."""
        self._routers.discard(router_id)
        self._gone.append(router_id)
        self._poked.set()

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), _POLL_S)
            self._poked.clear()
            try:
                await self._read()
                await self._tend()
            except DomainError as error:
                log.warning("routes stay as they are: %s", error)

    async def _read(self) -> None:
        async with self._db.tenant("") as conn:
            # The number first: routes may be newer than their number then, never older.
            generation = await reads.generation(conn)
            if generation == self._table.generation:
                return
            rows = await reads.routes(conn)
        self._table = pb.WatchRoutesResponse(generation=generation, routes=[messages.route(row) for row in rows])
        self._changed.set()
        self._changed = asyncio.Event()

    async def _tend(self) -> None:
        """Keeps that routers are there, and forgets those that left."""
        while self._gone:
            async with self._db.tenant("") as conn:
                await reads.router_left(conn, self._gone[0])
            self._gone.pop(0)
        if self._routers and monotonic() - self._seen_at > _SEEN_EVERY_S:
            self._seen_at = monotonic()
            async with self._db.tenant("") as conn:
                await reads.routers_seen(conn, list(self._routers), self._now())
