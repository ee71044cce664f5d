"""Rounds of rates: client processes that log as fast as they can, until all is visible."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import headrace as hr
from rig.cpu import Meter
from rig.figures import Round
from rig.processes import Failed, Program, together
from rig.servers import Headrace, PeerServer

FRAME_POINTS = hr.IngestSettings().frame_points


def headrace_round(
    server: Headrace,
    *,
    steps: int,
    how: str = "columns",
    clients: int = 4,
    runs: int = 1,
    frame_points: int = FRAME_POINTS,
    steps_a_second: float = 0,
    look: Callable[[str], None] = lambda _experiment: None,
) -> Round:
    """10 series a run; `look` is called with their experiment when all is logged, and maybe not visible yet. Then the merger has its time, which is in the CPU account and not in the rate.

    One series of each client's first run is read back: all its points must be there.
    """
    arguments = {"uri": server.uri, "series": 10, "steps": steps, "how": how, "frame_points": frame_points}
    experiment = f"bench {uuid.uuid4().hex}"
    arguments |= {"experiment": experiment, "runs": runs, "steps_a_second": steps_a_second}
    with ExitStack() as stack:
        programs = [stack.enter_context(Program("producer", seed=seed, **arguments)) for seed in range(clients)]
        ids = [program.read()["runs"][0] for program in programs]
        meter = Meter({"clients": [program.pid for program in programs], **server.pids})
        together(programs)
        look(experiment)
        said = [program.read() for program in programs]
        _check(server, ids, steps, said)
        server.settle()
        spent = meter.spent()
        together_end(programs)
    first = min(each["first"] for each in said)
    points = clients * runs * 10 * steps
    durable = max(each["durable"] for each in said) - first
    return Round(points, max(each["visible"] for each in said) - first, spent, durable)


def mlflow_round(server: PeerServer, *, seconds: float, clients: int = 4, points: int = 0) -> Round:
    """Batches of 1,000 points, 10 series, for so long, or so many points a client."""
    arguments = {"uri": server.uri, "series": 10, "seconds": seconds, "points": points}
    with ExitStack() as stack:
        programs = [
            stack.enter_context(Program("mlflow_producer", server.python, seed=seed, **arguments))
            for seed in range(clients)
        ]
        for program in programs:
            program.read()
        meter = Meter({"clients": [program.pid for program in programs], **server.pids})
        said = together(programs)
        spent = meter.spent()
    seconds = max(each["visible"] for each in said) - min(each["first"] for each in said)
    return Round(sum(each["points"] for each in said), seconds, spent)


def limit_round(what: str, where: str, *, points: int, count: int, pids: dict[str, Any], topic: str = "") -> Round:
    """One program that does nothing else: `count` frames, or chunks, of so many points."""
    with Program("limits", what=what, where=where, points=points, count=count, topic=topic) as program:
        program.read()
        meter = Meter({"clients": [program.pid], **pids})
        (said,) = together([program])
        spent = meter.spent()
        together_end([program])
    return Round(said["points"], said["visible"] - said["first"], spent)


def together_end(programs: list[Program]) -> None:
    """Lets them end by themselves."""
    for program in programs:
        program.tell()
    for program in programs:
        program.wait()


def _check(server: Headrace, run_ids: list[str], steps: int, said: list[dict[str, Any]]) -> None:
    if lost := sum(each["lost"] for each in said):
        raise Failed(f"the clients lost {lost:,} points")
    with hr.Client(server.uri) as client:
        for run_id in run_ids:
            found = len(client.metric_history(run_id, "train/metric_0"))
            if found != steps:
                raise Failed(
                    f"{found:,} of {steps:,} points of a series are visible, though the client was told all are"
                )
