"""Metrics of runs on their way over Headrace's streams: from `log_metric` to the commit that makes them visible."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from mlflow.entities import Metric

from headrace import errors, forks
from headrace.api.tracking.v1.metrics_pb2 import Position
from headrace.api.tracking.v1.tracking_service_pb2 import GetRunRequest
from headrace.client import Client
from headrace.ingest.columns import whole
from headrace.ingest.frames import key_problem
from headrace.runs import END_S

MOST_RUNS: Final = 256
"""Runs with a stream in one process: each is a thread. One more closes that of a run that has been quiet."""
_FAR_MS: Final = 1 << 51
"""A double in seconds tells half milliseconds up to here: the year 73,000."""


def fields(points: Iterable[Metric]) -> list[Any] | None:
    """The points as a producer's queue takes them; None where one is for REST.

    That is one that is measured of a model or a dataset, which the service of logged models takes, or one that the
    server would refuse: REST says it in the words that MLflow's users know.
    """
    items: list[Any] = []
    point: Any  # callers put more into a Metric than its annotations say
    for point in points:
        if point.model_id or point.dataset_name or point.dataset_digest or key_problem(point.key):
            return None
        if not isinstance(point.value, float | int):
            return None
        try:
            value, step, ms = float(point.value), whole(point.step), whole(point.timestamp)
        except (ValueError, OverflowError):
            return None
        if not 0 <= ms < _FAR_MS:
            return None
        # The queue holds seconds, and cuts off what is below a millisecond: in the middle of one, none is lost to rounding.
        items += (point.key, value, step, (ms + 0.5) / 1000)
    return items


class RunLog:
    """Metrics of one run in this process. From any thread, and in forked children too."""

    def __init__(self, run_id: str, client: Client) -> None:
        self.run_id: Final = run_id
        self.client: Final = client
        self.unseen = False
        """Whether something was logged that may not be visible yet."""
        self.ended = False
        """Whether it takes no more points."""
        self._producer = client.producer(run_id, self._leave)
        self._stands = False  # the server has taken a point of this run
        self._lock = threading.Lock()
        forks.watch(self)

    def forked(self) -> None:
        """In a forked child."""
        self._lock = threading.Lock()

    def add(self, items: list[Any]) -> bool:
        """Takes points; False where the server will have none of this run, or the program is over: REST takes them then.

        The first ones are durable when this returns, so that a run that cannot be written is told at once: raises
        TimedOut where no server acknowledges them. Later ones wait only while the buffer is full.
        """
        producer = self._producer
        with self._lock:
            if self.ended:
                return False
            queued = producer.queue.items
            queued.extend(items)
            self.unseen = True
            try:
                if len(queued) > producer.mark:
                    producer.crowded()
                if not self._stands:
                    producer.flush(END_S)
                    self._stands = True
            except errors.LASTING:
                if producer.refusal is not None:
                    self.ended = True
                    with suppress(errors.HeadraceError):  # the same again
                        producer.close(0)
                return False
        return True

    def flush(self, timeout_s: float) -> Sequence[Position]:
        """Waits until all is durable; where it stands. Raises as the producer's."""
        self.unseen = False
        return self._producer.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """No more points; what is not acknowledged by then is left in the spool, and told. Raises as the producer's."""
        with self._lock:
            self.ended = True
        try:
            self._producer.close(timeout_s)
        finally:
            self.unseen = False  # nothing is left to wait for

    def _leave(self, timeout_s: float) -> None:
        """The program is over; the run goes on until somebody ends it."""
        self.close(timeout_s)


class RunLogs:
    """The logs of all runs that this process logs to, by run."""

    def __init__(self) -> None:
        self._logs: dict[str, RunLog] = {}
        self._lock = threading.RLock()
        forks.watch(self)

    def forked(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()

    def add(self, run_id: str, items: list[Any], client: Callable[[], Client]) -> bool:
        """As `RunLog.add`. The client is asked for with the first points of a run."""
        log = self._logs.get(run_id) or self._opened(run_id, client())
        if log is None:
            return False
        if log.add(items):
            return True
        if log.ended:
            self._forget(log)
        return False

    def see(self, run_ids: Iterable[str] | None = None) -> None:
        """Waits until everything logged before is visible, of these runs or of all. Raises HeadraceError."""
        logs = list(self._logs.values()) if run_ids is None else [self._logs.get(run_id) for run_id in run_ids]
        by_client: dict[Client, list[RunLog]] = {}
        for log in logs:
            if log is not None and log.unseen:
                by_client.setdefault(log.client, []).append(log)
        for client, of_client in by_client.items():
            self._see(client, of_client)

    def end(self, run_id: str) -> None:
        """Waits as `see`, as far as the server answers, and closes the log.

        Raises HeadraceError where points are lost; not for those left in the spool, which is warned of.
        """
        with self._lock:
            log = self._logs.pop(run_id, None)
        if log is None:
            return
        with suppress(errors.TimedOut, errors.Unavailable):
            if log.unseen:
                self._see(log.client, [log])
        with suppress(errors.TimedOut, errors.Unavailable):
            log.close(0 if log.unseen else END_S)

    def _see(self, client: Client, logs: Sequence[RunLog]) -> None:
        """One read that waits for the last points of all these runs."""
        until = time.monotonic() + END_S
        highest: dict[int, int] = {}
        try:
            for log in logs:
                for position in self._durable(log, until):
                    highest[position.partition] = max(position.offset, highest.get(position.partition, -1))
            at_least = [Position(partition=partition, offset=offset) for partition, offset in highest.items()]
            request = GetRunRequest(run_id=logs[0].run_id, at_least=at_least)
            client.connection.call(lambda c: c.tracking.GetRun, request, timeout_s=max(1.0, until - time.monotonic()))
        except BaseException:
            for log in logs:
                log.unseen = not log.ended
            raise

    def _durable(self, log: RunLog, until: float) -> Sequence[Position]:
        try:
            return log.flush(max(0.0, until - time.monotonic()))
        except errors.LASTING:
            self._forget(log)
            with suppress(errors.HeadraceError):  # the same again
                log.close(0)
            raise

    def _forget(self, log: RunLog) -> None:
        with self._lock:
            if self._logs.get(log.run_id) is log:
                del self._logs[log.run_id]

    def _opened(self, run_id: str, client: Client) -> RunLog | None:
        """A new log; None for a run that cannot be written, and once the program is over, when no thread can be started."""
        if not threading.main_thread().is_alive():
            return None
        try:
            if client.get_run(run_id).deleted:
                return None
        except errors.LASTING:
            return None
        with self._lock:
            if run_id not in self._logs:
                if len(self._logs) >= MOST_RUNS:
                    self.end(
                        next((log.run_id for log in self._logs.values() if not log.unseen), next(iter(self._logs)))
                    )
                self._logs[run_id] = RunLog(run_id, client)
            return self._logs[run_id]
