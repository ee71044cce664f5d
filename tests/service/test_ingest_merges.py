"""Merging small chunks: nobody sees it, nothing is lost or doubled, few chunks remain, and each point moves a few times."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_ingest import metric_path
from fix_metrics import Point, frame
from fix_twins import Reader, Twin
from headrace_tracking.merger.groups import groups
from headrace_tracking.merger.step import Merger
from headrace_tracking.writer.applier import connect

SMALL_TIMES = st.integers(0, 6)
VALUES = st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf])
POINTS = st.lists(st.tuples(SMALL_TIMES, st.integers(0, 3), VALUES), min_size=1, max_size=5)
DONE = st.booleans()
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), POINTS, st.booleans()),
        st.tuples(st.just("merge")),
        st.tuples(st.just("begin")),
        st.tuples(st.just("end"), DONE),
        st.tuples(st.just("page"), st.integers(1, 4)),
    ),
    max_size=30,
)


@dataclass
class Slow:
    """A merger that is stopped before it commits."""

    merger: Merger
    conn: psycopg.Connection
    open: list[Any] = field(default_factory=list)

    def begin(self) -> None:
        if not self.open:
            transaction = self.conn.transaction()
            transaction.__enter__()
            self.open.append(transaction)
            self.merger.step()

    def end(self, *, committed: bool) -> None:
        if self.open:
            if committed:
                self.open.pop().__exit__(None, None, None)
            else:
                error = psycopg.Rollback()
                self.open.pop().__exit__(type(error), error, None)


@contextmanager
def merging(dsn: str, **limits: int) -> Iterator[tuple[Merger, psycopg.Connection]]:
    with closing(connect(dsn)) as conn:
        yield Merger(conn, **limits), conn


def test_no_interleaving_of_writes_merges_and_pages_shows_a_merge(database: str) -> None:
    with ExitStack() as stack:
        reader = Reader(database, stack)
        quick, _ = stack.enter_context(merging(database, most_points=8, fewest=2))
        slow = Slow(*stack.enter_context(merging(database, most_points=8, fewest=2)))

        @settings(
            max_examples=150,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(operations=OPERATIONS)
        def holds(operations: Sequence[tuple[Any, ...]]) -> None:
            with ExitStack() as own:
                twins = [Twin(database, own, reader, noted=noted) for noted in (True, False)]
                own.callback(slow.end, committed=True)
                for name, *arguments in operations:
                    if name == "write":
                        for twin in twins:
                            twin.write(arguments[0], unary=arguments[1])
                    elif name == "merge":
                        quick.step()
                    elif name == "begin":
                        slow.begin()
                    elif name == "end":
                        slow.end(committed=arguments[0])
                    else:
                        merged, plain = (twin.page(arguments[0]) for twin in twins)
                        assert merged == plain
                assert twins[0].everything() == twins[1].everything()

        holds()


@pytest.mark.parametrize("each", [1, 10, 700])
def test_few_chunks_remain_and_points_move_seldom(database: str, each: int) -> None:
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack), noted=True)
        merger, conn = stack.enter_context(merging(database, most_points=1000, fewest=8))
        for number in range(400):
            twin.write([(number * each + i, i, float(i)) for i in range(each)])
            while merger.step():
                pass
        sizes = [row[0] for row in conn.execute("SELECT points FROM tracking.metric_chunks ORDER BY first_time_ms")]
        ids = conn.execute("SELECT max(chunk_id) FROM tracking.metric_chunks").fetchone()
        assert sum(sizes) == 400 * each
        assert len([size for size in sizes if size < 500]) <= 7 * math.log2(1000)
        assert ids is not None
        assert ids[0] - 400 <= 400  # chunks that merges made
        assert twin.everything(100_000) == [str((n * each + i, i, float(i))) for n in range(400) for i in range(each)]


def test_merged_points_of_unary_calls_stay_a_set_beside_streamed_ones(database: str) -> None:
    points: list[Point] = [(time, 1, math.nan) for time in range(10)]
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack), noted=True)
        merger, conn = stack.enter_context(merging(database, fewest=2))
        for point in points:
            twin.write([point], unary=True)
            twin.write([point])
        merger.step()
        rows = conn.execute("SELECT once_per_point, points FROM tracking.metric_chunks ORDER BY 1").fetchall()
        assert rows == [(False, 10), (True, 10)]
        twin.write(points, unary=True)  # a retry
        assert Counter(twin.everything()) == Counter({str(point): 2 for point in points})


def test_two_mergers_do_not_wait_for_one_another(database: str) -> None:
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack), noted=True)
        slow = Slow(*stack.enter_context(merging(database, fewest=2)))
        quick, conn = stack.enter_context(merging(database, fewest=2))
        conn.execute("SET lock_timeout = '5s'")
        for time in range(4):
            twin.write([(time, 1, 1.0)])
        slow.begin()
        twin.write([(9, 1, 1.0)])
        assert quick.step()
        slow.end(committed=True)
        rows = conn.execute("SELECT points FROM tracking.metric_chunks ORDER BY first_time_ms").fetchall()
        assert rows == [(4,), (1,)]


def test_a_damaged_chunk_stays_and_others_are_merged(database: str) -> None:
    with ExitStack() as stack:
        reader = Reader(database, stack)
        hurt, well = (Twin(database, stack, reader, noted=True) for _ in range(2))
        merger, conn = stack.enter_context(merging(database, fewest=2))
        for twin in (hurt, well):
            for time in range(4):
                twin.write([(time, 1, 1.0)])
        conn.execute(
            "UPDATE tracking.metric_chunks SET data = 'x' WHERE run_id = %s AND first_time_ms = 2", [hurt.run_id]
        )
        assert merger.step()
        rows = conn.execute("SELECT run_id, points FROM tracking.metric_chunks").fetchall()
        assert Counter(rows) == {(hurt.run_id, 1): 4, (well.run_id, 4): 1}
        assert not merger.step()


async def test_the_service_merges_beside_its_writer(database: str) -> None:
    async with metric_path(database) as path:
        run = path.run()
        stream = path.stream(run)
        await stream.open()
        sent = 0
        with psycopg.connect(database, autocommit=True) as conn:
            while sent < 2000:  # each note is a matter of chance
                sent += 1
                await stream.send(frame(sent, {"loss": [(sent, sent, 1.0)]}))
                ack = await stream.acks_to(sent)
                await path.door.wait_for([ack.position], 10)
                row = conn.execute("SELECT max(points) FROM tracking.metric_chunks").fetchone()
                if row is not None and row[0] >= 8:
                    break
        [page] = await path.history(run, "loss")
        assert page == [(n, n, 1.0) for n in range(1, sent + 1)]
        assert sent < 2000


@given(
    st.lists(st.integers(1, 20), max_size=60),
    st.integers(2, 8),
)
def test_groups_double_their_largest_and_leave_little(sizes: list[int], fewest: int) -> None:
    full, left = 10, list(sizes)
    found = list(groups(left, full, fewest))
    for group in found:
        part = [left[i] for i in group]
        assert len(part) >= fewest
        assert 2 * max(part) <= sum(part)
        assert max(part) < full
    assert [i for group in found for i in group] == sorted({i for group in found for i in group})
    # Where nothing is to be merged, few small ones lie between two full ones.
    if not found:
        runs = "".join("F" if size >= full else "s" for size in left).split("F")
        assert all(len(run) < fewest * math.ceil(math.log2(full) + 1) for run in runs)
