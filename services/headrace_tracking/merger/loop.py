"""The merger's loop."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from typing_extensions import override

from headrace_kit.worker import Worker
from headrace_tracking.merger.step import Merger
from headrace_tracking.writer.applier import connect
from headrace_tracking.writer.loop import AWAY

log = logging.getLogger(__name__)

_IDLE_S: Final = 1.0
_AWAY_S: Final = 5.0


class MetricMerger(Worker):
    """Merges small chunks of all series; several processes may do so. Waits while PostgreSQL is away.

    Rests after each step as long as that took: half a core at most, and the writer comes first.
    """

    def __init__(self, dsn: str, on_death: Callable[[BaseException], None]) -> None:
        super().__init__("metric merger", on_death)
        self._dsn = dsn

    @override
    def run(self, stopping: threading.Event) -> None:
        """Ends within a step's time."""
        while not stopping.is_set():
            try:
                self._serve(stopping)
            except AWAY as error:
                log.warning("the metric merger starts again in %.0f s: %s", _AWAY_S, error)
                stopping.wait(_AWAY_S)

    def _serve(self, stopping: threading.Event) -> None:
        with closing(connect(self._dsn)) as conn:
            merger = Merger(conn)
            while not stopping.is_set():
                started = time.monotonic()
                merged = merger.step()
                stopping.wait(time.monotonic() - started if merged else _IDLE_S)
