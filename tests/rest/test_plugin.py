"""MLflow's client with Headrace's plug-in: metrics by the stream, files to the artifact service, and nothing lost on the way."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from fix_mlflow import Name, Rest, run_client
from fix_platform import Platform

_PYTHON: Final = Path(sys.executable)
_HERE: Final = Path(__file__).parent
_PARTS: Final = ("runs", "search", "artifacts", "inputs", "models", "autologging", "system_metrics")


def at(uri: str) -> str:
    """The plug-in's address of a gateway."""
    return uri.replace("http://", "headrace://")


def steps(uri: str, run_id: str, key: str) -> list[tuple[int, float]]:
    """A series, read by REST."""
    with httpx.Client(base_url=uri, timeout=30) as http:
        found = Rest("headrace", http).get("metrics/get-history", run_id=run_id, metric_key=key)
    return [(point.get("step", 0), point["value"]) for point in found.get("metrics", [])]


@contextmanager
def program(uri: str, part: str) -> Iterator["subprocess.Popen[str]"]:
    """A part of plugin.py, spoken to by lines."""
    with subprocess.Popen(
        [sys.executable, str(_HERE / "plugin.py"), part],
        env={**os.environ, "MLFLOW_TRACKING_URI": at(uri)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def word(process: "subprocess.Popen[str]", name: str) -> str:
    """What it says next behind this word."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(name):
            return line.removeprefix(name).strip()
    raise AssertionError(f"it ended with {process.wait()} before it said {name}")


def go_on(process: "subprocess.Popen[str]") -> None:
    """Sends the line it waits for."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.timeout(600)
def test_the_program_of_the_unmodified_client(platform: Platform) -> None:
    said = run_client(_PYTHON, at(platform.uri), _HERE / "client.py", *_PARTS)
    assert [line.partition(":")[0] for line in said.splitlines() if line.endswith(" s")] == list(_PARTS)


@pytest.mark.parametrize("part", ["sees", "refusals", "together", "forked", "workspaces"])
def test_is_as_by_rest(servers: dict[Name, Rest], part: str) -> None:
    run_client(_PYTHON, at(servers["headrace"].uri), _HERE / "plugin.py", part)


def test_a_program_that_just_ends_loses_nothing(servers: dict[Name, Rest]) -> None:
    ours = servers["headrace"]
    said = run_client(_PYTHON, at(ours.uri), _HERE / "plugin.py", "leaves")
    run_id = next(line.split()[1] for line in said.splitlines() if line.startswith("RUN"))
    assert ours.get("runs/get", run_id=run_id)["run"]["info"]["status"] == "FINISHED"
    for key in ("at-once", "behind"):
        assert steps(ours.uri, run_id, key) == [(n, float(n)) for n in range(200)]


def test_metrics_and_files_do_not_take_the_gateway(platform: Platform) -> None:
    gateway = platform.services["gateway"]
    with program(platform.uri, "without_gateway") as process:
        run_id = word(process, "RUN")
        gateway.kill()
        go_on(process)
        word(process, "LOGGED")
        gateway.start()
        gateway.wait()
        platform.wait_healthy()
        go_on(process)
        assert process.wait(60) == 0
    assert steps(platform.uri, run_id, "loss") == [(n, float(n)) for n in range(5000)]
    asked = httpx.get(f"{platform.uri}/get-artifact", params={"run_id": run_id, "path": "second.txt"})
    assert asked.text == "second"


def test_kill_9_of_the_client_leaves_all_that_was_seen(platform: Platform) -> None:
    with program(platform.uri, "streams") as process:
        run_id = word(process, "RUN")
        acked = [int(word(process, "ACKED")) for _ in range(5)][-1]
        process.kill()
        process.wait()
    found = steps(platform.uri, run_id, "up")
    assert found == [(n, float(n)) for n in range(len(found))]
    assert len(found) >= acked


def test_kill_9_of_the_server_loses_and_doubles_nothing(platform: Platform) -> None:
    tracking = platform.services["tracking"]
    with program(platform.uri, "streams") as process:
        run_id = word(process, "RUN")
        for _ in range(2):
            word(process, "ACKED")
            tracking.kill()
            tracking.start()
            tracking.wait()
            word(process, "ACKED")
        go_on(process)
        logged = int(word(process, "DONE"))
        assert process.wait(60) == 0
    assert steps(platform.uri, run_id, "up") == [(n, float(n)) for n in range(logged)]


def test_tokens_of_any_name(platform: Platform) -> None:
    headrace = Path(sys.executable).with_name("headrace")
    environ = {**os.environ, **platform.environ}
    made = subprocess.run(
        [headrace, "tenants", "create", "plugged"], env=environ, capture_output=True, text=True, check=True
    )
    run_client(_PYTHON, at(platform.uri), _HERE / "plugin.py", "tokens", made.stdout.strip())


@pytest.mark.parametrize("uri", ["headrace://", "headraces:///path"])
def test_an_address_without_a_host_is_told(uri: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import mlflow; mlflow.search_experiments()"],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{uri!r} names no Headrace: use headrace://host:port" in done.stderr
