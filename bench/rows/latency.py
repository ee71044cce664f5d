"""From log to visible, while other clients bring half of what Headrace can take."""

from contextlib import ExitStack

from rig.figures import Beside, Figure
from rig.lab import Lab
from rig.processes import Program
from rig.rates import FRAME_POINTS, headrace_round

_TICKS = 400
_PAUSE_S = 0.03
_MARGIN_S = 2.0
_CLIENTS = 4


def measure(lab: Lab) -> list[Figure]:
    """p50 and p99, and the same without load."""
    rate = lab.found.get("rate") or headrace_round(lab.headrace, steps=lab.scale.of(150_000)).rate
    loaded: list[list[float]] = []
    idle: list[list[float]] = []
    for _ in range(lab.scale.rounds):
        loaded.append(_round(lab, rate / 2))
        idle.append(_round(lab, 0))
    return [
        Figure(
            f"log to visible, {name}, at half load",
            "ms",
            [_quantile(round_, share) for round_ in loaded],
            *goals,
            more_is_better=False,
            beside=[Beside("without load", [_quantile(round_, share) for round_ in idle])],
            note=f"{lab.scale.of(_TICKS)} scalars of a client of its own, seen by GetRun of another that asks every 20 ms,"
            " both with default settings;"
            f" {rate / 2:,.0f} points/s besides",
        )
        for name, share, goals in (("p50", 0.5, (None, None)), ("p99", 0.99, (300.0, 100.0)))
    ]


def _round(lab: Lab, rate: float) -> list[float]:
    """Milliseconds of each tick, in order of size."""
    ticks, uri = lab.scale.of(_TICKS), lab.headrace.uri
    pace = rate / (10 * _CLIENTS)
    arguments = {
        "uri": uri,
        "experiment": "bench",
        "runs": 1,
        "series": 10,
        "how": "columns",
        "frame_points": FRAME_POINTS,
    }
    arguments |= {"steps": int(pace * (ticks * _PAUSE_S + _MARGIN_S)), "steps_a_second": pace}
    with ExitStack() as stack:
        ticker = stack.enter_context(Program("ticker", uri=uri, ticks=ticks, pause_s=_PAUSE_S))
        run_id = ticker.read()["runs"][0]
        watcher = stack.enter_context(Program("watcher", uri=uri, run_id=run_id, ticks=ticks))
        load = [
            stack.enter_context(Program("producer", seed=seed, **arguments)) for seed in range(_CLIENTS if rate else 0)
        ]
        for program in [watcher, *load]:
            program.read()
        for program in [*load, watcher, ticker]:
            program.tell()
        logged, seen = ticker.read()["logged"], watcher.read()["seen"]
        for program in load:  # until its points are there: the next round is not to find them waiting
            while "visible" not in program.read():
                pass
    return sorted(1000 * (at - began) for began, at in zip(logged, seen, strict=True))


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
