"""Search among 100,000 runs, and MLflow's among the same; with `--long`, among a million."""

from typing import Any

from rig import runs
from rig.figures import Beside, Figure
from rig.lab import Lab
from rig.processes import Failed, Program, together

_RUNS = 100_000
_SEARCHES = 50
_MLFLOW_SEARCHES = 10  # they take seconds each
_QUANTILES = {"p50": 0.5, "p95": 0.95}


def measure(lab: Lab) -> list[Figure]:
    """p50 and p95, and of a million runs too."""
    count = lab.scale.of(_RUNS)
    sizes = {f"{count:,}": count}
    if lab.scale.long:
        sizes[f"{10 * count:,}"] = 10 * count
    found: dict[str, list[list[float]]] = {}
    loaded = [f"{runs.load_headrace(lab.headrace, f'search {name}', size):.0f} s" for name, size in sizes.items()]
    mlflow = lab.mlflow
    if mlflow:
        loaded.append(f"{runs.load_mlflow(mlflow, count):.0f} s for MLflow")
    for _ in range(lab.scale.rounds):
        results: dict[str, Any] = {}
        for name in sizes:
            said = _search("searcher", uri=lab.headrace.uri, experiment=f"search {name}")
            found.setdefault(name, []).append(sorted(said["seconds"]))
            results[name] = said["results"]
        if mlflow:
            said = _search("mlflow_searcher", mlflow.python, uri=mlflow.uri, count=_MLFLOW_SEARCHES)
            found.setdefault("MLflow", []).append(sorted(said["seconds"]))
            if said["results"] != results[f"{count:,}"][:_MLFLOW_SEARCHES]:
                raise Failed("MLflow and Headrace do not find the same runs")
    note = (
        f"{_SEARCHES} searches with two params, a range of a metric, ordered by another metric, the first 100 runs with all"
        f" their data at the client; loaded by SQL ({', '.join(loaded)}), and analyzed"
    )
    return [_figure(name, quantile, found, note) for name in sizes for quantile in _QUANTILES]


def _figure(name: str, quantile: str, found: dict[str, list[list[float]]], note: str) -> Figure:
    def of(which: str) -> list[float]:
        return [1000 * times[int(len(times) * _QUANTILES[quantile])] for times in found[which]]

    first = next(iter(found))
    tail = quantile == "p95"
    beside: list[Beside] = []
    if name != first:
        beside.append(Beside(f"{first} runs", of(first), 0.5))  # at most twice as long
    elif "MLflow" in found:
        beside.append(
            Beside("MLflow", of("MLflow"), 20 if tail else None, f"the first {_MLFLOW_SEARCHES} of these searches")
        )
    goals = (30.0, 10.0) if tail and name == first else (None, None)
    return Figure(
        f"search among {name} runs, {quantile}", "ms", of(name), *goals, more_is_better=False, beside=beside, note=note
    )


def _search(name: str, *python: Any, count: int = _SEARCHES, **where: object) -> dict[str, Any]:
    with Program(name, *python, searches=runs.searches(count), **where) as program:
        program.read()
        (said,) = together([program])
    return said
