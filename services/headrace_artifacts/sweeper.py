"""Deletes the blobs that no artifact has: replaced, deleted, of failed uploads, of processes that died."""

import logging
import threading
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg.rows import TupleRow
from typing_extensions import override

from headrace_artifacts import parts_store, store
from headrace_artifacts.woken import WokenWorker
from headrace_kit.blobs import Blobs, StoreUnavailable

log = logging.getLogger(__name__)

_BATCH: Final = 100
_RETRY_S: Final = 300.0  # a blob that the store keeps back (MinIO: while it is read) holds nothing up


class Sweeper(WokenWorker):
    """Sweeps when woken, and every five seconds. `dsn` must be of a role that sees all tenants."""

    def __init__(self, dsn: str, blobs: Blobs, on_death: Callable[[BaseException], None]) -> None:
        super().__init__("artifacts sweeper", dsn, on_death, "blobs are deleted later")
        self._blobs = blobs

    @override
    def work(self, conn: psycopg.Connection[TupleRow], stopping: threading.Event) -> None:
        parts_store.forget_expired(conn)
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
