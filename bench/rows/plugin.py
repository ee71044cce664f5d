"""What one `log_metric` of MLflow's client costs with Headrace's plug-in, beside the same client by REST."""

import sys
from pathlib import Path

from rig.figures import Beside, Figure
from rig.lab import Lab
from rig.processes import Program

_CALLS = 60_000
_REST_CALLS = 300


def measure(lab: Lab) -> list[Figure]:
    """p50 and p99.9."""
    here, gateway = Path(sys.executable), lab.gateway.uri
    contestants = {
        "the plug-in": (here, gateway.replace("http://", "headrace://"), _CALLS),
        "Headrace by REST": (here, gateway, _REST_CALLS),
    }
    if server := lab.mlflow:
        contestants["MLflow by REST"] = (server.python, server.uri, _REST_CALLS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for _ in range(lab.scale.rounds):
        for name, (python, uri, calls) in contestants.items():
            with Program("mlflow_cost", python, uri=uri, calls=lab.scale.of(calls)) as program:
                program.read()
                program.tell()
                found[name].append(program.read()["log"])
    return [_figure(quantile, found) for quantile in ("p50", "p99.9")]


def _figure(quantile: str, found: dict[str, list[dict[str, float]]]) -> Figure:
    ours, *others = [Beside(name, [cost[quantile] for cost in costs]) for name, costs in found.items()]
    return Figure(
        f"MLflow's log_metric by the plug-in, {quantile}", "µs", ours.values, more_is_better=False, beside=others
    )
