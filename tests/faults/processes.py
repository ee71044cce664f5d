"""The processes that faults are done to, beside the backends: tracking services and clients."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from fix_platform import ServiceProcess

READY_S: Final = 60.0
_DRAIN_S: Final = 60.0
_END_S: Final = 180.0
_POLL_S: Final = 0.02


class Process(Protocol):
    """What a fault is done to."""

    def kill(self) -> None: ...
    def launch(self) -> None: ...
    def wait_ready(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Died(AssertionError):  # noqa: N818 - says what happened
    """A process ended that nobody had killed, or not as it should."""


class Service:
    """A process of the tracking service, as whatever runs it would keep it: started again while it cannot start."""

    def __init__(self, process: ServiceProcess, address: str) -> None:
        self.address = address
        self.listed = False
        """Whether the directory may name it."""
        self._process = process
        self._stopping = False

    def launch(self) -> None:
        """Waits for a process that was told to stop; raises Died when it did not drain well."""
        if self._stopping:
            self._stopping = False
            try:
                drained = self._process.process is None or self._process.process.wait(_DRAIN_S) == 0
            except subprocess.TimeoutExpired:
                drained = False
            if not drained:
                raise self._died("did not drain well")
        self._process.start()
        self.listed = True

    def wait_ready(self) -> None:
        """Raises Died when it had been ready, and ended by itself."""
        deadline = time.monotonic() + READY_S
        while True:
            ready, ended = self._process.ready, self._process.ended
            if ready and not ended:
                return
            if ready or time.monotonic() > deadline:
                raise self._died("ended" if ended else "is not ready")
            if ended:
                self._process.start()
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Raises Died when it has ended by itself."""
        if self.listed and self._process.ready and self._process.ended:
            raise self._died("ended")
        self._process.kill()
        self.listed = self._stopping = False

    def stop(self) -> None:
        """SIGTERM; `launch` waits for what it does."""
        self._process.send(signal.SIGTERM)
        self._stopping = True
        self.listed = False

    def pause(self) -> None:
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send(signal.SIGCONT)

    def end(self) -> None:
        """For good."""
        self.resume()
        self._process.stop()

    def _died(self, how: str) -> Died:
        self.listed = False
        return Died(f"{self._process.log.stem} {how}: {self._process.log.read_text()[-3000:]}")


class Client:
    """A process of `client.py`, which plays one run after the other. Implements `Process`."""

    def __init__(self, uri: str, folder: Path, name: str) -> None:
        self.record = Path()
        self.killed = False
        """In this run."""
        self.spool = folder / f"{name}.spool"
        self._uri = uri
        self._log = folder / f"{name}.log"
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("client.py")), self._uri],
                env={**os.environ, "HEADRACE_SPOOL": str(self.spool)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is not for it
            )

    def play(self, record: Path, seed: int) -> None:
        """Begins a run."""
        if self.killed:
            self._start()
            self.killed = False
        self.record = record
        self._order(f"PLAY {record} {seed}")

    def wait_ready(self) -> None:
        """Until it has a run."""
        self._wait("got no run", READY_S, self.record.exists)

    def kill(self) -> None:
        self.killed = True
        self._process.kill()
        self._process.communicate()

    def launch(self) -> None:
        """It stays away until the next run."""

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """Lets its run end; raises Died when that does not end well."""
        if self.killed:
            return
        self._order("END")
        self._wait("did not finish", _END_S, lambda: "\nDONE" in self.record.read_text())

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died("ended") from None

    def _wait(self, else_what: str, seconds: float, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not (self.killed or done()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self._died(else_what)
            time.sleep(_POLL_S)

    def _died(self, how: str) -> Died:
        self.kill()
        return Died(f"a client {how}: {self._log.read_text()[-3000:]}")
