"""500 streams at once, each with a step of 10 series at a time."""

from functools import partial

import psycopg

import headrace as hr
from rig.figures import Beside, Figure, in_turn, per_million
from rig.lab import Lab
from rig.processes import Failed, Program
from rig.rates import headrace_round, limit_round

NAMES = ("streams",)
_PACE = 100.0
_SECONDS = 10
_CLIENTS, _RUNS = 4, 125


def measure(lab: Lab) -> list[Figure]:
    """The rate, and how far the last stream was behind when the clients had logged all."""
    steps = lab.scale.of(int(_PACE * _SECONDS))
    progress: list[float] = []
    before = _frames(lab)
    with Program("limits", what="echo server") as server:
        where = server.read()["where"]
        contestants = {
            "streams": partial(
                headrace_round,
                lab.headrace,
                steps=steps,
                how="dict",
                clients=_CLIENTS,
                runs=_RUNS,
                steps_a_second=_PACE,
                look=lambda experiment: progress.append(_least_progress(lab.headrace.uri, experiment)),
            ),
            "gRPC echo alone": partial(
                limit_round,
                "echo",
                where,
                points=100,
                count=lab.scale.of(20_000),
                pids={"server": [server.pid]},
            ),
        }
        found = in_turn(contestants, lab.scale.rounds)
    size = sum(each.points for each in found["streams"]) / (_frames(lab) - before)
    rounds, echo = found["streams"], found["gRPC echo alone"]
    rate = Figure(
        "500 streams, 10 series a step",
        "points/s",
        [each.rate for each in rounds],
        150e3,
        500e3,
        beside=[Beside("gRPC echo alone, frames of 100", [each.rate for each in echo], note="4 streams")],
        cpu={"Headrace": per_million(rounds)},
        note=f"4 client processes of 125 runs, a dict of 10 a step, 500 k points/s offered for {steps / _PACE:g} s;"
        f" frames of {size:.0f} points in the mean",
    )
    least = Figure(
        "500 streams: the slowest against the median",
        "of its steps visible",
        progress,
        0.5,
        note="steps visible when all is logged, by one search",
    )
    return [rate, least]


def _frames(lab: Lab) -> int:
    """How many were applied so far."""
    with psycopg.connect(lab.headrace.database) as conn:
        row = conn.execute("SELECT coalesce(sum(applied_seq), 0) FROM tracking.ingest_producers").fetchone()
    return int(row[0]) if row else 0


def _least_progress(uri: str, experiment: str) -> float:
    """What the slowest stream shows at this moment, against the median one; all seen by one search."""
    with hr.Client(uri) as client:
        runs = client.search_runs(experiment, limit=1_000)
    shown = sorted(run.metrics.get("train/metric_0", -1.0) + 1 for run in runs)
    if len(shown) != _CLIENTS * _RUNS:
        raise Failed(f"{len(shown)} runs are there, not {_CLIENTS * _RUNS}")
    return shown[0] / max(1.0, shown[len(shown) // 2])
