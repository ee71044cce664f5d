"""Whatever the bus, the writers and the group do: every acknowledged point is visible exactly once, in order.

Deliveries are repeated, reordered and interleaved, frames of one stream lie on several partitions, writers crash before and
after their commit and sleep through rebalances. Three writers that are broken on purpose show that the machine notices.
"""

import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from math import isnan
from typing import cast
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from fix_metrics import Letters, Point, frame, make_runs, pack, received, stored
from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.bus import Partition, Received
from headrace_kit.topics import FRAMES
from headrace_tracking.writer import sequence
from headrace_tracking.writer.applier import Applier, Fenced, connect
from headrace_tracking.writer.batch import Arrival
from headrace_tracking.writer.letters import Letter, PoisonShare
from headrace_tracking.writer.store import Connection, Move

KEYS = ("loss", "accuracy")
PARTITIONS = 2
WRITERS = 2
POINTS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3), st.integers(0, 3)), max_size=4)
_numbers = itertools.count(step=PARTITIONS)


class Crashed(Exception):  # noqa: N818 - says what happened
    """The writer's process is gone."""


class Trap(PoisonShare):
    """Is asked last in the transaction: there it ends the writer when it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.set = False

    @override
    def count(self, frames: int, letters: Sequence[Letter]) -> None:
        if self.set:
            raise Crashed


MakeApplier = Callable[[Connection, Letters, Trap], Applier]


@dataclass
class Stream:
    """One producer of one run, and what its client has logged."""

    run_id: UUID
    producer_id: bytes
    frames: list[dict[str, list[Point]]] = field(default_factory=list)
    published: set[int] = field(default_factory=set)
    """Seqs that are on the bus; acknowledged is what has none missing before it."""


@dataclass
class Writer:
    """A member of the group: what it believes to own and what it has polled."""

    conn: Connection
    applier: Applier
    trap: Trap
    position: dict[Partition, int] = field(default_factory=dict)
    held: list[Received] = field(default_factory=list)


class MetricPath(RuleBasedStateMachine):
    """The bus and the group are lists here; PostgreSQL and the writers are real."""

    def __init__(self, dsn: str, make: MakeApplier) -> None:
        super().__init__()
        self.dsn, self.make = dsn, make
        self.tenant = uuid.uuid4().hex
        first = next(_numbers)
        self.partitions = [Partition(FRAMES.name, first + number) for number in range(PARTITIONS)]
        self.log: dict[Partition, list[bytes]] = {partition: [] for partition in self.partitions}
        self.owner: dict[Partition, int] = {}
        self.reached = dict.fromkeys(self.partitions, 0)
        self.letters = Letters()
        self.stack = ExitStack()
        self.conn = self.stack.enter_context(psycopg.connect(dsn, autocommit=True))
        self.values = itertools.count()
        self.unary: list[tuple[UUID, dict[str, list[Point]]]] = []
        self.unary_published: set[int] = set()

    @initialize()
    def begin(self) -> None:
        runs = [uuid.uuid4(), uuid.uuid4()]
        make_runs(self.dsn, self.tenant, runs)
        self.runs = runs
        self.streams = [Stream(run_id, uuid.uuid4().bytes) for run_id in (runs[0], runs[0], runs[1])]
        self.writers = [self.new_writer() for _ in range(WRITERS)]
        for number, partition in enumerate(self.partitions):
            self.give(partition, number % WRITERS)

    def new_writer(self) -> Writer:
        conn, trap = connect(self.dsn), Trap()
        self.stack.callback(conn.close)
        return Writer(conn, self.make(conn, self.letters, trap), trap)

    def give(self, partition: Partition, index: int) -> None:
        writer = self.writers[index]
        self.owner[partition] = index
        writer.position.update(writer.applier.take([partition]))

    # --- clients and edges

    @rule(data=st.data(), stream=st.integers(0, 2), frames=st.integers(0, 3), partition=st.integers(0, PARTITIONS - 1))
    def stream(self, data: st.DataObject, stream: int, frames: int, partition: int) -> None:
        """New frames are logged; any frames, in any order, again or for the first time, are packed in one record."""
        for _ in range(frames):
            self.streams[stream].frames.append(data.draw(st.builds(self.series, POINTS)))
        known = [(s, seq) for s, stream in enumerate(self.streams) for seq in range(1, len(stream.frames) + 1)]
        if known:
            record = metrics_pb2.FramePack()
            for index, seq in data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=6)):
                record.MergeFrom(self.packed(self.streams[index], seq))
            self.log[self.partitions[partition]].append(record.SerializeToString())

    def series(self, places: list[tuple[str, int, int]]) -> dict[str, list[Point]]:
        """Points at these places, no two with the same value."""
        series: dict[str, list[Point]] = {}
        for key, time, step in places:
            series.setdefault(key, []).append((time, step, float(next(self.values))))
        return series

    def packed(self, stream: Stream, seq: int) -> metrics_pb2.FramePack:
        stream.published.add(seq)
        return pack(self.tenant, stream.run_id, stream.producer_id, [frame(seq, stream.frames[seq - 1])])

    @rule(
        run=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        points=st.lists(
            st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from([float("nan"), 0.0, -1.0])), max_size=3
        ),
        partitions=st.lists(st.integers(0, PARTITIONS - 1), min_size=1, max_size=2),
    )
    def log_metrics(self, run: int, key: str, points: list[Point], partitions: list[int]) -> None:
        """A unary call, sent once or twice."""
        self.unary.append((self.runs[run], {key: points} if points else {}))
        value = pack(self.tenant, self.runs[run], b"", [frame(0, self.unary[-1][1])]).SerializeToString()
        for partition in partitions:
            self.log[self.partitions[partition]].append(value)

    # --- writers

    def poll(self, index: int, records: int) -> None:
        writer = self.writers[index]
        for partition, position in writer.position.items():
            values = self.log[partition][position : position + records]
            writer.held += [received(value, position + at, partition.number) for at, value in enumerate(values)]
            writer.position[partition] = position + len(values)

    @rule(index=st.integers(0, WRITERS - 1), records=st.integers(0, 4))
    def write(self, index: int, records: int) -> None:
        """Applies what it has polled: just now, or before it fell asleep."""
        self.poll(index, records)
        writer = self.writers[index]
        mine = all(self.owner[record.partition] == index for record in writer.held)
        try:
            writer.applier.apply(writer.held)
        except Fenced:
            assert not mine, "the owner of all its partitions was fenced"
            self.restart(index)
        else:
            assert mine, "a writer committed to a partition that has another owner"
        writer.held = []

    @rule(index=st.integers(0, WRITERS - 1), records=st.integers(0, 4), committed=st.booleans())
    def crash(self, index: int, records: int, committed: bool) -> None:
        self.poll(index, records)
        writer = self.writers[index]
        writer.trap.set = not committed
        with suppress(Crashed, Fenced):
            writer.applier.apply(writer.held)
        self.restart(index)

    def restart(self, index: int) -> None:
        self.writers[index].conn.close()
        self.writers[index] = self.new_writer()
        for partition in [partition for partition, owner in self.owner.items() if owner == index]:
            self.give(partition, index)

    @rule(number=st.integers(0, PARTITIONS - 1), index=st.integers(0, WRITERS - 1), records=st.integers(0, 4))
    def rebalance(self, number: int, index: int, records: int) -> None:
        """The partition goes to this writer; the one that had it sleeps, with what it has polled."""
        partition = self.partitions[number]
        if self.owner[partition] != index:
            self.poll(self.owner[partition], records)
            self.give(partition, index)

    @rule(index=st.integers(0, WRITERS - 1))
    def wake(self, index: int) -> None:
        """It hears of the partitions that it lost."""
        writer = self.writers[index]
        lost = [partition for partition in writer.position if self.owner[partition] != index]
        writer.applier.lose(lost)
        for partition in lost:
            del writer.position[partition]
        writer.held = [record for record in writer.held if record.partition not in lost]

    # --- what must hold at any time, and at the end

    @invariant()
    @precondition(lambda self: hasattr(self, "writers"))
    def nothing_early_twice_or_lost(self) -> None:
        marks = self.marks()
        visible = stored(self.conn, self.tenant, once=False)
        expected: dict[tuple[UUID, str], list[Point]] = {}
        for stream in self.streams:
            for series in stream.frames[: marks.get(stream.producer_id, 0)]:
                for key, points in series.items():
                    expected.setdefault((stream.run_id, key), []).extend(points)
        assert {name: Counter(points) for name, points in visible.items()} == {
            name: Counter(points) for name, points in expected.items()
        }
        for points in stored(self.conn, self.tenant, once=True).values():
            seen = [(time, step, "nan" if isnan(value) else value) for time, step, value in points]
            assert len(seen) == len(set(seen)), f"a point of a unary call shows twice: {seen}"
        self.offsets_never_go_back()

    def marks(self) -> dict[bytes, int]:
        rows = self.conn.execute(
            "SELECT producer_id, applied_seq FROM tracking.ingest_producers WHERE tenant_id = %s", [self.tenant]
        ).fetchall()
        return dict(rows)

    def offsets_never_go_back(self) -> None:
        for number, offset in self.conn.execute(
            "SELECT partition_number, next_offset FROM tracking.ingest_partitions WHERE partition_number = ANY(%s)",
            [[partition.number for partition in self.partitions]],
        ).fetchall():
            partition = Partition(FRAMES.name, number)
            assert offset >= self.reached[partition], f"{partition} went back to {offset}"
            self.reached[partition] = offset

    @override
    def teardown(self) -> None:
        with self.stack:
            if hasattr(self, "writers"):
                self.settle()
                self.everything_acknowledged_is_visible()

    def settle(self) -> None:
        """Clients send what they have no acknowledgement for; the group comes to rest; writers catch up."""
        for stream in self.streams:
            record = metrics_pb2.FramePack()
            for seq in range(1, len(stream.frames) + 1):
                if seq not in stream.published:
                    record.MergeFrom(self.packed(stream, seq))
            self.log[self.partitions[0]].append(record.SerializeToString())
        for index in range(WRITERS):
            self.restart(index)
            self.write(index, 1_000_000)

    def everything_acknowledged_is_visible(self) -> None:
        marks = self.marks()
        for stream in self.streams:
            assert marks.get(stream.producer_id, 0) == len(stream.frames), "acknowledged frames are missing"
        self.nothing_early_twice_or_lost()
        parked = self.conn.execute(
            "SELECT count(*) FROM tracking.ingest_parked WHERE tenant_id = %s", [self.tenant]
        ).fetchone()
        assert parked == (0,)
        assert not self.letters.records
        self.unary_points_are_a_set()
        self.latest_is_the_greatest()

    def unary_points_are_a_set(self) -> None:
        expected: dict[tuple[UUID, str], set[str]] = {}
        for run_id, series in self.unary:
            for key, points in series.items():
                expected.setdefault((run_id, key), set()).update(map(str, points))
        visible = stored(self.conn, self.tenant, once=True)
        assert {name: sorted(map(str, points)) for name, points in visible.items()} == {
            name: sorted(points) for name, points in expected.items()
        }

    def latest_is_the_greatest(self) -> None:
        def rank(point: Point) -> tuple[int, int, float]:
            time, step, value = point
            return step, time, 0.0 if isnan(value) else value

        rows = self.conn.execute(
            "SELECT run_id, key, time_ms, step, value FROM tracking.metric_latest WHERE tenant_id = %s", [self.tenant]
        ).fetchall()
        assert {(run_id, key): rank((time, step, value)) for run_id, key, time, step, value in rows} == {
            name: max(map(rank, points)) for name, points in stored(self.conn, self.tenant).items()
        }


class DropsInsteadOfParking(Applier):
    """Broken on purpose: what comes early is lost."""

    @override
    def _plan(self, applied_seq: int, arrivals: object, parked: object) -> sequence.Plan[Arrival]:
        plan = super()._plan(applied_seq, arrivals, parked)  # type: ignore[arg-type] # passed on as it came
        return sequence.Plan(plan.applied_seq, plan.apply, [])


class MovesOutsideTheTransaction(Applier):
    """Broken on purpose: the offset is kept though the points may not be."""

    @override
    def _advance(self, moves: Sequence[Move]) -> None:
        whole = self._conn
        with psycopg.connect(whole.info.dsn, autocommit=True) as self._conn:
            super()._advance(moves)
        self._conn = whole


class Unfenced(Applier):
    """Broken on purpose: whoever wakes up commits."""

    @override
    def _advance(self, moves: Sequence[Move]) -> None:
        for move in moves:
            self._conn.execute(
                "UPDATE tracking.ingest_partitions SET next_offset = %s WHERE partition_number = %s",
                [move.next_offset, move.partition_number],
            )


def run(dsn: str, make: MakeApplier, *, examples: int, steps: int = 30, shrink: bool = True) -> None:
    machine = cast("type[RuleBasedStateMachine]", partial(MetricPath, dsn, make))  # it only calls it
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.timeout(600)
def test_every_point_exactly_once(database: str) -> None:
    run(database, Applier, examples=100)


@pytest.mark.parametrize("broken", [DropsInsteadOfParking, MovesOutsideTheTransaction, Unfenced])
def test_the_machine_notices(database: str, broken: MakeApplier) -> None:
    with pytest.raises(AssertionError):
        run(database, broken, examples=100, shrink=False)
