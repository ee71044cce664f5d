"""Whole series as blocks of plain memory: once, or for as long as somebody watches them."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from headrace.api.tracking.v1 import metrics_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.db import Connection
from headrace_tracking import history
from headrace_tracking.archives import Held
from headrace_tracking.columns import Columns, packed
from headrace_tracking.doors import Asked
from headrace_tracking.history import Place
from headrace_tracking.reads import Reads
from headrace_tracking.store import metrics as store

_BLOCK: Final = 100_000  # points: 2.4 MB of the 8 MiB that a message may have
_MARKS: Final = 16  # looks remembered: about two seconds

Series = tuple[UUID, str]


async def read(reads: Reads, asked: Asked) -> AsyncIterator[pb.ReadMetricsResponse]:
    """All points, series after series. Holds no connection while the caller takes its time."""
    async with reads.db.tenant(asked.tenant_id) as conn:
        found = await store.series_of(conn, asked.run_ids, asked.keys)
    places = {run_id: place for place, run_id in enumerate(asked.run_ids)}
    for run_id, key in sorted(found, key=lambda series: (places[series[0]], series[1])):
        after: Place | None = None
        while True:
            work = partial(_first_block, run_id, key, after)
            points = await reads.points(asked.tenant_id, work)
            if len(points):
                yield pb.ReadMetricsResponse(block=_block((run_id, key), points))
            if len(points) < _BLOCK:
                break
            after = Place.last_of(points, after)


async def _first_block(run_id: UUID, key: str, after: Place | None, conn: Connection, held: Held) -> Columns:
    return await history.points_behind(conn, run_id, key, after, _BLOCK, held)


class Turns(Protocol):
    """As `Visible` has them."""

    @property
    def turn(self) -> int:
        """Grows whenever something may have become visible."""
        ...

    async def next_turn(self, since: int) -> None:
        """Waits for another."""
        ...

    def check_open(self) -> None:
        """Raises when the process drains."""
        ...


class Mark(NamedTuple):
    """A point that was sent, None for none, and how many points with it."""

    place: Place | None
    sent: int


_START: Final = Mark(None, 0)


@dataclass(slots=True)
class _Watched:
    """What the watcher of a series has, and from where it can be told anew."""

    has: Mark = _START
    marks: "deque[Mark]" = field(default_factory=lambda: deque(maxlen=_MARKS))
    """What it had after earlier looks. One that a late point came before fits no more, and says so by its count."""


async def watch(
    reads: Reads, visible: Turns, asked: Asked, *, block: int = _BLOCK
) -> AsyncIterator[pb.WatchMetricsResponse]:
    """All points, then new ones as they become visible, without end.

    A point that arrives late, before others that were sent, is found by counting: where a series has more points
    than were sent, what stands behind an earlier mark is sent again. At most `block` points at once.
    Raises SERVICE_UNAVAILABLE when the process drains.
    """
    watched: dict[Series, _Watched] = {}
    silent = False
    while True:
        turn = visible.turn
        async with reads.db.tenant(asked.tenant_id) as conn:
            counts = await store.points_of(conn, asked.run_ids, asked.keys)
        for series, count in counts.items():
            mine = watched.setdefault(series, _Watched())
            if mine.has.sent == count:
                continue
            silent = False
            async for response in _catch_up(reads, asked.tenant_id, series, mine, block):
                yield response
                visible.check_open()
        if not silent:
            yield pb.WatchMetricsResponse()
            silent = True
        await visible.next_turn(turn)


async def _catch_up(
    reads: Reads, tenant_id: str, series: Series, mine: _Watched, block: int
) -> AsyncIterator[pb.WatchMetricsResponse]:
    count, told_again = -1, False
    while mine.has.sent != count:
        work = partial(_next, series, mine, block)
        mark, points, count = await reads.points(tenant_id, work, snapshot=True)
        if mark is not mine.has:
            if told_again:
                return  # points are late all the time: the other series have their turn first
            told_again = True
        yield pb.WatchMetricsResponse(block=_block(series, points), offset=mark.sent)
        mine.has = _behind(mark, points)
    mine.marks.append(mine.has)


async def _next(series: Series, mine: _Watched, block: int, conn: Connection, held: Held) -> tuple[Mark, Columns, int]:
    """What to send next: from where on, the points, and how many the series has."""
    run_id, key = series
    count = (await store.points_of(conn, [run_id], [key])).get(series, 0)
    for mark in (mine.has, *reversed(mine.marks)):
        points = await history.points_behind(conn, run_id, key, mark.place, block, held)
        more = len(points) == block and mark is mine.has  # whether a point was late shows at the end
        if more or mark.sent + len(points) == count:
            return mark, points, count
    return _START, await history.points_behind(conn, run_id, key, None, block, held), count


def _behind(mark: Mark, points: Columns) -> Mark:
    return Mark(Place.last_of(points, mark.place) if len(points) else mark.place, mark.sent + len(points))


def _block(series: Series, points: Columns) -> metrics_pb2.MetricBlock:
    return metrics_pb2.MetricBlock(
        run_id=series[0].hex,
        key=series[1],
        steps=packed(points.steps),
        time_ms=packed(points.times),
        values=packed(points.values),
    )
