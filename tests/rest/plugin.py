"""MLflow's client with Headrace's plug-in at work; `python plugin.py PART [ARGUMENT ...]`, with MLFLOW_TRACKING_URI=headrace://...

Each part asserts what its user would see.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

NOWHERE = "f" * 32
PARTS: dict[str, Callable[..., None]] = {}


def part(work: Callable[..., None]) -> Callable[..., None]:
    """Registers a part under its name."""
    PARTS[work.__name__] = work
    return work


def by_rest() -> MlflowClient:
    """The same server without the plug-in."""
    return MlflowClient(mlflow.get_tracking_uri().replace("headrace", "http"))


def steps(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    """What was logged of a series."""
    return [(point.step, point.value) for point in client.get_metric_history(run_id, key)]


def wait(word: str) -> None:
    """Says something, and waits for a line of stdin."""
    print(word, flush=True)
    assert sys.stdin.readline()


@part
def sees() -> None:
    """What was logged is there when this process looks, however it looks."""
    client = MlflowClient()
    experiment_id = mlflow.create_experiment(f"sees-{time.time_ns()}")
    with mlflow.start_run(experiment_id=experiment_id) as run:
        run_id = run.info.run_id
        for step in range(50):
            mlflow.log_metric("loss", step / 10, step=step)
            if step % 10 == 0:
                assert client.get_run(run_id).data.metrics == {"loss": step / 10}
                assert steps(client, run_id, "loss") == [(n, n / 10) for n in range(step + 1)]
                (found,) = client.search_runs([experiment_id], f"metrics.loss = {step / 10}")
                assert found.info.run_id == run_id
        times = [time.time_ns() // 1_000_000, 1_001, 0, 1_700_000_000_123]
        client.log_batch(
            run_id, [Metric("at", n, ms, n) for n, ms in enumerate(times)], [Param("p", "1")], [RunTag("t", "2")]
        )
        assert [point.timestamp for point in client.get_metric_history(run_id, "at")] == sorted(times)
        mlflow.log_metric("behind", 1.0, synchronous=False)
        mlflow.flush_async_logging()
        assert by_rest().get_run(run_id).data.metrics["behind"] == 1.0
        mlflow.log_metric("last", float("-inf"))
    found = by_rest().get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics["last"] < -1e308
    assert (found.data.params["p"], found.data.tags["t"]) == ("1", "2")
    mlflow.MlflowClient().log_metric(run_id, "afterwards", 2.0)
    assert client.get_run(run_id).data.metrics["afterwards"] == 2.0


@part
def workspaces() -> None:
    """Metrics and files go where the rest of the run goes, from one process into two workspaces in turn."""
    teams = [f"{letter}-{time.time_ns()}" for letter in "ab"]
    runs: dict[str, str] = {}

    def absent(work: Callable[[], object]) -> None:
        try:
            work()
        except MlflowException as error:
            assert error.error_code == "RESOURCE_DOES_NOT_EXIST", error
        else:
            raise AssertionError("it was not refused")

    for team in teams:
        mlflow.create_workspace(team)
        mlflow.set_workspace(team)
        runs[team] = MlflowClient().create_run("0").info.run_id
    for step in range(2):
        for team in teams:
            mlflow.set_workspace(team)
            MlflowClient().log_metric(runs[team], "loss", 0.5, step=step)
            MlflowClient().log_text(runs[team], team, "team.txt")
    for team, other in (teams, teams[::-1]):
        mlflow.set_workspace(team)
        client = MlflowClient()
        absent(lambda: client.log_metric(runs[other], "loss", 1.0))  # noqa: B023 - called at once
        absent(lambda: client.get_run(runs[other]))  # noqa: B023 - as above
        assert steps(client, runs[team], "loss") == steps(by_rest(), runs[team], "loss") == [(0, 0.5), (1, 0.5)]
        assert mlflow.artifacts.load_text(f"runs:/{runs[team]}/team.txt") == team


@part
def refusals() -> None:
    """Whatever REST refuses, is refused in the same words."""

    def told(client: MlflowClient, work: Callable[[MlflowClient], object]) -> tuple[str, str]:
        try:
            work(client)
        except MlflowException as error:
            return error.error_code, str(error.message)
        raise AssertionError("it was not refused")

    gone = MlflowClient().create_run("0").info.run_id
    MlflowClient().log_metric(gone, "early", 1.0)
    MlflowClient().delete_run(gone)
    run = MlflowClient().create_run("0").info.run_id
    many = [Metric("many", n, 0, n) for n in range(1001)]
    attempts: list[Callable[[MlflowClient], object]] = [
        lambda c: c.log_metric(run, "../bad", 1.0),
        lambda c: c.log_metric(run, "k" * 251, 1.0),
        lambda c: c.log_metric(run, "far", 1.0, step=2**62),
        lambda c: c.log_metric(NOWHERE, "loss", 1.0),
        lambda c: c.log_metric("no-run-id", "loss", 1.0),
        lambda c: c.log_metric(gone, "late", 1.0),
        lambda c: c._tracking_client.store.log_batch(run, many, [], []),
        lambda c: c.log_batch(run, [Metric("fine", 1.0, 0, 0), Metric("a//b", 1.0, 0, 0)], [Param("p", "q")]),
        lambda c: c.log_batch(run, [Metric("fine", 1.0, 0, 0)], [Param("p", "q"), Param("p", "r")]),
    ]
    for work in attempts:
        ours, theirs = told(MlflowClient(), work), told(by_rest(), work)
        assert ours == theirs, (ours, theirs)
    assert MlflowClient().get_run(run).data.metrics == {}
    MlflowClient().restore_run(gone)
    MlflowClient().log_metric(gone, "late", 2.0)
    assert MlflowClient().get_run(gone).data.metrics == {"early": 1.0, "late": 2.0}


@part
def together() -> None:
    """Threads with runs of their own, and two that share one."""
    client = MlflowClient()
    shared = client.create_run("0").info.run_id

    def work(number: int) -> str:
        run_id = client.create_run("0").info.run_id
        for step in range(500):
            client.log_metric(run_id, "own", number * step, step=step)
            client.log_metric(shared, f"of-{number % 2}", step, step=step)
        assert len(steps(client, run_id, "own")) == 500
        client.set_terminated(run_id)
        return run_id

    with ThreadPoolExecutor(8) as pool:
        run_ids = list(pool.map(work, range(8)))
    for number, run_id in enumerate(run_ids):
        assert steps(by_rest(), run_id, "own") == [(n, float(number * n)) for n in range(500)]
    client.set_terminated(shared)
    for key in ("of-0", "of-1"):
        assert sorted(steps(by_rest(), shared, key)) == sorted([(n, float(n)) for n in range(500)] * 4)


def _child(run_id: str, number: int) -> None:
    for step in range(100):
        MlflowClient().log_metric(run_id, f"child-{number}", step, step=step)


@part
def forked() -> None:
    """Children of a process that logs log too, to its run."""
    with mlflow.start_run() as run:
        mlflow.log_metric("parent", 0.0, step=0)
        children = [
            multiprocessing.get_context("fork").Process(target=_child, args=(run.info.run_id, number))
            for number in range(2)
        ]
        for child in children:
            child.start()
        mlflow.log_metric("parent", 1.0, step=1)
        for child in children:
            child.join()
            assert child.exitcode == 0
        assert len(MlflowClient().get_metric_history(run.info.run_id, "parent")) == 2
    for number in range(2):
        assert len(steps(by_rest(), run.info.run_id, f"child-{number}")) == 100


@part
def leaves() -> None:
    """Ends with the run open and points still on their way."""
    run = mlflow.start_run()
    print("RUN", run.info.run_id, flush=True)
    for step in range(200):
        mlflow.log_metric("at-once", step, step=step)
        mlflow.log_metric("behind", step, step=step, synchronous=False)


@part
def without_gateway() -> None:
    """Metrics and files pass beside the gateway."""
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.0, step=0)
        mlflow.log_text("first", "first.txt")
        wait(f"RUN {run.info.run_id}")
        for step in range(1, 5000):
            mlflow.log_metric("loss", step, step=step)
        mlflow.log_text("second", "second.txt")
        wait("LOGGED")


@part
def streams() -> None:
    """Points whose values count up; "ACKED n" when the first n are visible. Ends at a line of stdin with "DONE n"."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    client, logged = MlflowClient(), 0
    with mlflow.start_run() as run:
        print("RUN", run.info.run_id, flush=True)
        while not stop.is_set():
            for _ in range(50):
                client.log_metric(run.info.run_id, "up", logged, step=logged)
                logged += 1
                time.sleep(0.001)
            mlflow.flush_async_logging()
            print("ACKED", logged, flush=True)
    print("DONE", logged, flush=True)


@part
def tokens(token: str) -> None:
    """Every way in which MLflow's users give a token, and Headrace's own; without one, its tenant's run is not there."""
    names = ("MLFLOW_TRACKING_TOKEN", "HEADRACE_TOKEN", "MLFLOW_TRACKING_PASSWORD")
    client, quiet = MlflowClient(), ""
    for name in names:
        os.environ[name] = token
        os.environ["MLFLOW_TRACKING_USERNAME"] = "me" if name.endswith("PASSWORD") else ""
        run = client.create_run("0")
        client.log_metric(run.info.run_id, name, 1.0)
        client.log_text(run.info.run_id, "text", "file.txt")
        quiet = client.create_run("0").info.run_id
        assert client.get_run(run.info.run_id).data.metrics == {name: 1.0}
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["file.txt"]
        del os.environ[name]
    try:
        client.log_metric(quiet, "loss", 1.0)
    except MlflowException as error:
        assert error.error_code == "RESOURCE_DOES_NOT_EXIST", error
    else:
        raise AssertionError("it was not refused")


if __name__ == "__main__":
    PARTS[sys.argv[1]](*sys.argv[2:])
