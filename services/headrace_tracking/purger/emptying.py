"""What a call that empties the bin does, a page of runs at a time; in a thread, as the purger itself."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from uuid import UUID

import psycopg

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import db
from headrace_kit.errors import DomainError
from headrace_tracking import lookup
from headrace_tracking.purger import store
from headrace_tracking.purger.bin import purge_experiment, purge_run
from headrace_tracking.purger.store import Wanted
from headrace_tracking.writer.applier import connect
from headrace_tracking.writer.store import Connection, Run


@dataclass(frozen=True, slots=True)
class Asked:
    """One page of what is asked for."""

    wanted: Wanted
    after: UUID | None
    """Runs behind this one."""
    most: int
    """Runs."""
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Emptied:
    """What went, or would go."""

    runs: Sequence[pb.PurgedRun]
    experiment_ids: Sequence[str]
    last: UUID | None
    """The run behind which there are more; None at the end."""


class Emptying:
    """Empties the bins of tenants; a connection a call."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def step(self, asked: Asked) -> Emptied:
        """Raises DomainError: RUN_NOT_FOUND or WRONG_STATE for a run that is named and not in the bin."""
        return await asyncio.to_thread(self._step, asked)

    def _step(self, asked: Asked) -> Emptied:
        try:
            with closing(connect(self._dsn, durable=True)) as conn:
                return _empty(conn, asked)
        except psycopg.Error as error:
            raise db.translate(error, {}) from error


def _empty(conn: Connection, asked: Asked) -> Emptied:
    wanted = asked.wanted
    _check_deleted(conn, wanted)
    found = store.wanted_runs(conn, wanted, asked.after, asked.most + 1)
    page = found[: asked.most]
    sizes = store.sizes_of(conn, wanted.tenant_id, [run_id for run_id, _ in page])
    gone = [
        _told(run_id, experiment_id, *sizes.get(run_id, (0, 0)))
        for run_id, experiment_id in page
        if asked.dry_run or purge_run(conn, Run(wanted.tenant_id, run_id), wanted.deleted_ms)
    ]
    if len(found) > asked.most:
        return Emptied(gone, (), page[-1][0])
    experiments = [] if wanted.run_ids else store.wanted_experiments(conn, wanted)
    purged = [e for e in experiments if asked.dry_run or purge_experiment(conn, e, wanted.deleted_ms)]
    return Emptied(gone, [str(e.experiment_id) for e in purged], None)


def _check_deleted(conn: Connection, wanted: Wanted) -> None:
    """Runs that were purged before are fine: the call may be made again."""
    known = store.whereabouts(conn, wanted.tenant_id, wanted.run_ids)
    for run_id in wanted.run_ids:
        if run_id not in known:
            raise lookup.run_not_found(run_id)
        if not known[run_id]:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_WRONG_STATE,
                f"run {run_id.hex} is not deleted; only what is in the bin is purged",
            )


def _told(run_id: UUID, experiment_id: int, points: int, size_bytes: int) -> pb.PurgedRun:
    return pb.PurgedRun(run_id=run_id.hex, experiment_id=str(experiment_id), points=points, size_bytes=size_bytes)
