"""Sends what is due: one thread has the database, some others do nothing but post."""

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import TupleRow
from typing_extensions import override

from headrace_kit.bell import Bell
from headrace_kit.telemetry import Telemetry
from headrace_kit.worker import Worker
from headrace_registry.webhooks import deliveries
from headrace_registry.webhooks.courier import Courier, Outcome, pause
from headrace_registry.webhooks.deliveries import Parcel, Room

log = logging.getLogger(__name__)

DELIVERIES: Final = "headrace.webhooks.deliveries"
"""Counts attempts by "result": delivered, retried or failed."""

_POLL_S: Final = 0.5
_RECONNECT_S: Final = 1.0
_GRACE_S: Final = 5.0  # for what is under way at shutdown
_LAST_S: Final = 2.0
_SWEEP_S: Final = 600.0
_SWEEP_ROWS: Final = 10_000
_GIVE_UP_S: Final = 86_400.0
_KEPT_S: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How deliveries are sent."""

    threads: int = 16
    lease_s: float = 60.0
    """When somebody else takes over what a process that died had in hand: more than an attempt takes."""
    retries: int = 3
    first_pause_s: float = 2.0

    @property
    def room(self) -> Room:
        """One receiver that hangs holds a quarter of the threads, one tenant half of them."""
        return Room(self.threads, max(1, self.threads // 2), max(1, self.threads // 4))


class Sender(Worker):
    """Claims deliveries, has them posted, writes down what came of it; several processes may. `dsn` must be of a role that sees all tenants.

    When asked to stop it lets what is under way end for five seconds; the rest is broken off, and due again at once.
    `abort` breaks off.
    """

    def __init__(
        self,
        dsn: str,
        courier: Courier,
        abort: Callable[[], None],
        plan: Plan,
        on_death: Callable[[BaseException], None],
        telemetry: Telemetry,
    ) -> None:
        super().__init__("webhook sender", on_death)
        self._dsn = dsn
        self._abort = abort
        self._plan = plan
        self._telemetry = telemetry
        self._under_way: list[Parcel] = []
        self._bell = Bell()
        self._hurry = self._bell.ring
        self._threads = _Threads(courier, plan.threads, self._bell.ring, on_death)
        self._sweep_at = 0.0

    @override
    def run(self, stopping: threading.Event) -> None:
        with self._bell:
            self._threads.start()
            try:
                while not stopping.is_set():
                    self._connect(stopping)
            finally:
                self._abort()
                self._threads.close()

    def _connect(self, stopping: threading.Event) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as conn:
                self._serve(conn, stopping)
                self._finish(conn)
        except psycopg.OperationalError as error:
            log.warning("%s: the database is away, trying again: %s", self.name, error)
            stopping.wait(_RECONNECT_S)

    def _serve(self, conn: psycopg.Connection[TupleRow], stopping: threading.Event) -> None:
        conn.execute(f"LISTEN {deliveries.CHANNEL}")
        while not stopping.is_set():
            list(conn.notifies(timeout=0))
            self._note_results(conn)
            if not self._claim(conn):
                self._sweep(conn)
                self._bell.wait(conn.fileno(), _POLL_S)

    def _claim(self, conn: psycopg.Connection[TupleRow]) -> bool:
        free = self._plan.threads - len(self._under_way)
        if not free:
            return False
        hands = [(one.tenant_id, one.webhook_id) for one in self._under_way]
        claimed = deliveries.claim(conn, hands, self._plan.room, self._plan.lease_s, free)
        self._under_way += claimed
        for parcel in claimed:
            self._threads.post(parcel)
        return bool(claimed)

    def _note_results(self, conn: psycopg.Connection[TupleRow]) -> None:
        """Each stays until it is written: a database that goes away in between costs no result."""
        results = self._threads.results
        while results:
            parcel, outcome = results[0]
            self._note(conn, parcel, outcome)
            results.popleft()
            self._under_way.remove(parcel)

    def _note(self, conn: psycopg.Connection[TupleRow], parcel: Parcel, outcome: Outcome) -> None:
        made = parcel.attempts + 1
        if outcome.delivered:
            result = "delivered"
            deliveries.finish(conn, parcel, "DELIVERED", outcome.status, "")
        elif outcome.again and made <= self._plan.retries:
            result = "retried"
            wait = pause(made, self._plan.first_pause_s, outcome.retry_after_s, random.random())  # noqa: S311 - spreads load
            deliveries.put_off(conn, parcel, wait, outcome.status, outcome.problem)
        else:
            result = "failed"
            deliveries.finish(conn, parcel, "FAILED", outcome.status, outcome.problem)
        self._telemetry.count(DELIVERIES, attributes={"result": result})
        if not outcome.delivered:
            log.warning(
                "webhook %s of tenant %s: attempt %d of delivery %s %s: %s",
                parcel.webhook_id,
                parcel.tenant_id,
                made,
                parcel.delivery_id,
                result,
                outcome.problem,
            )

    def _sweep(self, conn: psycopg.Connection[TupleRow]) -> None:
        if time.monotonic() < self._sweep_at:
            return
        self._sweep_at = time.monotonic() + _SWEEP_S
        if given_up := deliveries.give_up(conn, _GIVE_UP_S):
            log.warning("%d deliveries of webhooks waited for more than a day and are given up", given_up)
        deliveries.forget(conn, _KEPT_S, _SWEEP_ROWS)

    def _finish(self, conn: psycopg.Connection[TupleRow]) -> None:
        until = time.monotonic() + _GRACE_S
        while self._under_way and time.monotonic() < until:
            self._note_results(conn)
            self._bell.wait(conn.fileno(), 0.1)
        if self._under_way:
            self._abort()
            self._threads.close()
            self._threads.join(_LAST_S)
            for parcel, outcome in self._threads.results:
                if outcome.delivered:  # the others failed because they were broken off
                    self._note(conn, parcel, outcome)
            deliveries.release(conn, self._under_way)


class _Threads:
    """Threads that post, each one parcel after the other."""

    def __init__(
        self, courier: Courier, count: int, done: Callable[[], None], on_death: Callable[[BaseException], None]
    ) -> None:
        self.results: deque[tuple[Parcel, Outcome]] = deque()
        self._waiting: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()
        self._workers = [
            _Posting(f"webhook sender {number}", self._waiting, self._deliver, on_death) for number in range(count)
        ]
        self._courier = courier
        self._done = done

    def start(self) -> None:
        """All of them."""
        for worker in self._workers:
            worker.start()

    def post(self, parcel: Parcel) -> None:
        """Hands it over; what comes of it is in `results`, of which `done` tells."""
        self._waiting.put(parcel)

    def close(self) -> None:
        """Asks them to end; never blocks."""
        for worker in self._workers:
            worker.close()
            self._waiting.put(None)

    def join(self, timeout: float) -> None:
        """Waits for their ends, so long for all of them."""
        until = time.monotonic() + timeout
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))

    def _deliver(self, parcel: Parcel) -> None:
        one = parcel
        outcome = self._courier.deliver(one.tenant_id, one.webhook_id, one.url, one.secret, one.delivery_id, one.body)
        self.results.append((parcel, outcome))
        self._done()


class _Posting(Worker):
    def __init__(
        self,
        name: str,
        waiting: "queue.SimpleQueue[Parcel | None]",
        deliver: Callable[[Parcel], None],
        on_death: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name, on_death)
        self._waiting = waiting
        self._deliver = deliver

    @override
    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            parcel = self._waiting.get()
            if parcel is not None:
                self._deliver(parcel)
