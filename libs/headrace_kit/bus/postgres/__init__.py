"""The event bus kept in PostgreSQL, schema `bus`: for a Headrace that runs in one place without Kafka."""

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import psycopg

from headrace_kit.bus import Assignment, Partition
from headrace_kit.bus.handover import Handover, ThreadProducer
from headrace_kit.bus.postgres import store
from headrace_kit.bus.postgres.connections import Connections
from headrace_kit.bus.postgres.consumer import PostgresConsumer, PostgresReader
from headrace_kit.bus.postgres.keeper import Keeper, tidy
from headrace_kit.bus.postgres.producer import Writer
from headrace_kit.migrate import Schema

SCHEMA: Final = Schema("bus", "headrace_kit.bus")

_CONNECTIONS: Final = 8
_PATIENCE_S: Final = 10.0
_JOIN_S: Final = 3.0


class PostgresBus:
    """Implements `Bus`. Takes a DSN in the worker role of schema `bus`; connects when first used.

    Holds up to eight connections for all its consumers and readers, one for a thread that listens and tidies, and one
    for each producer.
    """

    def __init__(
        self,
        dsn: str,
        *,
        retention_s: Mapping[str, float] | None = None,
        drop_consumed: Collection[str] = (),
        delivery_timeout_s: float = 120.0,
        away_limit_s: float = 30.0,
    ) -> None:
        """`retention_s` says by topic how long records are kept (others: for ever); those of topics in `drop_consumed`
        go as soon as every group that ever read them has committed them. Records older than that are deleted once a
        minute. A record that is not durable after `delivery_timeout_s` fails; polls raise after `away_limit_s`.
        """
        self._dsn = dsn
        self._retention_s = retention_s or {}
        self._drop_consumed = drop_consumed
        self._delivery_timeout_s = delivery_timeout_s
        self._away_limit_s = away_limit_s
        self._connections = Connections(dsn, _CONNECTIONS, min(_PATIENCE_S, away_limit_s))
        self._keeper = Keeper(dsn, self._tidy)
        self._started = False
        self._lock = threading.Lock()

    def producer(self) -> ThreadProducer:
        """See `Bus`."""
        handover = Handover(self._delivery_timeout_s)
        return ThreadProducer(handover, Writer(self._dsn, handover))

    def consumer(self, group: str, topics: Sequence[str], assignment: Assignment | None = None) -> PostgresConsumer:
        """See `Bus`."""
        return PostgresConsumer(
            self._connections, self._running_keeper(), group, topics, assignment or Assignment(), self._away_limit_s
        )

    def reader(self, topics: Sequence[str], positions: Mapping[Partition, int]) -> PostgresReader:
        """See `Bus`."""
        return PostgresReader(self._connections, self._running_keeper(), topics, positions, self._away_limit_s)

    def end_offsets(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """See `Bus`."""
        return self._connections.insist(_end_offsets, topics)

    def ensure_topics(self, topics: Mapping[str, int]) -> None:
        """See `Bus`."""
        self._connections.insist(store.make_partitions, topics)

    def tidy(self) -> None:
        """Deletes now what retention lets go, all of it."""
        while not self._connections.run(self._tidy):
            pass

    def close(self) -> None:
        """See `Bus`."""
        if self._started:
            self._keeper.close()
            self._keeper.join(_JOIN_S)
        self._connections.close()

    def _running_keeper(self) -> Keeper:
        with self._lock:
            if not self._started:
                self._started = True
                self._keeper.start()
        return self._keeper

    def _tidy(self, conn: psycopg.Connection) -> bool:
        return tidy(conn, self._retention_s, self._drop_consumed)


def _end_offsets(conn: psycopg.Connection, topics: Sequence[str]) -> dict[Partition, int]:
    ids = store.partition_ids(conn, topics)
    ends = store.next_offsets(conn, ids.values())
    return {partition: ends[partition_id] for partition, partition_id in ids.items()}
