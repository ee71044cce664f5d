"""The spool: what a server that is away has not got is in a file, survives kill -9, and is sent once."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from fake_headrace import FakeHeadrace, serving
from fake_ingest import StreamPlan
from headrace import cli, retry
from headrace.api.tracking.v1.metrics_pb2 import Frame, SeriesHeader
from headrace.ingest.spool import Owner, SpoolFile

QUICK = retry.Policy(first_delay_s=0.01, most_delay_s=0.05, patience_s=0.2, first_patience_s=0.2)
OWNER = Owner("run", "00" * 16, "grpc://127.0.0.1:1")


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


@pytest.fixture
def spool() -> Path:
    return Path(os.environ["HEADRACE_SPOOL"])


def client_of(fake: FakeHeadrace, **limits: Any) -> hr.Client:
    return hr.Client(fake.uri, ingest=hr.IngestSettings(**{"age_s": 0.01, **limits}), policy=QUICK)


def steps_of(fake: FakeHeadrace, run_id: str) -> list[int]:
    return [step for step, _, _ in fake.ingest.points(run_id).get("k", [])]


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def points_in(folder: Path) -> int:
    """Points of all spool files, read from copies: the files are in use."""
    points = 0
    for path in folder.glob("*.spool"):
        with tempfile.TemporaryDirectory() as place:
            copy = SpoolFile.recover(Path(shutil.copy(path, place)))
            if copy is not None:
                seqs = range(copy.first_seq, copy.last_seq + 1) if copy.first_seq else range(0)
                frames = [copy.read(seq) for seq in seqs]
                points += sum(series.count for frame in frames for series in frame.series)
                copy.release()
    return points


def frame_of(seq: int, size: int = 10) -> Frame:
    return Frame(seq=seq, columns=b"\x01" * size, series=[SeriesHeader(key="k", count=1)])


@given(st.lists(st.integers(1, 300), max_size=6), st.integers(1, 1_000), st.data())
@settings(deadline=None, max_examples=60)
def test_of_a_torn_file_exactly_the_whole_records_are_left(sizes: list[int], first: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        file = SpoolFile.create(Path(place), OWNER, 1 << 20)
        ends = [file.path.stat().st_size]
        for number, size in enumerate(sizes):
            file.append(frame_of(first + number, size))
            ends.append(file.path.stat().st_size)
        file.release()
        cut = data.draw(st.integers(ends[0], ends[-1]))
        tail = data.draw(st.sampled_from([b"", b"\0" * 20, b"\xff" * 9]))
        os.truncate(file.path, cut)
        with file.path.open("ab") as torn:
            torn.write(tail)

        found = SpoolFile.recover(file.path)
        assert found is not None
        whole = sum(end <= cut for end in ends[1:])
        seqs = range(found.first_seq, found.last_seq + 1) if found.first_seq else range(0)
        assert [found.read(seq) for seq in seqs] == [frame_of(first + n, size) for n, size in enumerate(sizes[:whole])]
        assert found.owner == OWNER
        assert file.path.stat().st_size == ends[whole]
        found.release()


def test_a_broken_byte_ends_what_is_trusted(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, OWNER, 1 << 20)
    file.append(frame_of(1))
    middle = file.path.stat().st_size + 12
    file.append(frame_of(2))
    file.append(frame_of(3))
    file.release()
    with file.path.open("r+b") as broken:
        broken.seek(middle)
        broken.write(b"\xff")
    found = SpoolFile.recover(file.path)
    assert found is not None
    assert (found.first_seq, found.last_seq) == (1, 1)
    found.release()


def test_a_file_takes_no_more_than_its_limit(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, OWNER, 400)
    file.append(frame_of(7, 100))
    with pytest.raises(OSError, match="has its limit of 400 bytes"):
        file.append(frame_of(8, 400))
    file.append(frame_of(8, 10))
    assert [file.read(seq).seq for seq in (7, 8)] == [7, 8]
    assert file.path.stat().st_size <= 400
    file.release()


def test_a_write_that_the_disk_cuts_short_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, OWNER, 1 << 30)
    file.append(frame_of(1, 10_000))
    size = file.path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5_000, hard))  # half of the next record fits
    try:
        with pytest.raises(OSError, match="File too large"):
            file.append(frame_of(2, 10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.path.stat().st_size == size
    file.append(frame_of(2, 20))
    file.release()
    found = SpoolFile.recover(file.path)
    assert found is not None
    assert [found.read(seq) for seq in (1, 2)] == [frame_of(1, 10_000), frame_of(2, 20)]
    found.release()


def test_a_file_is_never_made_over_another(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, OWNER, 1 << 20)
    file.append(frame_of(1))
    file.release()
    with pytest.raises(FileExistsError):
        SpoolFile.create(tmp_path, OWNER, 1 << 20)
    found = SpoolFile.recover(file.path)
    assert found is not None
    assert found.last_seq == 1
    found.release()


def test_a_file_in_use_is_left_alone(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, OWNER, 1 << 20)
    assert SpoolFile.recover(file.path) is None
    file.release()
    first = SpoolFile.recover(file.path)
    assert first is not None
    assert SpoolFile.recover(file.path) is None  # a second sync
    first.remove()
    assert SpoolFile.recover(file.path) is None


def test_what_was_spooled_is_sent_first_when_the_server_is_back(fake: FakeHeadrace, spool: Path) -> None:
    with client_of(fake) as client:
        run = client.start_run(capture=False)
        run.log({"k": 0}, step=0)
        run.flush()
        fake.stop()
        for step in range(1, 500):
            run.log({"k": step}, step=step)
        wait_until(lambda: points_in(spool) == 499)
        fake.start()
        for step in range(500, 600):
            run.log({"k": step}, step=step)
        run.end()
    assert steps_of(fake, run.id) == list(range(600))
    assert fake.ingest.faults == []
    assert run.lost_points == 0
    assert list(spool.iterdir()) == []


def test_full_memory_goes_to_the_spool_too(fake: FakeHeadrace, spool: Path) -> None:
    fake.ingest.plans = iter([StreamPlan(lose_acks=True)])
    with client_of(fake, kept_bytes=2_000, frame_points=100) as client:
        run = client.start_run(capture=False)
        run.log_columns(range(20_000), {"k": [0.0] * 20_000})
        wait_until(lambda: points_in(spool) > 15_000)
        fake.stop()
        fake.start()
        run.end()
    assert steps_of(fake, run.id) == list(range(20_000))
    assert list(spool.iterdir()) == []


def test_a_run_that_ends_without_its_server_is_sent_by_sync(
    fake: FakeHeadrace, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(fake) as client:
        run = client.start_run(capture=False)
        run.log({"k": 0}, step=0)
        run.flush()
        fake.stop()
        for step in range(1, 100):
            run.log({"k": step}, step=step)
        run.end(timeout=0.2)
        assert run.lost_points == 0
    assert "99 points wait in " in caplog.text
    assert "`headrace sync` sends them" in caplog.text
    assert cli.main(["sync", "--patience", "0.5"]) == 1
    assert points_in(spool) == 99
    fake.start()
    assert cli.main(["sync"]) == 0
    assert steps_of(fake, run.id) == list(range(100))
    assert list(spool.iterdir()) == []


def test_a_full_spool_costs_points_not_the_training(fake: FakeHeadrace, caplog: pytest.LogCaptureFixture) -> None:
    limits = {"spool_bytes": 2_000, "kept_bytes": 2_000, "queue_points": 100, "frame_points": 100, "block_s": 0.1}
    with client_of(fake, **limits) as client:
        run = client.start_run(capture=False)
        run.log({"k": 0}, step=0)
        run.flush()
        fake.stop()
        run.log_columns(range(1, 10_000), {"k": [0.0] * 9_999})
        run.end(timeout=0.2)
        lost = run.lost_points
        run.end(timeout=0.2)
        assert run.lost_points == lost
    assert 0 < lost < 9_999
    assert "and the spool takes no more (the spool file has its limit of 2,000 bytes)" in caplog.text
    fake.start()
    assert cli.main(["sync"]) == 0
    assert len(steps_of(fake, run.id)) == 10_000 - lost


PROGRAM = """
    import headrace as hr, sys
    run = hr.start_run(capture=False)
    for step in range(100):
        run.log({"k": step}, step=step)
    run.flush()
    print(run.id, flush=True)
    sys.stdin.readline()
    for step in range(100, 3000):
        run.log({"k": step}, step=step)
    print("logged", flush=True)
    sys.stdin.readline()
"""


def test_sync_sends_once_what_a_killed_process_left(
    fake: FakeHeadrace, spool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, "HEADRACE_URI": fake.uri},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        fake.stop()
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "logged\n"
        wait_until(lambda: points_in(spool) == 2_900)
        assert cli.main(["sync", "--json"]) == 0
        (left_alone,) = json.loads(capsys.readouterr().out)
        assert (left_alone["state"], left_alone["points"]) == ("in use", 0)
        child.kill()
    fake.start()
    copies = [shutil.copy(path, tmp_path) for path in spool.glob("*.spool")]
    assert len(copies) == 1
    assert cli.main(["sync", "--json"]) == 0
    (sent,) = json.loads(capsys.readouterr().out)
    assert (sent["state"], sent["points"], sent["left"], sent["run_id"]) == ("sent", 2_900, 0, run_id)
    assert steps_of(fake, run_id) == list(range(3_000))
    assert list(spool.iterdir()) == []
    # Sent again, as when the sync itself was killed before it could delete the file.
    assert cli.main(["sync", "--spool", str(tmp_path)]) == 0
    assert steps_of(fake, run_id) == list(range(3_000))
    assert fake.ingest.faults == []


def test_two_syncs_at_once_send_each_point_once(fake: FakeHeadrace, spool: Path) -> None:
    with client_of(fake) as client:
        run = client.start_run(capture=False)
        fake.stop()
        run.log_columns(range(5_000), {"k": [0.0] * 5_000})
        run.end(timeout=0.1)
    fake.start()
    program = [sys.executable, "-c", "import sys; from headrace.cli import main; sys.exit(main())", "sync", "--json"]
    both = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(each.communicate(timeout=60)[0]) for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sum(one["points"] for found in told for one in found) == 5_000
    assert steps_of(fake, run.id) == list(range(5_000))
    assert fake.ingest.faults == []


def test_a_forked_child_has_a_file_of_its_own(fake: FakeHeadrace, spool: Path) -> None:
    with client_of(fake) as client:
        run = client.start_run(capture=False)
        fake.stop()
        run.log_columns(range(100), {"k": [0.0] * 100})
        wait_until(lambda: points_in(spool) == 100)

        def in_child() -> None:
            run.log_columns(range(100, 200), {"k": [0.0] * 100})
            wait_until(lambda: points_in(spool) == 200)
            os.kill(os.getpid(), signal.SIGKILL)

        child = multiprocessing.get_context("fork").Process(target=in_child)
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        assert len(list(spool.glob("*.spool"))) == 2
        fake.start()
        run.end()
        assert run.lost_points == 0
    assert cli.main(["sync"]) == 0
    assert sorted(steps_of(fake, run.id)) == list(range(200))
    assert list(spool.iterdir()) == []


FULL_DISK = """
    import resource, sys
    import headrace as hr
    from headrace import retry
    limits = hr.IngestSettings(age_s=0.01, kept_bytes=2_000, queue_points=100, frame_points=100, block_s=0.05)
    with hr.Client(ingest=limits, policy=retry.Policy(first_patience_s=0.2, patience_s=0.2)) as client:
        run = client.start_run(capture=False)
        run.log({"k": 0}, step=0)
        run.flush()
        print(run.id, flush=True)
        sys.stdin.readline()
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
        logged = 1
        while not run.lost_points:
            run.log({"k": logged}, step=logged)
            logged += 1
        run.end(timeout=0.2)
        print(logged, run.lost_points)
"""


def test_a_full_disk_costs_points_that_are_counted(fake: FakeHeadrace) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK)],
        env={**os.environ, "HEADRACE_URI": fake.uri},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        fake.stop()
        told, warned = child.communicate("\n", timeout=60)
    assert child.returncode == 0, warned
    logged, lost = map(int, told.split())
    assert f"run {run_id} ended with {lost} points not recorded" in warned
    assert "and the spool takes no more (File too large)" in warned
    fake.start()
    assert cli.main(["sync"]) == 0
    assert len(steps_of(fake, run_id)) == logged - lost
