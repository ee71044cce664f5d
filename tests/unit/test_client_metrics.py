"""The metric path of the client against an edge that loses acknowledgements, cuts streams and refuses frames."""

import logging
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace as hr
from fake_answers import away
from fake_headrace import FakeHeadrace, serving
from fake_ingest import StreamPlan
from headrace import errors, retry
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.ingest.stream import Stream
from headrace_kit.errors import DomainError

QUICK = retry.Policy(first_delay_s=0.01, most_delay_s=0.05, patience_s=5.0, first_patience_s=1.0)


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


def client_of(fake: FakeHeadrace, **limits: Any) -> hr.Client:
    return hr.Client(fake.uri, ingest=hr.IngestSettings(**{"age_s": 0.01, **limits}), policy=QUICK)


def steps_of(fake: FakeHeadrace, run_id: str, key: str = "k") -> list[int]:
    return [step for step, _, _ in fake.ingest.points(run_id).get(key, [])]


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def wait_for_stream(fake: FakeHeadrace) -> None:
    wait_until(lambda: fake.ingest.streams > 0)


def gone_run() -> DomainError:
    return DomainError(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, "no run with this id")


class Tensor:
    """Such as some libraries have: no __float__, but item()."""

    def __float__(self) -> float:
        raise TypeError("not this way")

    def item(self) -> float:
        return 1.5


def test_points_arrive_with_key_step_time_and_value(fake: FakeHeadrace) -> None:
    before = int(time.time() * 1000)
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"loss": 0.5, "acc": np.float32(0.25), "zero-d": np.array(2)}, step=7)
        run.log({"loss": True})
        run.log({"one": np.array([[0.5]]), "big": np.int64(7), "tensor": Tensor()})
        run.log_metric("loss", 3, step=np.int64(8), time=datetime(2020, 1, 1, tzinfo=UTC))
        run.log_metric("loss", 4, time=1.5)
        run.flush()
        points = fake.ingest.points(run.id)

    assert [(step, value) for step, _, value in points["loss"]] == [(7, 0.5), (0, 1.0), (8, 3.0), (0, 4.0)]
    assert [(step, value) for step, _, value in points["acc"]] == [(7, 0.25)]
    assert [(step, value) for step, _, value in points["zero-d"]] == [(7, 2.0)]
    assert [value for key in ("one", "big", "tensor") for _, _, value in points[key]] == [0.5, 7.0, 1.5]
    times = [ms for _, ms, _ in points["loss"]]
    assert before <= times[0] <= times[1] <= time.time() * 1000
    assert times[2:] == [1_577_836_800_000, 1_500]
    assert not fake.ingest.faults


def test_a_series_is_logged_as_columns(fake: FakeHeadrace) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log_series("k", np.linspace(0, 1, 50_000), np.arange(50_000))
        run.log_series("l", [1, 2, 3])
        run.log_series("m", [1.5], [3], [2.0])
    points = fake.ingest.points(run.id)
    assert [(step, value) for step, _, value in points["k"]] == list(enumerate(np.linspace(0, 1, 50_000).tolist()))
    assert [(step, value) for step, _, value in points["l"]] == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert points["m"] == [(3, 2000, 1.5)]


def test_columns_share_their_steps(fake: FakeHeadrace) -> None:
    with client_of(fake, frame_points=1_000) as client, client.start_run(capture=False) as run:
        loss = np.linspace(1, 0, 25_000)
        columns = {
            "loss": loss,
            "half": loss.astype(np.float32)[::2].repeat(2),
            "l": loss.tolist(),
            "a": array("d", loss),
        }
        run.log_columns(np.arange(25_000, dtype=np.int64) * 3, columns)
        expected = {key: [float(value) for value in column] for key, column in columns.items()}
        loss[:] = -1  # the caller's to change
        run.log_columns(
            [5, np.int32(6)], {"ints": np.array([1, 2], np.int8)}, times=[2.0, datetime(2020, 1, 1, tzinfo=UTC)]
        )
        run.log_columns(None, {"counted": (7, 8)})
        run.log_columns(range(0), {"none": []})
        run.log_columns(range(3), {})
    points = fake.ingest.points(run.id)
    for key, column in expected.items():
        assert [(step, value) for step, _, value in points[key]] == list(zip(range(0, 75_000, 3), column, strict=True))
    assert points["ints"] == [(5, 2_000, 1.0), (6, 1_577_836_800_000, 2.0)]
    assert [(step, value) for step, _, value in points["counted"]] == [(0, 7.0), (1, 8.0)]
    assert "none" not in points
    assert run.lost_points == 0
    assert not fake.ingest.faults


def test_columns_and_single_points_of_a_series_keep_their_order(fake: FakeHeadrace) -> None:
    step = iter(range(1_000_000))
    with client_of(fake, frame_points=97) as client, client.start_run(capture=False) as run:
        for size in (1, 2, 300, 1, 50) * 20:
            run.log({"k": 0, "other": 1}, step=next(step))
            run.log_columns([next(step) for _ in range(size)], {"k": [0] * size, "second": range(size)})
    assert steps_of(fake, run.id) == list(range(next(step)))
    assert steps_of(fake, run.id, "second")
    assert not fake.ingest.faults


@pytest.mark.parametrize(
    ("steps", "columns", "times", "told", "lost"),
    [
        ([1], {"a": [1, 2], "b": [1]}, None, "a: 2 values, but 1 steps", 3),
        ([1, 2], {"a": [1, 2]}, [0.0], "a: 2 values, but 1 times", 2),
        ([0, 1.5], {"a": [1, 2]}, None, r"step 1\.5 is no whole number", 2),
        (np.array([0.0, 1.0]), {"a": [1, 2]}, None, r"step 0\.0 is no whole number", 2),
        ([0, 1 << 62], {"a": [1, 2]}, None, r"step 4611686018427387904 is no whole number", 2),
        (np.array([-(1 << 62), 0]), {"a": [1, 2]}, None, r"step -4611686018427387904 is no whole number", 2),
        (range(1 << 62, (1 << 62) + 2), {"a": [1, 2]}, None, "is no whole number", 2),
        ([0, 1], {"a": [1, 2], "b": [1, "x"]}, None, "b: .* is no column of numbers", 4),
        ([0, 1], {"a": np.zeros((2, 2))}, None, "a: .* is no column of numbers", 2),
        ([0], {"a": 3.0}, None, r"a: 3\.0 is no column of numbers", 1),
        ([0], {"a": [1], "b//": [2]}, None, "'b//' is no key", 2),
        ([0], {"a": [1]}, [float("nan")], "the time nan is too far from 1970", 1),
    ],
)
def test_of_columns_that_are_not_acceptable_nothing_is_recorded(
    fake: FakeHeadrace, caplog: pytest.LogCaptureFixture, steps: Any, columns: Any, times: Any, told: str, lost: int
) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log_columns(steps, columns, times)
        assert run.lost_points == lost
    assert not fake.ingest.points(run.id)
    assert re.search(told, caplog.text, re.DOTALL)


def test_strict_raises_for_columns_at_once(fake: FakeHeadrace) -> None:
    with client_of(fake, strict=True) as client:
        run = client.start_run(capture=False)
        with pytest.raises(errors.InvalidRequest, match="a: 2 values, but 1 steps"):
            run.log_columns([0], {"a": [1, 2]})
        run.log_columns([0], {"a": [1]})
        run.end()
        with pytest.raises(errors.InvalidRequest, match="the run has ended"):
            run.log_columns([0, 1], {"a": [1, 2]})


@pytest.mark.parametrize(("overflow", "kept"), [("block", range(100)), ("drop_oldest", range(150, 250))])
def test_a_full_buffer_counts_the_points_of_columns(fake: FakeHeadrace, overflow: str, kept: range) -> None:
    fake.ingest.plans = iter([StreamPlan(silent=True)])
    with client_of(fake, queue_points=100, block_s=0.05, overflow=overflow) as client:
        run = client.start_run(capture=False)
        run.log_columns(range(60), {"k": np.zeros(60)})
        run.log({"k": 0}, step=60)
        run.log_columns(range(61, 250), {"k": np.zeros(189)})
        assert run.lost_points == 150
        wait_for_stream(fake)
        fake.stop()
        fake.start()
        run.end()
    assert steps_of(fake, run.id) == list(kept)


plans = st.lists(
    st.builds(
        StreamPlan,
        cut_after=st.none() | st.integers(1, 6),
        lose_acks=st.booleans(),
        ack_every=st.integers(1, 3),
        answer=st.none() | st.just(away()),
    ),
    max_size=4,
)


@given(plans, st.integers(1, 40), st.integers(200, 4_000))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_is_acknowledged_once_and_in_order(
    fake: FakeHeadrace, plan: list[StreamPlan], frame_points: int, window: int
) -> None:
    # With its window full of frames whose acknowledgements are lost, only `stall_s` brings a stream on.
    fake.ingest.plans = iter(plan)
    fake.ingest.window_bytes = window
    with client_of(fake, frame_points=frame_points, stall_s=0.2) as client, client.start_run(capture=False) as run:
        for step in range(300):
            run.log({"k": step}, step=step)
        run.flush(timeout=20)
        assert steps_of(fake, run.id) == list(range(300))
        assert run.lost_points == 0
    assert fake.ingest.faults == []


def test_frames_keep_to_what_the_server_allows(fake: FakeHeadrace) -> None:
    fake.ingest.max_frame_points = 17
    fake.ingest.max_frame_bytes = 200
    with client_of(fake) as client, client.start_run(capture=False) as run:
        for step in range(1_000):
            run.log({"k": step, f"series {step % 7}": step}, step=step)
    assert steps_of(fake, run.id) == list(range(1_000))
    assert fake.ingest.faults == []


def test_a_flush_beside_the_sender_opens_no_second_stream(fake: FakeHeadrace, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Stream.start

    def slowly(stream: Stream) -> None:
        time.sleep(0.1)  # both come by before there is one
        start(stream)

    monkeypatch.setattr(Stream, "start", slowly)
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"k": 1}, step=0)
        run.flush()
        run.log({"k": 1}, step=1)
    assert fake.ingest.streams == 1
    assert steps_of(fake, run.id) == [0, 1]


def sizes_of(fake: FakeHeadrace, run_id: str) -> list[int]:
    frames = [frame for of_producer in fake.ingest.frames[run_id].values() for frame in of_producer]
    return [sum(series.count for series in frame.series) for frame in frames]


def log_and_wait(fake: FakeHeadrace, run: hr.ActiveRun, step: int) -> None:
    run.log({"k": step}, step=step)
    wait_until(lambda: steps_of(fake, run.id)[-1:] == [step])


@pytest.fixture
def late(fake: FakeHeadrace) -> Iterator[threading.Event]:
    """Until it is set, the first stream acknowledges nothing, and is not away either."""
    go = threading.Event()
    fake.ingest.plans = iter([StreamPlan(hold_acks=go)])
    yield go
    go.set()


def test_small_frames_wait_for_the_acknowledgement_and_go_as_one(fake: FakeHeadrace, late: threading.Event) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run, client.start_run(capture=False) as other:
        log_and_wait(fake, run, 0)
        for step in range(1, 6):
            run.log({"k": step}, step=step)
            log_and_wait(fake, other, step)  # the sender came by: for all its runs
        assert sizes_of(fake, run.id) == [1]
        late.set()
        wait_until(lambda: sizes_of(fake, run.id) == [1, 5])
    assert steps_of(fake, run.id) == list(range(6))
    assert steps_of(fake, other.id) == list(range(1, 6))


def test_a_full_frame_does_not_wait_for_an_acknowledgement(fake: FakeHeadrace, late: threading.Event) -> None:
    with client_of(fake, frame_points=10) as client, client.start_run(capture=False) as run:
        log_and_wait(fake, run, 0)
        for step in range(1, 26):
            run.log({"k": step}, step=step)
        wait_until(lambda: sizes_of(fake, run.id) == [1, 10, 10])
        late.set()
        wait_until(lambda: sizes_of(fake, run.id) == [1, 10, 10, 5])


def test_flush_does_not_wait_for_an_earlier_acknowledgement(fake: FakeHeadrace, late: threading.Event) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        log_and_wait(fake, run, 0)
        run.log({"k": 1}, step=1)
        with pytest.raises(TimeoutError, match="2 points were not acknowledged"):
            run.flush(timeout=0.1)
        wait_until(lambda: sizes_of(fake, run.id) == [1, 1])
        late.set()
        run.flush()
        log_and_wait(fake, run, 2)


@pytest.mark.usefixtures("late")
def test_points_that_wait_for_an_acknowledgement_outlive_the_stream(fake: FakeHeadrace) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        log_and_wait(fake, run, 0)
        for step in (1, 2):
            run.log({"k": step}, step=step)
        fake.stop()
        fake.start()
        wait_until(lambda: steps_of(fake, run.id) == [0, 1, 2])
    assert fake.ingest.faults == []


def test_the_end_of_a_stream_with_nothing_under_way_is_noticed(fake: FakeHeadrace) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        log_and_wait(fake, run, 0)
        run.flush()
        fake.stop()
        fake.start()
        wait_until(lambda: fake.ingest.streams == 2)
        log_and_wait(fake, run, 1)


def test_flush_visible_asks_for_the_positions_of_the_acknowledgements(fake: FakeHeadrace) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"k": 1})
        run.flush(visible=True)
        assert [(each.partition, each.offset) for each in fake.tracking.at_least] == [(3, 0)]


def test_flush_says_how_much_is_not_acknowledged_in_time(fake: FakeHeadrace) -> None:
    fake.ingest.plans = iter([StreamPlan(lose_acks=True)] * 100)
    with client_of(fake, spool_bytes=0) as client:
        run = client.start_run(capture=False)
        run.log({"k": 1, "l": 2})
        with pytest.raises(TimeoutError, match=r"2 points were not acknowledged within 0\.2 s"):
            run.flush(timeout=0.2)
        run.end(timeout=0.1)
    assert run.lost_points == 2


def test_a_stream_without_acknowledgements_is_opened_anew(fake: FakeHeadrace, caplog: pytest.LogCaptureFixture) -> None:
    fake.ingest.plans = iter([StreamPlan(silent=True), StreamPlan(lose_acks=True)])
    with client_of(fake, stall_s=0.2) as client, client.start_run(capture=False) as run:
        run.log({"k": 1}, step=4)
        run.flush(timeout=10)
    assert steps_of(fake, run.id) == [4]
    assert fake.ingest.streams == 3
    assert "no acknowledgement for 0.2 s" in caplog.text


def test_the_server_may_restart_in_between(fake: FakeHeadrace) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"k": 0}, step=0)
        run.flush()
        fake.stop()
        for step in range(1, 1_000):
            run.log({"k": step}, step=step)
        time.sleep(0.3)
        fake.start()
        run.flush(timeout=20)
    assert steps_of(fake, run.id) == list(range(1_000))
    assert fake.tracking.runs[run.id].state == tracking_pb2.Run.STATE_FINISHED


def test_refused_frames_are_warned_of_once_and_counted(fake: FakeHeadrace, caplog: pytest.LogCaptureFixture) -> None:
    fake.ingest.plans = iter([StreamPlan(refuse=frozenset({2, 3}))])
    with client_of(fake) as client, client.start_run(capture=False) as run:
        for _ in range(4):
            run.log({"k": 1, "l": 2})
            run.flush()
        assert run.lost_points == 4
    warned = [record.getMessage() for record in caplog.records if "series[0].key" in record.getMessage()]
    assert warned == [
        f"run {run.id}: 2 points are not recorded: the server refused them: series[0].key: is not nice",
        f"run {run.id} ended with 4 points not recorded: 4: the server refused them: series[0].key: is not nice",
    ]


def test_what_is_no_number_is_told_and_the_rest_recorded(fake: FakeHeadrace, caplog: pytest.LogCaptureFixture) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"a": "high", "b": 1, "c": None, "d": np.ones(3)}, step=1)  # type: ignore[dict-item] # that is the test
        run.log({"a": 1.0}, step="one")  # type: ignore[arg-type] # as above
        run.log({"a": 1.0}, step=1 << 62)
        run.log({"no/../key": 1.0, "b": 2}, step=2)
        run.log_series("a", [1, 2], [1])
        run.flush()
        assert run.lost_points == 8
    assert fake.ingest.points(run.id).keys() == {"b"}
    assert steps_of(fake, run.id, "b") == [1, 2]
    assert "a: 'high' is no number (could not convert string to float: 'high')" in caplog.text
    assert "step 'one' is no whole number between -2**62 and 2**62" in caplog.text
    assert "'no/../key' is no key" in caplog.text


def test_strict_raises_what_is_otherwise_warned_of(fake: FakeHeadrace) -> None:
    with client_of(fake, strict=True) as client:
        run = client.start_run(capture=False)
        with pytest.raises(errors.InvalidRequest, match="a: 'high' is no number"):
            run.log({"a": "high"})  # type: ignore[dict-item] # that is the test
        with pytest.raises(errors.InvalidRequest, match=r"step 0\.5 is no whole number"):
            run.log({"a": 1}, step=0.5)  # type: ignore[arg-type] # as above
        run.log({"a": 1})
        run.flush()
        run.end()
        with pytest.raises(errors.InvalidRequest, match="the run has ended"):
            run.log({"a": 1})


def test_a_run_that_takes_no_points_is_told_once(fake: FakeHeadrace, caplog: pytest.LogCaptureFixture) -> None:
    fake.ingest.plans = iter([StreamPlan(answer=gone_run())])
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"k": 1, "l": 2})
        with pytest.raises(errors.NotFound, match="no run with this id"):
            run.flush()
        run.log({"k": 2})
        assert run.lost_points == 3
    assert caplog.text.count("points are not recorded: the server takes no more points (no run with this id)") == 1
    assert fake.ingest.streams == 1


def test_a_full_buffer_blocks_and_then_drops_what_is_new(fake: FakeHeadrace, caplog: pytest.LogCaptureFixture) -> None:
    fake.ingest.plans = iter([StreamPlan(silent=True)])
    with client_of(fake, queue_points=100, block_s=0.3) as client:
        run = client.start_run(capture=False)
        for step in range(100):
            run.log({"k": step}, step=step)
        started = time.monotonic()
        run.log({"k": 100}, step=100)
        blocked = time.monotonic() - started
        for step in range(101, 150):  # no second wait: there was no room meanwhile
            run.log({"k": step}, step=step)
        assert blocked >= 0.3
        assert time.monotonic() - started < 40 * 0.3
        assert run.lost_points == 50
        wait_for_stream(fake)
        fake.stop()
        fake.start()
        run.flush(timeout=20)
        run.log({"k": 1_000}, step=1_000)
        run.end()
    assert steps_of(fake, run.id) == [*range(100), 1_000]
    assert f"run {run.id} ended with 50 points not recorded: 50: the buffer was full for 0.3 s" in caplog.text


def test_a_full_buffer_lets_the_logger_go_on_when_there_is_room(fake: FakeHeadrace) -> None:
    fake.ingest.window_bytes = 2_000
    with client_of(fake, queue_points=500, frame_points=100, kept_bytes=3_000) as client:
        with client.start_run(capture=False) as run:
            for step in range(20_000):
                run.log({"k": step}, step=step)
        assert run.lost_points == 0
    assert steps_of(fake, run.id) == list(range(20_000))


def test_a_full_buffer_may_drop_what_is_old(fake: FakeHeadrace) -> None:
    fake.ingest.plans = iter([StreamPlan(silent=True)])
    with client_of(fake, queue_points=100, overflow="drop_oldest") as client:
        run = client.start_run(capture=False)
        for step in range(250):
            run.log({"k": step}, step=step)
        assert run.lost_points == 150
        wait_for_stream(fake)
        fake.stop()
        fake.start()
        run.end()
    assert steps_of(fake, run.id) == list(range(150, 250))


def test_many_threads_log_to_many_runs(fake: FakeHeadrace) -> None:
    with client_of(fake) as client:
        runs = [client.start_run(capture=False) for _ in range(3)]

        def work(number: int) -> None:
            for step in range(500):
                for run in runs:
                    run.log({f"thread {number}": step}, step=step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for run in runs:
            run.end()
    for run in runs:
        for number in range(4):
            assert steps_of(fake, run.id, f"thread {number}") == list(range(500))
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"headrace-stream"}


def _in_child(run: hr.ActiveRun) -> None:
    for step in range(1_000, 1_500):
        run.log({"child": step}, step=step)
    run.flush()


def test_a_forked_child_has_a_producer_of_its_own(fake: FakeHeadrace) -> None:
    with client_of(fake) as client, client.start_run(capture=False) as run:
        run.log({"parent": 1}, step=1)
        run.flush()
        run.log({"parent": 2}, step=2)  # in the queue at the time of the fork, perhaps
        child = multiprocessing.get_context("fork").Process(target=_in_child, args=(run,))
        child.start()
        run.log({"parent": 3}, step=3)
        child.join(30)
        assert child.exitcode == 0
        run.flush()
        assert fake.tracking.runs[run.id].state == tracking_pb2.Run.STATE_RUNNING
    assert steps_of(fake, run.id, "parent") == [1, 2, 3]
    assert steps_of(fake, run.id, "child") == list(range(1_000, 1_500))
    assert len(fake.ingest.frames[run.id]) == 2
    assert fake.tracking.runs[run.id].state == tracking_pb2.Run.STATE_FINISHED


def run_program(fake: FakeHeadrace, program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env={**os.environ, "HEADRACE_URI": fake.uri},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


LOGS = """
    import headrace as hr, os, sys, threading, time
    run = hr.start_run(capture=False)
    print(run.id, flush=True)
    for step in range(1000):
        run.log({"k": step}, step=step)
"""


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("", "FINISHED"),
        ("sys.exit(0)", "FINISHED"),
        ("raise ValueError('oven')", "FAILED"),
        ("sys.exit(3)", "FINISHED"),  # an exit that is no exception is not told apart once the program is over
        ("raise KeyboardInterrupt", "KILLED"),
        ("threading.Thread(target=lambda: (time.sleep(0.5), run.log({'k': 1000}, step=1000))).start()", "FINISHED"),
    ],
)
def test_a_run_nobody_ended_is_ended_with_the_program(fake: FakeHeadrace, end: str, state: str) -> None:
    done = run_program(fake, LOGS + "    " + end)
    run_id = done.stdout.strip()
    assert tracking_pb2.Run.State.Name(fake.tracking.runs[run_id].state) == f"STATE_{state}", done.stderr
    assert steps_of(fake, run_id)[:1000] == list(range(1000))
    assert len(steps_of(fake, run_id)) == (1001 if "Thread" in end else 1000)
    assert not fake.ingest.faults


def test_the_end_of_the_program_does_not_wait_for_ever(fake: FakeHeadrace) -> None:
    fake.ingest.plans = iter([StreamPlan(lose_acks=True)] * 100)
    program = LOGS.replace(
        "import headrace as hr,",
        "import headrace as hr; hr.connect(ingest=hr.IngestSettings(exit_s=0.5, spool_bytes=0));import",
    )
    done = run_program(fake, program)
    assert "1000 points are not recorded: they were not acknowledged before the run ended" in done.stderr
    assert fake.tracking.runs[done.stdout.strip()].state == tracking_pb2.Run.STATE_FINISHED


def test_logging_costs_microseconds(fake: FakeHeadrace) -> None:
    with client_of(fake, age_s=0.1) as client, client.start_run(capture=False) as run:
        metrics = {"loss": 0.5, "acc": 0.25}
        took = []
        for _ in range(20):
            started = time.perf_counter()
            for step in range(1_000):
                run.log(metrics, step=step)
            took.append((time.perf_counter() - started) / 1_000)
            run.flush()
    assert min(took) < 20e-6  # about 1.2 µs on a quiet machine; this only notices I/O or a wait on the way


def test_the_sender_is_gone_when_no_run_is_open(fake: FakeHeadrace) -> None:
    with client_of(fake) as client:
        with client.start_run(capture=False) as run:
            run.log({"k": 1})
        until = time.monotonic() + 60
        while any(thread.name.startswith("headrace-s") for thread in threading.enumerate()):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_nothing_is_warned_of_when_all_went_well(
    fake: FakeHeadrace, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, logger="headrace")
    with client_of(fake) as client, client.start_run() as run:
        run.log({"k": 1})
    assert caplog.text == ""
