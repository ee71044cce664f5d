"""Metrics of the machine that a run is on, under MLflow's names: "system/cpu_utilization_percentage" and its like."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from headrace import errors, optional

log: Final = logging.getLogger("headrace")

VARIABLE: Final = "HEADRACE_SYSTEM_METRICS"
PREFIX: Final = "system/"
_MB: Final = 1e6  # MLflow's megabytes
_JOIN_S: Final = 2.0
_WORDS: Final = {**dict.fromkeys(("", "0", "false", "no"), False), **dict.fromkeys(("1", "true", "yes"), True)}

Probe = Callable[[], Mapping[str, float]]
"""Reads some figures now; whatever it raises is warned of, and it is not asked again."""


class Log(Protocol):
    """Where figures go: `ActiveRun.log`."""

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        """Records a point in each series named."""


def wanted(asked: bool | None) -> bool:
    """What was asked for; HEADRACE_SYSTEM_METRICS where nothing was. Raises InvalidRequest for another word."""
    if asked is not None:
        return asked
    word = os.environ.get(VARIABLE, "").strip().lower()
    if word not in _WORDS:
        raise errors.InvalidRequest(f"{VARIABLE}: must be 1 or 0, got {word!r:.80}")
    return _WORDS[word]


class Monitor:
    """Logs what the probes read every `interval_s` seconds, and once more when it stops; steps count the intervals.

    One daemon thread, which raises nothing. A forked child has none: the machine is its parent's to watch.
    """

    def __init__(self, into: Log, probes: Sequence[Probe], interval_s: float) -> None:
        self._into = into
        self._probes = list(probes)
        self._interval_s = interval_s
        self._step = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headrace-system", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Logs a last time; waits for it, but not long. Stopping again changes nothing."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        due = time.monotonic()
        stopped = False
        while not stopped:
            due = max(due + self._interval_s, time.monotonic())
            stopped = self._stop.wait(due - time.monotonic())
            try:
                self._into({PREFIX + name: value for name, value in self._read()}, self._step)
            except Exception as error:  # noqa: BLE001 - with `strict`; nothing here may stop the training
                log.warning("system metrics are not recorded any more: %s", error)
                return
            self._step += 1

    def _read(self) -> Iterator[tuple[str, float]]:
        for probe in tuple(self._probes):
            try:
                yield from probe().items()
            except Exception as error:  # noqa: BLE001 - whatever a driver says
                self._probes.remove(probe)
                log.warning("some system metrics are not recorded any more: %s", error)


def probes() -> list[Probe]:
    """What this machine has: CPU, memory, disk, network, and GPUs where there are any.

    Raises ModuleNotFoundError that says what to install.
    """
    found = machine(optional.psutil())
    nvml = optional.nvml()
    return found + gpus(nvml) if nvml is not None else found


def machine(psutil: Any, path: str = os.sep) -> list[Probe]:
    """CPU, memory, the disk that holds `path`, and the network since now. `psutil` is that library."""
    sent_before = psutil.net_io_counters()
    psutil.cpu_percent()  # the first answer is since the one before

    def cpu() -> Mapping[str, float]:
        return {"cpu_utilization_percentage": psutil.cpu_percent()}

    def memory() -> Mapping[str, float]:
        now = psutil.virtual_memory()
        return {
            "system_memory_usage_megabytes": now.used / _MB,
            "system_memory_usage_percentage": now.used / now.total * 100,
        }

    def disk() -> Mapping[str, float]:
        now = psutil.disk_usage(path)
        return {
            "disk_usage_percentage": now.percent,
            "disk_usage_megabytes": now.used / _MB,
            "disk_available_megabytes": now.free / _MB,
        }

    def network() -> Mapping[str, float]:
        now = psutil.net_io_counters()
        return {
            "network_receive_megabytes": (now.bytes_recv - sent_before.bytes_recv) / _MB,
            "network_transmit_megabytes": (now.bytes_sent - sent_before.bytes_sent) / _MB,
        }

    return [cpu, memory, disk, network] if sent_before is not None else [cpu, memory, disk]


def gpus(nvml: Any) -> list[Probe]:
    """One for each GPU; none where there is no driver. `nvml` is the module pynvml, of nvidia-ml-py."""
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        log.debug("no GPU metrics: %s", error)
        return []
    return [_gpu(nvml, number, handle) for number, handle in enumerate(handles)]


def _gpu(nvml: Any, number: int, handle: Any) -> Probe:
    def probe() -> Mapping[str, float]:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        found: dict[str, float] = {
            "memory_usage_percentage": memory.used / memory.total * 100,
            "memory_usage_megabytes": memory.used / _MB,
            "utilization_percentage": nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        }
        try:
            milliwatts = nvml.nvmlDeviceGetPowerUsage(handle)
            found["power_usage_watts"] = milliwatts / 1000
            found["power_usage_percentage"] = milliwatts / nvml.nvmlDeviceGetEnforcedPowerLimit(handle) * 100
        except nvml.NVMLError:
            pass  # many cards do not tell
        return {f"gpu_{number}_{name}": value for name, value in found.items()}

    return probe
