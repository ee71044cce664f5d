"""500 streams at once, each with a step of 10 series at a time."""

import threading
from contextlib import ExitStack
from functools import partial

import headrace as hr
from rig.figures import Beside, Figure, in_turn, per_million
from rig.lab import Lab
from rig.processes import Program
from rig.rates import headrace_round, limit_round

NAMES = ("streams",)
_PACE = 100.0
_SECONDS = 10
_CLIENTS, _RUNS = 4, 125


def measure(lab: Lab) -> list[Figure]:
    """The rate, and how far the last stream was behind when the clients had logged all."""
    steps = lab.scale.of(int(_PACE * _SECONDS))
    progress: list[float] = []
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
                look=lambda ids: progress.append(_least_progress(lab.headrace.uri, ids)),
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
    rounds, echo = found["streams"], found["gRPC echo alone"]
    rate = Figure(
        "500 streams, 10 series a step",
        "points/s",
        [each.rate for each in rounds],
        150e3,
        500e3,
        beside=[Beside("gRPC echo alone, frames of 100", [each.rate for each in echo], note="4 streams")],
        cpu={"Headrace": per_million(rounds)},
        note=f"4 client processes of 125 runs, a dict of 10 a step, 500 k points/s offered for {steps / _PACE:g} s: frames as they come",
    )
    least = Figure(
        "500 streams: the slowest against the median",
        "of its steps visible",
        progress,
        0.5,
        note="when all is logged; by GetRun of each run",
    )
    return [rate, least]


def _least_progress(uri: str, run_ids: list[str]) -> float:
    """What the slowest stream shows at this moment, against the median one."""
    found: dict[str, int] = {}

    def look(client: hr.Client, ids: list[str]) -> None:
        for run_id in ids:
            found[run_id] = int(client.get_run(run_id).metrics.get("train/metric_0", -1)) + 1

    with ExitStack() as stack:
        client = stack.enter_context(hr.Client(uri))
        threads = [threading.Thread(target=look, args=(client, run_ids[part::8])) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    shown = sorted(found.values())
    return shown[0] / max(1, shown[len(shown) // 2])
