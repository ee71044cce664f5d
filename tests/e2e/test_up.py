"""`headrace up` as a person meets it: it starts, keeps its data, and says why it does not."""

import socket
import subprocess
import sys
from pathlib import Path

import httpx

import headrace as hr
from fix_platform import up

HEADRACE = Path(sys.executable).with_name("headrace")


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
            run.log_text("sugar", "recipe.txt")
        said = refused(tmp_path / "data")
        assert "is in use by another `headrace up`" in said
    with up(tmp_path / "data") as uri, hr.connect(uri) as client:
        assert httpx.get(f"{uri}/health").text == "OK\n"
        found = client.get_run(run.id)
        assert (found.name, found.state, found.metrics["loss"]) == ("kept", "FINISHED", 0.5)
        folder = client.artifacts.download(run.id, to=tmp_path / "files")
        assert (folder / "recipe.txt").read_text() == "sugar"


def test_says_why_it_does_not_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}" in refused(tmp_path / "data", "--http-port", port)
        assert f"127.0.0.1:{port}" in refused(tmp_path / "data", "--grpc-port", port)
    assert "headrace tokens create" in refused(tmp_path / "data", "--host", "0.0.0.0")  # noqa: S104 - refused
