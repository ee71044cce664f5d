"""Filters, orders and rows for the tests of the search, and what the search means, said once more in plain Python."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from headrace_kit.search.tree import And, Comparison, Field, Filter, Kind, Not, Or, Order
from headrace_tracking.search.vocabulary import RUN_NAME_TAG

NUMBER_OPERATORS = ("=", "!=", ">", ">=", "<", "<=")
TEXT_OPERATORS = ("=", "!=", "LIKE", "ILIKE")


@dataclass(frozen=True)
class Run:
    """A run as the search sees it."""

    run_id: UUID
    experiment_id: int = 1
    user_id: str = ""
    status: str = "RUNNING"
    start_time: int = 0
    end_time: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    datasets: tuple[tuple[str, str, str | None], ...] = ()
    """(name, digest, context)"""


# --- what a filter means ---


def matches(tree: Filter, run: Run) -> bool:
    match tree:
        case And(terms):
            return all(matches(term, run) for term in terms)
        case Or(terms):
            return any(matches(term, run) for term in terms)
        case Not(term):
            return not matches(term, run)
        case Comparison(operator="IS NULL"):
            return not list(_values(tree.field, run))
        case Comparison(operator="IS NOT NULL"):
            return bool(list(_values(tree.field, run)))
        case Comparison():
            return any(_compare(tree.operator, value, tree.value) for value in _values(tree.field, run))


def _values(of: Field, run: Run) -> Iterable[Any]:
    found: list[Any]
    match of.kind:
        case Kind.METRIC:
            found = [run.metrics.get(of.key)]
        case Kind.PARAM:
            found = [run.params.get(of.key)]
        case Kind.TAG:
            found = [run.tags.get(of.key)]
        case Kind.ATTRIBUTE:
            found = [run.run_id.hex if of.key == "run_id" else getattr(run, of.key)]
        case Kind.DATASET:
            found = [one[("name", "digest", "context").index(of.key)] for one in run.datasets]
    return [value for value in found if value is not None]


def _compare(operator: str, value: Any, wanted: Any) -> bool:
    match operator:
        case "=":
            return bool(value == wanted)
        case "!=":
            return bool(value != wanted)
        case ">":
            return bool(value > wanted)
        case ">=":
            return bool(value >= wanted)
        case "<":
            return bool(value < wanted)
        case "<=":
            return bool(value <= wanted)
        case "IN":
            return value in wanted
        case "NOT IN":
            return value not in wanted
        case _:
            pattern = "".join({"%": ".*", "_": "."}.get(char) or re.escape(char) for char in wanted)
            return bool(re.fullmatch(pattern, value, re.DOTALL | (re.IGNORECASE if operator == "ILIKE" else 0)))


def ordered(runs: Iterable[Run], orders: Sequence[Order]) -> list[Run]:
    """Weakest order first: Python's sort is stable."""
    found = sorted(runs, key=lambda run: (-run.start_time, run.run_id.hex))
    for order in reversed(orders):
        found = sorted(found, key=lambda run, by=order: _rank(by.field, run))  # type: ignore[misc] # mypy cannot infer it
        with_value = [run for run in found if _rank(order.field, run) == 0]
        rest = found[len(with_value) :]
        # reverse=True keeps the order of equal ones.
        with_value.sort(key=lambda run, by=order: next(iter(_values(by.field, run))), reverse=order.descending)  # type: ignore[misc] # mypy cannot infer it
        found = with_value + rest
    return found


def _rank(of: Field, run: Run) -> int:
    values = list(_values(of, run))
    return 2 if not values else 1 if isinstance(values[0], float) and math.isnan(values[0]) else 0


# --- trees back to text ---


def render(tree: Filter) -> str:
    match tree:
        case And(terms):
            return " AND ".join(_nested(term) for term in terms)
        case Or(terms):
            return " OR ".join(_nested(term) for term in terms)
        case Not(term):
            return f"NOT {_nested(term)}"
        case Comparison(operator="IS NULL" | "IS NOT NULL"):
            return f"{render_field(tree.field)} {tree.operator}"
        case Comparison(value=tuple() as texts):
            return f"{render_field(tree.field)} {tree.operator} ({', '.join(map(_quoted, texts))})"
        case Comparison(value=str() as text):
            return f"{render_field(tree.field)} {tree.operator} {_quoted(text)}"
        case Comparison():
            return f"{render_field(tree.field)} {tree.operator} {tree.value!r}"


def render_field(of: Field) -> str:
    return f"{of.kind.value}.`{of.key.replace('`', '``')}`"


def _nested(tree: Filter) -> str:
    return render(tree) if isinstance(tree, Comparison) else f"({render(tree)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# --- all of it at random ---


def fields(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Field]:
    return st.one_of(
        st.builds(Field, st.sampled_from([Kind.METRIC, Kind.PARAM, Kind.TAG]), keys),
        st.builds(
            Field, st.just(Kind.ATTRIBUTE), st.sampled_from(["run_id", "user_id", "status", "start_time", "end_time"])
        ),
        st.builds(Field, st.just(Kind.DATASET), st.sampled_from(["name", "digest", "context"])),
        st.just(Field(Kind.TAG, RUN_NAME_TAG)),
    )


def is_numeric(of: Field) -> bool:
    return of.kind is Kind.METRIC or (of.kind is Kind.ATTRIBUTE and of.key in {"start_time", "end_time"})


@st.composite
def comparisons(
    draw: st.DrawFn, keys: st.SearchStrategy[str], texts: st.SearchStrategy[str], numbers: st.SearchStrategy[float]
) -> Comparison:
    of = draw(fields(keys))
    if draw(st.integers(0, 9)) == 0:
        return Comparison(of, draw(st.sampled_from(["IS NULL", "IS NOT NULL"])), None)
    if is_numeric(of):
        return Comparison(of, draw(st.sampled_from(NUMBER_OPERATORS)), draw(numbers))
    if draw(st.booleans()):
        values = tuple(draw(st.lists(texts, min_size=1, max_size=3)))
        return Comparison(of, draw(st.sampled_from(["IN", "NOT IN"])), values)
    return Comparison(of, draw(st.sampled_from(TEXT_OPERATORS)), draw(texts))


def filters(
    keys: st.SearchStrategy[str], texts: st.SearchStrategy[str], numbers: st.SearchStrategy[float]
) -> st.SearchStrategy[Filter]:
    def grow(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.one_of(st.builds(And, terms), st.builds(Or, terms), st.builds(Not, inner))

    return st.recursive(comparisons(keys, texts, numbers), grow, max_leaves=6)
