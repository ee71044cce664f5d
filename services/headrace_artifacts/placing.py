"""What every upload does: waits for a slot, writes its blob down first, and puts the artifact in its place at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from headrace.api.common.v1 import error_reason_pb2
from headrace_artifacts import collecting, events, rules, store
from headrace_artifacts.store import ArtifactRow
from headrace_kit.db import Connection, Database
from headrace_kit.errors import DomainError

log = logging.getLogger(__name__)


class Placed(NamedTuple):
    """What became of a blob."""

    taken: bool
    """False: it had been given up for dead, and nothing was changed. Let the transaction commit, then raise `rules.given_up`."""
    freed: bool
    """Another blob is due instead of it."""


class Placing:
    """Shared by all uploads of a process: `slots` of them write at the same time, and `sweep` deletes what they leave."""

    def __init__(self, db: Database, slots: int, lease_s: float, sweep: Callable[[], None]) -> None:
        self._db = db
        self._most = slots
        self._lease_s = lease_s
        self._slots = asyncio.Semaphore(slots)
        self.sweep = sweep

    @asynccontextmanager
    async def slot(self, wait_s: float) -> AsyncIterator[None]:
        """Around the writing of a blob. Raises DomainError OVERLOADED when no slot is free for so long."""
        try:
            async with asyncio.timeout(wait_s):
                await self._slots.acquire()
        except TimeoutError:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_OVERLOADED,
                f"{self._most} uploads are under way here, as many as may be; try again",
                retry_after_s=5,
            ) from None
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def loose(self, tenant_id: str, key: str) -> AsyncIterator[None]:
        """Around the upload of a blob: whatever becomes of it or of this process, it is deleted unless somebody took it."""
        async with self._db.tenant(tenant_id) as conn:
            await store.begin_blob(conn, tenant_id, key, self._lease_s)
        renewing = asyncio.create_task(self._renew(tenant_id, key))
        try:
            yield
        except BaseException:
            # Should this fail too, the lease runs out.
            async with self._db.tenant(tenant_id) as conn:
                await store.give_up_blob(conn, key)
            self.sweep()
            raise
        finally:
            renewing.cancel()

    async def _renew(self, tenant_id: str, key: str) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                async with self._db.tenant(tenant_id) as conn:
                    await store.renew_blob(conn, key, self._lease_s)
            except DomainError as error:
                log.warning("upload %s: its lease was not renewed: %s", key, error)

    async def put(self, conn: Connection, row: ArtifactRow) -> Placed:
        """The artifact instead of the one that had its path. Raises `rules.owner_purged`."""
        if not await collecting.lock_owner(conn, row.owner_id):
            raise rules.owner_purged(row.owner_id)
        if not await store.take_blob(conn, row.blob_key):
            await store.let_go_blob(conn, row.tenant_id, row.blob_key)
            return Placed(taken=False, freed=True)
        await store.lock_path(conn, row.owner_id, row.path)
        replaced = await store.delete_at_path(conn, row.owner_id, row.path)
        if replaced:
            await store.let_go_blob(conn, replaced.tenant_id, replaced.blob_key)
        await store.insert_artifact(conn, row)
        await events.stored(conn, row, replaced)
        return Placed(taken=True, freed=replaced is not None)
