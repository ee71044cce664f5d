"""Moving while things go wrong or go on: kill -9, runs that grow, odd sources; and back to MLflow again."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fix_imports import Filled, Moved
from fix_mlflow import mlflow_server
from headrace import errors
from headrace.client import Client
from headrace.imports.mlflow.entities import Choice
from headrace.imports.mlflow.plan import Mlflow
from headrace.imports.source import SourceRun

MS = 1_700_000_000_000


@pytest.fixture
def client(moved: Moved) -> Iterator[Client]:
    with moved.client() as client:
        yield client


def wait_for(fact: Callable[[], bool], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < until, "it does not become so"
        time.sleep(0.05)


class Mlruns:
    """A folder of MLflow's, written as MLflow writes it."""

    def __init__(self, folder: Path, name: str) -> None:
        created = MS + sum(name.encode())  # by it and the id an experiment is known again, whatever its name
        self.root = folder / "mlruns"
        self.experiment = self.root / "77"
        self.experiment.mkdir(parents=True)
        about = (
            f"experiment_id: '77'\nname: {name}\nlifecycle_stage: active\nartifact_location: file://{self.experiment}\n"
        )
        (self.experiment / "meta.yaml").write_text(about + f"creation_time: {created}\nlast_update_time: {MS}\n")

    def run(self, number: int, state: int, points: int) -> Path:
        """States are MLflow's numbers: 1 running, 3 finished."""
        run = self.experiment / f"{number:032x}"
        (run / "metrics").mkdir(parents=True)
        self.end(run, state)
        draw = random.Random(number)
        lines = [f"{MS + step} {draw.random()!r} {step}\n" for step in range(points)]
        for key in ("loss", "accuracy"):
            (run / "metrics" / key).write_text("".join(lines))
        (run / "artifacts").mkdir()
        (run / "artifacts" / "model.bin").write_bytes(draw.randbytes(300_000))
        return run

    @staticmethod
    def end(run: Path, state: int) -> None:
        end = "null" if state == 1 else str(MS + 5000)
        about = f"run_id: {run.name}\nrun_name: r\nstatus: {state}\nstart_time: {MS}\nend_time: {end}\nuser_id: ada\n"
        (run / "meta.yaml").write_text(
            about + f"experiment_id: '77'\nlifecycle_stage: active\nartifact_uri: file://{run}/artifacts\n"
        )


def points_in(client: Client, runs: list[str]) -> list[tuple[str, str, int, int, float]]:
    found = client.metric_histories(runs)
    return sorted((run, key, *point) for (run, key), history in found.items() for point in history)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_what_was_killed_goes_on(turn: int, moved: Moved, client: Client, tmp_path: Path) -> None:
    """kill -9 after so many runs; what grew meanwhile comes too. Every point shows once."""
    name = f"killed {turn}"
    source = Mlruns(tmp_path, name)
    runs = [source.run(turn * 1000 + n, 3, 3000) for n in range(24)]
    ids = [run.name for run in runs]

    def there() -> int:
        return len(client.search_runs([name])) if has_experiment(client, name) else 0

    process = moved.start("import", "mlflow", str(source.root), "--jobs", "2")
    try:
        wait_for(lambda: there() >= 5 * turn or process.poll() is not None)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = points_in(client, [run.run_id for run in client.search_runs([name])])
    assert len(before) < 24 * 6000
    with (runs[0] / "metrics" / "loss").open("a") as late:
        late.write(f"{MS - 1} 0.5 -1\n{MS + 99999} 0.25 1\n")
    said = moved.run("import", "mlflow", str(source.root))
    assert said["same"]
    assert said["headrace"]["points"]["count"] == 24 * 6000 + 2
    found = points_in(client, ids)
    assert len(found) == len(set(found)) == 24 * 6000 + 2
    assert {run.state for run in client.search_runs([name])} == {"FINISHED"}
    again = moved.run("import", "mlflow", str(source.root))
    assert (again["changed"], again["same"]) == (0, True)


def has_experiment(client: Client, name: str) -> bool:
    try:
        client.get_experiment(name)
    except errors.NotFound:
        return False
    return True


@pytest.mark.timeout(300)
def test_two_imports_at_once_bring_each_point_once(moved: Moved, client: Client, tmp_path: Path) -> None:
    source = Mlruns(tmp_path, "twice at once")
    ids = [source.run(90_000 + n, 3, 2000).name for n in range(6)]
    both = [moved.start("import", "mlflow", str(source.root), "--json") for _ in range(2)]
    for process in both:
        process.communicate(timeout=200)
    said = moved.run("import", "mlflow", str(source.root), "--read-all")
    assert said["same"]
    assert len(points_in(client, ids)) == 6 * 4000


def test_a_run_ends_when_all_of_it_is_there(moved: Moved, client: Client, tmp_path: Path) -> None:
    source = Mlruns(tmp_path, "told")
    run = source.run(80_000, 3, 500)
    with client.events.subscribe(["RunCreated", "RunEnded", "ArtifactStored"]) as events:
        moved.run("import", "mlflow", str(source.root))
        told = [events.next(30) for _ in range(3)]
    # Of different topics, so that only their times tell which came first.
    by_time = [one.type.rpartition(".")[2] for one in sorted(told, key=lambda one: one.time)]
    assert by_time == ["RunCreated", "ArtifactStored", "RunEnded"]
    assert next(one for one in told if one.type.endswith("RunEnded")).message.run_id == run.name


@pytest.mark.timeout(300)
def test_following_brings_what_grows(moved: Moved, client: Client, tmp_path: Path) -> None:
    source = Mlruns(tmp_path, "followed")
    run = source.run(70_000, 1, 100)
    process = moved.start("import", "mlflow", str(source.root), "--follow", "--json")
    try:
        wait_for(lambda: has_run(client, run.name) and len(points_in(client, [run.name])) == 200)
        assert client.get_run(run.name).state == "RUNNING"
        with (run / "metrics" / "loss").open("a") as metric:  # late ones, and one that is there already
            metric.write(f"{MS + 500} 1.0 500\n{MS - 7} 2.0 3\n{MS + 500} 1.0 500\n")
        (run / "artifacts" / "late.txt").write_text("late")
        wait_for(lambda: len(points_in(client, [run.name])) == 202)
        new = source.run(70_001, 3, 10)
        (run / "tags").mkdir()
        (run / "tags" / "note").write_text("grown")
        source.end(run, 3)
        wait_for(lambda: client.get_run(run.name).state == "FINISHED" and has_run(client, new.name))
        wait_for(lambda: client.get_run(run.name).tags.get("note") == "grown")
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, told
    assert '"same": true' in said
    assert [one.path for one in client.artifacts.list(run.name)] == ["late.txt", "model.bin"]
    assert moved.run("import", "mlflow", str(source.root), "--read-all")["changed"] == 0


def has_run(client: Client, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except errors.NotFound:
        return False
    return True


@pytest.mark.timeout(400)
def test_back_to_mlflow_and_here_again(on_sqlite: Filled, moved: Moved, mlflow_python: Path, tmp_path: Path) -> None:
    moved.run("import", "mlflow", *on_sqlite.ways["server"])
    chosen = ("--experiment", "sqlite kitchen", "--experiment", "sqlite cellar")
    with mlflow_server(mlflow_python, tmp_path) as other:
        first = moved.run("export", "mlflow", other, *chosen)
        assert (first["same"], first["refused"]) == (True, [])
        again = moved.run("export", "mlflow", other, *chosen)
        assert (again["same"], again["changed"], again["points_sent"]) == (True, 0, 0)
        ours, theirs = contents(on_sqlite.server), contents(other)
        assert theirs == ours
        database = f"sqlite:///{tmp_path / 'mlflow.db'}"
        renamed(tmp_path / "mlflow.db")
        back = moved.run(
            "import", "mlflow", database, "--artifacts", str(tmp_path / "artifacts"), "--experiment", "back"
        )
        assert back["same"]
        assert back["headrace"]["points"]["count"] == 937


def contents(uri: str) -> dict[str, object]:
    """What the runs of an MLflow hold, by their names; without what names ids."""
    source = Mlflow(uri, "", Choice(("sqlite kitchen", "sqlite cellar"))).open(lambda _: None)
    return {run.name: content(run) for run in source.runs()}


def content(run: SourceRun) -> dict[str, object]:
    tags = {key: value for key, value in run.tags.items() if not key.startswith("headrace.")}
    points = sorted((one.key, step, time, repr(value)) for one in run.series() for step, time, value in one)
    return {
        "state": run.state,
        "start": run.start_ms,
        "end": run.end_ms,
        "deleted": run.deleted,
        "user": run.user,
        "params": run.params,
        "tags": tags,
        "points": points,
        "inputs": sorted(map(repr, run.inputs)),
        "files": sorted((file.path, file.size) for file in run.files()),
    }


def renamed(database: Path) -> None:
    with sqlite3.connect(database) as conn:
        conn.execute("UPDATE experiments SET name = 'back' WHERE name = 'sqlite kitchen'")
    conn.close()


def test_an_older_schema_is_read_without_what_it_lacks(on_sqlite: Filled, moved: Moved, tmp_path: Path) -> None:
    copy = tmp_path / "old.db"
    with sqlite3.connect(on_sqlite.ways["sqlite"][0].removeprefix("sqlite:///")) as conn, sqlite3.connect(copy) as old:
        conn.backup(old)
        old.execute("UPDATE alembic_version SET version_num = '39d1c3be5f05'")
        for table in ("logged_models", "inputs", "datasets", "registered_model_aliases", "experiment_tags"):
            old.execute(f"DROP TABLE {table}")
        for table in ("runs", "params", "tags", "metrics", "latest_metrics"):  # not those that are here already
            old.execute(f"UPDATE {table} SET run_uuid = 'f0f' || substr(run_uuid, 4)")  # noqa: S608 - a constant
        old.execute("UPDATE experiments SET name = 'older', creation_time = 1 WHERE name = 'sqlite kitchen'")
        old.execute("ALTER TABLE runs DROP COLUMN deleted_time")
    conn.close()
    old.close()
    said = moved.run("import", "mlflow", f"sqlite:///{copy}", "--no-artifacts", "--experiment", "older")
    counts = {kind: one["count"] for kind, one in said["headrace"].items() if one["count"]}
    assert (said["same"], said["refused"]) == (True, [])
    assert counts == {"experiments": 1, "runs": 6, "params": 2, "points": 937, "tags": counts["tags"]}
    assert any("39d1c3be5f05 (another than MLflow 3.17's" in text for text in said["notes"])


def test_what_is_no_mlflow_is_refused_with_what_to_do(moved: Moved, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as conn:
        conn.execute("CREATE TABLE runs (id integer)")
    conn.close()
    (tmp_path / "text.db").write_text("no database at all, whatever its name says")
    told = {
        f"sqlite:///{tmp_path}/other.db": "no database of MLflow that is known here (alembic revision none)",
        f"sqlite:///{tmp_path}/text.db": "no SQLite database",
        f"sqlite:///{tmp_path}/none.db": "there is no SQLite database",
        str(tmp_path): "no folder of MLflow's",
        str(tmp_path / "other.db"): "for a SQLite database say sqlite:///",
        "mysql://host/mlflow": "of mysql databases nothing is known here",
        "http://127.0.0.1:9": "no MLflow answers at http://127.0.0.1:9",
    }
    for source, why in told.items():
        assert why in moved.refused("import", "mlflow", source)


def test_without_the_extra_it_says_what_to_install() -> None:
    program = """
import sys
sys.modules["numpy"] = None
from headrace.cli import main
sys.exit(main(["import", "mlflow", "./mlruns"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'headrace[import]'" in done.stderr


def test_a_point_that_no_server_would_take_is_told(moved: Moved, tmp_path: Path) -> None:
    source = Mlruns(tmp_path, "odd")
    run = source.run(60_000, 3, 5)
    (run / "metrics" / "a#b").write_text(f"{MS} 1.0 0\n")
    said = moved.run("import", "mlflow", str(source.root), code=1)
    assert len(said["refused"]) == 1
    assert "1 points cannot be kept: 'a#b' is no key" in said["refused"][0]
    assert said["headrace"]["points"]["count"] == 10
    assert moved.run("import", "mlflow", str(source.root), code=1)["refused"] == said["refused"]
