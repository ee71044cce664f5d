"""Runs a search: finds the ids of rows in order, from a place on.

The ids are found by the worker role. Under row security PostgreSQL uses an index only for operators that are marked
leakproof, and JSON containment is not, so that a request role would read all runs of an experiment (56 ms instead of
0.2 ms for one param among 300,000 runs). Therefore `find` names the tenant itself, first thing in every condition,
and what it returns is ids and nothing more: the rows behind them are read under row security, as everything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from headrace_kit import paging
from headrace_kit.db import Connection
from headrace_tracking.search import plans
from headrace_tracking.search.orders import Segment, SortKey, segments
from headrace_tracking.search.plans import EFFORT, Effort, Row
from headrace_tracking.search.request import Search

Place = list[str | int | float | None]
"""Where a row stands in a result: its part, and its value of each sort key. What a page token holds."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that was found: the part it is in, its id, and its sort keys."""

    part: int
    row: Row

    @property
    def id(self) -> UUID | int:
        """Of the run or the experiment."""
        found: UUID | int = self.row[0]
        return found

    @property
    def place(self) -> Place:
        """Where it stands."""
        return [self.part, *map(_written, self.row[1:])]


async def find(conn: Connection, search: Search, after: Place | None, limit: int, effort: Effort = EFFORT) -> list[Hit]:
    """At most `limit` rows behind the place, in order. Raises InvalidField for a place that no row can have."""
    parts = segments(search.orders, search.table, search.scope())
    first, place = _read(after, parts)
    memory = plans.Memory()
    hits: list[Hit] = []
    for number in range(first, len(parts)):
        rows = await plans.read(conn, search, number, place, limit - len(hits), effort, memory)
        hits += [Hit(number, row) for row in rows]
        if len(hits) == limit:
            break
        place = None
    return hits


def _written(value: UUID | str | float) -> str | int | float:
    return value.hex if isinstance(value, UUID) else value


def _integer(value: object) -> int:
    if not isinstance(value, int) or abs(value) >= 2**63:
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError
    return value


_READ: Final[dict[str, Callable[[object], object]]] = {
    "int": _integer,
    "bigint": _integer,
    "float8": lambda value: float(value) if isinstance(value, int | float) else float(_text(value)),
    "text": _text,
    "uuid": lambda value: UUID(_text(value)),
}


def _read(after: Place | None, parts: Sequence[Segment]) -> tuple[int, list[object] | None]:
    """The part and the keys in a place; a token comes from the caller, who may have changed it."""
    if after is None:
        return 0, None
    try:
        number = _integer(after[0])
        keys: Sequence[SortKey] = parts[number].keys
        return number, [_READ[key.type](value) for key, value in zip(keys, after[1:], strict=True)]
    except (ValueError, IndexError, OverflowError):
        raise paging.invalid_token() from None
