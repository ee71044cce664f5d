"""The consumers and readers of the bus in PostgreSQL."""

import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import psycopg
from typing_extensions import override

from headrace_kit.bus import Assignment, BusError, BusUnavailable, Partition, Received
from headrace_kit.bus.balance import balance
from headrace_kit.bus.postgres import store
from headrace_kit.bus.postgres.connections import Connections
from headrace_kit.bus.postgres.keeper import LEASE_S, Keeper, Listener

log = logging.getLogger(__name__)

_WAIT_S: Final = 0.5  # a poll backs every notification
_LOOK_S: Final = 1.0
_BATCH_BYTES: Final = 32 << 20


class Cursor:
    """Where to go on in some partitions, and what lies there."""

    def __init__(self) -> None:
        self.ids: dict[Partition, int] = {}
        self.positions: dict[Partition, int] = {}
        self.paused: set[Partition] = set()

    def add(self, partition: Partition, partition_id: int, offset: int) -> None:
        """Reads this one too, from `offset` on."""
        self.ids[partition] = partition_id
        self.positions[partition] = offset

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Reads these no more."""
        for partition in partitions:
            self.ids.pop(partition, None)
            self.positions.pop(partition, None)
            self.paused.discard(partition)

    def fetch(self, conn: psycopg.Connection, most: int) -> list[Received]:
        """The next records, those of a partition in order; moves on behind them."""
        wanted = {p: i for p, i in self.ids.items() if p not in self.paused}
        if not wanted:
            return []
        ends = store.next_offsets(conn, wanted.values())
        behind = [p for p, i in wanted.items() if self.positions[p] < ends.get(i, 0)]
        found: list[Received] = []
        passed: dict[Partition, int] = {}
        for partition in behind:
            if len(found) >= most:
                break
            here = self.positions[partition]
            room = _BATCH_BYTES // len(behind)
            records = store.read(conn, partition, wanted[partition], here, most - len(found), room)
            # None below an end seen before: they were deleted.
            passed[partition] = records[-1].offset + 1 if records else ends[wanted[partition]]
            found += records
        for partition, offset in passed.items():  # only now, as a read may have failed
            self.positions[partition] = offset
            self.ids[partition] = self.ids.pop(partition)  # the last one next time
        return found


class Poller:
    """The part that consumers and readers share: waiting for records, and for the bus to come back."""

    def __init__(self, connections: Connections, keeper: Keeper, listener: Listener, away_limit_s: float) -> None:
        self.cursor = Cursor()
        self._connections = connections
        self._keeper = keeper
        self._listener = listener
        self._away_limit_s = away_limit_s
        self._answered = time.monotonic()
        self._hurried = False
        self._closed = False
        keeper.add(listener)

    def poll(self, timeout: float, max_records: int = 500) -> Sequence[Received]:
        """See `Consumer` and `Reader`."""
        deadline = time.monotonic() + timeout
        while True:
            if self._closed:
                raise BusError("this consumer is closed")
            self._keeper.check()
            self._listener.polled = time.monotonic()
            self._listener.woken.clear()
            records: Sequence[Received] = []
            try:
                self._prepare()
                records = self._connections.run(self.cursor.fetch, max_records)
                self._answered = time.monotonic()
            except BusUnavailable:
                if time.monotonic() > self._answered + self._away_limit_s:
                    raise
            left = deadline - time.monotonic()
            if records or left <= 0 or self._hurried:
                self._hurried = False
                return records
            self._listener.woken.wait(min(left, _WAIT_S))

    def wakeup(self) -> None:
        """See `Consumer`."""
        self._hurried = True
        self._listener.woken.set()

    def close(self) -> None:
        """See `Consumer` and `Reader`."""
        self._closed = True
        self._keeper.remove(self._listener)

    def _prepare(self) -> None:
        """Sees to it that the cursor has the right partitions."""
        raise NotImplementedError


class PostgresReader(Poller):
    """Implements `Reader`."""

    def __init__(
        self,
        connections: Connections,
        keeper: Keeper,
        topics: Sequence[str],
        positions: Mapping[Partition, int],
        away_limit_s: float,
    ) -> None:
        super().__init__(connections, keeper, Listener(frozenset(f"topic {t}" for t in topics)), away_limit_s)
        self._topics = topics
        self._positions = positions
        self._look_at = 0.0

    def positions(self) -> Mapping[Partition, int]:
        """See `Reader`."""
        return {**self._positions, **self.cursor.positions}

    @override
    def _prepare(self) -> None:
        if time.monotonic() < self._look_at:
            return
        for partition, partition_id in self._connections.run(store.partition_ids, self._topics).items():
            if partition not in self.cursor.ids:
                self.cursor.add(partition, partition_id, self._positions.get(partition, 0))
        self._look_at = time.monotonic() + _LOOK_S


class PostgresConsumer(Poller):
    """Implements `Consumer`."""

    def __init__(
        self,
        connections: Connections,
        keeper: Keeper,
        group: str,
        topics: Sequence[str],
        assignment: Assignment,
        away_limit_s: float,
    ) -> None:
        self._member_id = uuid.uuid4()
        payloads = frozenset({f"group {group}", *(f"topic {topic}" for topic in topics)})
        super().__init__(connections, keeper, Listener(payloads, self._member_id), away_limit_s)
        self._group = group
        self._topics = tuple(topics)
        self._assignment = assignment
        self._claims: dict[Partition, store.Claim] = {}
        self._look_at = 0.0

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See `Consumer`."""
        kept = {p: (self._claims[p], offset) for p, offset in offsets.items() if p in self._claims}
        done = {claim.partition_id: (claim.epoch, offset) for claim, offset in kept.values()}
        if done:
            self._connections.insist(store.commit, self._me(), done)

    def assignment(self) -> frozenset[Partition]:
        """See `Consumer`."""
        return frozenset(self._claims)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer`."""
        self.cursor.paused |= self._claims.keys() & partitions

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer`."""
        self.cursor.paused -= set(partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        """See `Consumer`."""
        if partition not in self._claims:
            raise ValueError(f"{partition} is not in the assignment")
        self.cursor.positions[partition] = offset

    @override
    def close(self) -> None:
        if self._closed:
            return
        super().close()
        self._lose(list(self._claims))
        try:
            self._connections.run(store.leave, self._me())
        except BusError as error:
            log.warning("could not leave the group %s, others have to wait for the lease: %s", self._group, error)

    def _me(self) -> store.Member:
        return store.Member(self._group, self._member_id, self._topics, self._keeper.session_key, LEASE_S)

    @override
    def _prepare(self) -> None:
        """Looks at the group once a second and whenever somebody came or left."""
        if time.monotonic() < self._look_at and not self._listener.group_changed:
            return
        if not self._keeper.ready.wait(_WAIT_S):
            raise BusUnavailable("PostgreSQL does not answer for the bus")
        self._listener.group_changed = False
        owned, surplus = self._connections.run(_share, self._me())
        self._look_at = time.monotonic() + _LOOK_S
        self._lose([p for p, c in self._claims.items() if p not in owned or owned[p].epoch != c.epoch])
        if surplus:
            self._lose([p for p in surplus if p in self._claims])
            self._connections.run(store.release, self._me(), [owned[p].partition_id for p in surplus])
        self._gain({p: c for p, c in owned.items() if p not in self._claims and p not in surplus})

    def _lose(self, partitions: Sequence[Partition]) -> None:
        if not partitions:
            return
        if self._assignment.on_lost:
            self._assignment.on_lost(partitions)
        self.cursor.drop(partitions)
        for partition in partitions:
            del self._claims[partition]

    def _gain(self, claims: Mapping[Partition, store.Claim]) -> None:
        if not claims:
            return
        start = self._assignment.start_at(list(claims)) if self._assignment.start_at else {}
        for partition, claim in claims.items():
            self.cursor.add(partition, claim.partition_id, start.get(partition, claim.committed or 0))
            self._claims[partition] = claim


def _share(conn: psycopg.Connection, me: store.Member) -> tuple[dict[Partition, store.Claim], set[Partition]]:
    """The member's partitions, those that were free and it took just now among them; and which it should give up."""
    with conn.transaction():
        group = store.look(conn, me)
        owners = {p: owner if owner in group.members else None for p, owner in group.owners.items()}
        target = balance(group.members, owners)
        owned = {p: group.claims[p] for p, owner in owners.items() if owner == me.member_id}
        free = {p: group.claims[p] for p, owner in target.items() if owner == me.member_id and owners[p] is None}
        store.claim(conn, me, [claim.partition_id for claim in free.values()])
    taken = {p: replace(claim, epoch=claim.epoch + 1) for p, claim in free.items()}
    return owned | taken, {p for p in owned if target.get(p) != me.member_id}
