"""One step of an archiver: some runs, each in a file of its own."""

import logging
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final, cast
from uuid import UUID

from headrace_kit.blobs import Blobs
from headrace_tracking.archiver import content, store
from headrace_tracking.archiver.content import SIZES, Sizes, Written
from headrace_tracking.archiver.store import Ended
from headrace_tracking.archives import Archives, blob_key
from headrace_tracking.columns import BadColumns
from headrace_tracking.writer.store import Connection, add_chunks

log = logging.getLogger(__name__)

_NOTES: Final = 1000  # of late points, in a step
_RUNS: Final = 16  # in a step
_LEASE_S: Final = 6 * 3600.0  # how long a file may take to be written
_UNUSED_S: Final = 3600.0  # how long a reader may be at a file that was replaced
_SWEEP: Final = 100
_SWEEP_AGAIN_S: Final = 300.0
_GROWTH: Final = 8


@dataclass(frozen=True, slots=True)
class When:
    """Which runs are archived."""

    after_ms: int
    """So long after their end."""
    least_points: int
    """Of a run: a smaller file would free less than it costs."""
    lease_s: float = _LEASE_S
    unused_s: float = _UNUSED_S


class _Moved(Exception):  # noqa: N818 - says what happened
    """What was read is not what is there now."""


def worth(fresh: int, archived: int, least: int) -> bool:
    """Whether to write a file, of so many points beside those of the last one.

    A file is written anew only when it grows by an eighth: so a point is written nine times at most, however late the others come.
    """
    return fresh >= least and fresh * _GROWTH >= archived


class Archiver:
    """Archives over one connection. For one thread; any number of archivers may work beside each other."""

    def __init__(
        self,
        conn: Connection,
        blobs: Blobs,
        archives: Archives,
        when: When,
        *,
        sizes: Sizes = SIZES,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        new_id: Callable[[], UUID] = uuid.uuid4,
    ) -> None:
        self._conn = conn
        self._blobs = blobs
        self._archives = archives
        self._when = when
        self._sizes = sizes
        self._now_ms = now_ms
        self._new_id = new_id

    def step(self) -> bool:
        """Archives a run, deletes some files that no run has; False when there was nothing to do.

        Raises psycopg.Error, StoreUnavailable, StoreFull, OSError: then the runs are as they were.
        """
        with self._conn.transaction():
            for late in sorted(store.take_late(self._conn, _NOTES)):
                store.reopen(self._conn, late)
        ended = store.ended_before(self._conn, self._now_ms() - self._when.after_ms, _RUNS)
        worked = False
        for run in ended:
            points = self._archive(run)
            worked |= points is not None
            if points:
                break  # a file is work enough
        return self._sweep() or worked

    def _archive(self, ended: Ended) -> int | None:
        """How many points were written; None when others are at the run."""
        with store.locked(self._conn, ended.run) as got:
            if not got:
                return None
            try:
                if worth(*store.count_points(self._conn, ended.run), self._when.least_points):
                    return self._rewrite(ended)
            except BadColumns as error:
                log.error("run %s is not archived, as points of it are damaged: %s", ended.run_id.hex, error)  # noqa: TRY400 - nothing to find in the stack
            except _Moved as error:
                log.warning("run %s is archived later: %s", ended.run_id.hex, error)
                return None
            store.settle(self._conn, ended)
            return 0

    def _rewrite(self, ended: Ended) -> int:
        archive_id = self._new_id()
        with tempfile.TemporaryFile() as opened:
            file = cast("BinaryIO", opened)
            written = content.write(
                self._conn, ended.run, ended.experiment_id, file, self._archives, archive_id, self._sizes
            )
            file.seek(0)
            # Its name first: whatever dies now, a row says of the object that no run has it.
            store.add_loose(self._conn, ended.tenant_id, archive_id, writing=True, due_in_s=self._when.lease_s)
            size = self._blobs.put(blob_key(archive_id), file)
        with self._conn.transaction():
            self._replace(ended, archive_id, written, size)
        log.info("run %s: %d points are in archive %s now", ended.run_id.hex, written.points, archive_id)
        return written.points

    def _replace(self, ended: Ended, archive_id: UUID, written: Written, size: int) -> None:
        """The rows of the file in the place of those that it was made of; in a transaction."""
        if not store.settle(self._conn, ended):
            raise _Moved("it is purged")
        if store.delete_chunks(self._conn, ended.run, written.taken) != len(written.taken):
            raise _Moved("its chunks were merged meanwhile")
        add_chunks(self._conn, written.chunks)
        replaced = store.archive_of(self._conn, ended.run)
        store.set_archive(self._conn, ended.run, archive_id, written.points, size)
        if replaced:
            store.add_loose(self._conn, ended.tenant_id, replaced, writing=False, due_in_s=self._when.unused_s)
        if not store.take_loose(self._conn, ended.tenant_id, archive_id):
            raise _Moved("writing took too long, the file was given up")

    def _sweep(self) -> bool:
        claimed = store.claim_loose(self._conn, _SWEEP, _SWEEP_AGAIN_S)
        for tenant_id, archive_id in claimed:
            self._blobs.delete(blob_key(archive_id))
            store.forget_loose(self._conn, tenant_id, archive_id)
        return bool(claimed)
