"""Deletes the blobs that no artifact has: replaced, deleted, of failed uploads, of processes that died."""

import logging
import threading
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg.rows import TupleRow
from typing_extensions import override

from headrace_artifacts import store
from headrace_kit.blobs import Blobs, StoreUnavailable
from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

_BATCH: Final = 100
_POLL_S: Final = 5.0
_RETRY_S: Final = 300.0  # a blob that the store keeps back (MinIO: while it is read) holds nothing up
_RECONNECT_S: Final = 1.0


class Sweeper(Worker):
    """Sweeps when woken, and every five seconds. `dsn` must be of a role that sees all tenants."""

    def __init__(self, dsn: str, blobs: Blobs, on_death: Callable[[BaseException], None]) -> None:
        super().__init__("artifacts sweeper", on_death)
        self._dsn = dsn
        self._blobs = blobs
        self._woken = threading.Event()

    def wake(self) -> None:
        """There is something to delete; never blocks, any thread may call it."""
        self._woken.set()

    @override
    def close(self) -> None:
        super().close()
        self._woken.set()

    @override
    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                # Every statement commits: the store may be slow, and an open transaction holds back all outboxes.
                with psycopg.connect(self._dsn, autocommit=True) as conn:
                    while not stopping.is_set():
                        self._woken.clear()
                        self._sweep(conn, stopping)
                        self._woken.wait(_POLL_S)
            except psycopg.OperationalError as error:
                log.warning("the database is away, blobs are deleted later: %s", error)
                stopping.wait(_RECONNECT_S)

    def _sweep(self, conn: psycopg.Connection[TupleRow], stopping: threading.Event) -> None:
        """Deletes what is due, of all tenants."""
        while claimed := store.claim_due_blobs(conn, _BATCH, _RETRY_S):
            for tenant_id, key in claimed:
                if stopping.is_set():
                    return
                try:
                    self._blobs.delete(key)
                except StoreUnavailable as error:
                    log.warning("blob %s is deleted later: %s", key, error)
                else:
                    store.forget_blob(conn, tenant_id, key)
