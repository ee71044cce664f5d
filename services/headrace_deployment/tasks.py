"""What takes time: bringing an instance up, and draining one. Each runs in a thread of its own, beside the reconciler."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psycopg

from headrace_deployment import changes, probe
from headrace_deployment.cache import Cancelled, FetchError, ModelCache
from headrace_deployment.records import InstanceRow
from headrace_deployment.store import work
from headrace_deployment.store.work import Connection
from headrace_deployment.targets import InstanceSpec, Target, TargetError
from headrace_kit.telemetry import Telemetry

log = logging.getLogger(__name__)

_POLL_S: Final = 0.01
_ROUTERS_S: Final = 5.0
_KILL_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds."""

    start: float
    drain: float


class _NotStarted(Exception):  # noqa: N818 - says what it is
    """The instance did not come to answer; the message says why."""


class Tasks:
    """Every task ends by writing how it went, and soon after `stopping` is set without writing anything."""

    def __init__(
        self,
        dsn: str,
        target: Target,
        cache: ModelCache,
        limits: Limits,
        telemetry: Telemetry,
        stopping: threading.Event,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._dsn = dsn
        self._target = target
        self._cache = cache
        self._limits = limits
        self._telemetry = telemetry
        self._stopping = stopping
        self._now = now

    def bring_up(self, instance: InstanceRow, traceparent: str) -> None:
        """Fetches the model, starts the instance, waits until it answers; READY or FAILED at the end."""
        try:
            with self._telemetry.span("deployment bring up", traceparent=traceparent):
                address = self._bring_up(instance)
            with self._transaction() as conn:
                wanted = changes.ready(conn, instance, address, self._now())
        except (Cancelled, psycopg.OperationalError):
            raise  # what is STARTING and in nobody's hands is started anew
        except Exception as error:
            wanted = False
            expected = isinstance(error, FetchError | TargetError | _NotStarted)
            if not expected:
                log.exception("instance %s of %s", instance.instance_id, instance.deployment_name)
            with self._transaction() as conn:
                reason = str(error) if expected else f"{type(error).__name__}: {error}"
                changes.not_started(conn, instance, reason, self._now())
        if not wanted:
            self.end(instance)
        self._target.prepare()

    def drain(self, instance: InstanceRow, traceparent: str) -> None:
        """Waits for the routers, lets requests under way end, ends the process; STOPPED at the end."""
        with self._telemetry.span("deployment drain", traceparent=traceparent):
            self._wait_for_routers(instance.drain_generation)
            self._target.stop(instance.instance_id)
            gone = self._wait_until_gone(instance.instance_id, self._limits.drain)
            self.end(instance)
        message = "" if gone else f"requests were still under way after {self._limits.drain:g} s"
        with self._transaction() as conn:
            changes.drained(conn, instance, message, self._now())

    def end(self, instance: InstanceRow) -> None:
        """Ends the process at once, if there is one, and frees what it leaves."""
        self._target.kill(instance.instance_id)
        if not self._wait_until_gone(instance.instance_id, _KILL_S):
            log.error("instance %s does not end, though it was killed", instance.instance_id)
        self._target.forget(instance.instance_id)

    def is_itself(self, instance: InstanceRow) -> bool:
        """Whether a process that outlived ours is this instance, and answers within a few seconds."""
        deadline = time.monotonic() + _KILL_S
        while self._target.is_alive(instance.instance_id) and time.monotonic() < deadline:
            if probe.answers(instance.address, instance.instance_id):
                return True
            self._pause()
        return False

    def _bring_up(self, instance: InstanceRow) -> str:
        with self._telemetry.span("deployment fetch model"):
            folder = self._cache.fetch(instance.tenant_id, instance.model_id)
        with self._telemetry.span("deployment start process"):
            self._target.start(InstanceSpec(instance.instance_id, folder, str(instance.version)))
        # Whoever abandons an instance kills it after that is written, and there may have been no process to kill yet.
        with self._transaction() as conn:
            if not changes.is_wanted(conn, instance):
                raise _NotStarted("abandoned while its model was fetched")
        with self._telemetry.span("deployment wait until ready"):
            return self._wait_until_it_answers(instance.instance_id)

    def _wait_until_it_answers(self, instance_id: str) -> str:
        deadline = time.monotonic() + self._limits.start
        while time.monotonic() < deadline:
            address = self._target.address(instance_id)
            if address is not None and probe.answers(address, instance_id):
                return address
            if not self._target.is_alive(instance_id):
                raise _NotStarted(self._target.last_words(instance_id) or "the process ended without a word")
            self._pause()
        words = self._target.last_words(instance_id)
        limit = f"it did not answer within {self._limits.start:g} s; HEADRACE_START_SECONDS sets the limit"
        raise _NotStarted(f"{limit}. Its last words: {words}" if words else limit)

    def _wait_for_routers(self, generation: int) -> None:
        """Until none sends to the instance any more; one that does not say so in five seconds is not waited for."""
        deadline = time.monotonic() + _ROUTERS_S
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            while work.routers_behind(conn, generation, self._now()) and time.monotonic() < deadline:
                self._pause()

    def _wait_until_gone(self, instance_id: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._target.is_alive(instance_id):
            if time.monotonic() > deadline:
                return False
            self._pause()
        return True

    def _pause(self) -> None:
        if self._stopping.wait(_POLL_S):
            raise Cancelled

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with psycopg.connect(self._dsn, autocommit=True) as conn, conn.transaction():
            yield conn
