"""The statements that find rows: what one is put together of, and the plain one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from headrace_kit.db import Connection
from headrace_kit.search.conditions import condition
from headrace_kit.search.orders import Segment, behind, from_on, segments
from headrace_kit.search.request import Search
from headrace_kit.search.tables import Scope, numbered
from headrace_kit.search.tree import And, Filter

Row = tuple[Any, ...]
"""The id of a row, and its sort keys."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading begins: behind the keys `place`, and from the value `floor` of the first key on."""

    place: Sequence[object] | None = None
    floor: object = None


class Shape:
    """The pieces of one statement over one part, with its parameters."""

    def __init__(self, search: Search, number: int, start: Start, fence: LiteralString = "") -> None:
        self.search = search
        self.table = replace(search.table, fence=fence)
        self.scope: Scope = search.scope()
        self.part: Segment = segments(search.orders, self.table, self.scope)[number]
        self.terms: list[Filter] = terms(search.filter)
        self.held: LiteralString = search.held(self.scope)
        self.floor: LiteralString = "true"
        self.start: LiteralString = "true"
        if start.place is not None:
            self.floor = from_on(self.part.keys[0], start.place[0], self.scope)
            self.start = behind(self.part.keys, start.place, self.scope)
        if start.floor is not None:
            self.floor = from_on(self.part.keys[0], start.floor, self.scope)
            self.start = f"{self.start} AND {self.floor}"

    def all_of(self, terms: Sequence[Filter], alias: LiteralString | None = None) -> LiteralString:
        """The condition of these terms on rows of this alias."""
        if not terms:
            return "true"
        table = replace(self.table, alias=alias) if alias else self.table
        return condition(terms[0] if len(terms) == 1 else And(tuple(terms)), table, self.scope)

    @property
    def columns(self) -> LiteralString:
        """The id and the keys, as `id`, `k0`, `k1`, ..."""
        named: list[LiteralString] = [f"{key.expression} AS {_key(n)}" for n, key in enumerate(self.part.keys)]
        return ", ".join([f"{self.table.alias}.{self.table.id} AS id", *named])

    @property
    def order(self) -> LiteralString:
        """By the names of `columns`."""
        named: list[LiteralString] = [f"{_key(n)}{way(key.descending)}" for n, key in enumerate(self.part.keys)]
        return ", ".join(named)


def terms(tree: Filter | None) -> list[Filter]:
    """What a row must fulfil all of."""
    if tree is None:
        return []
    return [one for term in tree.terms for one in terms(term)] if isinstance(tree, And) else [tree]


async def read_all(conn: Connection, shape: Shape, limit: int, handle: LiteralString = "true") -> list[Row]:
    """One statement; PostgreSQL finds its way. `handle` is a condition that every row fulfils, and that an index answers."""
    statement: LiteralString = (
        f"SELECT {shape.columns} FROM {shape.table.source} AS {shape.table.alias}{shape.part.joins}"
        f" WHERE {shape.held} AND {shape.part.condition} AND {shape.all_of(shape.terms)} AND {handle} AND {shape.start}"
        f" ORDER BY {shape.order} LIMIT %(limit)s"
    )
    return await fetched(conn, statement, shape.scope, limit=limit)


async def fetched(conn: Connection, statement: LiteralString, scope: Scope, **numbers: int) -> list[Row]:
    """What the statement gives; its numbers are parameters of their names."""
    # The best plan depends on the values; a plan kept for all of them would be wrong for most.
    cursor = await conn.execute(statement, scope.parameters | numbers, prepare=False)
    return await cursor.fetchall()


def _key(number: int) -> LiteralString:
    return numbered("k", number)


def way(descending: bool) -> LiteralString:
    """Behind a key of an order."""
    return " DESC" if descending else ""
