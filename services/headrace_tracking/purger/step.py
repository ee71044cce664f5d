"""Deletes what purged runs leave behind: some rows in a step, each step a short transaction that may be its last."""

from typing import Final

from headrace_tracking.purger import store
from headrace_tracking.writer.store import Connection

_RUNS: Final = 50  # in a step
_WAIT_S: Final = 1.0  # before a run is looked at again that only waits for others to end
_UNUSED_S: Final = 3600.0  # how long a reader may be at the file of a run that was there when it began
_REMEMBERED_S: Final = 30 * 86_400.0  # much longer than the bus keeps frames
_FORGET: Final = 1_000


class Purger:
    """Works over one connection. For one thread; any number of them may work beside each other."""

    def __init__(
        self,
        conn: Connection,
        *,
        wait_s: float = _WAIT_S,
        unused_s: float = _UNUSED_S,
        remembered_s: float = _REMEMBERED_S,
    ) -> None:
        """`unused_s` later the files of purged runs are deleted; for `remembered_s` it is known that they were purged."""
        self._conn = conn
        self._wait_s = wait_s
        self._unused_s = unused_s
        self._remembered_s = remembered_s

    def step(self) -> bool:
        """Deletes some rows of some purged runs; False when there was none. Raises psycopg.Error: then nothing was done.

        A run is done with when nothing is left of it and every transaction has ended that may have seen it: a writer
        looks whether a run is there, and stores its points a moment later.
        """
        with self._conn.transaction():
            claimed = {purge.run: purge.last for purge in store.claim(self._conn, _RUNS)}
            if claimed:
                store.set_horizon(self._conn, claimed)
                deleted = store.loosen_archives(self._conn, claimed, self._unused_s)
                deleted += store.delete_some(self._conn, claimed)
                done = {run for run in store.clean(self._conn, claimed) if claimed[run]}
                store.set_done(self._conn, done)
                store.put_off(self._conn, claimed.keys() - done, 0.0 if deleted else self._wait_s)
            return store.forget_done(self._conn, self._remembered_s, _FORGET) > 0 or bool(claimed)
