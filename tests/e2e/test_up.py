"""`headrace up` as a person meets it: it starts, keeps its data, and says why it does not."""

import math
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import httpx

import headrace as hr
from fix_platform import up

HEADRACE = Path(sys.executable).with_name("headrace")

AT_ONCE = {"HEADRACE_ARCHIVE_AFTER_SECONDS": "0", "HEADRACE_ARCHIVE_LEAST_POINTS": "1"}
CURVE = [math.nan, math.inf, *(1 / i for i in range(1, 3000))]


def archived(folder: Path) -> Path:
    """The file of the one run that there is."""
    deadline = time.monotonic() + 60
    while not (files := list(folder.glob("*"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    (file,) = files
    return file


def refused(data: Path, *options: str) -> str:
    """What `headrace up` says when it does not start."""
    command = [HEADRACE, "up", "--data-dir", data, "--http-port", "0", "--grpc-port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_second_start_finds_all_data(tmp_path: Path) -> None:
    with up(tmp_path / "data") as uri, hr.connect(uri) as client:
        with client.start_run("kept", capture=False) as run:
            run.log({"loss": 0.5}, step=1)
            run.log_columns(range(len(CURVE)), {"curve": CURVE})
            run.log_text("sugar", "recipe.txt")
        said = refused(tmp_path / "data")
        assert "is in use by another `headrace up`" in said
    with up(tmp_path / "data", AT_ONCE) as uri, hr.connect(uri) as client:
        assert httpx.get(f"{uri}/health").text == "OK\n"
        found = client.get_run(run.id)
        assert (found.name, found.state, found.metrics["loss"]) == ("kept", "FINISHED", 0.5)
        folder = client.artifacts.download(run.id, to=tmp_path / "files")
        assert (folder / "recipe.txt").read_text() == "sugar"
        file = archived(tmp_path / "data" / "metrics" / "metrics")
        read = duckdb.read_parquet(str(file)).filter("key = 'curve'").order("step").project("value").fetchall()
        assert str([value for (value,) in read]) == str(CURVE)
        assert str(list(client.metric_history(run.id, "curve").values)) == str(CURVE)
        command = [HEADRACE, "runs", "export", run.id, "--uri", uri, "--output", tmp_path / "points.parquet"]
        subprocess.run(command, check=True, timeout=60)
        assert (tmp_path / "points.parquet").read_bytes() == file.read_bytes()


def test_says_why_it_does_not_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}" in refused(tmp_path / "data", "--http-port", port)
        assert f"127.0.0.1:{port}" in refused(tmp_path / "data", "--grpc-port", port)
    assert "headrace tokens create" in refused(tmp_path / "data", "--host", "0.0.0.0")  # noqa: S104 - refused
