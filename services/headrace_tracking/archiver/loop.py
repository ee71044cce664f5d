"""The archiver's loop."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from typing_extensions import override

from headrace_kit.blobs import BlobError, Blobs
from headrace_kit.worker import Worker
from headrace_tracking.archiver.step import Archiver, When
from headrace_tracking.archives import Archives
from headrace_tracking.writer.applier import connect
from headrace_tracking.writer.loop import AWAY

log = logging.getLogger(__name__)

_IDLE_S: Final = 2.0
_AWAY_S: Final = 30.0


class MetricArchiver(Worker):
    """Archives finished runs; several processes may do so. Waits while PostgreSQL or the object store is away or full.

    Rests after each step as long as that took, as the merger does.
    """

    def __init__(
        self, dsn: str, blobs: Blobs, archives: Archives, when: When, on_death: Callable[[BaseException], None]
    ) -> None:
        super().__init__("metric archiver", on_death)
        self._dsn = dsn
        self._blobs = blobs
        self._archives = archives
        self._when = when

    @override
    def run(self, stopping: threading.Event) -> None:
        """Ends within a step's time, which a large run may make long: the process does not wait for it."""
        while not stopping.is_set():
            try:
                self._serve(stopping)
            except (*AWAY, BlobError, OSError) as error:  # OSError: no room for the temporary file
                log.warning("the metric archiver starts again in %.0f s: %s", _AWAY_S, error)
                stopping.wait(_AWAY_S)

    def _serve(self, stopping: threading.Event) -> None:
        self._blobs.check()
        with closing(connect(self._dsn)) as conn:
            conn.execute("SET synchronous_commit = on")  # the name of a file must be on the disk before the file is
            archiver = Archiver(conn, self._blobs, self._archives, self._when)
            while not stopping.is_set():
                started = time.monotonic()
                worked = archiver.step()
                stopping.wait(time.monotonic() - started if worked else _IDLE_S)
