"""Turns the tree of a filter into an SQL condition; every key and every value is a bound parameter.

NULL stands for what a row does not have, and a condition that is NULL counts as false. AND and OR keep that by
themselves; NOT is written IS NOT TRUE, so that it does too.
"""

import math
from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from headrace_tracking.search.tables import DATASETS, Column, Scope, Table
from headrace_tracking.search.tree import And, Comparison, Field, Filter, Kind, Not, Or

_COMPARED: Final[dict[str, sql.SQL]] = {
    "=": sql.SQL("{} = {}"),
    "!=": sql.SQL("{} <> {}"),
    ">": sql.SQL("{} > {}"),
    ">=": sql.SQL("{} >= {}"),
    "<": sql.SQL("{} < {}"),
    "<=": sql.SQL("{} <= {}"),
    # Nothing escapes % and _ in a pattern.
    "LIKE": sql.SQL("{} LIKE {} ESCAPE ''"),
    "ILIKE": sql.SQL("{} ILIKE {} ESCAPE ''"),
    "IN": sql.SQL("{} = ANY({})"),
    "NOT IN": sql.SQL("{} <> ALL({})"),
}
_NULLS: Final[dict[str, sql.SQL]] = {"IS NULL": sql.SQL("{} IS NULL"), "IS NOT NULL": sql.SQL("{} IS NOT NULL")}


def condition(tree: Filter, table: Table, scope: Scope) -> sql.Composed:
    """The condition on rows of `table`; its parameters are added to `scope`."""
    match tree:
        case And(terms):
            return _joined(" AND ", [condition(term, table, scope) for term in terms])
        case Or(terms):
            return _joined(" OR ", [condition(term, table, scope) for term in terms])
        case Not(term):
            return sql.SQL("({}) IS NOT TRUE").format(condition(term, table, scope))
        case Comparison():
            return _comparison(tree, table, scope)


def entry(field: Field, table: Table, scope: Scope) -> sql.Composed:
    """The text of a param or a tag; NULL where the row has none."""
    return sql.SQL("({} ->> {})").format(_document(field, table), scope.bind(field.key, "text"))


def _comparison(comparison: Comparison, table: Table, scope: Scope) -> sql.Composed:
    match comparison.field.kind:
        case Kind.METRIC:
            return _metric(comparison, table, scope)
        case Kind.DATASET:
            return _dataset(comparison, table, scope)
        case Kind.ATTRIBUTE:
            return _attribute(comparison, table.columns[comparison.field.key], scope)
        case Kind.PARAM | Kind.TAG:
            return _entry(comparison, table, scope)


def _attribute(comparison: Comparison, column: Column, scope: Scope) -> sql.Composed:
    operator, value = comparison.operator, comparison.value
    if isinstance(value, float | int):
        return _COMPARED[operator].format(sql.SQL(column.expression), _bind_number(value, scope))
    if operator in {"LIKE", "ILIKE"} or value is None:
        return _on_text(sql.SQL(column.text or column.expression), comparison, scope)
    # An IN of one: what cannot be converted equals no row and differs from all.
    texts = (value,) if isinstance(value, str) else value
    values = [converted for text in texts if (converted := column.convert(text)) is not None]
    several = "IN" if operator in {"=", "IN"} else "NOT IN"
    return _COMPARED[several].format(sql.SQL(column.expression), _bind_array(values, column.type, scope))


def _entry(comparison: Comparison, table: Table, scope: Scope) -> sql.Composed:
    if comparison.operator not in {"=", "IN"} or comparison.value is None:
        return _on_text(entry(comparison.field, table, scope), comparison, scope)
    # Containment is what the GIN index over the document finds.
    texts = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    document, key = _document(comparison.field, table), comparison.field.key
    return _joined(
        " OR ", [sql.SQL("{} @> {}").format(document, scope.bind(Jsonb({key: text}), "jsonb")) for text in texts]
    )


def _dataset(comparison: Comparison, table: Table, scope: Scope) -> sql.Composed:
    inner = _on_text(sql.SQL(DATASETS[comparison.field.key]), _present(comparison), scope)
    return sql.SQL("{} (SELECT FROM tracking.run_inputs AS i WHERE {} AND i.run_id = {}.run_id AND {}{})").format(
        _exists(comparison), scope.holds("i"), sql.Identifier(table.alias), inner, sql.SQL(table.fence)
    )


def _metric(comparison: Comparison, table: Table, scope: Scope) -> sql.Composed:
    return sql.SQL(
        "{} (SELECT FROM tracking.metric_latest AS m WHERE {} AND m.run_id = {}.run_id AND m.key = {} AND {}{})"
    ).format(
        _exists(comparison),
        scope.holds("m"),
        sql.Identifier(table.alias),
        scope.bind(comparison.field.key, "text"),
        on_value(comparison, scope),
        sql.SQL(table.fence),
    )


def on_value(comparison: Comparison, scope: Scope) -> sql.Composed:
    """The condition of a comparison with a metric on its row `m` of `metric_latest`."""
    if not isinstance(comparison.value, float):
        return sql.SQL("true").format()
    wanted = _COMPARED[comparison.operator].format(sql.SQL("m.value"), scope.bind(comparison.value, "float8"))
    # PostgreSQL takes NaN for more than every number.
    return sql.SQL("{} AND m.value < 'NaN'").format(wanted) if comparison.operator in {">", ">="} else wanted


def _exists(comparison: Comparison) -> sql.SQL:
    return sql.SQL("NOT EXISTS" if comparison.operator == "IS NULL" else "EXISTS")


def _present(comparison: Comparison) -> Comparison:
    """Where a missing row is told by NOT EXISTS, what is looked for is a row that is there."""
    return Comparison(comparison.field, "IS NOT NULL", None) if comparison.operator == "IS NULL" else comparison


def _on_text(expression: sql.Composable, comparison: Comparison, scope: Scope) -> sql.Composed:
    match comparison.value:
        case None:
            return _NULLS[comparison.operator].format(expression)
        case tuple() as texts:
            return _COMPARED[comparison.operator].format(expression, _bind_array(texts, "text", scope))
        case value:
            return _COMPARED[comparison.operator].format(expression, scope.bind(value, "text"))


def _document(field: Field, table: Table) -> sql.Identifier:
    return sql.Identifier(table.alias, "params" if field.kind is Kind.PARAM else "tags")


def _bind_number(value: float, scope: Scope) -> sql.Composed:
    # A bigint column is compared through its index with a bigint only.
    if math.isfinite(value) and value.is_integer() and abs(value) < 2**63:
        return scope.bind(int(value), "bigint")
    return scope.bind(value, "float8")


def _bind_array(values: Sequence[object], kind: LiteralString, scope: Scope) -> sql.Composed:
    return sql.SQL("{}[]").format(scope.bind(list(values), kind))


def _joined(word: LiteralString, parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(word).join(parts))
