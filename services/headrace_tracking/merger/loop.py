"""The merger's loop."""

from collections.abc import Callable

from typing_extensions import override

from headrace_tracking.merger.step import Merger
from headrace_tracking.stepping import StepWorker
from headrace_tracking.writer.store import Connection


class MetricMerger(StepWorker):
    """Merges small chunks of all series; several processes may do so. Waits while PostgreSQL is away.

    A fifth of a core at most: what must be merged can wait for a quiet hour, and costs the less the longer it did.
    """

    def __init__(self, dsn: str, on_death: Callable[[BaseException], None]) -> None:
        super().__init__("metric merger", dsn, on_death, idle_s=1.0, away_s=5.0, rest=4.0)

    @override
    def begin(self, conn: Connection) -> Callable[[], bool]:
        return Merger(conn).step
