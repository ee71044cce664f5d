"""The text of filters and orders: what is understood, and what is said about the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_search import filters, render, render_field
from headrace_kit.errors import InvalidField, reason_text
from headrace_kit.search.parser import MAX_COMPARISONS, MAX_DEPTH, parse_filter, parse_order
from headrace_kit.search.tree import And, Comparison, Field, Filter, Kind, Not, Or, Order
from headrace_tracking.search.vocabulary import EXPERIMENTS, RUNS

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
ANY_KEY = ANY_TEXT.filter(bool)


@given(filters(ANY_KEY, ANY_TEXT, st.floats(allow_nan=False, allow_infinity=False)))
def test_every_tree_survives_its_text(tree: Filter) -> None:
    assert parse_filter(render(tree), RUNS) == tree


@given(ANY_KEY, st.booleans(), st.sampled_from([Kind.METRIC, Kind.PARAM, Kind.TAG]))
def test_every_order_survives_its_text(key: str, descending: bool, kind: Kind) -> None:
    order = Order(Field(kind, key), descending)
    assert parse_order([render_field(order.field) + (" DESC" if descending else "")], RUNS) == [order]


@given(ANY_TEXT)
def test_any_text_is_read_or_refused_with_its_position(text: str) -> None:
    refused = None
    try:
        parse_filter(text, RUNS)
    except InvalidField as error:
        refused = error
    if refused is not None:
        assert reason_text(refused.reason) == "INVALID_FILTER"
        assert 1 <= int(refused.metadata["position"]) <= len(text) + 1


def _param(key: str, value: str) -> Comparison:
    return Comparison(Field(Kind.PARAM, key), "=", value)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("  \n ", None),
        ("params.a = 'x'", _param("a", "x")),
        ("parameter.a='x'", _param("a", "x")),
        ('param.`a b` = "x"', _param("a b", "x")),
        ("PARAMS.\"a b\"='it''s'", _param("a b", "it's")),
        ("params.a.b/c-d:e = 'x'", _param("a.b/c-d:e", "x")),
        ("metric.loss<=-1.5e-3", Comparison(Field(Kind.METRIC, "loss"), "<=", -0.0015)),
        ("metrics.loss > .5", Comparison(Field(Kind.METRIC, "loss"), ">", 0.5)),
        ("run.status = 'FINISHED'", Comparison(Field(Kind.ATTRIBUTE, "status"), "=", "FINISHED")),
        ("created >= 17", Comparison(Field(Kind.ATTRIBUTE, "start_time"), ">=", 17.0)),
        ("attr.`Run Name` ilike '%x%'", Comparison(Field(Kind.TAG, "mlflow.runName"), "ILIKE", "%x%")),
        ("\"run name\" = 'x'", Comparison(Field(Kind.TAG, "mlflow.runName"), "=", "x")),
        ("run_id not in ('a','b')", Comparison(Field(Kind.ATTRIBUTE, "run_id"), "NOT IN", ("a", "b"))),
        ("tag.mlflow.user is not null", Comparison(Field(Kind.TAG, "mlflow.user"), "IS NOT NULL", None)),
        ("dataset.Context = 'train'", Comparison(Field(Kind.DATASET, "context"), "=", "train")),
        (
            "params.a = 'x' or params.b = 'y' AND NOT (params.c = 'z')",
            Or((_param("a", "x"), And((_param("b", "y"), Not(_param("c", "z")))))),
        ),
    ],
)
def test_reads(text: str, tree: Filter | None) -> None:
    assert parse_filter(text, RUNS) == tree


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("params.a", 9, "expected =, !=, LIKE, ILIKE, IN, NOT IN, IS NULL or IS NOT NULL, got the end"),
        ("params.a = 5", 12, "expected text in quotes, got '5'"),
        ("params.a > '5'", 10, "expected =, !=, LIKE"),
        ("metrics.a = '5'", 13, "expected a number, got '5'"),
        ("metrics.a LIKE '5'", 11, "expected =, !=, >"),
        ("metrics.a = nan", 13, "expected a number"),
        ("metrics.a = 1abc", 13, "expected a number such as"),
        ("colour = 'red'", 1, "expected one of the attributes run_id"),
        ("colours.a = 'red'", 1, "expected one of the prefixes attributes"),
        ("dataset.size = 'x'", 1, "expected one of the dataset's name, digest, context"),
        ("params. = 'x'", 9, "expected a key"),
        ("params.`` = 'x'", 8, "expected a key"),
        ("params.a = 'x", 12, "expected a closing '"),
        ("params.a = 'x' params.b = 'y'", 16, "expected AND, OR or the end, got 'params.b'"),
        ("params.a = 'x' AND", 19, "expected a field such as metrics.loss or params.lr, got the end"),
        ("(params.a = 'x'", 16, "expected AND, OR or ), got the end"),
        ("params.a = 'x')", 15, "expected AND, OR or the end, got ')'"),
        ("run_id IN ()", 12, "expected text in quotes"),
        ("run_id IN 'x'", 11, "expected ( and texts"),
        ("run_id IN ('x' 'y')", 16, "expected , or )"),
        ("run_id IS 5", 11, "expected NULL or NOT NULL"),
        ("run_id IS NOT 'x'", 15, "expected NULL, got"),
        ("run_id NOT 'x'", 8, "expected =, !=, LIKE"),
        ("params.a = 'x'; DROP TABLE runs", 15, "expected a field, a value or an operator, got ';'"),
        ("params.a = '\x00'", 13, "must not hold the character NUL"),
        ("(" * (MAX_DEPTH + 1) + "params.a = 'x'", MAX_DEPTH + 1, "must not nest deeper than 50"),
        ("NOT " * (MAX_DEPTH + 1) + "params.a = 'x'", MAX_DEPTH * 4 + 1, "must not nest deeper than 50"),
        (" AND ".join(["user='x'"] * (MAX_COMPARISONS + 1)), MAX_COMPARISONS * 13 + 1, "at most 100 comparisons"),
        ("x" * 100_001, 100_001, "must have at most 100,000 characters"),
    ],
)
def test_refuses_with_position_and_what_was_expected(text: str, position: int, expected: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_filter(text, RUNS)
    assert refused.value.field == "filter"
    assert refused.value.metadata["position"] == str(position), refused.value.message
    assert expected in refused.value.problem
    assert reason_text(refused.value.reason) == "INVALID_FILTER"


@pytest.mark.parametrize(
    ("texts", "field", "problem"),
    [
        ([""], "order_by[0]", "expected a field"),
        (["start_time", "metrics.a DOWN"], "order_by[1]", "expected ASC, DESC or the end, got 'DOWN'"),
        (["start_time", "created DESC"], "order_by[1]", "'created DESC' is ordered by already"),
        (["dataset.name"], "order_by[0]", "a run has many datasets"),
        (["name"] * 11, "order_by", "at most 10"),
    ],
)
def test_refuses_orders(texts: list[str], field: str, problem: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_order(texts, RUNS)
    assert refused.value.field == field
    assert problem in refused.value.problem


def test_experiments_have_their_own_words() -> None:
    assert parse_filter("name LIKE 'cookie%' AND tags.team = 'pastry'", EXPERIMENTS) == And(
        (
            Comparison(Field(Kind.ATTRIBUTE, "name"), "LIKE", "cookie%"),
            Comparison(Field(Kind.TAG, "team"), "=", "pastry"),
        )
    )
    assert parse_order(["last_update_time desc", "attribute.experiment_id"], EXPERIMENTS) == [
        Order(Field(Kind.ATTRIBUTE, "update_time"), descending=True),
        Order(Field(Kind.ATTRIBUTE, "experiment_id"), descending=False),
    ]
    with pytest.raises(InvalidField, match="one of the prefixes"):
        parse_filter("metrics.a > 1", EXPERIMENTS)
