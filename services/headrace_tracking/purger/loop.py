"""The purger's loop."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from typing_extensions import override

from headrace_kit.worker import Worker
from headrace_tracking.purger.bin import purge_old
from headrace_tracking.purger.step import Purger
from headrace_tracking.writer.applier import connect
from headrace_tracking.writer.loop import AWAY
from headrace_tracking.writer.store import Connection

log = logging.getLogger(__name__)

_IDLE_S: Final = 2.0
_AWAY_S: Final = 5.0


def connected(dsn: str) -> Connection:
    """A connection for purges, in the worker role."""
    conn = connect(dsn)
    # What was told to be gone must not come back after a crash of PostgreSQL.
    conn.execute("SET synchronous_commit = on")
    return conn


class RunPurger(Worker):
    """Empties the bin of what has lain there for long enough, and frees what purged runs held; several processes may.

    Rests after each step as long as that took, as the merger does. Waits while PostgreSQL is away.
    """

    def __init__(
        self,
        dsn: str,
        after_ms: int | None,
        on_death: Callable[[BaseException], None],
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`after_ms`: how long something lies in the bin; None keeps it there until somebody asks for it to be purged."""
        super().__init__("run purger", on_death)
        self._dsn = dsn
        self._after_ms = after_ms
        self._now_ms = now_ms

    @override
    def run(self, stopping: threading.Event) -> None:
        """Ends within a step's time."""
        while not stopping.is_set():
            try:
                self._serve(stopping)
            except AWAY as error:
                log.warning("the run purger starts again in %.0f s: %s", _AWAY_S, error)
                stopping.wait(_AWAY_S)

    def _serve(self, stopping: threading.Event) -> None:
        with closing(connected(self._dsn)) as conn:
            purger = Purger(conn)
            while not stopping.is_set():
                started = time.monotonic()
                worked = purger.step()
                if self._after_ms is not None:
                    worked |= purge_old(conn, self._now_ms() - self._after_ms)
                stopping.wait(time.monotonic() - started if worked else _IDLE_S)
