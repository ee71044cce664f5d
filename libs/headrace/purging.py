"""Emptying the bin: what is deleted goes for good."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.connection import Connection
from headrace.records import timestamp

_CALL_S = 300.0  # a hundred runs, of any size


@dataclass(frozen=True, slots=True)
class Purged:
    """A run that was purged, or an experiment: then `run_id` is empty."""

    run_id: str
    experiment_id: str
    points: int
    """Of its metrics."""
    size_bytes: int
    """What its metrics take, compressed; its files are not counted."""


def purge(
    connection: Connection, older_than: timedelta, runs: Sequence[str], experiments: Sequence[str], *, dry_run: bool
) -> Iterator[Purged]:
    """Purges a hundred runs at a time as it is iterated; `experiments` are ids. May be interrupted and begun again."""
    request = wire.PurgeBinRequest(
        deleted_before=timestamp(datetime.now(UTC) - older_than),
        run_ids=runs,
        experiment_ids=experiments,
        dry_run=dry_run,
    )
    while True:
        answer = connection.call(lambda c: c.tracking.PurgeBin, request, timeout_s=_CALL_S)
        yield from (Purged(one.run_id, one.experiment_id, one.points, one.size_bytes) for one in answer.runs)
        yield from (Purged("", experiment_id, 0, 0) for experiment_id in answer.experiment_ids)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token
