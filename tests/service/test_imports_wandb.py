"""Runs that the real client of Weights & Biases left on disk, brought into a real Headrace."""

import json
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

import fix_trackers
import headrace as hr
from fix_client import with_client
from fix_services import Running
from headrace import cli
from headrace.imports import wandb
from headrace.imports.report import Report
from headrace.imports.source import SourceRun
from headrace.imports.wandb_log import HEADER
from headrace.imports.wandb_records import TABLE

REQUIREMENTS: Final = Path(__file__).parents[2] / "bench" / "peers" / "wandb.txt"
PROGRAM: Final = "wandb_runs.py"
BEGAN_MS: Final = 1_700_000_000_000


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs were logged."""
    folder = tmp_path_factory.mktemp("wandb")
    fix_trackers.run(REQUIREMENTS, PROGRAM, folder, "runs")
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's file, whose programs were killed while they wrote it."""
    folder = tmp_path_factory.mktemp("killed")
    with subprocess.Popen(
        fix_trackers.command(REQUIREMENTS, PROGRAM, "killed"),
        cwd=folder,
        env=fix_trackers.environ(folder),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "logged" not in (line := process.stdout.readline()):
            assert line, "it ended by itself"
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        for pid in (pid for children in tasks for pid in children.read_text().split()):
            os.kill(int(pid), signal.SIGKILL)  # wandb-core, which writes
        process.kill()
    (file,) = folder.glob("wandb/offline-run-*/run-killed.wandb")
    return file


def named(folder: Path) -> dict[str, SourceRun]:
    return {run.tags["wandb.run_id"]: run for run in wandb.read(folder, Report())}


def test_the_numbers_of_fields_are_those_of_the_real_package(tmp_path: Path) -> None:
    theirs: dict[str, dict[str, int]] = json.loads(fix_trackers.run(REQUIREMENTS, PROGRAM, tmp_path, "numbers"))
    theirs["Timestamp"] = {"seconds": 1, "nanos": 2}  # Google's own
    items = ("ConfigItem", "SummaryItem", "HistoryItem")
    for message, fields in TABLE.items():
        for of in items if message == "Item" else (message,):
            assert {name: number for name, (number, _) in fields.items()}.items() <= theirs[of].items()


async def test_everything_of_a_run_arrives(services: Running, logged: Path, tmp_path: Path) -> None:
    def work(client: hr.Client) -> None:
        source = named(logged)["first"]
        report = fix_trackers.imported(client, [source])
        run = client.get_run(source.run_id)
        assert client.get_experiment("Kekse").id == run.experiment_id
        assert (run.name, run.state) == ("Erster Lauf", "FINISHED")
        assert run.start_time is not None
        assert run.end_time is not None
        assert run.start_time < run.end_time
        assert run.params == {
            "lr": "0.1", "net.act": "gelu", "none": "None", "flag": "True", "later": "3",
        }  # fmt: skip
        wanted = {
            "mlflow.note.content": "Mit Zucker",
            "wandb.entity": "bakers",
            "wandb.project": "Kekse",
            "wandb.group": "oven",
            "wandb.job_type": "train",
            "wandb.tags": "süß,b",
            "wandb.summary.verdict": "good",
            "wandb.summary.said": "hello",
            "wandb.summary.deep.two": "two",
        }
        assert wanted.items() <= run.tags.items()
        check_history(client, run.run_id)
        check_files(fix_trackers.files(client, run.run_id, tmp_path / "fetched"), logged)
        assert report.left_out.pop("names spelled otherwise") in (1, 2)  # names of a row stand in any order
        assert report.left_out == {
            "alerts": 1,
            "texts in the history": 50,
            "histograms in the history": 1,
            "lists and nulls in the history": 1,
        }
        assert fix_trackers.imported(client, wandb.read(logged, Report())).changed > 0  # the others
        assert fix_trackers.imported(client, wandb.read(logged, Report())).changed == 0

    await with_client(services, work)


def check_history(client: hr.Client, run_id: str) -> None:
    """As `rows` in the program made it."""
    odd = (math.nan, math.inf, -math.inf)
    series: Mapping[str, Any] = {
        "loss": lambda step: 1 / (step + 1),
        "nested.a": lambda step: step,
        "nested.b.c": lambda step: -step,
        "ü/Größe": lambda step: step * 0.1,
        "on": lambda step: float(step % 2 == 0),
        "odd": lambda step: odd[step % 3],
    }
    for key, value in series.items():
        points = fix_trackers.points(client, run_id, key)
        expected = [(step, BEGAN_MS + 250 * step, float(value(step))) for step in range(50)]
        assert list(map(repr, points)) == list(map(repr, expected))  # to the bit, and NaN is NaN
    spelled = {"what_ever": 5.0, "what_ever_2": 6.0}
    found = {key: fix_trackers.points(client, run_id, key) for key in spelled}
    assert {value for points in found.values() for value in points} == {
        (1_000, BEGAN_MS + 100_000, value) for value in spelled.values()
    }
    run = client.get_run(run_id)
    assert (run.metrics["best"], run.metrics["loss.min"], run.metrics["deep.one"]) == (0.25, 1 / 50, 11)
    assert any(key.startswith("system/") for key in run.metrics)
    assert not {"_step", "_timestamp", "_runtime", "table.nrows", "gone"} & run.metrics.keys()


def check_files(found: Mapping[str, bytes], logged: Path) -> None:
    """The run's own, those of its artifact, and what is too long for a param."""
    (folder,) = logged.glob("wandb/offline-run-*-first/files")
    own = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert own.items() <= found.items()
    assert found["saved.txt"] == b"saved"
    assert [name for name in own if name.startswith("media/table/")]
    assert found["artifacts/flour/v0/program.py"] == (fix_trackers.PROGRAMS / PROGRAM).read_bytes()
    assert found["params/long.txt"] == b"x" * 7_000
    assert len(found) == len(own) + 2


def test_the_state_and_the_experiment_of_runs(logged: Path) -> None:
    runs = named(logged)
    assert runs.keys() == {"first", "failed", "resumed"}
    assert (runs["failed"].state, runs["failed"].experiment) == ("FAILED", "uncategorized")


def test_the_parts_of_a_resumed_run_make_one(logged: Path) -> None:
    run = named(logged)["resumed"]
    (loss,) = (series for series in run.series() if series.key == "loss")
    assert list(loss) == [
        (3 * part + step, BEGAN_MS + 10_000 * part + 1_000 * step, 10.0 * part + step)
        for part in range(2)
        for step in range(3)
    ]
    assert run.params == {"part0": "0", "part1": "1"}


def losses(file: Path, now: float) -> tuple[SourceRun, list[tuple[int, int, float]]]:
    (run,) = wandb.read(file, Report(), clock=lambda: now)
    return run, next((list(series) for series in run.series() if series.key == "loss"), [])


async def test_a_killed_run_is_read_as_far_as_it_got_and_again_when_it_got_further(
    services: Running, killed: Path, tmp_path: Path
) -> None:
    def work(client: hr.Client) -> None:
        now = time.time()
        _, whole = losses(killed, now)
        assert len(whole) > 0
        assert whole == [(step, BEGAN_MS + 250 * step, 1 / (step + 1)) for step in range(len(whole))]
        file = tmp_path / "wandb" / killed.parent.name / killed.name
        file.parent.mkdir(parents=True)
        shutil.copytree(killed.parent / "files", file.parent / "files")
        data = killed.read_bytes()
        file.write_bytes(data[: len(data) // 2])
        run, half = losses(file, now)
        assert run.state == "RUNNING"
        assert 0 < run.left_out["bytes that cannot be read"] < 1 << 16
        assert half == whole[: len(half)]
        fix_trackers.imported(client, [run])
        assert fix_trackers.points(client, run.run_id, "loss") == half
        file.write_bytes(data)
        run, _ = losses(file, now + 2 * wandb.STALE_S)
        report = fix_trackers.imported(client, [run])
        assert report.points_sent > 0
        assert fix_trackers.points(client, run.run_id, "loss") == whole
        assert client.get_run(run.run_id).state == "KILLED"
        assert fix_trackers.imported(client, [run]).changed == 0

    await with_client(services, work)


def test_wherever_a_file_is_cut_off_what_is_whole_is_read(killed: Path, tmp_path: Path) -> None:
    data = killed.read_bytes()
    _, whole = losses(killed, time.time())
    file = tmp_path / "run-cut.wandb"
    lengths = []
    for end in range(20_000, min(len(data), 200_000), 7_919):
        file.write_bytes(data[:end])
        _, points = losses(file, time.time())
        assert points == whole[: len(points)]
        lengths.append(len(points))
    assert lengths == sorted(lengths)
    assert lengths[-1] > lengths[0]


def test_a_damaged_block_loses_no_other(killed: Path, tmp_path: Path) -> None:
    data = bytearray(killed.read_bytes())
    _, whole = losses(killed, time.time())
    data[70_000] ^= 1
    file = tmp_path / "run-damaged.wandb"
    file.write_bytes(data)
    run, points = losses(file, time.time())
    assert 0 < run.left_out["bytes that cannot be read"] < 2 << 15
    assert set(points) < set(whole)
    assert points[0] == whole[0]
    assert points[-1] == whole[-1]


async def test_the_command_tells_what_would_come_and_brings_it(
    services: Running, logged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(client: hr.Client) -> None:
        command = ["import", "wandb", str(logged), "--experiment", "Moved", "--uri", client.connection.uri]
        assert cli.main([*command, "--dry-run"]) == 0
        would = capsys.readouterr()
        assert [line.split()[:3] for line in would.out.splitlines() if "Erster" in line] == [
            ["Moved", "Erster", "Lauf"]
        ]
        assert "note: left out or changed: 1 alerts, 1 histograms in the history" in would.err
        assert not client.search_experiments("name = 'Moved'")
        assert cli.main(command) == 0
        first = capsys.readouterr()
        assert "runs" in first.out
        assert "50 texts in the history" in first.err
        assert "both sides are the same" in first.err
        moved = client.search_runs([client.get_experiment("Moved").id])
        assert sorted(run.state for run in moved) == ["FAILED", "FINISHED", "FINISHED"]
        assert cli.main(command) == 0
        assert "0 changed; 0 points and 0 files" in capsys.readouterr().err
        assert cli.main([*command[:2], str(logged / "nowhere"), *command[3:]]) == 1
        assert "nowhere: no run-*.wandb file is here or below" in capsys.readouterr().err

    await with_client(services, work)


def test_what_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(hr.errors.InvalidRequest, match=r"no run-\*\.wandb file"):
        list(wandb.read(tmp_path, Report()))
    other = tmp_path / "run-x.wandb"
    other.write_bytes(b"something else")
    (tmp_path / "run-new.wandb").write_bytes(HEADER)
    report = Report()
    assert not list(wandb.read(tmp_path, report))
    assert [line for line in report.failures if "run-x.wandb: must begin with" in line] == report.failures
    assert [line for line in report.notes if "run-new.wandb tells of no run" in line] == report.notes
    assert (len(report.failures), len(report.notes)) == (1, 1)
