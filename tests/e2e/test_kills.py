"""kill -9 of every service in turn while a client streams: nothing acknowledged is lost, nothing is doubled."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import headrace as hr
from fix_platform import SERVICES, Platform

STREAMER = Path(__file__).with_name("streamer.py")


class Streamer:
    """The streaming process and what it said."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.run_id = self._next("RUN")

    def acked(self) -> int:
        """The next acknowledgement."""
        return int(self._next("ACKED"))

    def finish(self) -> int:
        """Stops it; the points of each series that it logged."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self._next("DONE"))

    def _next(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.split()[1]
        raise AssertionError(f"the streamer ended with {self.process.wait()} before it said {word}")


@contextmanager
def streaming(uri: str) -> Iterator[Streamer]:
    with subprocess.Popen(
        [sys.executable, str(STREAMER), uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Streamer(process)
        finally:
            process.kill()


def test_each_service_killed_in_turn(platform: Platform) -> None:
    with streaming(platform.uri) as streamer:
        for name in SERVICES:
            before = streamer.acked()
            platform.services[name].kill()
            time.sleep(0.3)
            platform.services[name].start()
            platform.services[name].wait()
            while streamer.acked() <= before + 50:
                pass
        platform.wait_healthy()
        logged = streamer.finish()

    with hr.connect(platform.uri) as client:
        for key, sign in (("up", 1), ("down", -1)):
            history = client.metric_history(streamer.run_id, key)
            assert list(history.steps) == list(range(logged))
            assert list(history.values) == [sign * step for step in range(logged)]
