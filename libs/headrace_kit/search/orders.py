"""Turns orders into sort keys, and a place in the order into the condition of the rows behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from headrace_kit.search.conditions import entry, of_series
from headrace_kit.search.tables import Scope, Table, numbered
from headrace_kit.search.tree import Field, Kind, Order


@dataclass(frozen=True, slots=True)
class SortKey:
    """A column of the order. Never NULL, so that a row's place is told by comparing its keys one after the other."""

    expression: LiteralString
    type: LiteralString
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a result that is read in order."""

    joins: LiteralString
    """What is read beside the rows, `first` included; `further` is without it."""
    further: LiteralString
    condition: LiteralString
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
        return [Segment(joins, joins, "true", keys)]
    joined = _join("JOIN", "first", leading.field, table, scope)
    value = SortKey("first.value", "float8", leading.descending)
    on = of_series("m", leading.field, table, scope)
    none: LiteralString = f"NOT EXISTS (SELECT FROM {table.value} AS m WHERE {on}{table.fence})"
    return [
        Segment(joined + joins, joins, "first.value < 'NaN'", (value, *keys)),
        Segment(joined + joins, joins, "first.value = 'NaN'", keys),
        Segment(joins, joins, none, keys),
    ]


def behind(keys: Sequence[SortKey], place: Sequence[object], scope: Scope) -> LiteralString:
    """The condition of rows that come after the one whose keys have these values."""
    bound: list[LiteralString] = [scope.bind(value, key.type) for key, value in zip(keys, place, strict=True)]
    condition: LiteralString = "false"
    for key, value in zip(reversed(keys), reversed(bound), strict=True):
        further = "<" if key.descending else ">"
        condition = f"({key.expression} {further} {value} OR ({key.expression} = {value} AND {condition}))"
    # Implied, but in a form by which an index finds where to go on.
    return f"({from_on(keys[0], place[0], scope)} AND {condition})"


def from_on(key: SortKey, value: object, scope: Scope) -> LiteralString:
    """The condition of rows whose key is this value or comes after it."""
    return f"{key.expression} {'<=' if key.descending else '>='} {scope.bind(value, key.type)}"


def _joins(orders: Sequence[Order], table: Table, scope: Scope) -> LiteralString:
    metrics = [(number, order.field) for number, order in enumerate(orders) if order.field.kind is Kind.METRIC]
    return "".join([_join("LEFT JOIN", _then(number), field, table, scope) for number, field in metrics])


def _join(join: LiteralString, alias: LiteralString, field: Field, table: Table, scope: Scope) -> LiteralString:
    return f" {join} {table.value} AS {alias} ON {of_series(alias, field, table, scope)}"


def _then(number: int) -> LiteralString:
    """The alias of the metric that is the order of this number."""
    return numbered("then", number)


def _keys(orders: Sequence[Order], table: Table, scope: Scope) -> tuple[SortKey, ...]:
    keys = [key for number, order in enumerate(orders) for key in _order_keys(order, _then(number), table, scope)]
    ties = [
        SortKey(table.columns[name].expression, table.columns[name].type, descending) for name, descending in table.ties
    ]
    return (*keys, *ties)


def _order_keys(order: Order, alias: LiteralString, table: Table, scope: Scope) -> list[SortKey]:
    match order.field.kind:
        case Kind.METRIC:
            value = f"{alias}.value"
            rank: LiteralString = f"CASE WHEN {value} < 'NaN' THEN 0 WHEN {value} = 'NaN' THEN 1 ELSE 2 END"
            number: LiteralString = f"CASE WHEN {value} < 'NaN' THEN {value} ELSE 0 END"
            return [SortKey(rank, "int"), SortKey(number, "float8", order.descending)]
        case Kind.ATTRIBUTE if not table.columns[order.field.key].nullable:
            column = table.columns[order.field.key]
            return [SortKey(column.expression, column.type, order.descending)]
        case Kind.ATTRIBUTE:
            column = table.columns[order.field.key]
            return _nullable(column.expression, "0", column.type, order.descending)
        case _:
            return _nullable(f'{entry(order.field, table, scope)} COLLATE "C"', "''", "text", order.descending)


def _nullable(value: LiteralString, filler: LiteralString, kind: LiteralString, descending: bool) -> list[SortKey]:
    missing: LiteralString = f"CASE WHEN {value} IS NULL THEN 1 ELSE 0 END"
    filled: LiteralString = f"coalesce({value}, {filler})"
    return [SortKey(missing, "int"), SortKey(filled, kind, descending)]
