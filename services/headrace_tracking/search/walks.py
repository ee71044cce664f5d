"""Indexes that have runs in the order of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from headrace_kit.search.tables import Scope, Table
from headrace_kit.search.tree import Field, Kind, Order


@dataclass(frozen=True, slots=True)
class Walk:
    """An index that has the runs of one experiment in the order of the first key of a segment."""

    source: LiteralString
    """A table with its alias."""
    alias: LiteralString
    column: LiteralString
    """Of the first key; the alias outside stands for rows of run_id and this."""
    condition: LiteralString


def walk_of(orders: Sequence[Order], table: Table, scope: Scope, number: int) -> Walk | None:
    """The index for the part of this number, as `segments` counts them; None where there is none."""
    if len(scope.experiment_ids) != 1 or not table.indexed:
        return None
    by_metric = bool(orders) and orders[0].field.kind is Kind.METRIC
    if by_metric and number == 0:
        return _by_value(orders[0].field, scope)
    if by_metric and number == 1:
        return None
    return _by_time(orders[by_metric:], table, scope)


def _by_value(field: Field, scope: Scope) -> Walk:
    key = scope.bind(field.key, "text")
    condition: LiteralString = f"{scope.holds('first')} AND first.key = {key} AND first.value < 'NaN'"
    return Walk("tracking.metric_latest AS first", "first", "value", condition)


def _by_time(orders: Sequence[Order], table: Table, scope: Scope) -> Walk | None:
    first = orders[0].field if orders else Field(Kind.ATTRIBUTE, table.ties[0][0])
    if first != Field(Kind.ATTRIBUTE, "start_time"):
        return None
    return Walk("tracking.runs AS r", "r", "start_ms", scope.holds("r"))
