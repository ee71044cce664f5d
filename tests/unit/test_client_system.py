"""Metrics of the machine: logged while the run lives, and never in its way."""

import math
import multiprocessing
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

import headrace as hr
from fake_headrace import FakeHeadrace, serving
from headrace import errors, system

NAMES = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_percentage",
    "system/disk_usage_megabytes",
    "system/disk_available_megabytes",
    "system/network_receive_megabytes",
    "system/network_transmit_megabytes",
}


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


def client_of(fake: FakeHeadrace, **limits: Any) -> hr.Client:
    return hr.Client(fake.uri, ingest=hr.IngestSettings(**{"age_s": 0.01, **limits}))


def test_a_run_logs_its_machine_under_the_names_of_mlflow(fake: FakeHeadrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SYSTEM_METRICS", "1")
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"k": 1})
    points = fake.ingest.points(run.id)
    assert {key for key in points if not key.startswith("system/gpu_")} == {"k", *NAMES}
    assert [step for step, _, _ in points["system/cpu_utilization_percentage"]] == [0]  # the last one, at the end
    assert all(math.isfinite(value) and value >= 0 for of_key in points.values() for _, _, value in of_key)
    assert run.lost_points == 0


def test_nothing_is_logged_unasked(fake: FakeHeadrace, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(fake) as client, client.start_run(capture=False):
        pass
    monkeypatch.setenv("HEADRACE_SYSTEM_METRICS", "1")
    with client_of(fake) as client, client.start_run(capture=False, system_metrics=False):
        pass
    assert not fake.ingest.frames
    monkeypatch.setenv("HEADRACE_SYSTEM_METRICS", "perhaps")
    with client_of(fake) as client, pytest.raises(errors.InvalidRequest, match="must be 1 or 0, got 'perhaps'"):
        client.start_run()


def test_steps_count_and_a_probe_that_fails_is_dropped(fake: FakeHeadrace, caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def good() -> Mapping[str, float]:
        asked.append(1)
        return {"good": len(asked)}

    def bad() -> Mapping[str, float]:
        raise OSError("no such sensor")

    with client_of(fake, system_metrics_s=0.01) as client, client.start_run(capture=False) as run:
        run.watch_system([bad, good])
        while len(asked) < 3:
            pass
    points = fake.ingest.points(run.id)
    assert points.keys() == {"system/good"}
    steps = [step for step, _, _ in points["system/good"]]
    assert steps == list(range(len(steps)))
    assert [value for _, _, value in points["system/good"]] == list(range(1, len(steps) + 1))
    assert caplog.text.count("no such sensor") == 1


def test_a_forked_child_does_not_watch(fake: FakeHeadrace) -> None:
    with client_of(fake) as client, client.start_run(capture=False, system_metrics=True) as run:

        def in_child() -> None:
            with run:
                run.log({"child": 1})

        run.flush()  # gRPC bears no fork amid a call
        child = multiprocessing.get_context("fork").Process(target=in_child)
        child.start()
        child.join(60)
        assert child.exitcode == 0
    assert len(fake.ingest.points(run.id)["system/cpu_utilization_percentage"]) == 1


class FakeNvml:
    """A driver with one card that tells its power and one that does not."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, driver: bool = True) -> None:
        self._driver = driver

    def nvmlInit(self) -> None:
        if not self._driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=2e9, total=8e9)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=50 + handle)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        if handle == 1:
            raise self.NVMLError("Not Supported")
        return 100_000

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 400_000


def test_each_gpu_is_read() -> None:
    first, second = (probe() for probe in system.gpus(FakeNvml()))
    assert first == {
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_memory_usage_megabytes": 2_000.0,
        "gpu_0_utilization_percentage": 50,
        "gpu_0_power_usage_watts": 100.0,
        "gpu_0_power_usage_percentage": 25.0,
    }
    assert second.keys() == {
        "gpu_1_memory_usage_percentage",
        "gpu_1_memory_usage_megabytes",
        "gpu_1_utilization_percentage",
    }
    assert system.gpus(FakeNvml(driver=False)) == []
