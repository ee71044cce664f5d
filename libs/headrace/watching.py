"""Series and runs as streams: whole, or for as long as they are watched."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from headrace import errors, retry
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.connection import Connection
from headrace.records import MetricHistory, MetricUpdate, Run

if TYPE_CHECKING:
    import grpc

Q = TypeVar("Q")
A = TypeVar("A")


def read(connection: Connection, run_ids: Sequence[str], keys: Sequence[str]) -> dict[tuple[str, str], MetricHistory]:
    """All points of these series by (run id, key); a stream that breaks is read again from its start."""
    request = wire.ReadMetricsRequest(run_ids=run_ids, keys=keys)

    def attempt() -> dict[tuple[str, str], MetricHistory]:
        found: dict[tuple[str, str], MetricHistory] = {}
        for answer in connection.stream(lambda c: c.tracking.ReadMetrics, request):
            name = (answer.block.run_id, answer.block.key)
            found.setdefault(name, MetricHistory(answer.block.key)).extend(answer.block)
        return found

    return connection.patiently(attempt)


def metrics(connection: Connection, run_ids: Sequence[str], keys: Sequence[str]) -> Iterator[MetricUpdate]:
    """What changes these series from nothing to what they are, and from then on."""
    request = wire.WatchMetricsRequest(run_ids=run_ids, keys=keys)
    for answer in _again(connection, lambda c: c.tracking.WatchMetrics, request):
        if answer.HasField("block"):
            points = MetricHistory(answer.block.key)
            points.extend(answer.block)
            yield MetricUpdate(answer.block.run_id, answer.offset, points)


def run(connection: Connection, run_id: str, *, until_end: bool) -> Iterator[Run]:
    """The run as it is, and whenever it changed."""
    request = wire.WatchRunRequest(run_id=run_id, until_end=until_end)
    sent = b""
    for answer in _again(connection, lambda c: c.tracking.WatchRun, request):
        now = answer.run.SerializeToString(deterministic=True)
        if now != sent:  # after a reconnection it comes again
            yield Run.of(answer.run)
        sent = now


def _again(
    connection: Connection, method: "Callable[[Connection], grpc.UnaryStreamMultiCallable[Q, A]]", request: Q
) -> Iterator[A]:
    """The answers of a stream that begins anew where it breaks, while the connection has patience."""
    backoff = retry.Backoff(connection.policy)
    until = time.monotonic() + connection.patience_s
    while True:
        try:
            for answer in connection.stream(method, request):
                yield answer
                backoff.reset()
                until = 0.0
        except errors.Unavailable as error:
            until = until or time.monotonic() + connection.patience_s
            delay = backoff.next(error.retry_after_s)
            if time.monotonic() + delay > until:
                raise
            time.sleep(delay)
        else:
            return
