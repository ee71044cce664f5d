"""The purger's loop."""

import time
from collections.abc import Callable

from typing_extensions import override

from headrace_tracking.purger.bin import purge_old
from headrace_tracking.purger.step import Purger
from headrace_tracking.stepping import StepWorker
from headrace_tracking.writer.store import Connection


class RunPurger(StepWorker):
    """Empties the bin of what has lain there for long enough, and frees what purged runs held; several processes may.

    Waits while PostgreSQL is away.
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
        # Durable: what was told to be gone must not come back after a crash of PostgreSQL.
        super().__init__("run purger", dsn, on_death, idle_s=2.0, away_s=5.0, durable=True)
        self._after_ms = after_ms
        self._now_ms = now_ms

    @override
    def begin(self, conn: Connection) -> Callable[[], bool]:
        purger = Purger(conn)

        def step() -> bool:
            worked = purger.step()
            if self._after_ms is not None:
                worked |= purge_old(conn, self._now_ms() - self._after_ms)
            return worked

        return step
