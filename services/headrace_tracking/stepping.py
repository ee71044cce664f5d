"""The loop of the workers that tidy up behind the writer: merger, archiver and purger."""

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import closing

from typing_extensions import override

from headrace_kit.worker import Worker
from headrace_tracking.writer.applier import connect
from headrace_tracking.writer.loop import AWAY
from headrace_tracking.writer.store import Connection

log = logging.getLogger(__name__)


class StepWorker(Worker):
    """Does step after step over one connection, and begins anew when what it needs was away.

    Rests after each step, so that the writer comes first.
    """

    def __init__(
        self,
        name: str,
        dsn: str,
        on_death: Callable[[BaseException], None],
        *,
        idle_s: float,
        away_s: float,
        rest: float = 1.0,
        away: tuple[type[BaseException], ...] = AWAY,
        durable: bool = False,
    ) -> None:
        """Looks again after `idle_s` with nothing to do, and `away_s` after an error of `away`; `durable` as of `connect`.

        A rest is `rest` times as long as the step before it.
        """
        super().__init__(name, on_death)
        self._dsn = dsn
        self._idle_s = idle_s
        self._away_s = away_s
        self._rest = rest
        self._away = away
        self._durable = durable

    @abstractmethod
    def begin(self, conn: Connection) -> Callable[[], bool]:
        """The step over a new connection; it answers whether there was anything to do."""

    @override
    def run(self, stopping: threading.Event) -> None:
        """Ends within a step's time."""
        while not stopping.is_set():
            try:
                self._serve(stopping)
            except self._away as error:
                log.warning("the %s starts again in %.0f s: %s", self.name, self._away_s, error)
                stopping.wait(self._away_s)

    def _serve(self, stopping: threading.Event) -> None:
        with closing(connect(self._dsn, durable=self._durable)) as conn:
            step = self.begin(conn)
            while not stopping.is_set():
                started = time.monotonic()
                worked = step()
                stopping.wait(self._rest * (time.monotonic() - started) if worked else self._idle_s)
