"""Event files by real writers, brought into a real Headrace, and compared with what the real TensorBoard sees in them."""

import json
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import pytest

import fix_trackers
import headrace as hr
from fix_client import with_client
from fix_services import Running
from headrace import cli
from headrace.imports import tensorboard
from headrace.imports.report import Report
from headrace.imports.source import SourceRun
from headrace.imports.tensorboard_events import HPARAMS, TABLE

REQUIREMENTS: Final = fix_trackers.PROGRAMS / "tensorboard.txt"
PROGRAM: Final = "tensorboard_runs.py"
BEGAN_MS: Final = 1_700_000_000_000


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log folder."""
    folder = tmp_path_factory.mktemp("tensorboard") / "logs"
    folder.mkdir()
    fix_trackers.run(REQUIREMENTS, PROGRAM, folder, "runs", str(folder))
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event file whose writer was killed."""
    folder = tmp_path_factory.mktemp("killed")
    with subprocess.Popen(
        fix_trackers.command(REQUIREMENTS, PROGRAM, "killed", str(folder)),
        env=fix_trackers.environ(folder),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "logged" not in (line := process.stdout.readline()):
            assert line, "it ended by itself"
        process.kill()
    (file,) = folder.glob("*tfevents*")
    return file


def seen(folder: Path) -> dict[str, dict[str, list[tuple[int, int, str]]]]:
    """By TensorBoard, in its runs by their names: the points of each tag."""
    found: dict[str, dict[str, list[Any]]] = json.loads(
        fix_trackers.run(REQUIREMENTS, PROGRAM, folder, "see", str(folder))
    )
    return {
        run: {
            tag: [(step, int(wall_time * 1000), repr(float(value))) for step, wall_time, value in points]
            for tag, points in tags.items()
        }
        for run, tags in found.items()
    }


def named(folder: Path, *, later_s: float = 0) -> dict[str, SourceRun]:
    return {run.name: run for run in tensorboard.read(folder, Report(), clock=lambda: time.time() + later_s)}


def test_the_numbers_of_fields_are_those_of_the_real_package(tmp_path: Path) -> None:
    theirs: dict[str, dict[str, int]] = json.loads(fix_trackers.run(REQUIREMENTS, PROGRAM, tmp_path, "numbers"))
    for message, fields in TABLE.items():
        assert {name: number for name, (number, _) in fields.items()}.items() <= theirs[message].items()
    for message in HPARAMS.keys() - {"HparamsEntry", "Value"}:  # a map and google.protobuf.Value
        assert {name: number for name, (number, _) in HPARAMS[message].items()}.items() <= theirs[message].items()


async def test_a_headrace_has_what_tensorboard_sees(
    services: Running, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(client: hr.Client) -> None:
        there = seen(logs)
        report = fix_trackers.imported(client, tensorboard.read(logs, Report()))
        experiment = client.get_experiment("logs")
        runs = {run.name: run for run in client.search_runs([experiment.id])}
        assert runs.keys() == there.keys() == {"train", "train/session", "deeper/eval"}
        for name, tags in there.items():
            assert runs[name].metrics.keys() == tags.keys()
            for tag, points in tags.items():
                found = fix_trackers.points(client, runs[name].run_id, tag)
                assert [(step, at, repr(value)) for step, at, value in found] == sorted(points, key=lambda one: one[1])
        assert report.left_out == {"histograms": 1, "pr_curves": 1}
        assert cli.main(["import", "tensorboard", str(logs), "--uri", client.connection.uri]) == 0
        told = capsys.readouterr().err
        assert "note: left out or changed: 1 histograms, 1 pr_curves" in told
        assert "0 changed; 0 points and 0 files" in told

    await with_client(services, work)


async def test_hparams_and_files_arrive(services: Running, logs: Path, tmp_path: Path) -> None:
    def work(client: hr.Client) -> None:
        source = named(logs, later_s=2 * tensorboard.STALE_S)
        fix_trackers.imported(client, source.values())
        session = client.get_run(source["train/session"].run_id)
        assert session.params == {"lr": "0.1", "layers": "3", "optimizer": "adam", "flag": "True"}
        assert session.state == "FINISHED"
        other = client.get_run(source["deeper/eval"].run_id)
        assert (other.params, other.tags["tensorboard.group"], other.state) == ({"deep": "2"}, "grid", "KILLED")
        assert other.start_time is not None
        assert other.start_time.timestamp() * 1000 == BEGAN_MS - 5_000
        assert other.end_time is not None
        assert other.end_time.timestamp() * 1000 == BEGAN_MS + 2_000
        assert fix_trackers.files(client, other.run_id, tmp_path / "other") == {
            "text/text/0.md": b"one\ntwo",
            "images/pictures/0_0.png": b"\x89PNG one",
            "images/pictures/0_1.png": b"\x89PNG two",
            "audio/sound/0.wav": b"RIFF.",
        }
        train = source["train"]
        assert client.get_run(train.run_id).state == "FINISHED"
        files = fix_trackers.files(client, train.run_id, tmp_path / "train")
        assert files.keys() == {"text/notes/text_summary/2.md", "images/picture/1.png", "images/picture/1_2.png"}
        assert files["text/notes/text_summary/2.md"].decode() == "Grüße"
        for name in ("images/picture/1.png", "images/picture/1_2.png"):
            assert struct.unpack(">II", files[name][16:24]) == (5, 4)  # width and height of a PNG

    await with_client(services, work)


async def test_a_killed_run_comes_as_far_as_it_got_and_goes_on(services: Running, killed: Path, tmp_path: Path) -> None:
    def work(client: hr.Client) -> None:
        folder = tmp_path / "run"
        folder.mkdir()
        data = killed.read_bytes()
        (folder / killed.name).write_bytes(data[:-1_000])
        (run,) = tensorboard.read(folder, Report())
        assert run.state == "RUNNING"
        assert 0 < run.left_out["bytes that cannot be read"] < 100
        fix_trackers.imported(client, [run])
        part = fix_trackers.points(client, run.run_id, "loss")
        assert [(step, at, repr(value)) for step, at, value in part] == seen(folder)["."]["loss"]
        shutil.copy(killed, folder)
        (run,) = tensorboard.read(folder, Report(), clock=lambda: killed.stat().st_mtime + 2 * tensorboard.STALE_S)
        fix_trackers.imported(client, [run])
        whole = fix_trackers.points(client, run.run_id, "loss")
        assert len(part) < len(whole)
        assert [(step, at, repr(value)) for step, at, value in whole] == seen(folder)["."]["loss"]
        assert client.get_run(run.run_id).state == "FINISHED"

    await with_client(services, work)


def test_what_holds_no_event_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(hr.errors.InvalidRequest, match="no event file of TensorBoard"):
        list(tensorboard.read(tmp_path, Report()))
