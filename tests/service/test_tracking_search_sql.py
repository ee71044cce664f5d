"""What SQL finds is what the search means: filters, orders and pages at random, against plain Python."""

import asyncio
import math
import random
from collections.abc import Iterator, Sequence
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from fix_search import Run, filters, is_numeric, matches, ordered
from headrace_kit.db import Database, worker_role
from headrace_kit.errors import DomainError
from headrace_kit.search.finder import Hit, Place
from headrace_kit.search.request import Search, View
from headrace_kit.search.tree import Comparison, Field, Filter, Kind, Order
from headrace_tracking.search import finder, tables
from headrace_tracking.search.plans import EFFORT, Effort

KEYS = ("a", "A", "b c", "mlflow.runName", "d%(x)s{}")
TEXTS = ("", "x", "X", "xy", "%", "x_", "it's", "ä", "Ä", "FINISHED", "RUNNING", "\\", "7" * 32)
NUMBERS = (-1.0, 0.0, 0.5, 3.0, 1e300, math.inf)
VALUES = (*NUMBERS, -math.inf, math.nan)


def some_runs(seed: int, count: int) -> list[Run]:
    pick = random.Random(seed)

    def some(values: Sequence[object]) -> dict[str, object]:
        return {key: pick.choice(values) for key in pick.sample(KEYS, pick.randint(0, len(KEYS)))}

    return [
        Run(
            run_id=UUID("7" * 32) if number == 0 else UUID(int=pick.getrandbits(128)),
            experiment_id=pick.choice((1, 1, 2)),
            user_id=pick.choice(TEXTS),
            status=pick.choice(("RUNNING", "FINISHED")),
            start_time=pick.randrange(4),
            end_time=pick.choice((None, 0, 3)),
            params=some(TEXTS),  # type: ignore[arg-type] # texts are what is picked from
            tags=some(TEXTS),  # type: ignore[arg-type] # the same
            metrics=some(VALUES),  # type: ignore[arg-type] # numbers
            datasets=tuple(
                {
                    (name, "d"): (name, "d", pick.choice((None, "x", "train")))
                    for name in pick.sample(TEXTS, pick.randint(0, 2))
                }.values()
            ),
        )
        for number in range(count)
    ]


def insert(dsn: str, tenant_id: str, runs: Sequence[Run]) -> None:
    with psycopg.connect(dsn) as conn, conn.cursor() as cursor:
        for experiment_id in (1, 2):
            conn.execute(
                "INSERT INTO tracking.experiments (tenant_id, experiment_id, name, tags, create_ms, update_ms)"
                " VALUES (%s, %s, %s, '{}', 0, 0)",
                [tenant_id, experiment_id, f"e{experiment_id}"],
            )
        cursor.executemany(
            "INSERT INTO tracking.runs (tenant_id, run_id, experiment_id, user_id, state, start_ms, end_ms, params, tags)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                [tenant_id, r.run_id, r.experiment_id, r.user_id, r.status, r.start_time, r.end_time, Jsonb(r.params), Jsonb(r.tags)]
                for r in runs
            ],
        )  # fmt: skip
        cursor.executemany(
            "INSERT INTO tracking.metric_latest (tenant_id, run_id, experiment_id, key, value, step, time_ms)"
            " VALUES (%s, %s, %s, %s, %s, 0, 0)",
            [[tenant_id, r.run_id, r.experiment_id, key, value] for r in runs for key, value in r.metrics.items()],
        )
        for run in runs:
            for name, digest, context in run.datasets:
                tags = {} if context is None else {"mlflow.data.context": context}
                conn.execute(
                    "INSERT INTO tracking.datasets"
                    " (tenant_id, experiment_id, name, digest, source_type, source, schema, profile)"
                    " VALUES (%s, %s, %s, %s, '', '', '', '') ON CONFLICT DO NOTHING",
                    [tenant_id, run.experiment_id, name, digest],
                )
                conn.execute(
                    "INSERT INTO tracking.run_inputs (tenant_id, run_id, experiment_id, name, digest, tags)"
                    " VALUES (%s, %s, %s, %s, %s, %s)",
                    [tenant_id, run.run_id, run.experiment_id, name, digest, Jsonb(tags)],
                )


class Finder:
    """Runs of two tenants; searches those of one."""

    def __init__(self, dsn: str, loop: asyncio.Runner) -> None:
        self.runs = some_runs(1, 60)
        insert(dsn, "mine", self.runs)
        insert(dsn, "other", some_runs(2, 20))
        self._loop = loop
        self._db = Database(dsn, "tracking", connections=1, constraints={}, role=worker_role("tracking"))
        loop.run(self._db.open())

    def close(self) -> None:
        self._loop.run(self._db.close())

    def page(self, search: Search, after: Place | None, limit: int, effort: Effort = EFFORT) -> list[Hit]:
        async def find() -> list[Hit]:
            async with self._db.tenant(search.tenant_id) as conn:
                return await finder.find(conn, search, after, limit, effort)

        return self._loop.run(find())

    def all(
        self,
        tree: Filter | None,
        orders: Sequence[Order],
        experiments: Sequence[int],
        size: int,
        effort: Effort = EFFORT,
    ) -> list[Hit]:
        search = Search(tables.RUNS, "mine", View.ACTIVE, tree, orders, experiments)
        found: list[Hit] = []
        while True:
            page = self.page(search, found[-1].place if found else None, size, effort)
            found += page
            if len(page) < size:
                return found


@pytest.fixture
def found(database: str) -> Iterator[Finder]:
    with asyncio.Runner() as loop:
        one = Finder(database, loop)
        yield one
        one.close()


LIMITS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_filters_find_what_they_mean(found: Finder) -> None:
    @LIMITS
    @given(filters(st.sampled_from(KEYS), st.sampled_from(TEXTS), st.sampled_from(NUMBERS)))
    def check(tree: Filter) -> None:
        wanted = {run.run_id for run in found.runs if matches(tree, run)}
        assert {hit.id for hit in found.all(tree, [], [1, 2], 100)} == wanted

    check()


def _orders() -> st.SearchStrategy[list[Order]]:
    attributes = [Field(Kind.ATTRIBUTE, key) for key in ("run_id", "user_id", "status", "start_time", "end_time")]
    others = st.builds(Field, st.sampled_from([Kind.METRIC, Kind.PARAM, Kind.TAG]), st.sampled_from(KEYS))
    fields = st.one_of(st.sampled_from(attributes), others)
    return st.lists(st.builds(Order, fields, st.booleans()), max_size=3, unique_by=lambda order: order.field)


def test_pages_are_the_order_cut_in_pieces(found: Finder) -> None:
    @LIMITS
    @given(_orders(), st.sampled_from([[1], [2], [1, 2], [1, 2, 3]]), st.integers(1, 70))
    def check(orders: list[Order], experiments: list[int], size: int) -> None:
        wanted = [run for run in found.runs if run.experiment_id in experiments]
        hits = found.all(None, orders, experiments, size)
        assert [hit.id for hit in hits] == [run.run_id for run in ordered(wanted, orders)]

    check()


# Each way of reading a part, and all the turns from one to another, with 60 runs.
EFFORTS = (EFFORT, Effort(look=2, few=1, most=3), Effort(look=3, few=0, most=100), Effort(look=4, few=100, most=100))


def test_every_way_finds_the_same(found: Finder) -> None:
    @settings(LIMITS, max_examples=60)
    @given(
        filters(st.sampled_from(KEYS), st.sampled_from(TEXTS), st.sampled_from(NUMBERS)),
        _orders(),
        st.sampled_from([[1], [1, 2]]),
        st.sampled_from([1, 5, 12, 30]),
        st.sampled_from(EFFORTS),
    )
    def check(tree: Filter, orders: list[Order], experiments: list[int], size: int, effort: Effort) -> None:
        wanted = [run for run in found.runs if run.experiment_id in experiments and matches(tree, run)]
        hits = found.all(tree, orders, experiments, size, effort)
        assert [hit.id for hit in hits] == [run.run_id for run in ordered(wanted, orders)]

    check()


def test_a_place_goes_through_a_page_token_unchanged(found: Finder) -> None:
    import json

    orders = [Order(Field(Kind.METRIC, "a"), descending=True), Order(Field(Kind.PARAM, "b c"), descending=False)]
    for hit in found.all(None, orders, [1, 2], 100):
        assert json.loads(json.dumps(hit.place)) == hit.place


@pytest.mark.parametrize(
    "place",
    [
        [],
        [None],
        [3],
        [-4],
        ["0", 1.0, 2, "7" * 32],
        [0, 1.0, 2],
        [0, "x", 2, "7" * 32],
        [0, 1.0, 2**63, "7" * 32],
        [0, 1.0, 2.5, "7" * 32],
        [0, 1.0, 2, "no uuid"],
        [0, 10**400, 2, "7" * 32],
        [0, [1.0], 2, "7" * 32],
    ],
)
def test_a_place_that_nobody_gave_out_is_refused(found: Finder, place: Place) -> None:
    orders = [Order(Field(Kind.METRIC, "a"), descending=True)]
    search = Search(tables.RUNS, "mine", View.ACTIVE, None, orders, [1])
    with pytest.raises(DomainError, match="page_token"):
        found.page(search, place, 10)


def test_the_largest_filter_is_answered(found: Finder) -> None:
    of = (Field(Kind.METRIC, "a"), Field(Kind.PARAM, "a"), Field(Kind.DATASET, "name"), Field(Kind.TAG, "b c"))
    from headrace_kit.search.tree import And

    terms = [
        Comparison(of[n % 4], ">" if is_numeric(of[n % 4]) else "LIKE", 0.0 if is_numeric(of[n % 4]) else "%")
        for n in range(100)
    ]
    tree = And(tuple(terms))
    assert {hit.id for hit in found.all(tree, [], [1], 100)} == {
        run.run_id for run in found.runs if run.experiment_id == 1 and matches(tree, run)
    }


def test_more_texts_than_the_index_is_asked_for_are_compared(found: Finder) -> None:
    tree = Comparison(Field(Kind.PARAM, "a"), "IN", ("x", *(f"no {number}" for number in range(1_000))))
    orders = [Order(Field(Kind.METRIC, "a"), descending=True)]
    wanted = [run for run in found.runs if run.experiment_id == 1 and run.params.get("a") == "x"]
    assert wanted
    assert [hit.id for hit in found.all(tree, orders, [1], 5)] == [run.run_id for run in ordered(wanted, orders)]
