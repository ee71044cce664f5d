"""Points a second, durable and visible: distributed, embedded, peers and raw limits, in turn."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rig.figures import Beside, Figure, Round, in_turn, per_million
from rig.lab import Lab
from rig.processes import Program
from rig.rates import headrace_round, limit_round, mlflow_round

NAMES = ("rate",)
_STEPS = 150_000  # of each of the 4 clients: 6 million points
_PEER_S = 6.0
_LARGE, _SMALL = 8_190, 1_000
_LIMIT_POINTS = 6_000_000


def measure(lab: Lab) -> list[Figure]:
    """Four figures of Headrace."""
    steps = lab.scale.of(_STEPS)
    with _limits(lab) as limits:
        contestants: dict[str, Callable[[], Round]] = {
            "columns": partial(headrace_round, lab.headrace, steps=steps),
            **_peers(lab),
            "small frames": partial(headrace_round, lab.headrace, steps=steps // 2, frame_points=_SMALL),
            "dicts": partial(headrace_round, lab.headrace, steps=steps // 2, how="dict"),
            "embedded": partial(headrace_round, lab.embedded, steps=steps),
            **limits,
        }
        found = in_turn(contestants, lab.scale.rounds)
    lab.found["rate"] = _median(found["columns"])
    beside = _beside(found, {"MLflow": 150, "FastTrackML": 40}, [*limits])
    figures = [
        _figure("4 clients, 10 series, Kafka", found["columns"], 1.5e6, 3e6, beside),
        _figure("the same, frames of 1,000", found["small frames"], 0.8e6, 1.5e6, []),
        _figure("the same, a dict a step", found["dicts"], None, None, []),
        _figure("4 clients, 10 series, embedded", found["embedded"], 0.8e6, 2e6, []),
    ]
    figures[0].cpu |= {other.name: per_million(found[other.name]) for other in beside}
    figures[0].note += (
        "; `log_columns` of 1,000 steps, times are those of the calls; from the first log to the last client's"
        " `flush(visible=True)`; one series in ten is read back and counted"
    )
    return figures


def _figure(name: str, rounds: Sequence[Round], floor: float | None, aim: float | None, beside: list[Beside]) -> Figure:
    durable = _median(rounds, durable=True)
    return Figure(
        name,
        "points/s",
        [each.rate for each in rounds],
        floor,
        aim,
        beside=beside,
        cpu={"Headrace": per_million(rounds)},
        note=f"durable at {durable / 1e6:.2f} M points/s",
    )


def _peers(lab: Lab) -> dict[str, Callable[[], Round]]:
    found = {"MLflow": lab.mlflow, "FastTrackML": lab.fasttrackml}
    seconds = max(1.5, _PEER_S * lab.scale.share)
    return {name: partial(mlflow_round, server, seconds=seconds) for name, server in found.items() if server}


@contextmanager
def _limits(lab: Lab) -> Iterator[dict[str, Callable[[], Round]]]:
    count = lab.scale.of(_LIMIT_POINTS) // _LARGE
    headrace = lab.headrace
    broker, postgres = {"Kafka": headrace.pids["Kafka"]}, {"PostgreSQL": headrace.pids["PostgreSQL"]}
    with Program("limits", what="echo server") as server:
        where, echo = server.read()["where"], {"server": [server.pid]}
        large = {"points": _LARGE, "count": count}
        yield {
            "kafka-python alone": partial(
                limit_round, "kafka", headrace.kafka, pids=broker, topic="bench.limit", **large
            ),
            "COPY BINARY alone": partial(limit_round, "copy", headrace.database, pids=postgres, **large),
            "gRPC echo alone": partial(limit_round, "echo", where, pids=echo, **large),
        }


def _beside(found: dict[str, list[Round]], peers: dict[str, float], limits: Sequence[str]) -> list[Beside]:
    names = [*(name for name in peers if name in found), *limits]
    return [Beside(name, [each.rate for each in found[name]], peers.get(name), _NOTES[name]) for name in names]


def _median(rounds: Sequence[Round], *, durable: bool = False) -> float:
    rates = sorted(each.points / (each.durable or each.seconds) if durable else each.rate for each in rounds)
    return rates[len(rates) // 2]


_NOTES = {
    "MLflow": "4 clients, `log_batch` of 1,000 points, 10 series; visible when the call returns",
    "FastTrackML": "as MLflow, by the client of the MLflow that it brings",
    "kafka-python alone": f"one producer, acks=all, records of five frames of {_LARGE:,} points; one partition",
    "COPY BINARY alone": f"one connection, compressed chunks of {_LARGE:,} points, made beforehand, into a table with one index",
    "gRPC echo alone": f"grpc.aio, one client process, 4 streams of frames of {_LARGE:,} points, a byte back for each",
}
