"""The loop of the workers that delete for the artifacts service: sweeper and collector."""

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg.rows import TupleRow
from typing_extensions import override

from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

_POLL_S: Final = 5.0
_RECONNECT_S: Final = 1.0


class WokenWorker(Worker):
    """Works when woken, and every five seconds; waits while the database is away.

    `dsn` must be of a role that sees all tenants; `later` says, for the log, what is put off then.
    """

    def __init__(self, name: str, dsn: str, on_death: Callable[[BaseException], None], later: str) -> None:
        super().__init__(name, on_death)
        self._dsn = dsn
        self._later = later
        self._woken = threading.Event()
        self._hurry = self._woken.set

    def wake(self) -> None:
        """There is something to do; never blocks, any thread may call it."""
        self._woken.set()

    @abstractmethod
    def work(self, conn: psycopg.Connection[TupleRow], stopping: threading.Event) -> None:
        """Does what is due, of all tenants."""

    @override
    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                # Every statement commits: work may be slow, and an open transaction holds back all outboxes.
                with psycopg.connect(self._dsn, autocommit=True) as conn:
                    while not stopping.is_set():
                        self._woken.clear()
                        self.work(conn, stopping)
                        self._woken.wait(_POLL_S)
            except psycopg.OperationalError as error:
                log.warning("the database is away, %s: %s", self._later, error)
                stopping.wait(_RECONNECT_S)
