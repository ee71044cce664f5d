"""The drain of a process whose threads do not end."""

import time

import pytest

from headrace_kit import lifecycle, telemetry
from headrace_kit.auth import NoIdentity
from headrace_kit.config import ServiceConfig
from headrace_kit.lifecycle import Runner


class Stuck:
    """Joined for as long as the drain has time for it."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def start(self) -> None: ...
    def close(self) -> None: ...

    def join(self, timeout: float) -> bool:
        self.waited.append(timeout)
        time.sleep(timeout)
        return False


async def test_stuck_workers_share_the_time_of_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_JOIN_S", 0.2)
    runner = Runner(
        ServiceConfig(service_secret="s"), telemetry=telemetry.configure("headrace-test", {}), identity=NoIdentity()
    )
    stuck = [runner.worker(Stuck()) for _ in range(5)]
    await runner.drain()
    assert sum(seconds for each in stuck for seconds in each.waited) <= 0.2
    assert all(each.waited for each in stuck)
