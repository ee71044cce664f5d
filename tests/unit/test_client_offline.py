"""Runs without a server: kept whatever happens to their process, and sent once by `headrace sync`."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from fake_headrace import FakeHeadrace, serving
from headrace import cli, errors, retry
from headrace.api.tracking.v1 import tracking_pb2
from headrace.offline.journal import LeftJournal

QUICK = retry.Policy(first_delay_s=0.01, most_delay_s=0.05, patience_s=0.2, first_patience_s=0.2)
NOWHERE = "grpc://127.0.0.1:1"


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


@pytest.fixture
def spool() -> Path:
    return Path(os.environ["HEADRACE_SPOOL"])


def client_of(uri: str, **limits: Any) -> hr.Client:
    return hr.Client(uri, ingest=hr.IngestSettings(**{"age_s": 0.01, **limits}), policy=QUICK)


def synced(fake: FakeHeadrace, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    cli.main(["sync", "--json", "--uri", fake.uri, "--patience", "0.2", *more])
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def whole_run(client: hr.Client, tmp_path: Path) -> str:
    """A run with something of everything."""
    (tmp_path / "weights.bin").write_bytes(b"w" * 1_000_000)
    about: dict[str, Any] = {"experiment": "cookies", "params": {"sugar": 0.8}, "tags": {"oven": 3}}
    with client.start_run("away", **about, capture=False, offline=True) as run:
        assert run.offline
        for step in range(100):
            run.log({"k": step}, step=step)
        run.log_columns(range(100, 5_000), {"k": [0.0] * 4_900})
        run.log_param("butter", 250)
        run.set_tag("oven", 4)
        run.log_input(hr.dataset_from({"a": [1]}, name="batches"), context="training")
        run.log_text("first", "notes.txt")
        run.log_text("second", "notes.txt")
        stored = run.log_artifact(tmp_path / "weights.bin", "raw")
        assert (stored.path, stored.size_bytes) == ("raw/weights.bin", 1_000_000)
        run.flush()
    return run.id


def check_whole_run(fake: FakeHeadrace, run_id: str) -> None:
    run = fake.tracking.runs[run_id]
    assert (run.name, dict(run.params)["sugar"], dict(run.params)["butter"]) == ("away", "0.8", "250")
    assert run.tags["oven"] == "4"
    assert fake.tracking.experiments[run.experiment_id].name == "cookies"
    assert run.state == tracking_pb2.Run.STATE_FINISHED
    assert run.end_time.ToNanoseconds() >= run.start_time.ToNanoseconds()
    assert {each.dataset.name for each in run.inputs} == {"batches"}
    assert [step for step, _, _ in fake.ingest.points(run_id)["k"]] == list(range(5_000))
    assert fake.artifacts.files[run_id, "notes.txt"] == b"second"
    assert fake.artifacts.files[run_id, "raw/weights.bin"] == b"w" * 1_000_000
    assert fake.ingest.faults == []


def test_an_offline_run_is_sent_whole_by_sync(
    fake: FakeHeadrace, spool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with client_of(NOWHERE) as client:
        run_id = whole_run(client, tmp_path)
    ended_before = time.time_ns()
    shutil.copytree(spool, tmp_path / "copy")
    points, journal = synced(fake, capsys)
    assert (points["state"], points["points"], points["left"]) == ("sent", 5_000, 0)
    assert (journal["state"], journal["message"]) == ("sent", "run made, ended as FINISHED")
    assert journal["records"] == 7  # experiment, run, param, tag, input, two files
    check_whole_run(fake, run_id)
    assert fake.tracking.runs[run_id].end_time.ToNanoseconds() < ended_before
    assert list(spool.iterdir()) == []
    uploads = fake.artifacts.uploads
    # Sent again, as when the sync itself was killed before it could delete anything.
    assert {each["state"] for each in synced(fake, capsys, "--spool", str(tmp_path / "copy"))} == {"sent"}
    check_whole_run(fake, run_id)
    assert len(fake.tracking.runs) == 1
    assert fake.artifacts.uploads == uploads  # files that are there are not sent twice


@pytest.mark.parametrize("failing", range(1, 7))
def test_a_sync_that_fails_half_way_is_repeated(
    fake: FakeHeadrace, spool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], failing: int
) -> None:
    with client_of(NOWHERE) as client:
        run_id = whole_run(client, tmp_path)
    fake.tracking.fail_after = failing
    assert "failed" in {each["state"] for each in synced(fake, capsys)}
    fake.tracking.fail_after = -1
    assert {each["state"] for each in synced(fake, capsys)} == {"sent"}
    check_whole_run(fake, run_id)
    assert list(spool.iterdir()) == []


PROGRAM = """
    import headrace as hr, sys
    run = hr.start_run("killed", experiment="cookies", capture=False)
    run.log_param("a", 1)
    for step in range(1000):
        run.log({"k": step}, step=step)
    run.log_text("hello", "a.txt")
    run.flush()
    print(run.id, flush=True)
    sys.stdin.readline()
"""


def test_a_killed_offline_run_is_left_alone_while_it_lives_and_sent_as_killed_after(
    fake: FakeHeadrace, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, "HEADRACE_URI": NOWHERE, "HEADRACE_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        assert {each["state"] for each in synced(fake, capsys)} == {"in use"}
        assert not fake.tracking.runs
        child.kill()
    killed_before = time.time_ns()
    fake.tracking.fail_after = 3
    assert "failed" in {each["state"] for each in synced(fake, capsys)}
    fake.tracking.fail_after = -1
    assert {each["state"] for each in synced(fake, capsys)} == {"sent"}
    run = fake.tracking.runs[run_id]
    assert (run.name, run.state, dict(run.params)) == ("killed", tracking_pb2.Run.STATE_KILLED, {"a": "1"})
    assert run.start_time.ToNanoseconds() < run.end_time.ToNanoseconds() < killed_before
    assert [step for step, _, _ in fake.ingest.points(run_id)["k"]] == list(range(1_000))
    assert fake.artifacts.files[run_id, "a.txt"] == b"hello"
    assert list(spool.iterdir()) == []


def test_the_end_of_a_run_whose_server_is_away_is_sent_by_sync(
    fake: FakeHeadrace, spool: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(fake.uri) as client:
        run = client.start_run(capture=False)
        run.log({"k": 1}, step=1)
        run.flush()
        fake.stop()
        with pytest.raises(ZeroDivisionError), run:
            raise ZeroDivisionError
        assert f"run {run.id}: `headrace sync` sends it from {spool}" in caplog.text
    assert fake.tracking.runs[run.id].state == tracking_pb2.Run.STATE_RUNNING
    fake.start()
    (journal,) = synced(fake, capsys)
    assert (journal["state"], journal["message"]) == ("sent", "ended as FAILED")
    assert fake.tracking.runs[run.id].state == tracking_pb2.Run.STATE_FAILED
    assert list(spool.iterdir()) == []


def test_with_strict_the_end_that_is_kept_is_raised(fake: FakeHeadrace, spool: Path) -> None:
    with client_of(fake.uri, strict=True) as client:
        run = client.start_run(capture=False)
        fake.stop()
        with pytest.raises(errors.Unavailable):
            run.end()
        run.end()
    assert [path.suffix for path in spool.iterdir()] == [".run"]


def test_auto_goes_offline_only_where_no_server_answers(
    fake: FakeHeadrace, spool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_OFFLINE", "auto")
    with client_of(fake.uri) as client, client.start_run(capture=False) as here:
        assert not here.offline
    fake.stop()
    with client_of(fake.uri) as client:
        assert client.set_experiment("cookies").id == ""
        with client.start_run(capture=False) as away:
            assert away.offline
            away.log({"k": 1})
        with pytest.raises(errors.Unavailable):
            client.start_run(capture=False, offline=False)
    fake.start()
    assert {each["state"] for each in synced(fake, capsys)} == {"sent"}
    experiment_id = fake.tracking.runs[away.id].experiment_id
    assert fake.tracking.experiments[experiment_id].name == "cookies"
    monkeypatch.setenv("HEADRACE_OFFLINE", "maybe")
    with client_of(fake.uri) as client, pytest.raises(errors.InvalidRequest, match="must be 1, 0 or auto"):
        client.start_run()


def test_a_run_goes_on_offline_and_is_sent_in_order(fake: FakeHeadrace, capsys: pytest.CaptureFixture[str]) -> None:
    with client_of(NOWHERE) as client:
        with client.start_run("one", capture=False, offline=True) as run:
            run.set_tag("t", 1)
            run.log({"k": 0}, step=0)
        with client.start_run(run_id=run.id, capture=False, offline=True, tags={"t": 2}) as again:
            again.log({"k": 1}, step=1)
            again.end("FAILED")
    assert {each["state"] for each in synced(fake, capsys)} == {"sent"}
    made = fake.tracking.runs[run.id]
    assert (made.name, made.tags["t"], made.state) == ("one", "2", tracking_pb2.Run.STATE_FAILED)
    assert sorted(step for step, _, _ in fake.ingest.points(run.id)["k"]) == [0, 1]


def test_forked_children_write_a_journal_of_their_own(
    fake: FakeHeadrace, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with client_of(NOWHERE) as client, client.start_run(capture=False, offline=True) as run:

        def in_child() -> None:
            run.log({"child": 1})
            run.log_param("child", 1)
            run.flush()
            os._exit(9)

        child = multiprocessing.get_context("fork").Process(target=in_child)
        child.start()
        child.join(60)
        run.log_param("parent", 1)
        assert len(list(spool.glob("*.run"))) == 2
        assert {each["state"] for each in synced(fake, capsys)} == {"in use"}
    assert {each["state"] for each in synced(fake, capsys)} == {"sent"}
    assert dict(fake.tracking.runs[run.id].params) == {"parent": "1", "child": "1"}
    assert fake.ingest.points(run.id).keys() == {"child"}
    assert list(spool.iterdir()) == []


def test_what_the_server_would_refuse_is_told_at_once_or_set_aside(
    fake: FakeHeadrace, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with client_of(NOWHERE) as client, client.start_run(capture=False, offline=True) as run:
        run.log_params({"a": 1})
        run.log_params({"a": 1})
        with pytest.raises(errors.InvalidRequest, match="which cannot be changed to '2'") as conflict:
            run.log_params({"a": 2})
        assert conflict.value.reason == "PARAM_CONFLICT"
        with pytest.raises(errors.InvalidRequest, match="is no key"):
            run.set_tag("a//b", 1)
        with pytest.raises(errors.Unavailable, match="is offline"):
            run.flush(visible=True)
        with pytest.raises(errors.Unavailable, match="a logged model needs the server"):
            run.log_model(len)
        run.set_tag("refused", 1)
    fake.tracking.refused_tags = {"refused"}
    (journal,) = synced(fake, capsys)
    assert journal["state"] == "failed"
    assert "the server refused 1 of them, kept in " in journal["message"]
    assert fake.tracking.runs[run.id].state == tracking_pb2.Run.STATE_FINISHED
    assert [path.suffix for path in spool.iterdir()] == [".refused"]
    assert synced(fake, capsys) == []


def test_a_full_spool_is_told_to_who_logs(spool: Path) -> None:
    with client_of(NOWHERE, spool_bytes=2_000, compression="off") as client:
        run = client.start_run(capture=False, offline=True)
        with pytest.raises(errors.Overloaded, match="files of a run may have 2,000 bytes"):
            run.log_text("x" * 3_000, "a.txt")
        run.log_columns(range(1_000), {"k": [0.0] * 1_000})
        with pytest.raises(errors.Overloaded, match="1000 points are in memory only"):
            run.flush()
        run.end()
    assert run.lost_points == 1_000
    with client_of(NOWHERE, spool_bytes=0) as client, pytest.raises(errors.InvalidRequest, match="spool_bytes is 0"):
        client.start_run(capture=False, offline=True)


@given(st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_of_a_torn_journal_the_whole_records_are_left(part: float) -> None:
    folder = Path(os.environ["HEADRACE_SPOOL"])
    with client_of(NOWHERE, spool_dir=str(folder)) as client:
        run = client.start_run(capture=False, offline=True)
        (path,) = folder.glob(f"{run.id}*.run")
        ends = [path.stat().st_size]
        for number in range(5):
            run.set_tag(f"t{number}", number)
            ends.append(path.stat().st_size)
        run.end()
    cut = ends[0] + round(part * (path.stat().st_size - ends[0]))  # names have random lengths, so no fixed place
    os.truncate(path, cut)
    found = LeftJournal.recover(path)
    assert found is not None
    assert len(found.messages) == 1 + sum(end <= cut for end in ends[1:])
    found.release()
    path.unlink()
