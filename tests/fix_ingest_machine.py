"""A state machine of the metric path's second half: a bus and a group that are lists, writers and PostgreSQL that are real.

Deliveries are repeated, reordered and interleaved, frames of one stream lie on several partitions, partitions are added,
writers crash before and after their commit and sleep through rebalances.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from math import isnan
from typing import cast
from uuid import UUID

import psycopg
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

from fix_exactly_once import Lost, TwoOwners, judge
from fix_metrics import Letters, Point, frame, make_runs, pack, received, stored
from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.bus import Partition, Received
from headrace_kit.topics import FRAMES
from headrace_tracking.writer.applier import Applier, Fenced, connect
from headrace_tracking.writer.letters import Letter, PoisonShare
from headrace_tracking.writer.store import Connection

KEYS = ("loss", "accuracy")
PARTITIONS = 2
MOST_PARTITIONS = 4
WRITERS = 2
STREAMS = 3
POINTS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3), st.integers(0, 3)), max_size=4)
_numbers = itertools.count(step=MOST_PARTITIONS)


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
    acknowledged: int = 0
    """Every frame up to here is, and must show in the end."""

    def points(self) -> list[list[tuple[str, Point]]]:
        """Of each frame."""
        return [[(key, point) for key, points in series.items() for point in points] for series in self.frames]


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
        self.numbers = iter(range(first, first + MOST_PARTITIONS))
        self.partitions: list[Partition] = []
        self.log: dict[Partition, list[bytes]] = {}
        self.owner: dict[Partition, int] = {}
        self.reached: dict[Partition, int] = {}
        self.letters = Letters()
        self.stack = ExitStack()
        self.conn = self.stack.enter_context(psycopg.connect(dsn, autocommit=True))
        self.values = itertools.count()
        self.unary: list[tuple[UUID, dict[str, list[Point]]]] = []

    @initialize()
    def begin(self) -> None:
        runs = [uuid.uuid4(), uuid.uuid4()]
        make_runs(self.dsn, self.tenant, runs)
        self.runs = runs
        self.streams = [Stream(run_id, uuid.uuid4().bytes) for run_id in (runs[0], runs[0], runs[1])]
        self.writers = [self.new_writer() for _ in range(WRITERS)]
        for index in range(PARTITIONS):
            self.grow(index % WRITERS)

    @rule(index=st.integers(0, WRITERS - 1))
    def grow(self, index: int) -> None:
        """The topic gets another partition, up to four."""
        number = next(self.numbers, None)
        if number is not None:
            partition = Partition(FRAMES.name, number)
            self.partitions.append(partition)
            self.log[partition] = []
            self.reached[partition] = 0
            self.give(partition, index)

    def partition(self, choice: int) -> Partition:
        return self.partitions[choice % len(self.partitions)]

    def new_writer(self) -> Writer:
        conn, trap = connect(self.dsn), Trap()
        self.stack.callback(conn.close)
        return Writer(conn, self.make(conn, self.letters, trap), trap)

    def give(self, partition: Partition, index: int) -> None:
        writer = self.writers[index]
        self.owner[partition] = index
        writer.position.update(writer.applier.take([partition]))

    # --- clients and edges

    @rule(
        data=st.data(),
        stream=st.integers(0, STREAMS - 1),
        frames=st.integers(0, 3),
        partition=st.integers(0, MOST_PARTITIONS - 1),
    )
    def stream(self, data: st.DataObject, stream: int, frames: int, partition: int) -> None:
        """New frames are logged; any frames, in any order, again or for the first time, are packed in one record."""
        for _ in range(frames):
            self.streams[stream].frames.append(data.draw(st.builds(self.series, POINTS)))
        known = [(s, seq) for s, stream in enumerate(self.streams) for seq in range(1, len(stream.frames) + 1)]
        if known:
            record = metrics_pb2.FramePack()
            for index, seq in data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=6)):
                record.MergeFrom(self.packed(self.streams[index], seq))
            self.log[self.partition(partition)].append(record.SerializeToString())

    def series(self, places: Sequence[tuple[str, int, int]]) -> dict[str, list[Point]]:
        """Points at these places, no two with the same value."""
        series: dict[str, list[Point]] = {}
        for key, time, step in places:
            series.setdefault(key, []).append((time, step, float(next(self.values))))
        return series

    def packed(self, stream: Stream, seq: int) -> metrics_pb2.FramePack:
        return pack(self.tenant, stream.run_id, stream.producer_id, [frame(seq, stream.frames[seq - 1])])

    @rule(
        run=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        points=st.lists(
            st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from([float("nan"), 0.0, -1.0])), max_size=3
        ),
        partitions=st.lists(st.integers(0, MOST_PARTITIONS - 1), min_size=1, max_size=2),
    )
    def log_metrics(self, run: int, key: str, points: list[Point], partitions: list[int]) -> None:
        """A unary call, sent once or twice."""
        self.unary.append((self.runs[run], {key: points} if points else {}))
        value = pack(self.tenant, self.runs[run], b"", [frame(0, self.unary[-1][1])]).SerializeToString()
        for partition in partitions:
            self.log[self.partition(partition)].append(value)

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
            if not mine:
                raise TwoOwners(f"writer {index} committed to a partition that has another owner")
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

    @rule(number=st.integers(0, MOST_PARTITIONS - 1), index=st.integers(0, WRITERS - 1), records=st.integers(0, 4))
    def rebalance(self, number: int, index: int, records: int) -> None:
        """The partition goes to this writer; the one that had it sleeps, with what it has polled."""
        partition = self.partition(number)
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
        for stream, visible in self.shown():
            mark = marks.get(stream.producer_id, 0)
            seen = judge(stream.points(), visible, acknowledged=0)
            if any(stream.frames[seen:mark]):
                raise Lost(f"frame {seen + 1} does not show, the mark is {mark}")
            assert not any(stream.frames[mark:seen]), f"frame {seen} shows, the mark is {mark}"
        for points in stored(self.conn, self.tenant, once=True).values():
            judge([set(map(str, points))], map(str, points), acknowledged=0)
        self.offsets_never_go_back()

    def everybody(self) -> Sequence[Stream]:
        """Streams that are, and those that were."""
        return self.streams

    def shown(self) -> Iterator[tuple[Stream, list[tuple[str, Point]]]]:
        """What shows of each stream; its values tell whose a point is."""
        visible = stored(self.conn, self.tenant, once=False)
        owners = {
            value: stream for stream in self.everybody() for frame in stream.points() for _, (_, _, value) in frame
        }
        found: dict[bytes, list[tuple[str, Point]]] = {}
        for (run_id, key), points in visible.items():
            for point in points:
                stream = owners[point[2]]
                assert stream.run_id == run_id
                found.setdefault(stream.producer_id, []).append((key, point))
        for stream in self.everybody():
            yield stream, found.get(stream.producer_id, [])

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
        self.send_the_rest()
        for index in range(WRITERS):
            self.restart(index)
            self.write(index, 1_000_000)

    def send_the_rest(self) -> None:
        on_bus = {
            (routed.producer_id, routed.frame.seq)
            for values in self.log.values()
            for value in values
            for routed in metrics_pb2.FramePack.FromString(value).frames
        }
        for stream in self.streams:
            record = metrics_pb2.FramePack()
            for seq in range(1, len(stream.frames) + 1):
                if (stream.producer_id, seq) not in on_bus:
                    record.MergeFrom(self.packed(stream, seq))
            self.log[self.partitions[0]].append(record.SerializeToString())
            stream.acknowledged = len(stream.frames)

    def everything_acknowledged_is_visible(self) -> None:
        self.nothing_early_twice_or_lost()
        for stream, visible in self.shown():
            judge(stream.points(), visible, acknowledged=stream.acknowledged)
        if self.everybody() == self.streams:
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
        for name in expected.keys() | visible.keys():
            judge([expected.get(name, set())], map(str, visible.get(name, [])), acknowledged=1)

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
        extremes = self.conn.execute(
            "SELECT run_id, key, least, greatest FROM tracking.metric_latest WHERE tenant_id = %s", [self.tenant]
        ).fetchall()
        for run_id, key, least, greatest in extremes:
            values = [v for _, _, v in stored(self.conn, self.tenant)[run_id, key] if not isnan(v)]
            assert (least, greatest) == ((min(values), max(values)) if values else (None, None))


def play(machine: Callable[[], RuleBasedStateMachine], *, examples: int, steps: int = 30, shrink: bool = True) -> None:
    """Plays so many examples; raises what the first one that fails does."""
    run_state_machine_as_test(
        cast("type[RuleBasedStateMachine]", machine),  # it only calls it
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
