"""The command line, against services in memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace as hr
from fake_headrace import FakeHeadrace, serving
from headrace import cli
from headrace.api.deployment.v1 import deployment_pb2
from headrace.api.events.v1 import event_service_pb2
from headrace.api.registry.v1 import registry_events_pb2, registry_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.cli.output import print_json
from headrace.tables import text_table

HEADRACE = [sys.executable, "-c", "import sys; from headrace.cli import main; sys.exit(main())"]


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


class Terminal:
    """Runs a command in this process; what it printed."""

    def __init__(self, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._uri = uri
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert cli.main([*arguments, "--uri", self._uri]) == code
        out, self.err = self._capsys.readouterr()
        return out

    def json(self, *arguments: str) -> object:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def run(fake: FakeHeadrace, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(fake.uri, capsys)


@pytest.fixture
def batch(fake: FakeHeadrace) -> str:
    """A run with a bit of everything; its id."""
    with (
        hr.Client(fake.uri) as client,
        client.start_run(
            "batch-1", experiment="cookies", params={"sugar": 0.8}, tags={"team": "pastry"}, capture=False
        ) as made,
    ):
        made.log_text("crisp", "notes/a.txt")
        made.log_input(hr.Dataset("batches", "abc"), context="training")
        version = client.registry.register_model("m-1", "judge")
        client.registry.promote("judge", version)
    fake.tracking.runs[made.id].metrics.extend(
        [tracking_pb2.Metric(key="f1", value=0.9), tracking_pb2.Metric(key="loss", value=float("nan"))]
    )
    return made.id


def test_experiments(run: Terminal, batch: str) -> None:
    assert [line.split()[:2] for line in run("experiments", "list").splitlines()] == [
        ["ID", "NAME"],
        ["0", "Default"],
        ["1", "cookies"],
    ]
    assert [found["name"] for found in run.json("experiments", "list")] == ["Default", "cookies"]  # type: ignore[union-attr, attr-defined] # JSON
    assert run("experiments", "show", "cookies").splitlines()[:2] == ["id:      1", "name:    cookies"]


def test_runs(run: Terminal, batch: str) -> None:
    head, line = run("runs", "list", "--experiment", "cookies").splitlines()
    assert head.split() == [
        *("NAME", "RUN_ID", "STATE", "START_TIME", "DURATION_S", "metrics.f1", "metrics.loss", "params.sugar")
    ]
    assert line.split()[:3] == ["batch-1", batch, "FINISHED"]
    assert run("runs", "list") == ""
    assert run.err == "no runs\n"
    (found,) = run.json("runs", "list", "--experiment", "cookies")  # type: ignore[misc, attr-defined] # JSON
    assert (found["run_id"], found["metrics"]) == (batch, {"f1": 0.9, "loss": "NaN"})
    shown = run("runs", "show", batch)
    for text in ("name:          batch-1", "state:         FINISHED", "  sugar  0.8", "  f1    0.9", "  loss  nan"):
        assert text in shown
    assert "batches  training abc" in shown
    assert run.json("runs", "show", batch)["tags"] == {"team": "pastry"}  # type: ignore[index] # JSON


def test_models_and_deployments(fake: FakeHeadrace, run: Terminal, batch: str) -> None:
    assert run("models", "list").splitlines()[1].split()[:3] == ["judge", "1", "production=1"]
    shown = run("models", "show", "judge")
    assert "aliases:     production=1" in shown
    assert shown.splitlines()[-1].split()[:2] == ["1", "READY"]
    assert run("deployments", "list") == ""
    assert run.err == "no deployments\n"
    fake.deployments.states = [
        deployment_pb2.Deployment(name="judge", state=deployment_pb2.Deployment.STATE_SERVING, serving_version=1)
    ]
    assert run("deployments", "list").splitlines()[1].split() == ["judge", "SERVING", "1"]


def test_artifacts(run: Terminal, batch: str, tmp_path: Path) -> None:
    assert run("artifacts", "list", batch).splitlines()[1].split()[:2] == ["notes/a.txt", "5"]
    place = run("artifacts", "get", batch, "notes/a.txt", "--to", str(tmp_path)).strip()
    assert Path(place).read_text() == "crisp"


def test_tokens(run: Terminal) -> None:
    assert run("tokens", "create", "me", "--role", "admin", "--expires-days", "2") == "secret of t0\n"
    assert run("tokens", "list").splitlines()[1].split()[:3] == ["t0", "me", "admin"]
    made = run.json("tokens", "create", "ci")
    assert made["secret"] == "secret of t1"  # type: ignore[index] # JSON
    assert made["token"]["expire_time"] is None  # type: ignore[index] # JSON
    assert run("tokens", "revoke", "t0") == "revoked t0\n"
    assert run("tokens", "revoke", "t9", code=1) == ""
    assert run.err == "headrace: no token t9\n"


def test_an_error_is_one_line(run: Terminal) -> None:
    assert run("runs", "show", "abc", code=1) == ""
    assert run.err == "headrace: no run abc\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["runs"], ["runs", "burn"], ["runs", "list", "--limit", "0"], ["tokens", "create", "x", "--role", "y"]],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: headrace" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.strip() == hr.__version__


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["up", "--help"], ["experiments", "list", "--help"], ["events", "tail", "--help"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
        assert "usage: headrace" in capsys.readouterr().out


def test_server_commands_name_the_extra_when_it_is_missing() -> None:
    program = "import sys; sys.modules['headrace_server'] = None; from headrace.cli import main; sys.exit(main(['up']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: running a Headrace needs more than the client")
    assert done.stderr.endswith('pip install "headrace[server]"\n')
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_enough_ends_it_quietly(fake: FakeHeadrace, batch: str) -> None:
    for number in range(3_000):
        copy = tracking_pb2.Run(run_id=f"{number:032x}", experiment_id="1", name=f"batch {number}")
        fake.tracking.runs[copy.run_id] = copy
    listing = subprocess.Popen(
        [*HEADRACE, "runs", "list", "--experiment", "cookies", "--limit", "3000", "--uri", fake.uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.readline()
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 141


def promoted(version: int) -> event_service_pb2.Event:
    message = registry_events_pb2.ModelVersionPromoted(version=registry_pb2.ModelVersion(version=version), alias="prod")
    event = event_service_pb2.Event(
        id=f"e{version}", type=message.DESCRIPTOR.full_name, subject=f"v/{version}", data=message.SerializeToString()
    )
    event.time.FromSeconds(1_700_000_000)
    return event


@pytest.mark.parametrize("form", ["line", "json"])
def test_events_are_printed_until_interrupted(fake: FakeHeadrace, form: str) -> None:
    fake.events.publish(promoted(1))
    options = ["--json"] if form == "json" else []
    tail = subprocess.Popen(
        [*HEADRACE, "events", "tail", "--type", "ModelVersionPromoted", "--from-earliest", "--uri", fake.uri, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        first = tail.stdout.readline()
        fake.events.publish(promoted(2))
        second = tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert tail.stderr.read() == ""
    assert tail.returncode == 130
    if form == "json":
        assert json.loads(first)["data"] == {"version": {"version": 1}, "alias": "prod"}
        assert json.loads(second)["cursor"] == "2"
    else:
        assert first.split()[2:] == ["ModelVersionPromoted", "v/1"]
        assert second.split()[-1] == "v/2"


def test_a_table_keeps_to_the_width_and_to_one_line_a_row() -> None:
    text = text_table(("name", "n", "note"), [("a\nb", 1, "x" * 100), ("c", 20, None)], 30)
    assert text.splitlines() == ["NAME   N", "a b    1", "c     20", "(and 1 more columns: note)"]
    assert max(map(len, text_table(("name", "note"), [("a", "x" * 100)], 200).splitlines())) == 6 + 48
    assert text_table(("name",), [], 10) == "NAME"


def test_json_has_no_numbers_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("inf"), float("-inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": ["Infinity", "-Infinity", 1.5]}


def test_nobody_there_is_one_line_too() -> None:
    done = subprocess.run(
        [*HEADRACE, "runs", "list"],
        env={**os.environ, "HEADRACE_URI": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=25,  # a client that had reached a server would try for 30
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "start one with `headrace up`, or set HEADRACE_URI" in done.stderr
