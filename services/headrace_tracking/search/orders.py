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
class Walk:
    """An index that has the runs of one experiment in the order of the first key of a segment."""

    source: LiteralString
    """A table with its alias."""
    alias: LiteralString
    column: LiteralString
    """Of the first key; the alias outside stands for rows of run_id and this."""
    condition: sql.Composable


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a result that is read in order."""

    joins: sql.Composable
    """What is read beside the runs, `first` included; `further` is without it."""
    further: sql.Composable
    condition: sql.Composable
    keys: tuple[SortKey, ...]
    walk: Walk | None = None


def segments(orders: Sequence[Order], table: Table, scope: Scope) -> list[Segment]:
    """The result in parts that follow each other.

    Ordered by a metric first, these are the runs with a value, with NaN, and without: then the first is what the
    index over (experiment, key, value) gives in order, without sorting all. Any other order is one part.
    """
    rest = list(orders)
    leading = rest.pop(0) if rest and rest[0].field.kind is Kind.METRIC else None
    joins, keys = _joins(rest, table, scope), _keys(rest, table, scope)
    by_time = _by_time(rest, table, scope)
    if leading is None:
        return [Segment(joins, joins, sql.SQL("true"), keys, by_time)]
    joined = _join("JOIN", "first", leading.field, table, scope)
    value = SortKey(sql.SQL("first.value"), "float8", leading.descending)
    none = sql.SQL("NOT EXISTS (SELECT FROM tracking.metric_latest AS m WHERE {}{})").format(
        _on("m", leading.field, table, scope), sql.SQL(table.fence)
    )
    return [
        Segment(joined + joins, joins, sql.SQL("first.value < 'NaN'"), (value, *keys), _by_value(leading.field, scope)),
        Segment(joined + joins, joins, sql.SQL("first.value = 'NaN'"), keys),
        Segment(joins, joins, none, keys, by_time),
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
    return sql.SQL("({} AND {})").format(from_on(keys[0], place[0], scope), condition)


def from_on(key: SortKey, value: object, scope: Scope) -> sql.Composed:
    """The condition of rows whose key is this value or comes after it."""
    reached = sql.SQL("<=" if key.descending else ">=")
    return sql.SQL("{} {} {}").format(key.expression, reached, scope.bind(value, key.type))


def _joins(orders: Sequence[Order], table: Table, scope: Scope) -> sql.Composed:
    metrics = [(number, order.field) for number, order in enumerate(orders) if order.field.kind is Kind.METRIC]
    return sql.SQL("").join([_join("LEFT JOIN", f"then{number}", field, table, scope) for number, field in metrics])


def _join(join: LiteralString, alias: str, field: Field, table: Table, scope: Scope) -> sql.Composed:
    return sql.SQL(" {} tracking.metric_latest AS {} ON {}").format(
        sql.SQL(join), sql.Identifier(alias), _on(alias, field, table, scope)
    )


def _on(alias: str, field: Field, table: Table, scope: Scope) -> sql.Composed:
    return sql.SQL("{} AND {a}.run_id = {}.run_id AND {a}.key = {}").format(
        scope.holds(alias), sql.Identifier(table.alias), scope.bind(field.key, "text"), a=sql.Identifier(alias)
    )


def _by_value(field: Field, scope: Scope) -> Walk | None:
    if len(scope.experiment_ids) != 1:
        return None
    condition = sql.SQL("{} AND first.key = {} AND first.value < 'NaN'").format(
        scope.holds("first"), scope.bind(field.key, "text")
    )
    return Walk("tracking.metric_latest AS first", "first", "value", condition)


def _by_time(orders: Sequence[Order], table: Table, scope: Scope) -> Walk | None:
    first = orders[0].field if orders else Field(Kind.ATTRIBUTE, table.ties[0][0])
    if len(scope.experiment_ids) != 1 or first != Field(Kind.ATTRIBUTE, "start_time"):
        return None
    return Walk("tracking.runs AS r", "r", "start_ms", scope.holds("r"))


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
