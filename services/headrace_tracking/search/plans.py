"""The ways to read one part of a result, and which of them is taken.

**Look**: walk the index that has the order, and look at each run for the filter. A filter that many rows match has its
page after a few entries. How many matched of those tells what the page would take.

**Sift**: find ids by an index that answers a part of the filter, up to a limit. Few are put in order themselves. Of
more, the index that has the order is walked, and only runs among those ids are looked at: an entry passed over costs
0.3 µs, a run looked at 7 µs.

**All**: one statement, and PostgreSQL chooses. Left for a filter that no index answers, for an order that none has
together with many ids, and for what is without a filter.

Where statements are cut short, they are made so that PostgreSQL cannot choose another way: its guesses of how many rows
match are for whole columns, whatever the experiment or the metric.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, LiteralString

from headrace_kit.db import Connection
from headrace_kit.search.request import Search
from headrace_kit.search.statements import Row, Shape, Start, fetched, read_all, terms, way
from headrace_kit.search.tree import Filter, Kind
from headrace_tracking.search import handles
from headrace_tracking.search.walks import Walk, walk_of

SETTINGS: Final = MappingProxyType({"max_parallel_workers_per_gather": "0"})
"""Of PostgreSQL, for the sessions that search: to start helpers takes longer than a search."""
_DENSE: Final = 10
"""Looking goes on while the page is expected within so many entries a row."""
_ROW_KINDS: Final = frozenset((Kind.PARAM, Kind.TAG, Kind.ATTRIBUTE))
_FENCE: Final[LiteralString] = " OFFSET 0"


@dataclass(frozen=True, slots=True)
class Effort:
    """Where one way is given up for another; counts of rows."""

    look: int = 1_000
    """Most entries of a first look; fewer where the page is smaller."""
    few: int = 500
    """As many ids are put in order themselves."""
    most: int = 25_000
    """As many ids are sifted by: 50 ms."""


EFFORT: Final = Effort()


@dataclass(slots=True)
class Memory:
    """What reading one part of a result told, for the next."""

    thin: int | None = None
    """Which of the ranges of metrics has few runs."""
    asked: bool = False
    """Whether that is known."""
    few: bool = False
    """Whether an index finds few ids for the whole filter: then there is no need to look."""
    matching: int | None = None
    """How many rows of all parts match, where that was counted: when all of them are found, other parts have none."""


class _Shape(Shape):
    """With the index that has the order, where there is one."""

    def __init__(self, search: Search, number: int, start: Start, fence: LiteralString = "") -> None:
        super().__init__(search, number, start, fence)
        self.walk: Walk | None = walk_of(search.orders, self.table, self.scope, number)

    def walked(self, walk: Walk) -> LiteralString:
        """The index's entries in order."""
        column = f"{walk.alias}.{walk.column}"
        return (
            f"SELECT {walk.alias}.run_id, {column} FROM {walk.source} WHERE {walk.condition} AND {self.floor}"
            f" ORDER BY {column}{way(self.part.keys[0].descending)}"
        )

    def run_of(self, alias: LiteralString) -> LiteralString:
        """The run of each row of this alias, read one after the other."""
        return (
            " CROSS JOIN LATERAL (SELECT r.* FROM tracking.runs AS r"
            f" WHERE r.tenant_id = %(tenant)s::text AND r.run_id = {alias}.run_id OFFSET 0) AS r"
        )


async def read(
    conn: Connection,
    search: Search,
    number: int,
    place: Sequence[object] | None,
    limit: int,
    effort: Effort,
    memory: Memory,
) -> list[Row]:
    """At most `limit` rows of a part, behind the place, in order. `memory` goes from part to part of one call."""
    found: list[Row] = []
    start = Start(place)
    if not search.table.indexed or not search.experiment_ids or not handles.any_in(terms(search.filter)):
        return await _all(conn, _Shape(search, number, start), limit)
    shape = _Shape(search, number, start, _FENCE)
    block = min(limit, effort.look)
    while shape.walk and not memory.few:
        walk = shape.walk
        rows, entries, last = await _look(conn, shape, walk, limit - len(found), block, effort.few, memory)
        found += rows
        if len(found) == limit or entries < block:
            return found
        start = Start(place, last)
        shape = _Shape(search, number, start, _FENCE)
        if not rows or (expected := (limit - len(found)) * entries / len(rows)) > _DENSE * limit:
            break
        block = math.ceil(1.5 * expected)
    sifted = await _sift(conn, shape, limit - len(found), effort, memory)
    if sifted is None:
        sifted = await _all(conn, _Shape(search, number, start), limit - len(found))
    return found + sifted


async def _look(
    conn: Connection, shape: _Shape, walk: Walk, limit: int, block: int, few: int, memory: Memory
) -> tuple[list[Row], int, object]:
    """The rows among the next entries of the index, how many entries there were, and the first key of the last.

    The same statement tells `memory` which range of a metric is thin.

    Of entries whose first key is the last one's, more may follow: they are left for then.
    """
    last: LiteralString = "min" if shape.part.keys[0].descending else "max"
    statement: LiteralString = (
        f"WITH walked AS MATERIALIZED ({shape.walked(walk)} LIMIT %(block)s),"
        f" seen AS MATERIALIZED (SELECT count(*) AS entries, {last}({walk.column}) AS last FROM walked)"
        f" SELECT {_counts(shape, memory)}, seen.entries, seen.last, found.* FROM seen LEFT JOIN LATERAL ("
        f"SELECT {shape.columns} FROM walked AS first{shape.run_of('first')}{shape.part.further}"
        f" WHERE {shape.held} AND {shape.part.condition} AND {shape.all_of(shape.terms)} AND {shape.start}"
        f" AND (first.{walk.column} <> seen.last OR seen.entries < %(block)s) ORDER BY {shape.order} LIMIT %(limit)s"
        f") AS found ON true ORDER BY {shape.order}"
    )
    rows = await fetched(conn, statement, shape.scope, limit=limit, block=block, few=few)
    _note(memory, rows[0][0])
    return [row[3:] for row in rows if row[3] is not None], rows[0][1], rows[0][2]


async def _sift(conn: Connection, shape: _Shape, limit: int, effort: Effort, memory: Memory) -> list[Row] | None:
    """The rows among those that an index finds; None when these are too many."""
    sieve = await _sieve(conn, shape, effort.few, memory)
    if sieve is None:
        return None
    few = effort.few if shape.walk else effort.most
    ways: list[LiteralString] = [_put_in_order(shape)]
    if shape.walk:
        ways.append(_walk_among(shape, shape.walk, sieve.rest))
    # Many are better read once, and not kept to be counted.
    kept: LiteralString = "MATERIALIZED" if shape.walk else "NOT MATERIALIZED"
    count: LiteralString = "(SELECT count(*) FROM matching)" if shape.walk else "NULL::bigint"
    statement: LiteralString = (
        f"WITH sieve AS MATERIALIZED ({sieve.ids} LIMIT %(most)s + 1),"
        " counted AS MATERIALIZED (SELECT count(*) AS ids FROM sieve),"
        f" matching AS {kept} ({_matching(shape, sieve.rest)})"
        f" SELECT counted.ids, {count}, found.*"
        f" FROM counted LEFT JOIN LATERAL ({' UNION ALL '.join(ways)}) AS found ON true ORDER BY {shape.order}"
    )
    rows = await fetched(conn, statement, shape.scope, limit=limit, few=few, most=effort.most)
    ids, matching = rows[0][:2]
    memory.few = ids <= effort.few
    if ids <= few:
        memory.matching = matching
    return None if ids > effort.most else [row[2:] for row in rows if row[2] is not None]


@dataclass(frozen=True, slots=True)
class _Sieve:
    """A query for ids that an index answers, and the terms that it leaves to be told."""

    ids: LiteralString
    rest: Sequence[Filter]


async def _sieve(conn: Connection, shape: _Shape, few: int, memory: Memory) -> _Sieve | None:
    """The range of a metric that has few runs, else params and tags, else a range; None where there is neither."""
    ranges = handles.by_ranges(shape.terms, shape.scope)
    if ranges and not memory.asked:
        rows = await fetched(conn, f"SELECT {_counts(shape, memory)}", shape.scope, few=few)
        _note(memory, rows[0][0])
    thin = None if memory.thin is None else ranges[memory.thin]
    tokens = handles.by_tokens(shape.terms, shape.table, shape.scope)
    if thin is None and tokens is not None:
        # What the row alone tells is told here, where it is read anyway; what the index told is compared at the end, for
        # the few that are left. The index by itself inside: PostgreSQL would read the whole experiment from another.
        told = [term for term in shape.terms if handles.kinds(term) <= _ROW_KINDS and not handles.is_entry(term)]
        ids: LiteralString = (
            f"SELECT r.run_id FROM (SELECT r.* FROM tracking.runs AS r WHERE {tokens} OFFSET 0) AS r"
            f" WHERE {shape.held} AND {shape.all_of(told)}"
        )
        return _Sieve(ids, [term for term in shape.terms if term not in told])
    return _Sieve(ranges[0] if thin is None else thin, shape.terms) if ranges else None


def _matching(shape: _Shape, rest: Sequence[Filter]) -> LiteralString:
    """The runs of the sieve that match, of all parts, where the sieve has few."""
    return (
        f"SELECT r.* FROM (SELECT sieve.run_id FROM sieve LIMIT %(few)s) AS sieved{shape.run_of('sieved')}"
        f" WHERE (SELECT ids FROM counted) <= %(few)s AND {shape.held} AND {shape.all_of(rest)}"
    )


def _put_in_order(shape: _Shape) -> LiteralString:
    """Those of the part, in order."""
    return (
        f"(SELECT {shape.columns} FROM matching AS r{shape.part.joins}"
        f" WHERE {shape.part.condition} AND {shape.start} ORDER BY {shape.order} LIMIT %(limit)s)"
    )


def _walk_among(shape: _Shape, walk: Walk, rest: Sequence[Filter]) -> LiteralString:
    """The index of the order, looking only at runs of the sieve, where they are more than few."""
    of_series = [term for term in rest if not handles.kinds(term) & _ROW_KINDS]
    others = [term for term in rest if term not in of_series]
    return (
        f"(SELECT {shape.columns} FROM ({shape.walked(walk)}) AS first{shape.run_of('first')}{shape.part.further}"
        " WHERE (SELECT ids FROM counted) BETWEEN %(few)s + 1 AND %(most)s"
        # In this form it is a table in memory, asked for one entry after the other.
        " AND (first.run_id IN (SELECT sieve.run_id FROM sieve)) IS TRUE"
        # Told by the id, before the run is read.
        f" AND {shape.all_of(of_series, 'first')} AND {shape.held} AND {shape.part.condition}"
        f" AND {shape.all_of(others)} AND {shape.start} ORDER BY {shape.order} LIMIT %(limit)s)"
    )


def _counts(shape: _Shape, memory: Memory) -> LiteralString:
    """An array that tells which range of a metric has few runs; empty where that is known."""
    ranges = [] if memory.asked else handles.by_ranges(shape.terms, shape.scope)
    thin: list[LiteralString] = [
        f"(SELECT count(*) <= %(few)s FROM ({one} LIMIT %(few)s + 1) AS ids)" for one in ranges
    ]
    return f"ARRAY[{', '.join(thin)}]::boolean[]"


def _note(memory: Memory, thin: Sequence[bool]) -> None:
    if not memory.asked:
        memory.asked = True
        memory.thin = next((number for number, is_thin in enumerate(thin) if is_thin), None)


async def _all(conn: Connection, shape: _Shape, limit: int) -> list[Row]:
    """One statement; PostgreSQL finds its way."""
    if shape.walk or not shape.search.experiment_ids or not shape.table.indexed:
        return await read_all(conn, shape, limit)
    # With an order that no index has, to find the rows is what an index can do.
    tokens = handles.by_tokens(shape.terms, shape.table, shape.scope)
    return await read_all(conn, shape, limit, tokens or "true")
