"""kill -9 of every service in turn while clients work: nothing acknowledged is lost, nothing is doubled."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import headrace as hr
from fix_platform import SERVICES, Platform

HEADRACE = Path(sys.executable).with_name("headrace")
BAKE = Path(__file__).parents[2] / "examples/cookie_factory/bake.py"
KILLED = tuple(name for name in SERVICES if name != "gateway")  # whoever kills the gateway kills the requests in it
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


class Killer:
    """Kills the services one after the other, each a moment after the one before is back."""

    def __init__(self, platform: Platform, names: Iterable[str]) -> None:
        self.turns = dict.fromkeys(names, 0)
        """How often each was killed."""
        self._platform = platform
        self._next = itertools.cycle(self.turns)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Kills as long as this lasts; all are back when it ends."""
        stop = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            work = thread.submit(self._kill, stop)
            try:
                yield
            finally:
                stop.set()
                work.result()
        self._platform.wait_healthy()

    def _kill(self, stop: threading.Event) -> None:
        while not stop.wait(1.0):
            name = next(self._next)
            self._platform.services[name].kill()
            time.sleep(0.2)
            self._platform.services[name].start()
            self._platform.services[name].wait()
            self.turns[name] += 1


def new_tenant(platform: Platform, tenant: str) -> str:
    """Its token."""
    made = subprocess.run(
        [HEADRACE, "tenants", "create", tenant],
        env={**os.environ, **platform.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def bake(platform: Platform, token: str) -> None:
    """The story is told to its end, and no request fails."""
    story = subprocess.run(
        [sys.executable, str(BAKE), "--uri", platform.uri],
        env={**os.environ, "HEADRACE_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert story.returncode == 0, story.stdout + story.stderr
    assert story.stdout.rstrip().endswith("failed: 0")


def check_cookies(platform: Platform, token: str) -> None:
    """Every step of every batch is there once, and the second version of the judge serves."""
    with hr.connect(platform.uri, token=token) as client:
        runs = client.search_runs(["cookie-factory"])
        assert len(runs) == 13
        assert {run.state for run in runs} == {"FINISHED"}
        for run in runs:
            minutes = int(run.params["minutes"])
            assert list(client.metric_history(run.run_id, "loss").steps) == list(range(minutes))
        assert [version.version for version in client.registry.list_versions("cookie-judge")] == [2, 1]
        assert client.deployments.get("cookie-judge").serving_version == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cookies_are_baked_while_services_are_killed(platform: Platform) -> None:
    """All may be baked before every service had its turn: then another tenant bakes, and the killer goes on."""
    killer = Killer(platform, KILLED)
    for tenant in itertools.count():
        token = new_tenant(platform, f"survivors-{tenant}")
        with killer.at_work():
            bake(platform, token)
        check_cookies(platform, token)
        if all(killer.turns.values()):
            break


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
