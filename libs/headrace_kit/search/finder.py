"""Runs a search: finds the ids of rows in order, from a place on."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from headrace_kit import paging
from headrace_kit.db import Connection
from headrace_kit.search.orders import Segment, SortKey, segments
from headrace_kit.search.request import Search
from headrace_kit.search.statements import Row, Shape, Start, read_all

Place = list[str | int | float | None]
"""Where a row stands in a result: its part, and its value of each sort key. What a page token holds."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that was found: the part it is in, its id, and its sort keys."""

    part: int
    row: Row

    @property
    def id(self) -> UUID | int | str:
        """The id."""
        found: UUID | int | str = self.row[0]
        return found

    @property
    def place(self) -> Place:
        """Where it stands."""
        return [self.part, *map(_written, self.row[1:])]


Read = Callable[[int, Sequence[object] | None, int], Awaitable[list[Row]]]
"""(Number of a part, keys of the row behind which it begins, how many at most) → rows in order."""


async def find(
    conn: Connection, search: Search, after: Place | None, limit: int, read: Read | None = None
) -> list[Hit]:
    """At most `limit` rows behind the place, in order. Raises InvalidField for a place that no row can have.

    `read` has a way of its own to read a part; without it PostgreSQL finds one.
    """
    parts = segments(search.orders, search.table, search.scope())
    first, place = _read(after, parts)
    hits: list[Hit] = []
    for number in range(first, len(parts)):
        left = limit - len(hits)
        found = (
            await read(number, place, left) if read else await read_all(conn, Shape(search, number, Start(place)), left)
        )
        hits += [Hit(number, row) for row in found]
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
