"""What one scalar log costs its caller: server up, slow, dead; W&B offline and MLflow beside it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

from rig.figures import Beside, Figure
from rig.lab import Lab
from rig.processes import Failed, Program
from rig.servers import Service

_CALLS = 60_000
_MLFLOW_CALLS = 300
_SLOW_S = 1.0
_QUANTILES = {"p50": (1.0, 0.5), "p99.9": (50.0, None)}

Cost = dict[str, dict[str, float]]


def measure(lab: Lab) -> list[Figure]:
    """p50 and p99.9 of each state of the server."""
    states: dict[str, Callable[[Service], Any]] = {"up": _up, "slow": _slow, "dead": _dead}
    found: dict[str, list[Cost]] = {}
    for _ in range(lab.scale.rounds):
        for state, doing in states.items():
            found.setdefault(state, []).append(_headrace(lab, doing))
        for name, cost in _peers(lab).items():
            found.setdefault(name, []).append(cost)
    return [_figure(state, quantile, found) for state in states for quantile in _QUANTILES]


def _figure(state: str, quantile: str, found: dict[str, list[Cost]]) -> Figure:
    floor, aim = _QUANTILES[quantile]
    wanted = {"W&B offline": 100.0, "MLflow synchronous": 1000.0} if quantile == "p50" else {}
    beside = [
        Beside(name, [cost["log"][quantile] for cost in found[name]], wanted.get(name), _NOTES[name])
        for name in _NOTES
        if name in found
    ]
    beside.append(Beside("an empty function", [cost["empty"][quantile] for cost in found[state]]))
    values = [cost["log"][quantile] for cost in found[state]]
    return Figure(
        f"one scalar log, {quantile}, server {state}", "µs", values, floor, aim, more_is_better=False, beside=beside
    )


def _headrace(lab: Lab, doing: Callable[[Service], Any]) -> Cost:
    service = lab.headrace.service
    spool = lab.folder / "spool"
    with Program("log_cost", uri=lab.headrace.uri, calls=lab.scale.of(_CALLS), spool=str(spool)) as program:
        program.read()
        with doing(service):
            program.tell()
            said = program.read()
    if said["lost"]:
        raise Failed(f"{said['lost']} points were lost")
    return {name: said[name] for name in ("log", "empty")}


def _peers(lab: Lab) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    if python := lab.python("wandb"):
        folder = lab.folder / "wandb"
        folder.mkdir(exist_ok=True)
        found["W&B offline"] = _peer("wandb_cost", python, folder=str(folder), calls=lab.scale.of(_CALLS // 4))
    if server := lab.mlflow:
        calls = lab.scale.of(_MLFLOW_CALLS)
        found["MLflow synchronous"] = _peer("mlflow_cost", server.python, uri=server.uri, calls=calls)
    return found


def _peer(name: str, python: Path, **arguments: object) -> Cost:
    with Program(name, python, **arguments) as program:
        program.read()
        program.tell()
        return {"log": program.read()["log"]}


@contextmanager
def _up(_service: Service) -> Iterator[None]:
    yield


@contextmanager
def _slow(service: Service) -> Iterator[None]:
    """Frozen every other second."""
    over = threading.Event()

    def freeze() -> None:
        while not over.is_set():
            service.pause()
            over.wait(_SLOW_S)
            service.resume()
            over.wait(_SLOW_S)

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _dead(service: Service) -> Iterator[None]:
    service.stop(SIGKILL)
    try:
        yield
    finally:
        service.start()


_NOTES = {
    "W&B offline": "`run.log` of one scalar",
    "MLflow synchronous": "`MlflowClient.log_metric`, visible when it returns",
}
