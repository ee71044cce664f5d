"""The writer's loop: a consumer and an applier, thrown away and made anew together whenever one of them fails."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

import psycopg
from typing_extensions import override

from headrace_kit.blobs import StoreUnavailable
from headrace_kit.bus import Assignment, Bus, BusUnavailable, Producer
from headrace_kit.topics import FRAMES
from headrace_kit.worker import Worker
from headrace_tracking.archives import Archives
from headrace_tracking.writer.applier import Applier, Fenced, connect
from headrace_tracking.writer.letters import PoisonShare

log = logging.getLogger(__name__)

GROUP: Final = "headrace-tracking-writer"
_POLL_S: Final = 0.5
_MOST_RECORDS: Final = 64
"""In one transaction: at 512 KiB a record half a second's work at most, and 64 MiB at the very worst."""
_TELL_S: Final = 5.0
"""How often the group's committed offsets follow, for those who watch the lag and for retention; the truth is in PostgreSQL."""
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
AWAY: Final = (
    psycopg.OperationalError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)
"""PostgreSQL is away, or ended the session of a writer that stood still."""


class MetricWriter(Worker):
    """One writer; run as many as there are partitions at most.

    While PostgreSQL or the bus is away (or the object store, for points of unary calls that an archived run may have
    already) it tries again and again, and nothing is lost: what is not committed is read again.
    It dies of TooManyPoisonFrames, and of whatever is a defect of ours.
    """

    def __init__(
        self,
        dsn: str,
        bus: Bus,
        producer: Producer,
        on_death: Callable[[BaseException], None],
        *,
        topic: str = FRAMES.name,
        archives: Archives | None = None,
    ) -> None:
        """`producer` is for the dead letters."""
        super().__init__("metric writer", on_death)
        self._dsn = dsn
        self._bus = bus
        self._producer = producer
        self._topic = topic
        self._archives = archives
        self._share = PoisonShare()

    @override
    def run(self, stopping: threading.Event) -> None:
        """Ends within a transaction's time and gives its partitions up."""
        pause = _FIRST_PAUSE_S
        while not stopping.is_set():
            started = time.monotonic()
            try:
                self._serve(stopping)
            except (*AWAY, BusUnavailable, StoreUnavailable, TimeoutError, Fenced) as error:
                pause = _FIRST_PAUSE_S if time.monotonic() - started > _LONGEST_PAUSE_S else pause
                log.warning("the metric writer starts again in %.1f s: %s", pause, error)
                stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _serve(self, stopping: threading.Event) -> None:
        with closing(connect(self._dsn, brief=True)) as conn:
            applier = Applier(conn, self._producer, self._share, archives=self._archives)
            assignment = Assignment(start_at=applier.take, on_lost=applier.lose)
            with closing(self._bus.consumer(GROUP, [self._topic], assignment)) as consumer:
                self._hurry = consumer.wakeup
                told = time.monotonic()
                while not stopping.is_set():
                    applier.apply(consumer.poll(_POLL_S, _MOST_RECORDS))
                    if time.monotonic() - told > _TELL_S:
                        consumer.commit(applier.positions())
                        told = time.monotonic()
