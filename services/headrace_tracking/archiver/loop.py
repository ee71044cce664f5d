"""The archiver's loop."""

from collections.abc import Callable

from typing_extensions import override

from headrace_kit.blobs import BlobError, Blobs
from headrace_tracking.archiver.step import Archiver, When
from headrace_tracking.archives import Archives
from headrace_tracking.stepping import StepWorker
from headrace_tracking.writer.loop import AWAY
from headrace_tracking.writer.store import Connection


class MetricArchiver(StepWorker):
    """Archives finished runs; several processes may do so. Waits while PostgreSQL or the object store is away or full.

    A step takes long for a large run: the process does not wait for its end.
    """

    def __init__(
        self, dsn: str, blobs: Blobs, archives: Archives, when: When, on_death: Callable[[BaseException], None]
    ) -> None:
        # OSError: no room for the temporary file. Durable: the name of a file must be on the disk before the file is.
        away = (*AWAY, BlobError, OSError)
        super().__init__("metric archiver", dsn, on_death, idle_s=2.0, away_s=30.0, away=away, durable=True)
        self._blobs = blobs
        self._archives = archives
        self._when = when

    @override
    def begin(self, conn: Connection) -> Callable[[], bool]:
        self._blobs.check()
        return Archiver(conn, self._blobs, self._archives, self._when).step
