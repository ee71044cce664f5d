"""The thread behind a bus in PostgreSQL: hears what happened, keeps its consumers alive, tidies up."""

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql
from typing_extensions import override

from headrace_kit.bell import Bell
from headrace_kit.bus import BusBroken
from headrace_kit.bus.postgres import store
from headrace_kit.bus.postgres.connections import connect
from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

LEASE_S: Final = 6.0
_TICK_S: Final = 1.0
_POLL_LIMIT_S: Final = 300.0
_TIDY_EVERY_S: Final = 60.0
_PRODUCER_KEPT_S: Final = 86_400.0  # far longer than a batch may be in doubt
_TIDY_S: Final = 1.0
_TIDY_RECORDS: Final = 500
_FOREVER_S: Final = 1e9


@dataclass(eq=False)
class Listener:
    """What a consumer or reader wants to hear."""

    payloads: frozenset[str]
    member_id: UUID | None = None
    """Of a consumer, whose lease is to be renewed."""
    group_changed: bool = True
    """Somebody came or left, maybe; the consumer resets it."""
    woken: threading.Event = field(default_factory=threading.Event)
    polled: float = field(default_factory=time.monotonic)
    """When it last polled: one that stopped polling is not kept alive."""


class Keeper(Worker):
    """One per bus, on a connection of its own; comes back when the connection was lost."""

    def __init__(self, dsn: str, tidy: Callable[[psycopg.Connection], bool]) -> None:
        """`tidy` is called once a minute, and again soon while it returns False; it should take a second at most."""
        super().__init__("bus keeper", self._died)
        self.session_key = 0
        """Key of the advisory lock that says that this process lives; a new one for every connection."""
        self.ready = threading.Event()
        """Set while the lock is held."""
        self._bell = Bell()
        self._hurry = self._bell.ring
        self._dsn = dsn
        self._tidy = tidy
        self._listeners: dict[int, Listener] = {}
        self._death: BaseException | None = None
        self._tidied = time.monotonic()

    def add(self, listener: Listener) -> None:
        """Wakes it from now on."""
        self._listeners[id(listener)] = listener

    def remove(self, listener: Listener) -> None:
        """Forgets it; harmless when it is forgotten already."""
        self._listeners.pop(id(listener), None)

    def check(self) -> None:
        """Raises BusBroken when the thread died."""
        if self._death is not None:
            raise BusBroken(f"the thread that keeps the bus died: {self._death!r}") from self._death

    @override
    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                with self._bell, connect(self._dsn) as conn:
                    self._hold(conn, stopping)
            except psycopg.OperationalError as error:
                log.warning("the bus lost PostgreSQL, trying again: %s", error)
                stopping.wait(_TICK_S)
            finally:
                self.ready.clear()

    def _hold(self, conn: psycopg.Connection, stopping: threading.Event) -> None:
        self.session_key = random.SystemRandom().randrange(-(1 << 63), 1 << 63)
        conn.execute("SELECT pg_advisory_lock(%(key)s)", {"key": self.session_key})
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(store.CHANNEL)))
        self.ready.set()
        self._wake(None)
        while not stopping.is_set():
            until = time.monotonic() + _TICK_S
            while not stopping.is_set() and (left := until - time.monotonic()) > 0:
                for note in self._bell.notes(conn, left):
                    self._wake(note.payload)
            members = self._alive(time.monotonic())
            if members:
                store.renew(conn, members, LEASE_S)
            if time.monotonic() > self._tidied + _TIDY_EVERY_S and self._tidy(conn):
                self._tidied = time.monotonic()

    def _alive(self, now: float) -> list[UUID]:
        return [
            listener.member_id
            for listener in list(self._listeners.values())
            if listener.member_id and now < listener.polled + _POLL_LIMIT_S
        ]

    def _wake(self, payload: str | None) -> None:
        """Those who listen for it; all for None, as some may have been missed."""
        for listener in list(self._listeners.values()):
            if payload is None or payload in listener.payloads:
                listener.group_changed |= payload is None or payload.startswith("group ")
                listener.woken.set()

    def _died(self, error: BaseException) -> None:
        self._death = error
        self._wake(None)


def tidy(conn: psycopg.Connection, retention_s: Mapping[str, float], consumed: Collection[str]) -> bool:
    """Deletes records past their topic's retention, and of the topics in `consumed` what every group has committed.

    Stops after a second; False when there may be more.
    """
    deadline = time.monotonic() + _TIDY_S
    store.forget_producers(conn, _PRODUCER_KEPT_S)
    for partition, partition_id in store.partition_ids(conn, [*retention_s, *consumed]).items():
        more = True
        while more:
            if time.monotonic() > deadline:
                return False
            more = store.delete_old(
                conn,
                partition_id,
                older_than_s=retention_s.get(partition.topic, _FOREVER_S),
                consumed=partition.topic in consumed,
                most=_TIDY_RECORDS,
            )
    return True
