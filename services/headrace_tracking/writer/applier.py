"""Applies frames to PostgreSQL: the points, the marks and the offset of each poll in one transaction."""

import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import psycopg

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
from headrace_tracking.writer.store import Answer, Connection, Latest, Move, Parked, Run, RunState, Series, Stream

log = logging.getLogger(__name__)

_LOCK_HELD_S: Final = 30
_HELD_AT_ALL_S: Final = 60
_HAS_TRANSACTION_TIMEOUT: Final = 170000
_SMALL: Final = chunks.MOST_POINTS // 2
_NOTED: Final = 1 / 8  # of the small chunks: a note costs as much as such a chunk, and eight are worth a merge


class Fenced(Exception):  # noqa: N818 - says what happened
    """A partition has another owner, or moved on in another way: nothing of this poll was kept."""


@dataclass(slots=True)
class _Owned:
    epoch: int
    next_offset: int


class _Known(NamedTuple):
    """What the database knows of the arrivals of a poll."""

    runs: dict[Run, RunState]
    marks: dict[Stream, int]
    """The seq up to which each is applied."""
    waiting: dict[Stream, set[int]]
    """The seqs that are parked."""


def connect(dsn: str, *, durable: bool = False, brief: bool = False) -> Connection:
    """A connection for an applier, in the worker role; `durable` commits are on the disk when they are told, and `brief`
    transactions are ended after a minute (from PostgreSQL 17 on).
    """
    conn = psycopg.connect(db.as_role(dsn, db.worker_role("tracking")), autocommit=True)
    conn.adapters.register_dumper(np.ndarray, NumbersDumper)
    # A writer that stops (SIGSTOP, a frozen machine) inside a transaction would keep its partitions from the next owner.
    _set(conn, "idle_in_transaction_session_timeout", f"{_LOCK_HELD_S}s")
    # After a pipeline PostgreSQL does not see that a session is idle: psycopg asks for a flush behind it.
    if brief and conn.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
        _set(conn, "transaction_timeout", f"{_HELD_AT_ALL_S}s")
    # What a crash of PostgreSQL takes back of a writer, offset and points together, is read from the bus again.
    _set(conn, "synchronous_commit", "on" if durable else "off")
    return conn


def _set(conn: Connection, name: str, value: str) -> None:
    conn.execute("SELECT set_config(%(name)s, %(value)s, false)", {"name": name, "value": value})


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
            known = self._ask(list(moves.values()), arrived.frames)
            dead = arrived.letters + self._apply_frames(arrived.frames, known, moves.values())
            self._share.count(len(arrived.frames) + len(arrived.letters), dead)
            if dead:
                log.warning("%d frames go to the dead letters; the first: %s", len(dead), dead[0].reason)
                letters.publish(self._producer, dead)
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

    def _ask(self, moves: Sequence[Move], arrivals: Sequence[Arrival]) -> _Known:
        """Moves the partitions and says what is known of the arrivals, in one round trip: each takes as long as a frame's work.

        The moves come first, as they lock the partitions' rows: whoever wants to take one now waits for this transaction.
        """
        streams = {arrival.stream for arrival in arrivals if not arrival.unary}
        with self._conn.pipeline():
            moved = self._advance(moves)
            runs = store.states_of(self._conn, {arrival.run for arrival in arrivals})
            marks = store.lock_streams(self._conn, streams)
            waiting = store.parked_seqs(self._conn, streams)
        if moved() != len(moves):
            raise Fenced(f"one of these partitions has another owner by now: {moves}")
        return _Known(runs(), marks(), waiting())

    def _advance(self, moves: Sequence[Move]) -> Answer[int]:
        return store.move_partitions(self._conn, moves)

    def _apply_frames(self, arrivals: Sequence[Arrival], known: _Known, moves: Iterable[Move]) -> list[Letter]:
        there = [arrival for arrival in arrivals if arrival.run in known.runs]
        strangers = self._strangers([arrival for arrival in arrivals if arrival.run not in known.runs])
        streamed, moved = self._in_sequence([arrival for arrival in there if not arrival.unary], known)
        points, bad = gather(streamed, self._zstd, self._check)
        unary, bad_too = gather([arrival for arrival in there if arrival.unary], self._zstd, self._check)
        if unary.names:
            points = Gathered.joined(points, self._not_yet_there(unary))
        if points.names:
            cut = chunks.cut(points.points, self._zstd)
            store.add_chunks(self._conn, ((points.names[number], chunk) for number, chunk in cut))
        with self._conn.pipeline():  # one round trip
            if moved:
                store.set_applied(self._conn, moved)
            if points.names:
                self._tell(points, known.runs)
            store.tell_readers(self._conn, moves)
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

    def _in_sequence(self, arrivals: Sequence[Arrival], known: _Known) -> tuple[list[Arrival], dict[Stream, int]]:
        """The frames to apply now, in order for each stream, and where its mark moves; parks, and fetches what was parked."""
        streams: dict[Stream, list[Arrival]] = {}
        for arrival in arrivals:
            streams.setdefault(arrival.stream, []).append(arrival)
        self._begin(streams.keys() - known.marks.keys(), known)
        plans = {
            stream: self._plan(
                known.marks[stream], [(a.routed.frame.seq, a) for a in frames], known.waiting.get(stream, set())
            )
            for stream, frames in streams.items()
        }
        moved = {stream: plan.applied_seq for stream, plan in plans.items() if plan.apply}
        park = [_parked(arrival) for plan in plans.values() for _, arrival in plan.park]
        if park:
            store.park(self._conn, park)
        upto = {stream: seq for stream, seq in moved.items() if stream in known.waiting}
        unparked = self._unpark(upto, arrivals[0]) if upto else {}
        applied = [
            unparked[stream, seq] if arrival is None else arrival
            for stream, plan in plans.items()
            for seq, arrival in plan.apply
        ]
        return applied, moved

    def _begin(self, new: Collection[Stream], known: _Known) -> None:
        """Makes marks for streams that have none, unless another writer just did."""
        if new:
            store.add_streams(self._conn, new)
            known.marks.update(store.lock_streams(self._conn, new)())
            known.waiting.update(store.parked_seqs(self._conn, new)())

    def _plan(
        self, applied_seq: int, arrivals: Iterable[tuple[int, Arrival]], parked: set[int]
    ) -> sequence.Plan[Arrival]:
        return sequence.plan(applied_seq, arrivals, parked)

    def _unpark(self, upto: Mapping[Stream, int], beside: Arrival) -> dict[tuple[Stream, int], Arrival]:
        return {
            (Stream(row.tenant_id, row.run_id, row.producer_id), row.seq): _unparked(row, beside.partition.topic)
            for row in store.take_parked(self._conn, upto)
        }

    def _tell(self, found: Gathered, runs: Mapping[Run, RunState]) -> None:
        """Readers of the latest values, archiver and merger."""
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
