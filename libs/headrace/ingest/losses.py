"""Counts the points that will not be recorded, and says so: when it begins, and when the run ends."""

import logging
import threading
from collections import Counter
from typing import Final

log: Final = logging.getLogger("headrace")

_MOST_REASONS: Final = 20  # a million different bad keys must not become a million strings


class Losses:
    """What one run lost in this process, by reason. Threads may share it."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._points: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, why: str, points: int) -> None:
        """Counts points; warns when this is the first time for this reason."""
        if points == 0:
            return
        with self._lock:
            known = why in self._points
            if not known and len(self._points) >= _MOST_REASONS:
                why, known = "other reasons", True
            self._points[why] += points
        if not known:
            log.warning("run %s: %d points are not recorded: %s", self._run_id, points, why)

    @property
    def points(self) -> int:
        """All points lost."""
        return self._points.total()

    def tell(self) -> None:
        """Says in one line what was lost; nothing where nothing was."""
        with self._lock:
            told = "; ".join(f"{points}: {why}" for why, points in self._points.items())
        if told:
            log.warning("run %s ended with %d points not recorded: %s", self._run_id, self.points, told)
