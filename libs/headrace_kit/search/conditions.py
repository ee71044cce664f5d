"""Turns the tree of a filter into an SQL condition; every key and every value is a bound parameter.

NULL stands for what a row does not have, and a condition that is NULL counts as false. AND and OR keep that by
themselves; NOT is written IS NOT TRUE, so that it does too.
"""

import math
from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg.types.json import Jsonb

from headrace_kit.search.tables import DATASETS, Column, Scope, Table
from headrace_kit.search.tree import And, Comparison, Field, Filter, Kind, Not, Operator, Or

_AROUND: Final[dict[str, tuple[LiteralString, LiteralString]]] = {
    "=": ("= ", ""),
    "!=": ("<> ", ""),
    ">": ("> ", ""),
    ">=": (">= ", ""),
    "<": ("< ", ""),
    "<=": ("<= ", ""),
    # Nothing escapes % and _ in a pattern.
    "LIKE": ("LIKE ", " ESCAPE ''"),
    "ILIKE": ("ILIKE ", " ESCAPE ''"),
    "IN": ("= ANY(", ")"),
    "NOT IN": ("<> ALL(", ")"),
}
"""What stands between the two sides of a comparison, and behind them."""
_NULLS: Final[dict[str, LiteralString]] = {"IS NULL": "IS NULL", "IS NOT NULL": "IS NOT NULL"}


def condition(tree: Filter, table: Table, scope: Scope) -> LiteralString:
    """The condition on rows of `table`; its parameters are added to `scope`."""
    match tree:
        case And(terms):
            return _joined(" AND ", [condition(term, table, scope) for term in terms])
        case Or(terms):
            return _joined(" OR ", [condition(term, table, scope) for term in terms])
        case Not(term):
            return f"({condition(term, table, scope)}) IS NOT TRUE"
        case Comparison():
            return _comparison(tree, table, scope)


def entry(field: Field, table: Table, scope: Scope) -> LiteralString:
    """The text of a param or a tag; NULL where the row has none."""
    return f"({_document(field, table)} ->> {scope.bind(field.key, 'text')})"


def _comparison(comparison: Comparison, table: Table, scope: Scope) -> LiteralString:
    match comparison.field.kind:
        case Kind.METRIC:
            return _metric(comparison, table, scope)
        case Kind.DATASET:
            return _dataset(comparison, table, scope)
        case Kind.ATTRIBUTE:
            return _attribute(comparison, table.columns[comparison.field.key], scope)
        case Kind.PARAM | Kind.TAG:
            return _entry(comparison, table, scope)


def _attribute(comparison: Comparison, column: Column, scope: Scope) -> LiteralString:
    operator, value = comparison.operator, comparison.value
    if isinstance(value, float | int):
        return _compared(column.expression, operator, _bind_number(value, scope))
    if operator in {"LIKE", "ILIKE"} or value is None:
        return _on_text(column.text or column.expression, comparison, scope)
    # An IN of one: what cannot be converted equals no row and differs from all.
    texts = (value,) if isinstance(value, str) else value
    values = [converted for text in texts if (converted := column.convert(text)) is not None]
    several: Operator = "IN" if operator in {"=", "IN"} else "NOT IN"
    return _compared(column.expression, several, _bind_array(values, column.type, scope))


def _entry(comparison: Comparison, table: Table, scope: Scope) -> LiteralString:
    if comparison.operator not in {"=", "IN"} or comparison.value is None:
        return _on_text(entry(comparison.field, table, scope), comparison, scope)
    # Containment is what the GIN index over the document finds.
    texts = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    document, key = _document(comparison.field, table), comparison.field.key
    return _joined(" OR ", [f"{document} @> {scope.bind(Jsonb({key: text}), 'jsonb')}" for text in texts])


def _dataset(comparison: Comparison, table: Table, scope: Scope) -> LiteralString:
    inner = _on_text(DATASETS[comparison.field.key], _present(comparison), scope)
    return (
        f"{_exists(comparison)} (SELECT FROM {table.inputs} AS i"
        f" WHERE {scope.holds('i')} AND i.{table.id} = {table.alias}.{table.id} AND {inner}{table.fence})"
    )


def _metric(comparison: Comparison, table: Table, scope: Scope) -> LiteralString:
    return (
        f"{_exists(comparison)} (SELECT FROM {table.values} AS m"
        f" WHERE {of_series('m', comparison.field, table, scope)} AND {on_value(comparison, scope)}{table.fence})"
    )


def of_series(alias: LiteralString, field: Field, table: Table, scope: Scope) -> LiteralString:
    """The condition of a row of `table.values` that is of this metric of the row of `table`."""
    id_, key = table.id, scope.bind(field.key, "text")
    held: LiteralString = f"{scope.holds(alias)} AND {alias}.{id_} = {table.alias}.{id_} AND {alias}.key = {key}"
    if field.dataset is None:
        return held
    name, digest = field.dataset
    named: LiteralString = f"{alias}.dataset_name = {scope.bind(name, 'text')}"
    return f"{held} AND {named} AND {alias}.dataset_digest = {scope.bind(digest, 'text')}"


def on_value(comparison: Comparison, scope: Scope) -> LiteralString:
    """The condition of a comparison with a metric on its row `m` of `Table.values`."""
    if not isinstance(comparison.value, float):
        return "true"
    wanted = _compared("m.value", comparison.operator, scope.bind(comparison.value, "float8"))
    # PostgreSQL takes NaN for more than every number.
    return f"{wanted} AND m.value < 'NaN'" if comparison.operator in {">", ">="} else wanted


def _exists(comparison: Comparison) -> LiteralString:
    return "NOT EXISTS" if comparison.operator == "IS NULL" else "EXISTS"


def _present(comparison: Comparison) -> Comparison:
    """Where a missing row is told by NOT EXISTS, what is looked for is a row that is there."""
    return Comparison(comparison.field, "IS NOT NULL", None) if comparison.operator == "IS NULL" else comparison


def _on_text(expression: LiteralString, comparison: Comparison, scope: Scope) -> LiteralString:
    match comparison.value:
        case None:
            return f"{expression} {_NULLS[comparison.operator]}"
        case tuple() as texts:
            return _compared(expression, comparison.operator, _bind_array(texts, "text", scope))
        case value:
            return _compared(expression, comparison.operator, scope.bind(value, "text"))


def _compared(expression: LiteralString, operator: Operator, value: LiteralString) -> LiteralString:
    between, behind = _AROUND[operator]
    return f"{expression} {between}{value}{behind}"


def _document(field: Field, table: Table) -> LiteralString:
    return f"{table.alias}.params" if field.kind is Kind.PARAM else f"{table.alias}.tags"


def _bind_number(value: float, scope: Scope) -> LiteralString:
    # A bigint column is compared through its index with a bigint only.
    if math.isfinite(value) and value.is_integer() and abs(value) < 2**63:
        return scope.bind(int(value), "bigint")
    return scope.bind(value, "float8")


def _bind_array(values: Sequence[object], kind: LiteralString, scope: Scope) -> LiteralString:
    return f"{scope.bind(list(values), kind)}[]"


def _joined(word: LiteralString, parts: Sequence[LiteralString]) -> LiteralString:
    return f"({word.join(parts)})"
