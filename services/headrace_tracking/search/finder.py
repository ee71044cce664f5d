"""Runs a search: finds the ids of rows in order, from a place on.

The ids are found by the worker role. Under row security PostgreSQL uses an index only for operators that are marked
leakproof, and JSON containment is not, so that a request role would read all runs of an experiment (56 ms instead of
0.2 ms for one param among 300,000 runs). Therefore `find` names the tenant itself, first thing in every condition,
and what it returns is ids and nothing more: the rows behind them are read under row security, as everything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from uuid import UUID

from psycopg import sql

from headrace_kit import paging
from headrace_kit.db import Connection
from headrace_tracking.search.conditions import condition
from headrace_tracking.search.orders import Segment, SortKey, behind, segments
from headrace_tracking.search.tables import Scope, Table
from headrace_tracking.search.tree import Filter, Order

Place = list[str | int | float | None]
"""Where a row stands in a result: its part, and its value of each sort key. What a page token holds."""


class View(Enum):
    """Which of active and deleted rows a search sees."""

    ACTIVE = auto()
    DELETED = auto()
    ALL = auto()


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    For runs alone: `experiment_ids` are the experiments searched, `deleted_ids` those of them that are deleted, and
    all their runs with them. A search for active runs names no deleted experiment.
    """

    table: Table
    tenant_id: str
    view: View
    filter: Filter | None
    orders: Sequence[Order]
    experiment_ids: Sequence[int] | None = None
    deleted_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """The id of a row that was found, and its place."""

    id: UUID | int
    place: Place


async def find(conn: Connection, search: Search, after: Place | None, limit: int) -> list[Hit]:
    """At most `limit` rows behind the place, in order. Raises InvalidField for a place that no row can have."""
    scope = Scope(search.tenant_id, search.experiment_ids)
    parts = segments(search.orders, search.table, scope)
    wanted = sql.SQL("true") if search.filter is None else condition(search.filter, search.table, scope)
    first, place = _read(after, parts)
    hits: list[Hit] = []
    for number in range(first, len(parts)):
        part = parts[number]
        start = behind(part.keys, place, scope) if place is not None and number == first else sql.SQL("true")
        statement = _statement(search, part, scope, sql.SQL("{} AND {}").format(wanted, start))
        parameters = scope.parameters | {"limit": limit - len(hits)}
        # The best plan depends on the values; a plan kept for all of them would be wrong for most.
        cursor = await conn.execute(statement, parameters, prepare=False)
        hits += [Hit(row[0], [number, *map(_written, row[1:])]) for row in await cursor.fetchall()]
        if len(hits) == limit:
            break
    return hits


def _statement(search: Search, part: Segment, scope: Scope, wanted: sql.Composable) -> sql.Composed:
    table = search.table
    orders = [sql.SQL("{} DESC" if key.descending else "{}").format(key.expression) for key in part.keys]
    return sql.SQL(
        "SELECT {id}, {keys} FROM {source} AS {alias}{joins}"
        " WHERE {scope} AND {view} AND {part} AND {wanted} ORDER BY {orders} LIMIT %(limit)s"
    ).format(
        id=sql.Identifier(table.alias, table.id),
        keys=sql.SQL(", ").join([key.expression for key in part.keys]),
        source=sql.SQL(table.source),
        alias=sql.Identifier(table.alias),
        joins=part.joins,
        scope=scope.holds(table.alias),
        view=_view(search, scope),
        part=part.condition,
        wanted=wanted,
        orders=sql.SQL(", ").join(orders),
    )


def _view(search: Search, scope: Scope) -> sql.Composable:
    alias = sql.Identifier(search.table.alias)
    match search.view:
        case View.ALL:
            return sql.SQL("true")
        case View.ACTIVE:
            return sql.SQL("{}.delete_ms IS NULL").format(alias)
        case View.DELETED if not search.deleted_ids:
            return sql.SQL("{}.delete_ms IS NOT NULL").format(alias)
        case View.DELETED:
            ids = scope.bind(list(search.deleted_ids), "bigint[]")
            return sql.SQL("({a}.delete_ms IS NOT NULL OR {a}.experiment_id = ANY({ids}))").format(a=alias, ids=ids)


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
