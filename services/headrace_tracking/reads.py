"""Transactions that read points, some of which may lie in archives."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from headrace_kit.blobs import StoreUnavailable
from headrace_kit.db import Connection, Database
from headrace_tracking.archives import Archives, Held, Part, Unread, store_away
from headrace_tracking.columns import BadColumns, Columns
from headrace_tracking.stored import damaged

T = TypeVar("T")


class Reads:
    """Where points are read from."""

    def __init__(self, db: Database, archives: Archives) -> None:
        self.db = db
        self._archives = archives

    async def points(
        self, tenant_id: str, work: Callable[[Connection, Held], Awaitable[T]], *, snapshot: bool = False
    ) -> T:
        """What `work` returns, from a transaction as `Database.tenant` makes it.

        When it raises Unread, it is called again in a new one with what it lacked: no connection is held while the object
        store works. Raises DomainError DATA_LOST or BACKEND_UNAVAILABLE for archives that cannot be read.
        """
        held: dict[Part, Columns] = {}
        while True:
            try:
                async with self.db.tenant(tenant_id, snapshot=snapshot) as conn:
                    return await work(conn, held)
            except Unread as unread:
                held |= await self._read(unread.parts)

    async def _read(self, parts: Collection[Part]) -> dict[Part, Columns]:
        try:
            return await asyncio.to_thread(self._archives.read, parts)
        except BadColumns as error:
            raise damaged(error) from error
        except StoreUnavailable as error:
            raise store_away(error) from error
