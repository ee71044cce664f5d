"""Applies frames to PostgreSQL: the points, the marks and the offset of each poll in one transaction."""

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import psycopg
from psycopg import sql

from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit import db
from headrace_kit.bus import Partition, Producer, Received
from headrace_tracking import chunks
from headrace_tracking.archives import Archives
from headrace_tracking.columns import BadColumns, Columns, Zstd
from headrace_tracking.frames import HeaderCheck
from headrace_tracking.merger import store as merges
from headrace_tracking.writer import letters, sequence, store
from headrace_tracking.writer.arrays import NumbersDumper
from headrace_tracking.writer.batch import Arrival, Gathered, gather, read
from headrace_tracking.writer.letters import Letter, PoisonShare
from headrace_tracking.writer.store import Connection, Latest, Move, Parked, Run, RunState, Series, Stream

log = logging.getLogger(__name__)

_LOCK_HELD_S: Final = 30
_SMALL: Final = chunks.MOST_POINTS // 2
_NOTED: Final = 1 / 8  # of the small chunks: a note costs as much as such a chunk, and eight are worth a merge


class Fenced(Exception):  # noqa: N818 - says what happened
    """A partition has another owner, or moved on in another way: nothing of this poll was kept."""


@dataclass(slots=True)
class _Owned:
    epoch: int
    next_offset: int


def connect(dsn: str, *, durable: bool = False) -> Connection:
    """A connection for an applier, in the worker role; `durable` commits are on the disk when they are told."""
    conn = psycopg.connect(db.as_role(dsn, db.worker_role("tracking")), autocommit=True)
    conn.adapters.register_dumper(np.ndarray, NumbersDumper)
    # A writer that stops (SIGSTOP, a frozen machine) inside a transaction would keep its partitions from the next owner.
    conn.execute(sql.SQL("SET idle_in_transaction_session_timeout = {}").format(sql.Literal(f"{_LOCK_HELD_S}s")))
    # What a crash of PostgreSQL takes back of a writer, offset and points together, is read from the bus again.
    conn.execute(sql.SQL("SET synchronous_commit = {}").format(sql.SQL("on" if durable else "off")))
    return conn


class Applier:
    """The owner of some partitions, for as long as its connection lives. For one thread.

    After an exception it is of no more use: make another, which takes its partitions anew and goes on where the last
    transaction ended. `share` outlives it.
    """

    def __init__(
        self,
        conn: Connection,
        producer: Producer,
        share: PoisonShare,
        *,
        archives: Archives | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`archives` has the points of unary calls of finished runs; `chance` gives numbers from 0 to 1: whether a small chunk is noted for the merger."""
        self._conn = conn
        self._chance = chance
        self._producer = producer
        self._share = share
        self._archives = archives or Archives(None)
        self._zstd = Zstd()
        self._check = HeaderCheck()
        self._owned: dict[Partition, _Owned] = {}

    def take(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Becomes their owner and says where to go on. Waits for a transaction of the owner before."""
        for partition in partitions:
            next_offset, epoch = store.take_partition(self._conn, partition.number)
            self._owned[partition] = _Owned(epoch, next_offset)
        return {partition: offset for partition, offset in self.positions().items() if partition in partitions}

    def lose(self, partitions: Sequence[Partition]) -> None:
        """Forgets them; nothing is under way when this is called between two `apply`."""
        for partition in partitions:
            self._owned.pop(partition, None)

    def positions(self) -> dict[Partition, int]:
        """Where its partitions go on."""
        return {partition: own.next_offset for partition, own in self._owned.items()}

    def apply(self, records: Sequence[Received]) -> None:
        """Makes the points of these records visible, each exactly once, and passes them over; all or nothing.

        Raises Fenced, BusUnavailable, psycopg.Error, StoreUnavailable (where points of a unary call may lie in an archive)
        or TooManyPoisonFrames: then nothing was kept.
        """
        fresh = [r for r in records if (own := self._owned.get(r.partition)) and r.offset >= own.next_offset]
        moves = self._moves(fresh)
        if not moves:
            return
        arrived = read(fresh)
        with self._conn.transaction():
            self._advance(list(moves.values()))
            dead = arrived.letters + self._apply_frames(arrived.frames)
            self._share.count(len(arrived.frames) + len(arrived.letters), dead)
            if dead:
                log.warning("%d frames go to the dead letters; the first: %s", len(dead), dead[0].reason)
                letters.publish(self._producer, dead)
            store.tell_readers(self._conn)
        for partition, move in moves.items():
            self._owned[partition].next_offset = move.next_offset

    def _moves(self, records: Sequence[Received]) -> dict[Partition, Move]:
        ends: dict[Partition, int] = {}
        for record in records:
            ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
        return {
            partition: Move(partition.number, own.epoch, own.next_offset, end)
            for partition, end in ends.items()
            if (own := self._owned.get(partition))
        }

    def _advance(self, moves: Sequence[Move]) -> None:
        """First of all, as it locks the rows: whoever wants to take a partition now waits for this transaction."""
        if store.move_partitions(self._conn, moves) != len(moves):
            raise Fenced(f"one of these partitions has another owner by now: {moves}")

    def _apply_frames(self, arrivals: Sequence[Arrival]) -> list[Letter]:
        runs = store.states_of(self._conn, {arrival.run for arrival in arrivals})
        known = [arrival for arrival in arrivals if arrival.run in runs]
        strangers = self._strangers([arrival for arrival in arrivals if arrival.run not in runs])
        streamed = self._in_sequence([arrival for arrival in known if not arrival.unary])
        points, bad = gather(streamed, self._zstd, self._check)
        unary, bad_too = gather([arrival for arrival in known if arrival.unary], self._zstd, self._check)
        if unary.names:
            points = Gathered.joined(points, self._not_yet_there(unary))
        if points.names:
            self._keep(points, runs)
        return strangers + bad + bad_too

    def _strangers(self, arrivals: Sequence[Arrival]) -> list[Letter]:
        """The letters of frames whose run is not there. Those of a run that was purged are dropped, as the run was."""
        if not arrivals:
            return []
        purged = store.purged(self._conn, {arrival.run for arrival in arrivals})
        return [
            arrival.letter(f"run_id: tenant {arrival.run.tenant_id!r} has no run {arrival.run.run_id.hex}")
            for arrival in arrivals
            if arrival.run not in purged
        ]

    def _in_sequence(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """The frames to apply now, in order for each stream; moves the marks, parks and fetches what was parked."""
        streams: dict[Stream, list[Arrival]] = {}
        for arrival in arrivals:
            streams.setdefault(arrival.stream, []).append(arrival)
        if not streams:
            return []
        marks = self._marks(streams)
        waiting = store.parked_seqs(self._conn, streams)
        plans = {
            stream: self._plan(marks[stream], [(a.routed.frame.seq, a) for a in frames], waiting.get(stream, set()))
            for stream, frames in streams.items()
        }
        moved = {stream: plan.applied_seq for stream, plan in plans.items() if plan.apply}
        if moved:
            store.set_applied(self._conn, moved)
        park = [_parked(arrival) for plan in plans.values() for _, arrival in plan.park]
        if park:
            store.park(self._conn, park)
        unparked = self._unpark({stream: seq for stream, seq in moved.items() if stream in waiting}, arrivals[0])
        return [
            unparked[stream, seq] if arrival is None else arrival
            for stream, plan in plans.items()
            for seq, arrival in plan.apply
        ]

    def _plan(
        self, applied_seq: int, arrivals: Iterable[tuple[int, Arrival]], parked: set[int]
    ) -> sequence.Plan[Arrival]:
        return sequence.plan(applied_seq, arrivals, parked)

    def _marks(self, streams: Mapping[Stream, object]) -> dict[Stream, int]:
        marks = store.lock_streams(self._conn, streams.keys())
        missing = streams.keys() - marks.keys()
        if missing:
            store.add_streams(self._conn, missing)
            marks |= store.lock_streams(self._conn, missing)
        return marks

    def _unpark(self, upto: Mapping[Stream, int], beside: Arrival) -> dict[tuple[Stream, int], Arrival]:
        if not upto:
            return {}
        return {
            (Stream(row.tenant_id, row.run_id, row.producer_id), row.seq): _unparked(row, beside.partition.topic)
            for row in store.take_parked(self._conn, upto)
        }

    def _keep(self, found: Gathered, runs: Mapping[Run, RunState]) -> None:
        store.add_chunks(
            self._conn, ((found.names[number], chunk) for number, chunk in chunks.cut(found.points, self._zstd))
        )
        store.raise_latest(self._conn, _latest(found), runs)
        late = {run for run in {name.run for name in found.names} if runs[run].settled}
        if late:
            store.note_late(self._conn, late)
        # By chance, so that nothing must be counted: of a series with 50 small chunks one is noted in 99.9 % of cases.
        sizes = zip(found.names, found.points.sizes.tolist(), strict=True)
        noted = [name for name, points in sizes if points < _SMALL and self._chance() < _NOTED]
        if noted:
            merges.add_notes(self._conn, noted)

    def _not_yet_there(self, found: Gathered) -> Gathered:
        """Of points from unary calls, those that no call before has brought, each once."""
        store.lock_runs(self._conn, {name.run for name in found.names})
        present: dict[Series, list[Columns]] = {}
        bounds = dict(zip(found.names, chunks.bounds(found.points), strict=True))
        for chunk in store.chunks_between(self._conn, bounds):
            try:
                (points,) = self._archives.columns([chunk], self._zstd)
            except BadColumns:
                log.exception("a chunk of run %s, %r is damaged; its points may show twice", chunk.run_id, chunk.key)
                continue
            present.setdefault(Series(chunk.tenant_id, chunk.run_id, chunk.key, True), []).append(points)
        new: dict[Series, Columns] = {}
        for number, name in enumerate(found.names):
            points = chunks.without_repeats(found.points[number])
            new[name] = chunks.absent(points, Columns.joined(present[name])) if name in present else points
        return Gathered.of(new)


def _latest(found: Gathered) -> Latest:
    """One row a series, though its points of streams and of unary calls come apart."""
    if any(name.once_per_point for name in found.names):
        parts: dict[Series, list[Columns]] = {}
        for number, name in enumerate(found.names):
            parts.setdefault(name._replace(once_per_point=False), []).append(found.points[number])
        together = Gathered.of({name: Columns.joined(of_series) for name, of_series in parts.items()})
        found = Gathered(together.names, together.points.ordered())
    return Latest(found.names, found.points.points[found.points.latest()], *found.points.extremes())


def _parked(arrival: Arrival) -> Parked:
    return Parked(
        *arrival.stream,
        seq=arrival.routed.frame.seq,
        partition_number=arrival.partition.number,
        record_offset=arrival.offset,
        frame=arrival.routed.SerializeToString(),
    )


def _unparked(row: Parked, topic: str) -> Arrival:
    return Arrival(
        Stream(row.tenant_id, row.run_id, row.producer_id),
        metrics_pb2.RoutedFrame.FromString(row.frame),
        Partition(topic, row.partition_number),
        row.record_offset,
    )
