"""A thread that serves the process until told to stop, and does not die in silence."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

log = logging.getLogger(__name__)


class Worker(ABC):
    """A plain synchronous loop in a thread of its own. `start` once, `close`, then `join`."""

    def __init__(self, name: str, on_death: Callable[[BaseException], None]) -> None:
        """`on_death` is called from the thread when it ends unasked; `Runner.fail` then ends the process."""
        self.name = name
        self._on_death = on_death
        self._stopping = threading.Event()
        self._hurry: Callable[[], object] = lambda: None
        """Ends a wait of `run` early, for `close`; never blocks."""
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Asks the thread to stop; never blocks, any thread may call it."""
        self._stopping.set()
        self._hurry()

    def join(self, timeout: float) -> bool:
        """Waits for the thread's end; False when the time ran out. True when it was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @abstractmethod
    def run(self, stopping: threading.Event) -> None:
        """The loop: returns soon after `stopping` is set, and not before."""

    def _main(self) -> None:
        try:
            self.run(self._stopping)
            if not self._stopping.is_set():
                raise RuntimeError(f"{self.name} returned without being asked to stop")  # noqa: TRY301 - told as a death
        except BaseException as error:
            log.exception("%s died", self.name)
            self._on_death(error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
