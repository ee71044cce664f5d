"""The loop that makes what runs what should run."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

import psycopg
from typing_extensions import override

from headrace_deployment import changes, rules
from headrace_deployment.cache import Cancelled, ModelCache
from headrace_deployment.records import DeploymentRow, InstanceRow
from headrace_deployment.store import work
from headrace_deployment.store.work import Connection
from headrace_deployment.targets import Target
from headrace_deployment.tasks import Limits, Tasks
from headrace_kit.bell import Bell
from headrace_kit.telemetry import Telemetry
from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

_POLL_S: Final = 0.25
_RETRY_S: Final = 1.0
_AT_A_TIME: Final = 64  # instances brought up or drained; the threads mostly wait
_LEAVE_S: Final = 4.0  # less than the lifecycle waits for a worker

Act = Callable[[], None]


class Reconciler(Worker):
    """Level-triggered: looks at the rows and the processes, takes the steps that `rules.plan` names, looks again.

    It wakes at every change and four times a second. Each deployment's steps are one short transaction; what takes
    time runs in threads beside, so no deployment waits for another. In the whole installation one reconciler works,
    and others stand by. `routes_changed` is called, from this thread, when routers may have something to learn.
    """

    def __init__(
        self,
        dsn: str,
        target: Target,
        cache: ModelCache,
        limits: Limits,
        telemetry: Telemetry,
        *,
        keep_instances: bool,
        routes_changed: Act,
        on_death: Callable[[BaseException], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """With `keep_instances`, instances go on when the reconciler is asked to stop."""
        super().__init__("deployment reconciler", on_death)
        self._dsn = dsn
        self._target = target
        self._cache = cache
        self._limits = limits
        self._telemetry = telemetry
        self._keep_instances = keep_instances
        self._routes_changed = routes_changed
        self._now = now
        self._bell = Bell()
        self._hurry = self._bell.ring
        self._busy: set[str] = set()
        self._came_back = True

    @override
    def run(self, stopping: threading.Event) -> None:
        self._cache.open()
        tasks = Tasks(self._dsn, self._target, self._cache, self._limits, self._telemetry, stopping, now=self._now)
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="deployment") as pool:
            while not stopping.is_set():
                try:
                    with self._bell, psycopg.connect(self._dsn, autocommit=True) as conn:
                        self._lead(conn, _Threads(pool, tasks, self._busy), stopping)
                except psycopg.OperationalError as error:
                    log.warning("the database is away, trying again: %s", error)
                    stopping.wait(_RETRY_S)
            self._cache.close()
        self._target.close(keep_instances=self._keep_instances)

    def _lead(self, conn: Connection, threads: "_Threads", stopping: threading.Event) -> None:
        while not work.lead(conn):
            if stopping.wait(_RETRY_S):
                return
        work.listen(conn)
        self._meet(conn, threads)
        while not stopping.is_set():
            self._look(conn, threads)
            self._bell.notes(conn, _POLL_S)
        self._leave(conn)

    def _meet(self, conn: Connection, threads: "_Threads") -> None:
        """Knows the instances again that an earlier process left, and ends what is none of ours any more."""
        work.forget_routers(conn, self._now())
        there = self._target.adopt()
        live = work.live(conn)
        for stranger in there - {i.instance_id for i in live}:
            log.warning("instance %s runs, and nobody wants it: ending it", stranger)
            self._target.kill(stranger)
        if not self._came_back:
            return
        self._came_back = False
        left = [i for i in live if i.state == "READY" and i.instance_id in there]
        for instance, answered in zip(left, threads.pool.map(threads.tasks.is_itself, left), strict=True):
            if answered:
                with conn.transaction():
                    changes.adopted(conn, instance, self._now())
            else:
                self._target.kill(instance.instance_id)
        if work.active(conn):
            self._target.prepare()

    def _look(self, conn: Connection, threads: "_Threads") -> None:
        """Once over all deployments."""
        live: defaultdict[tuple[str, str], list[InstanceRow]] = defaultdict(list)
        for instance in work.live(conn):
            live[instance.key].append(instance)
        changed = False
        for row in work.active(conn):
            dead = {i.instance_id for i in live[row.key] if not self._target.is_alive(i.instance_id)}
            if rules.plan(row, live[row.key], busy=self._busy, dead=dead, now=self._now()):
                self._advance(conn, row.key, dead, threads)
                changed = True
        if changed:
            self._cache.prune({(i.tenant_id, i.model_id) for i in work.live(conn)})
        self._routes_changed()

    def _advance(self, conn: Connection, key: tuple[str, str], dead: Collection[str], threads: "_Threads") -> None:
        """Plans again with the deployment locked, changes the rows, and then, when that is kept, does the rest."""
        acts: list[Act] = []
        with conn.transaction():
            row = work.find(conn, key)
            live = work.live_of(conn, key)
            if row is None:
                return
            for step in rules.plan(row, live, busy=self._busy, dead=dead, now=self._now()):
                name = type(step).__name__.lower()
                with self._telemetry.span(f"deployment {name}", traceparent=row.traceparent):
                    acts += self._take(conn, row, live, step, threads)
        for act in acts:
            act()

    def _take(
        self, conn: Connection, row: DeploymentRow, live: list[InstanceRow], step: rules.Step, threads: "_Threads"
    ) -> list[Act]:
        now = self._now()
        trace = row.traceparent
        match step:
            case rules.Start(goal):
                begun = changes.begin(conn, row, live, goal, self._target.reserve(), now)
                return [lambda: threads.run(begun, lambda: threads.tasks.bring_up(begun, trace))]
            case rules.Serve(instance):
                changes.serve(conn, row, live, instance, now)
            case rules.Retire(instance):
                changes.retire(conn, instance, now)
            case rules.Drain(instance):
                return [lambda: threads.run(instance, lambda: threads.tasks.drain(instance, trace))]
            case rules.Abandon(instance, interrupted):
                changes.abandon(conn, instance, now, interrupted=interrupted)
                if instance.instance_id in self._busy:  # whoever brings it up finds it dead
                    return [lambda: self._target.kill(instance.instance_id)]
                return [lambda: threads.run(instance, lambda: threads.tasks.end(instance))]
            case rules.Bury(instance):
                words = self._target.last_words(instance.instance_id) or "the process is gone"
                changes.died(conn, instance, words, now)
                return [lambda: self._target.forget(instance.instance_id)]
            case rules.Rest():
                changes.rest(conn, row, now)
        return []

    def _leave(self, conn: Connection) -> None:
        """Ends all instances, or all but those that serve and are to go on; the next process starts them again."""
        self._cache.close()
        _wait(lambda: not self._busy, _LEAVE_S / 2)
        ending = [i for i in work.live(conn) if not (self._keep_instances and i.state == "READY")]
        for instance in ending:
            self._target.stop(instance.instance_id)
        _wait(lambda: not any(self._target.is_alive(i.instance_id) for i in ending), _LEAVE_S)
        for instance in ending:
            self._target.kill(instance.instance_id)
            with conn.transaction():
                changes.paused(conn, instance, self._now())
        _wait(lambda: not any(self._target.is_alive(i.instance_id) for i in ending), 1)
        for instance in ending:
            self._target.forget(instance.instance_id)


def _wait(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)


class _Threads:
    """Runs tasks of instances, one at a time for each; `busy` are those with a task."""

    def __init__(self, pool: ThreadPoolExecutor, tasks: Tasks, busy: set[str]) -> None:
        self.pool = pool
        self.tasks = tasks
        self._busy = busy

    def run(self, instance: InstanceRow, task: Act) -> None:
        self._busy.add(instance.instance_id)
        self.pool.submit(self._run, instance, task)

    def _run(self, instance: InstanceRow, task: Act) -> None:
        try:
            task()
        except Cancelled:
            pass
        except psycopg.OperationalError as error:
            log.warning("instance %s: the database is away: %s", instance.instance_id, error)
        except Exception:
            log.exception("instance %s of %s: its task failed", instance.instance_id, instance.deployment_name)
        finally:
            self._busy.discard(instance.instance_id)
