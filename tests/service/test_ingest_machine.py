"""Whatever clients, edges, the bus, the writers and the group do: every acknowledged point is visible exactly once, in order.

Variants that are broken on purpose show that the machines notice, each by the harm that it does. (The relay of a bigserial
cursor is in `tests/contract/test_outbox.py`.)
"""

from collections.abc import Iterable, Sequence
from functools import partial

import psycopg
import pytest
from psycopg import conninfo
from typing_extensions import override

from fix_exactly_once import Doubled, Lost, OutOfOrder, TwoOwners, judge
from fix_ingest_edges import Edges, EdgesAndWriters
from fix_ingest_machine import MakeApplier, MetricPath, play
from headrace.api.tracking.v1 import metrics_pb2
from headrace_tracking.packer import Packer, Parcel
from headrace_tracking.writer import sequence
from headrace_tracking.writer.applier import Applier
from headrace_tracking.writer.batch import Arrival
from headrace_tracking.writer.store import Answer, Move


def test_every_point_exactly_once(database: str) -> None:
    play(partial(MetricPath, database, Applier), examples=40)


def test_every_acknowledged_point_exactly_once(database: str) -> None:
    with Edges(database) as edges:
        play(partial(EdgesAndWriters, database, Applier, edges), examples=40)


class DropsInsteadOfParking(Applier):
    """Broken on purpose: what comes early is lost."""

    @override
    def _plan(
        self, applied_seq: int, arrivals: Iterable[tuple[int, Arrival]], parked: set[int]
    ) -> sequence.Plan[Arrival]:
        plan = super()._plan(applied_seq, arrivals, parked)
        return sequence.Plan(plan.applied_seq, plan.apply, [])


class AppliesInsteadOfParking(Applier):
    """Broken on purpose: what comes early is applied early."""

    @override
    def _plan(
        self, applied_seq: int, arrivals: Iterable[tuple[int, Arrival]], parked: set[int]
    ) -> sequence.Plan[Arrival]:
        later = sorted({seq: arrival for seq, arrival in arrivals if seq > applied_seq}.items())
        return sequence.Plan(later[-1][0] if later else applied_seq, [*later], [])


class KnowsNoDuplicates(Applier):
    """Broken on purpose: what was applied is applied again."""

    @override
    def _plan(
        self, applied_seq: int, arrivals: Iterable[tuple[int, Arrival]], parked: set[int]
    ) -> sequence.Plan[Arrival]:
        arrivals = list(arrivals)
        plan = super()._plan(applied_seq, arrivals, parked)
        again = [(seq, arrival) for seq, arrival in arrivals if seq <= applied_seq]
        return sequence.Plan(plan.applied_seq, [*again, *plan.apply], plan.park)


class MovesOutsideTheTransaction(Applier):
    """Broken on purpose: the offset is kept though the points may not be."""

    @override
    def _advance(self, moves: Sequence[Move]) -> Answer[int]:
        whole = self._conn
        known = conninfo.make_conninfo("", **whole.info.get_parameters(), password=whole.info.password)
        with psycopg.connect(known, autocommit=True) as self._conn:
            moved = super()._advance(moves)()
        self._conn = whole
        return lambda: moved


class Unfenced(Applier):
    """Broken on purpose: whoever wakes up commits."""

    @override
    def _advance(self, moves: Sequence[Move]) -> Answer[int]:
        for move in moves:
            self._conn.execute(
                "UPDATE tracking.ingest_partitions SET next_offset = %s WHERE partition_number = %s",
                [move.next_offset, move.partition_number],
            )
        return lambda: len(moves)


class AcksBeforeDurable(Packer):
    """Broken on purpose: a frame is acknowledged as soon as it is under way."""

    @override
    def _add(self, number: int, pack: bytes) -> Parcel:
        parcel = super()._add(number, pack)
        if not parcel.durable.done():
            parcel.durable.set_result(metrics_pb2.Position())
        return parcel

    @override
    def _arrived(self, parcel: Parcel, sent: object) -> None:
        self._room.give(parcel.size)


BROKEN_WRITERS = [
    (DropsInsteadOfParking, Lost),
    (MovesOutsideTheTransaction, Lost),
    (AppliesInsteadOfParking, OutOfOrder),
    (KnowsNoDuplicates, Doubled),
    (Unfenced, TwoOwners),
]


@pytest.mark.parametrize(("broken", "harm"), BROKEN_WRITERS)
def test_the_machine_notices(database: str, broken: MakeApplier, harm: type[AssertionError]) -> None:
    with pytest.raises(harm):
        play(partial(MetricPath, database, broken), examples=100, shrink=False)


def test_the_machine_with_edges_notices_an_early_acknowledgement(database: str) -> None:
    with Edges(database, AcksBeforeDurable) as edges, pytest.raises(Lost):
        play(partial(EdgesAndWriters, database, Applier, edges), examples=100, shrink=False)


def test_what_exactly_once_means() -> None:
    frames = [["a", "b"], [], ["c"]]
    assert judge(frames, [], acknowledged=0) == 0
    assert judge(frames, ["b", "a"], acknowledged=1) == 2
    assert judge(frames, ["c", "a", "b"], acknowledged=3) == 3
    with pytest.raises(Lost):
        judge(frames, ["a", "b"], acknowledged=3)
    with pytest.raises(OutOfOrder):
        judge(frames, ["c"], acknowledged=0)
    with pytest.raises(OutOfOrder):
        judge(frames, ["a"], acknowledged=0)
    with pytest.raises(Doubled):
        judge(frames, ["a", "b", "a"], acknowledged=0)
