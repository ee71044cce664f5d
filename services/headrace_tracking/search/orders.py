"""Turns orders into sort keys, and a place in the order into the condition of the rows behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from headrace_tracking.search.conditions import entry
from headrace_tracking.search.tables import Scope, Table
from headrace_tracking.search.tree import Field, Kind, Order


@dataclass(frozen=True, slots=True)
class SortKey:
    """A column of the order. Never NULL, so that a row's place is told by comparing its keys one after the other."""

    expression: sql.Composable
    type: LiteralString
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a result that one statement reads in order."""

    joins: sql.Composable
    condition: sql.Composable
    keys: tuple[SortKey, ...]


def segments(orders: Sequence[Order], table: Table, scope: Scope) -> list[Segment]:
    """The result in parts that follow each other.

    Ordered by a metric first, these are the runs with a value, with NaN, and without: then the first is what the
    index over (experiment, key, value) gives in order, without sorting all. Any other order is one part.
    """
    rest = list(orders)
    leading = rest.pop(0) if rest and rest[0].field.kind is Kind.METRIC else None
    joins, keys = _joins(rest, table, scope), _keys(rest, table, scope)
    if leading is None:
        return [Segment(joins, sql.SQL("true"), keys)]
    joined = _join("JOIN", "first", leading.field, table, scope)
    left = _join("LEFT JOIN", "first", leading.field, table, scope)
    value = SortKey(sql.SQL("first.value"), "float8", leading.descending)
    return [
        Segment(joined + joins, sql.SQL("first.value < 'NaN'"), (value, *keys)),
        Segment(joined + joins, sql.SQL("first.value = 'NaN'"), keys),
        Segment(left + joins, sql.SQL("first.run_id IS NULL"), keys),
    ]


def behind(keys: Sequence[SortKey], place: Sequence[object], scope: Scope) -> sql.Composed:
    """The condition of rows that come after the one whose keys have these values."""
    bound = [scope.bind(value, key.type) for key, value in zip(keys, place, strict=True)]
    condition = sql.SQL("false").format()
    for key, value in zip(reversed(keys), reversed(bound), strict=True):
        further = sql.SQL("<" if key.descending else ">")
        condition = sql.SQL("({k} {further} {v} OR ({k} = {v} AND {rest}))").format(
            k=key.expression, further=further, v=value, rest=condition
        )
    # Implied, but in a form by which an index finds where to go on.
    start = sql.SQL("{} {} {}").format(keys[0].expression, sql.SQL("<=" if keys[0].descending else ">="), bound[0])
    return sql.SQL("({} AND {})").format(start, condition)


def _joins(orders: Sequence[Order], table: Table, scope: Scope) -> sql.Composed:
    metrics = [(number, order.field) for number, order in enumerate(orders) if order.field.kind is Kind.METRIC]
    return sql.SQL("").join([_join("LEFT JOIN", f"then{number}", field, table, scope) for number, field in metrics])


def _join(join: LiteralString, alias: str, field: Field, table: Table, scope: Scope) -> sql.Composed:
    return sql.SQL(" {} tracking.metric_latest AS {} ON {} AND {}.run_id = {}.run_id AND {}.key = {}").format(
        sql.SQL(join),
        sql.Identifier(alias),
        scope.holds(alias),
        sql.Identifier(alias),
        sql.Identifier(table.alias),
        sql.Identifier(alias),
        scope.bind(field.key, "text"),
    )


def _keys(orders: Sequence[Order], table: Table, scope: Scope) -> tuple[SortKey, ...]:
    keys = [key for number, order in enumerate(orders) for key in _order_keys(order, f"then{number}", table, scope)]
    ties = [
        SortKey(sql.SQL(table.columns[name].expression), table.columns[name].type, descending)
        for name, descending in table.ties
    ]
    return (*keys, *ties)


def _order_keys(order: Order, alias: str, table: Table, scope: Scope) -> list[SortKey]:
    match order.field.kind:
        case Kind.METRIC:
            value = sql.Identifier(alias, "value")
            rank = sql.SQL("CASE WHEN {v} < 'NaN' THEN 0 WHEN {v} = 'NaN' THEN 1 ELSE 2 END").format(v=value)
            number = sql.SQL("CASE WHEN {v} < 'NaN' THEN {v} ELSE 0 END").format(v=value)
            return [SortKey(rank, "int"), SortKey(number, "float8", order.descending)]
        case Kind.ATTRIBUTE if not table.columns[order.field.key].nullable:
            column = table.columns[order.field.key]
            return [SortKey(sql.SQL(column.expression), column.type, order.descending)]
        case Kind.ATTRIBUTE:
            column = table.columns[order.field.key]
            return _nullable(sql.SQL(column.expression), sql.SQL("0"), column.type, order.descending)
        case _:
            text = sql.SQL('{} COLLATE "C"').format(entry(order.field, table, scope))
            return _nullable(text, sql.SQL("''"), "text", order.descending)


def _nullable(value: sql.Composable, filler: sql.SQL, kind: LiteralString, descending: bool) -> list[SortKey]:
    missing = sql.SQL("CASE WHEN {} IS NULL THEN 1 ELSE 0 END").format(value)
    filled = sql.SQL("coalesce({}, {})").format(value, filler)
    return [SortKey(missing, "int"), SortKey(filled, kind, descending)]
