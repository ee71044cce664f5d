"""The thread that makes frames of what was logged, and sees to the runs left open when the program ends."""

import logging
import threading
import time
from typing import Final, Protocol

from typing_extensions import override

from headrace import errors, forks
from headrace.ingest.settings import IngestSettings

log: Final = logging.getLogger("headrace")


class Guest(Protocol):
    """A producer, as its sender sees it."""

    def pump(self) -> None:
        """Frames what is queued, as far as there is room. Does not wait for the network."""

    def leave(self, timeout_s: float) -> None:
        """The program ends: makes durable what was logged, within the limit."""


class Sender:
    """One thread per client and process; lives while it has guests.

    The thread is no daemon: it outlives the main thread and every other non-daemon thread by `exit_s` at most, in which
    its guests leave. `atexit` would not do: it comes too late to open a stream (Python 3.12), and a child of
    `multiprocessing` never calls it.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._guests: set[Guest] = set()
        self._lock = threading.Lock()
        self._due: set[Guest] = set()  # those who asked; adding to it and taking from it needs no lock
        self._wake = threading.Event()
        self._thread: _SenderThread | None = None
        forks.watch(self)

    def add(self, guest: Guest) -> None:
        """Pumps this guest from now on."""
        with self._lock:
            self._guests.add(guest)
            if self._thread is None:
                self._thread = _SenderThread(self)
                self._thread.start()

    def remove(self, guest: Guest) -> None:
        """Forgets this guest; the thread ends with its last one."""
        with self._lock:
            self._guests.discard(guest)
        self._wake.set()

    def wake(self, guest: Guest) -> None:
        """Pumps this guest soon rather than when points come of age."""
        self._due.add(guest)
        if not self._wake.is_set():
            self._wake.set()

    def forked(self) -> None:
        """In a forked child: no thread, no guests; the first `log` there adds its producer."""
        forks.keep(self._thread)
        self._guests = set()
        self._lock = threading.Lock()
        self._due = set()
        self._wake = threading.Event()
        self._thread = None

    def run(self) -> None:
        """What the thread does."""
        round_at = time.monotonic() + self._settings.age_s
        while guests := self._present():
            if self._wake.wait(max(0.0, round_at - time.monotonic())):
                self._wake.clear()
                self._pump_due()
            if time.monotonic() >= round_at:
                for guest in guests:
                    self._pump(guest)
                round_at = time.monotonic() + self._settings.age_s
                if _program_is_over():
                    self._all_leave()

    def _pump_due(self) -> None:
        for _ in range(len(self._due)):  # those who come meanwhile have set the event again
            self._pump(self._due.pop())

    def _pump(self, guest: Guest) -> None:
        """One run's trouble must not stop the others."""
        try:
            guest.pump()
        except Exception:
            log.exception("points of a run could not be framed")

    def _present(self) -> tuple[Guest, ...]:
        with self._lock:
            if not self._guests:
                self._thread = None
            return tuple(self._guests)

    def _all_leave(self) -> None:
        until = time.monotonic() + self._settings.exit_s
        for guest in self._present():
            try:
                guest.leave(max(0.0, until - time.monotonic()))
            except errors.HeadraceError as error:
                log.error("a run could not be brought to its end: %s", error)  # noqa: TRY400 - no defect of ours
            except Exception:
                log.exception("a run could not be brought to its end")
            self.remove(guest)


class _SenderThread(threading.Thread):
    def __init__(self, sender: Sender) -> None:
        super().__init__(name="headrace-sender", daemon=False)
        self._sender = sender

    @override
    def run(self) -> None:
        self._sender.run()


def _program_is_over() -> bool:
    """Whether no thread is left that could still log: the main thread has ended, and all others but daemons."""
    if threading.main_thread().is_alive():
        return False
    others = (thread for thread in threading.enumerate() if thread.is_alive() and not thread.daemon)
    return all(isinstance(thread, _SenderThread) for thread in others)
