"""Pages of one series, merged from its chunks."""

from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Final, Literal, Self
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncServerCursor

from headrace.api.tracking.v1 import tracking_service_pb2
from headrace_kit import paging
from headrace_kit.db import Connection
from headrace_tracking import chunks, limits, stored
from headrace_tracking.archives import Held
from headrace_tracking.columns import Columns, Zstd, bits, rank
from headrace_tracking.store import metrics as store
from headrace_tracking.store.metrics import ChunkRow, Range

_PAGE: Final = 10_000
_LARGEST_PAGE: Final = 100_000
_NOTHING: Final[Held] = MappingProxyType({})
_Bound = Literal["start_step", "end_step", "start_time_ms", "end_time_ms"]
_FIRST_FETCH: Final = 4  # chunks; a page of full ones needs two, of overlapping ones some more
_LARGEST_FETCH: Final = 200  # full ones take 48 MB unpacked


EVERYTHING: Final = Range(*(limits.LEAST_INT64, limits.MOST_INT64) * 2)


@dataclass(frozen=True, slots=True)
class Place:
    """The last point of a page. Equal points are told apart by how many of them were returned."""

    time_ms: int
    step: int
    bits: int
    """Of the value."""
    returned: int

    @classmethod
    def last_of(cls, points: Columns, before: "Place | None") -> Self:
        """Where a page with these points ends that began behind `before`."""
        time_ms, step, value_bits = points.times[-1].item(), points.steps[-1].item(), bits(points)[-1].item()
        same = (points.times == time_ms) & (points.steps == step) & (bits(points) == value_bits)
        returned = int(same.sum())
        if before and (before.time_ms, before.step, before.bits) == (time_ms, step, value_bits):
            returned += before.returned
        return cls(time_ms, step, value_bits, returned)

    def behind(self, points: Columns) -> Columns:
        """Those of the ordered points that come after this one."""
        # The place itself is put among them as a point, to be ordered by the same rule.
        place = Columns(np.array([self.step]), np.array([self.time_ms]), np.array([self.bits]).view(np.float64))
        before = _before(points, place)
        same = (points.times == self.time_ms) & (points.steps == self.step) & (bits(points) == self.bits)
        return points[int(before.sum()) + min(self.returned, int(same.sum())) :]


def _before(points: Columns, place: Columns) -> NDArray[np.bool_]:
    """Which points come before the one place, by (time, step, value, bits)."""
    less = bits(points) < bits(place)
    for mine, its in (
        (rank(points), rank(place)),
        (points.steps, place.steps),
        (points.times, place.times),
    ):
        less = (mine < its) | ((mine == its) & less)
    return less


async def read_page(
    conn: Connection,
    run_id: UUID,
    request: tracking_service_pb2.GetMetricHistoryRequest,
    held: Held = _NOTHING,
) -> tracking_service_pb2.GetMetricHistoryResponse:
    """In a transaction. Raises InvalidField for a bad key, range, page_size or page_token; DATA_LOST for a damaged chunk."""
    key = limits.key("key", request.key)
    within = _range(request)
    size = paging.page_size(request.page_size, default=_PAGE, most=_LARGEST_PAGE)
    binding = ("metric history", run_id.hex, key, *(() if within == EVERYTHING else astuple(within)))
    after = _place(request.page_token, binding)
    points = await points_behind(conn, run_id, key, after, size + 1, held, within)
    page = points[:size]
    token = ""
    if len(points) > size:
        last = Place.last_of(page, after)
        token = paging.encode(binding, [last.time_ms, last.step, last.bits, last.returned])
    return tracking_service_pb2.GetMetricHistoryResponse(
        time_ms=page.times.tolist(), steps=page.steps.tolist(), values=page.values.tolist(), next_page_token=token
    )


async def points_behind(
    conn: Connection,
    run_id: UUID,
    key: str,
    after: Place | None,
    count: int,
    held: Held = _NOTHING,
    within: Range = EVERYTHING,
) -> Columns:
    """The first `count` points of a series in a range, or all there are; with `after` only those behind it.

    In a transaction. `held` is what was read of archives. Raises DomainError DATA_LOST for a damaged chunk; Unread when
    it needs more of archives, see `reads`.
    """
    start = (after.time_ms, after.step) if after else (limits.LEAST_INT64, limits.LEAST_INT64)
    async with store.chunks_from(conn, run_id, key, *start, within) as cursor:
        return await _points(cursor, after, within, count, held)


async def _points(
    cursor: AsyncServerCursor[ChunkRow], after: Place | None, within: Range, count: int, held: Held
) -> Columns:
    """The first `count` points behind the place and in the range, or all there are.

    Chunks come by where they begin: points before the beginning of the last one read have nothing to fear from the next.
    """
    zstd = Zstd()
    read = found = Columns.joined([])
    wanted = _FIRST_FETCH
    while rows := await cursor.fetchmany(wanted):
        parts = [_inside(part, within) for part in stored.unpacked(rows, zstd, held)]
        read = chunks.ordered(Columns.joined([read, *parts]))
        found = after.behind(read) if after else read
        missing = count - chunks.count_before(found, rows[-1].first_time_ms, rows[-1].first_step)
        if missing <= 0:
            break
        wanted = min(_LARGEST_FETCH, 1 + missing * len(rows) // sum(row.points for row in rows))
    return found[:count]


def _range(request: tracking_service_pb2.GetMetricHistoryRequest) -> Range:
    def given(field: _Bound) -> tuple[str, int | None]:
        return field, getattr(request, field) if request.HasField(field) else None

    steps = limits.span(given("start_step"), given("end_step"))
    return Range(*steps, *limits.span(given("start_time_ms"), given("end_time_ms")))


def _inside(points: Columns, within: Range) -> Columns:
    inside = (points.steps >= within.first_step) & (points.steps <= within.last_step)
    inside &= (points.times >= within.first_time_ms) & (points.times <= within.last_time_ms)
    return points if inside.all() else points[inside]


def _place(token: str, binding: object) -> Place | None:
    key = paging.decode(token, binding)
    if key is None:
        return None
    numbers = [
        number for number in key if isinstance(number, int) and limits.LEAST_INT64 <= number <= limits.MOST_INT64
    ]
    if len(key) != 4 or len(numbers) != 4:
        raise paging.invalid_token()
    return Place(*numbers)
