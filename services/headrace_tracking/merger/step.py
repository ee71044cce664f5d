"""One step of a merger: some series, one transaction, bounded work."""

import logging
from typing import Final

from headrace_tracking import chunks
from headrace_tracking.columns import BadColumns, Columns, Zstd
from headrace_tracking.merger import groups, store
from headrace_tracking.segments import Segments
from headrace_tracking.writer.store import Connection, Series, add_chunks

log = logging.getLogger(__name__)

_NOTES: Final = 16  # in a step
_STEP_POINTS: Final = 100_000  # about; a tenth of a second's work
_LOOK_AT: Final = 4096  # chunks of a series: full ones hold 40 million points


class Merger:
    """Merges over one connection. For one thread; any number of mergers may work beside each other."""

    def __init__(self, conn: Connection, *, most_points: int = chunks.MOST_POINTS, fewest: int = groups.FEWEST) -> None:
        """`most_points` in a chunk; `fewest` chunks are merged at once."""
        self._conn = conn
        self._most_points = most_points
        self._fewest = fewest
        self._zstd = Zstd()

    def step(self) -> bool:
        """Merges chunks of some noted series; False when there was no note. Raises psycopg.Error: then nothing was done.

        A reader sees the chunks before or the chunks after, and both hold the same points. Writers never wait for it:
        they add chunks and change none.
        """
        with self._conn.transaction():
            noted = sorted(store.take_notes(self._conn, _NOTES))
            unfinished: list[Series] = []
            left = _STEP_POINTS
            for series in noted:
                if left > 0:
                    left -= self._merge(series, left)
                if left <= 0:
                    unfinished.append(series)
            if unfinished:
                store.add_notes(self._conn, unfinished)
        return bool(noted)

    def _merge(self, series: Series, most: int) -> int:
        """How many points were rewritten, about `most` at most."""
        if not store.try_lock(self._conn, series):
            return 0  # who is at it may miss the newest chunk: the next note tells of it
        places = store.newest_chunks(self._conn, series, _LOOK_AT)
        rewritten = 0
        try:
            with self._conn.transaction():
                for group in groups.groups([p.points for p in places], self._most_points // 2, self._fewest):
                    rewritten += self._rewrite(series, [places[i] for i in group], most - rewritten)
                    if rewritten >= most:
                        break
        except BadColumns as error:
            log.error("a chunk of run %s, %r is damaged (%s); they stay unmerged", series.run_id, series.key, error)  # noqa: TRY400 - nothing to find in the stack
            return 0
        return rewritten

    def _rewrite(self, series: Series, places: list[store.Place], most: int) -> int:
        size, taken = 0, 0
        while taken < len(places) and size < most:
            size += places[taken].points
            taken += 1
        # What was removed is what is put back: were a chunk gone meanwhile, none of its points would return.
        rows = store.take_chunks(self._conn, series, places[:taken])
        if rows:
            points = Segments.of([Columns.joined([chunks.unpack(*row, self._zstd) for row in rows])]).ordered()
            whole = chunks.cut(points, self._zstd, self._most_points)
            add_chunks(self._conn, ((series, chunk) for _, chunk in whole))
        return size
