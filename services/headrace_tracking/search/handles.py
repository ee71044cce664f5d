"""What an index finds the rows of a filter by: conditions that every row of it fulfils, and that an index answers."""

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString, TypeGuard

from headrace_kit.search.conditions import on_value
from headrace_kit.search.tables import Scope, Table
from headrace_kit.search.tree import And, Comparison, Filter, Kind, Not, Or

_TOKEN_KINDS: Final[Mapping[Kind, LiteralString]] = {Kind.PARAM: "p", Kind.TAG: "t"}
_RANGES: Final = frozenset(("=", ">", ">=", "<", "<="))
_MOST_TOKENS: Final = 1000
_Entry = tuple[LiteralString, str, str]
"""Kind, key and value of a param or a tag."""


def any_in(wanted: Sequence[Filter]) -> bool:
    """Whether an index answers any of these terms."""
    return any(_entries(term) or _is_range(term) for term in wanted)


def is_entry(term: Filter) -> bool:
    """Whether rows found by its token fulfil it, but for hashes that are equal by chance."""
    return isinstance(term, Comparison) and bool(_entries(term))


def kinds(tree: Filter) -> frozenset[Kind]:
    """What the fields in it belong to."""
    match tree:
        case And(inner) | Or(inner):
            return frozenset().union(*map(kinds, inner))
        case Not(term):
            return kinds(term)
        case Comparison(field):
            return frozenset((field.kind,))


def by_tokens(wanted: Sequence[Filter], table: Table, scope: Scope) -> LiteralString | None:
    """The condition on rows of `table` that the index over tokens answers; None where no term gives one.

    Only for a scope with experiments.
    """
    found = [entries for term in wanted if (entries := _entries(term))]
    usable = [entries for entries in found if len(entries) * len(scope.experiment_ids) <= _MOST_TOKENS]
    if not usable:
        return None
    return " AND ".join([_any_of(entries, table, scope) for entries in usable])


def by_ranges(wanted: Sequence[Filter], scope: Scope) -> list[LiteralString]:
    """Queries for the ids of runs with a metric in a range, one for each metric."""
    ranges: dict[str, list[Comparison]] = {}
    for term in wanted:
        if _is_range(term):
            ranges.setdefault(term.field.key, []).append(term)
    return [_range(key, comparisons, scope) for key, comparisons in ranges.items()]


def _is_range(term: Filter) -> TypeGuard[Comparison]:
    return isinstance(term, Comparison) and term.field.kind is Kind.METRIC and term.operator in _RANGES


def _entries(term: Filter) -> list[_Entry]:
    """Params and tags of which every row of the term has one at least; none where that cannot be told."""
    match term:
        case Comparison(field, "=" | "IN", str() | tuple() as value) if field.kind in _TOKEN_KINDS:
            texts = (value,) if isinstance(value, str) else value
            return [(_TOKEN_KINDS[field.kind], field.key, text) for text in texts]
        case And(inner):
            return min((entries for one in inner if (entries := _entries(one))), key=len, default=[])
        case Or(inner):
            either = [_entries(one) for one in inner]
            return [entry for entries in either for entry in entries] if all(either) else []
        case _:
            return []


def _any_of(entries: Sequence[_Entry], table: Table, scope: Scope) -> LiteralString:
    experiments: list[LiteralString] = [scope.bind(one, "bigint") for one in scope.experiment_ids]
    tokens: list[LiteralString] = [
        f"tracking.search_token(%(tenant)s::text, {experiment}, '{kind}',"
        f" {scope.bind(key, 'text')}, {scope.bind(value, 'text')})"
        for experiment in experiments
        for kind, key, value in entries
    ]
    a = table.alias
    return (
        f"tracking.search_tokens({a}.tenant_id, {a}.experiment_id, {a}.params, {a}.tags) && ARRAY[{', '.join(tokens)}]"
    )


def _range(key: str, comparisons: Sequence[Comparison], scope: Scope) -> LiteralString:
    within = " AND ".join([on_value(comparison, scope) for comparison in comparisons])
    return (
        "SELECT m.run_id FROM tracking.metric_latest AS m"
        f" WHERE {scope.holds('m')} AND m.key = {scope.bind(key, 'text')} AND {within}"
    )
