"""Lines that say how far a long work is: one that is rewritten on a terminal, one now and then in a log."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, TextIO

from headrace.imports.report import Report

READING: Final = "reading back"
"""What is done once all is there."""
_TERMINAL_S: Final = 0.2
_LOG_S: Final = 10.0


class Progress:
    """For any number of threads."""

    def __init__(self, out: TextIO, *, now: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._now = now
        self._live = out.isatty()
        self._began = self._told = now()
        self._done: Counter[str] = Counter()
        self._width = 0
        self._lock = threading.Lock()

    def __call__(self, what: str, report: Report) -> None:
        """One more of these is done."""
        with self._lock:
            self._done[what] += 1
            if self._now() - self._told >= (_TERMINAL_S if self._live else _LOG_S) or what == READING:
                self._told = self._now()
                self._write(self._line(what, report))

    def close(self) -> None:
        """Leaves the terminal with a line of its own."""
        if self._live and self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._out.flush()

    def _line(self, what: str, report: Report) -> str:
        seconds = self._now() - self._began
        done = ", ".join(
            f"{count:,} {name}{'s' if count != 1 else ''}" for name, count in self._done.items() if name != READING
        )
        done += "; reading back" if what == READING else ""
        sent = f"{report.points_sent:,} points and {report.files_sent:,} files sent"
        rate = f"{report.points_sent / seconds:,.0f} points/s" if seconds > 1 and report.points_sent else ""
        return " | ".join(filter(None, (f"{seconds:,.0f} s", done, sent, rate)))

    def _write(self, line: str) -> None:
        if self._live:
            self._out.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._out.write(line + "\n")
        self._out.flush()
