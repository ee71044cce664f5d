"""The whole history of a long series, as numpy arrays at the client."""

from contextlib import ExitStack
from pathlib import Path

from rig.figures import Beside, Figure
from rig.lab import Lab
from rig.processes import Failed, Program, together
from rig.servers import PeerServer
from rows import storage

_MLFLOW_POINTS = 50_000


def measure(lab: Lab) -> list[Figure]:
    """Seconds for a million points."""
    points = lab.scale.of(storage.POINTS)
    run_id = storage.write(lab, "noise", points)
    lab.headrace.settle()
    scaled = storage.POINTS / points
    mlflow = lab.mlflow
    with ExitStack() as stack:
        its_run = _write(stack, lab, mlflow) if mlflow else ""
        seconds: list[float] = []
        its: list[float] = []
        for _ in range(lab.scale.rounds):
            seconds += _read("reader", None, lab.headrace.uri, run_id, storage.KEY, points, 3)
            if mlflow:
                found = _read("mlflow_reader", mlflow.python, mlflow.uri, its_run, "train/metric_0", _of_mlflow(lab), 1)
                its += [each * storage.POINTS / _of_mlflow(lab) for each in found]
    beside = (
        [Beside("MLflow", its, 50, f"get_metric_history of {_of_mlflow(lab):,} points, times 1 M / this")]
        if its
        else []
    )
    note = f"{points:,} points" + (f", scaled by {scaled:g}" if points != storage.POINTS else "")
    values = [each * scaled for each in seconds]
    return [Figure("1 M points into numpy", "s", values, 0.5, 0.15, more_is_better=False, beside=beside, note=note)]


def _of_mlflow(lab: Lab) -> int:
    return lab.scale.of(_MLFLOW_POINTS) // 1_000 * 1_000


def _write(stack: ExitStack, lab: Lab, server: PeerServer) -> str:
    asked = {"uri": server.uri, "series": 1, "seconds": 120, "points": _of_mlflow(lab), "seed": 1}
    program = stack.enter_context(Program("mlflow_producer", server.python, **asked))
    run_id = program.read()["runs"][0]
    together([program])
    return str(run_id)


def _read(name: str, python: Path | None, uri: str, run_id: str, key: str, points: int, times: int) -> list[float]:
    asked = {"uri": uri, "run_id": run_id, "key": key, "times": times}
    with Program(name, python, **asked) if python else Program(name, **asked) as program:
        program.read()
        (said,) = together([program])
    if said["points"] != points:
        raise Failed(f"{name} got {said['points']:,} points, not {points:,}")
    return [float(each) for each in said["seconds"]]
