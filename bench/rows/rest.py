"""MLflow's REST interface: Headrace's gateway, MLflow's server and FastTrackML, by the same calls on the same PostgreSQL."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import headrace as hr
from programs.rest import Rest
from rig import runs
from rig.cpu import Meter
from rig.figures import Beside, Figure, Spent
from rig.lab import Lab
from rig.processes import Failed, Program, together

_RUNS = 10_000
_SEARCHES = 30
_HISTORY = 1_000_000
_FILES = 1_000
_LARGE = 64 << 20
_EXPERIMENT = "rest search"
Found = dict[str, list["_Done"]]


@dataclass(frozen=True)
class _Server:
    uri: str
    pids: Mapping[str, Any]


@dataclass(frozen=True)
class _Done:
    """One round."""

    calls: int
    wall: float
    seconds: list[float]
    cpu: Spent

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.wall

    @property
    def median_ms(self) -> float:
        """Of a call."""
        return 1000 * statistics.median(self.seconds)


def measure(lab: Lab) -> list[Figure]:
    """A figure a kind of call."""
    servers = {"Headrace": _Server(lab.gateway.uri, lab.gateway.pids)}
    for name, peer in (("MLflow", lab.mlflow), ("FastTrackML", lab.fasttrackml)):
        if peer:
            servers[name] = _Server(peer.uri, peer.pids)
    row = _Row(lab, servers)
    return [
        row.rate(
            "REST log-batch of 1,000", "points/s", 1_000, 10, "log_batches", clients=4, count=lab.scale.of(40), keys=10
        ),
        row.latency("REST log-metric, one client", 1, "log_metrics", count=lab.scale.of(200)),
        row.rate("REST runs created", "runs/s", 1, 5, "create_runs", clients=4, count=lab.scale.of(250)),
        row.search(),
        *row.histories(),
        row.rate(
            "REST artifacts up, 1 kB each", "files/s", 1, 1, "files", count=lab.scale.of(_FILES), size=1_000, down=False
        ),
        row.rate(
            "REST artifacts down, 1 kB each",
            "files/s",
            1,
            1,
            "files",
            count=lab.scale.of(_FILES),
            size=1_000,
            down=True,
        ),
        row.rate("REST artifacts up, 64 MiB", "MiB/s", 64, 1, "files", count=lab.scale.of(4), size=_LARGE, down=False),
        row.rate("REST artifacts down, 64 MiB", "MiB/s", 64, 1, "files", count=lab.scale.of(4), size=_LARGE, down=True),
    ]


class _Row:
    def __init__(self, lab: Lab, servers: Mapping[str, _Server]) -> None:
        self._lab = lab
        self._servers = servers

    def rate(
        self, name: str, unit: str, each: int, wanted: float, what: str, *, clients: int = 1, **asked: Any
    ) -> Figure:
        """So many clients at the same time; a call counts as `each`."""
        found = self._found(lambda server: _play(server, what, clients, **asked))
        cpu: dict[str, Spent] = {who: _spent(done) for who, done in found.items()} if clients > 1 else {}
        return _figure(name, unit, found, wanted, lambda done: done.rate * each, cpu=cpu)

    def latency(self, name: str, wanted: float, what: str, **asked: Any) -> Figure:
        """The median of one client's calls."""
        found = self._found(lambda server: _play(server, what, 1, **asked))
        return _figure(name, "ms", found, wanted, lambda done: done.median_ms, more_is_better=False)

    def search(self) -> Figure:
        """Among runs that are written by SQL, where that can be done."""
        count = self._lab.scale.of(_RUNS)
        runs.load_headrace(self._lab.headrace, _EXPERIMENT, count)
        with hr.Client(self._lab.headrace.uri) as client:
            ids = {"Headrace": client.get_or_create_experiment(_EXPERIMENT).id}
        if self._lab.mlflow:
            ids["MLflow"] = Rest(self._lab.mlflow.uri).post("experiments/create", name=_EXPERIMENT)["experiment_id"]
            runs.load_mlflow(self._lab.mlflow, count, ids["MLflow"])
        by_name = {server.uri: ids[name] for name, server in self._servers.items() if name in ids}
        found = self._found(
            lambda server: _play(
                server, "search_runs", 1, searches=runs.searches(_SEARCHES), experiment_id=by_name[server.uri]
            ),
            {name: server for name, server in self._servers.items() if name in ids},
        )
        note = "two params, a range of a metric, ordered by another metric, the first 100 runs; not FastTrackML: loaded by SQL"
        return _figure(
            f"REST search among {count:,} runs",
            "ms",
            found,
            5,
            lambda done: done.median_ms,
            more_is_better=False,
            note=note,
        )

    def histories(self) -> list[Figure]:
        """The whole of a series, and a chart of it."""
        points = self._lab.scale.of(_HISTORY)
        ids = {server.uri: _write(server, points) for server in self._servers.values()}
        whole = self._found(lambda server: _play(server, "read_history", 1, run_id=ids[server.uri], count=1))
        both = {name: server for name, server in self._servers.items() if name != "FastTrackML"}
        chart = self._found(lambda server: _play(server, "read_interval", 1, run_id=ids[server.uri], count=5), both)
        return [
            _figure(
                f"REST history of {points:,} points", "ms", whole, 10, lambda done: done.median_ms, more_is_better=False
            ),
            _figure(
                f"REST chart of {points:,} points, 1,000 of them", "ms", chart, 1, lambda done: done.median_ms,
                more_is_better=False, note="FastTrackML has no such route",
            ),
        ]  # fmt: skip

    def _found(self, play: Callable[[_Server], _Done], servers: Mapping[str, _Server] | None = None) -> Found:
        """A B C A B C."""
        servers = servers or self._servers
        found: Found = {name: [] for name in servers}
        for _ in range(self._lab.scale.rounds):
            for name, server in servers.items():
                try:
                    found[name].append(play(server))
                except Failed as error:
                    if name == "Headrace":
                        raise
                    print(f"        {name}: {str(error)[-300:]}", flush=True)
        return {name: done for name, done in found.items() if done}


def _play(server: _Server, what: str, clients: int, **asked: Any) -> _Done:
    programs = [Program("rest", uri=server.uri, what=what, **asked) for _ in range(clients)]
    try:
        for program in programs:
            program.read()
        meter = Meter({"clients": [program.pid for program in programs], **server.pids})
        said = together(programs)
        spent = meter.spent()
    finally:
        for program in programs:
            program.close()
    wall = max(each["last"] for each in said) - min(each["first"] for each in said)
    return _Done(sum(each["count"] for each in said), wall, [one for each in said for one in each["seconds"]], spent)


def _write(server: _Server, points: int) -> str:
    with Program("rest", uri=server.uri, what="log_batches", count=max(1, points // 1_000), keys=1) as program:
        run_id = str(program.read()["run_id"])
        together([program])
    return run_id


def _spent(done: list[_Done]) -> dict[str, float]:
    """For a million calls."""
    return {group: statistics.median(each.cpu[group] / each.calls * 1e6 for each in done) for group in done[0].cpu}


def _figure(
    name: str,
    unit: str,
    found: Found,
    wanted: float,
    value: Callable[[_Done], float],
    *,
    more_is_better: bool = True,
    cpu: dict[str, Spent] | None = None,
    note: str = "",
) -> Figure:
    goals = {"MLflow": wanted, "FastTrackML": 1.0}
    beside = [Beside(peer, [value(done) for done in found[peer]], goals[peer]) for peer in goals if peer in found]
    values = [value(done) for done in found["Headrace"]]
    print(f"        {name}: {statistics.median(values):,.1f} {unit}; " + ", ".join(
        f"{one.name} {one.median:,.1f}" for one in beside
    ), flush=True)  # fmt: skip
    return Figure(name, unit, values, beside=beside, more_is_better=more_is_better, note=note, cpu=cpu or {})
