"""The metric path through its gRPC port: what is acknowledged is visible once, what is bad is refused by name."""

import asyncio
import math
import struct
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import psycopg
import pytest

from fix_ingest import TENANT, Ended, Path, Stream, metric_path
from fix_metrics import Point, frame
from fix_services import running
from headrace.api.tracking.v1 import ingest_service_pb2 as pb
from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2, tracking_service_pb2
from headrace.api.tracking.v1.ingest_service_pb2_grpc import IngestServiceStub
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace_kit.errors import DomainError, InvalidField
from headrace_tracking import app, frames, notes
from headrace_tracking.doors import RunAddress

INF = math.inf


@pytest.fixture(params=["postgres", pytest.param("kafka", marks=pytest.mark.real)])
async def path(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Path]:
    kafka = request.getfixturevalue("kafka") if request.param == "kafka" else ""
    async with metric_path(database, kafka) as path:
        yield path


async def test_streamed_points_are_visible_and_a_reconnect_goes_on(path: Path) -> None:
    run = path.run()
    stream = path.stream(run)
    opened = await stream.open()
    assert (opened.applied_seq, opened.max_frame_bytes, opened.max_frame_points) == (0, frames.MOST_BYTES, 100_000)
    points = [(1000 + i, i, float(i)) for i in range(3000)]
    await stream.send(
        *(frame(seq, {"loss": points[at : at + 1000]}, zstd=seq == 2) for seq, at in ((1, 0), (2, 1000), (3, 2000)))
    )
    ack = await stream.acks_to(3)
    assert not ack.refused
    await path.door.wait_for([ack.position], 10)
    assert await path.history(run, "loss") == [points]
    await stream.call.done_writing()
    assert await stream.call.read() is grpc.aio.EOF
    assert await stream.call.code() == grpc.StatusCode.OK

    again = path.stream(run, stream.producer_id)
    assert (await again.open()).applied_seq == 3
    await again.send(frame(2, {"loss": points[1000:2000]}), frame(4, {"loss": [(9000, 9, 9.0)]}))
    ack = await again.acks_to(4)
    assert [one.seq for one in again.acked][-1] == 4
    await path.door.wait_for([ack.position], 10)
    assert await path.history(run, "loss") == [[*points, (9000, 9, 9.0)]]
    with psycopg.connect(path.database) as conn:
        latest = conn.execute(
            "SELECT key, step, time_ms, value FROM tracking.metric_latest WHERE run_id = %s", [run.run_id]
        ).fetchall()
    assert latest == [("loss", 2999, 3999, 2999.0)]


async def test_frames_refused_are_named_and_the_stream_goes_on(path: Path) -> None:
    run = path.run()
    stream = path.stream(run)
    await stream.open()
    too_many = metrics_pb2.Frame(seq=3, series=[metrics_pb2.SeriesHeader(key="k", count=100_001)])
    too_large = metrics_pb2.Frame(seq=4, columns=bytes(frames.MOST_BYTES))
    none = metrics_pb2.Frame(seq=5, series=[metrics_pb2.SeriesHeader(key="k", count=0)])
    await stream.send(
        frame(1, {"a": [(1, 1, 1.0)]}), frame(2, {"a": [(2, 2, 2.0)], "../b": [(2, 2, 2.0)]}), too_many, too_large, none
    )
    await stream.send(frame(6, {"a": [(6, 6, 6.0)]}))
    ack = await stream.acks_to(6)
    refused = {one.seq: one for ack in stream.acked for one in ack.refused}
    assert {seq: (one.field, one.points) for seq, one in refused.items()} == {
        2: ("series[1].key", 2),
        3: ("series", 100_001),
        4: ("columns", 0),
        5: ("series[0].count", 0),
    }
    assert "../b" in refused[2].message
    assert "100,000" in refused[3].message
    await path.door.wait_for([ack.position], 10)
    assert await path.history(run, "a") == [[(1, 1, 1.0), (6, 6, 6.0)]]

    await stream.send(frame(2, {"": [(2, 2, 2.0)]}))  # sent again: told again
    again = (await stream.read()).ack
    assert (again.seq, [one.seq for one in again.refused]) == (6, [2])


@pytest.mark.parametrize(
    ("first", "code", "reason", "words"),
    [
        ({"frame": metrics_pb2.Frame(seq=1)}, "INVALID_ARGUMENT", "INVALID_FIELD", "open"),
        ({"open": pb.OpenStream(run_id="x", producer_id=bytes(16))}, "INVALID_ARGUMENT", "INVALID_FIELD", "run_id"),
        ({"open": pb.OpenStream(run_id="0" * 32, producer_id=b"x")}, "INVALID_ARGUMENT", "INVALID_FIELD", "16 bytes"),
        ({"open": pb.OpenStream(run_id="0" * 32, producer_id=bytes(16))}, "NOT_FOUND", "RUN_NOT_FOUND", "0" * 32),
    ],
)
async def test_what_does_not_open_a_stream(
    database: str, first: dict[str, Any], code: str, reason: str, words: str
) -> None:
    async with metric_path(database) as path:
        stream = path.stream(RunAddress(TENANT, 0, uuid.uuid4()))
        await stream.call.write(pb.StreamMetricsRequest(**first))
        ended = await stream.ended()
        assert (ended.code.name, ended.reason) == (code, reason)
        assert words in ended.message


async def test_runs_of_others_and_deleted_runs_take_no_metrics(database: str) -> None:
    async with metric_path(database) as path:
        ended = await opening_refused(path.stream(path.run("another tenant")))
        assert (ended.code, ended.reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
        run = path.run()
        with psycopg.connect(database) as conn:
            conn.execute("UPDATE tracking.runs SET delete_ms = 1 WHERE run_id = %s", [run.run_id])
        ended = await opening_refused(path.stream(run))
        assert (ended.code, ended.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE")
        assert "restore" in ended.message


async def opening_refused(stream: Stream) -> Ended:
    await stream.call.write(
        pb.StreamMetricsRequest(open=pb.OpenStream(run_id=stream.run_id, producer_id=stream.producer_id))
    )
    return await stream.ended()


@pytest.mark.parametrize("seqs", [[0], [2**63], [5, 7]])
async def test_a_gap_ends_the_stream_after_the_acks_due(database: str, seqs: list[int]) -> None:
    async with metric_path(database) as path:
        stream = path.stream(path.run())
        await stream.open()
        await stream.send(*(frame(seq, {"a": [(1, 1, 1.0)]}) for seq in seqs))
        if len(seqs) > 1:
            assert (await stream.acks_to(5)).seq == 5
        ended = await stream.ended()
        assert (ended.code, ended.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert "frame.seq" in ended.message


async def test_a_stream_opens_once(database: str) -> None:
    async with metric_path(database) as path:
        stream = path.stream(path.run())
        await stream.open()
        await stream.call.write(pb.StreamMetricsRequest(open=pb.OpenStream()))
        ended = await stream.ended()
        assert ended.code == grpc.StatusCode.INVALID_ARGUMENT
        assert "only the first" in ended.message


async def test_draining_server_acknowledges_and_says_goodbye(database: str) -> None:
    async with metric_path(database) as path:
        idle, busy = path.stream(path.run()), path.stream(path.run())
        await idle.open()
        await busy.open()
        await busy.send(frame(1, {"a": [(1, 1, 1.0)]}))
        while not busy.acked:
            busy.acked.append((await busy.read()).ack)
        path.runner.stop()
        for stream in (idle, busy):
            ended = await stream.ended()
            assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
            assert "reconnect" in ended.message
            assert ended.retry_after_s == 0.5


def bits(values: Sequence[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


async def test_nan_and_infinities_come_back_to_the_bit(path: Path) -> None:
    run = path.run()
    odd = struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\x7f")[0]  # a NaN with a payload
    values = [math.nan, INF, -INF, -0.0, 0.0, odd, 5e-324, 1.7976931348623157e308]
    stream = path.stream(run)
    await stream.open()
    await stream.send(frame(1, {"a": [(i, i, value) for i, value in enumerate(values)]}))
    ack = await stream.acks_to(1)
    positions = await path.door.log(run, [metric("b", i, i, value) for i, value in enumerate(values)])
    await path.door.wait_for([ack.position, *positions], 10)
    for key in ("a", "b"):
        [page] = await path.history(run, key)
        assert bits([value for _, _, value in page]) == bits(values)


def metric(key: str, time: int, step: int, value: float) -> tracking_pb2.Metric:
    return tracking_pb2.Metric(key=key, time_ms=time, step=step, value=value)


async def test_points_of_unary_calls_are_a_set_and_streamed_ones_are_not(path: Path) -> None:
    run = path.run()
    points = [metric("a", 1, 1, math.nan), metric("a", 1, 1, 2.0), metric("b", 5, 5, 5.0), metric("a", 1, 1, 2.0)]
    first = await path.door.log(run, points)
    second = await path.door.log(run, points)  # the answer was lost, say
    third = await path.door.log(run, [metric("a", 1, 1, 3.0)])  # another value is another point
    stream = path.stream(run)
    await stream.open()
    await stream.send(frame(1, {"s": [(1, 1, 1.0), (1, 1, 1.0)]}), frame(2, {"s": [(1, 1, 1.0)]}))
    ack = await stream.acks_to(2)
    await path.door.wait_for([*first, *second, *third, ack.position], 10)
    [a] = await path.history(run, "a")
    assert [str(point) for point in a] == ["(1, 1, nan)", "(1, 1, 2.0)", "(1, 1, 3.0)"]
    assert await path.history(run, "b") == [[(5, 5, 5.0)]]
    assert await path.history(run, "s") == [[(1, 1, 1.0)] * 3]
    assert await path.history(run, "s", page_size=2) == [[(1, 1, 1.0)] * 2, [(1, 1, 1.0)]]
    assert await path.door.log(run, []) == []


async def test_large_unary_calls_are_split_over_frames(database: str) -> None:
    async with metric_path(database) as path:
        run = path.run()
        keys = [f"{i}/{'k' * 230}" for i in range(10_000)]
        positions = await path.door.log(run, [metric(key, 1, 1, 1.0) for key in keys])
        assert len(positions) > 1
        await path.door.wait_for(positions, 30)
        with psycopg.connect(database) as conn:
            assert conn.execute("SELECT count(*) FROM tracking.metric_latest").fetchone() == (10_000,)


@pytest.mark.parametrize(
    ("points", "field"),
    [
        ([metric("a", 1, 1, 1.0), metric("a//b", 1, 1, 1.0)], "metrics[1].key"),
        ([metric("a", 1, 1, 1.0)] * 10_001, "metrics"),
    ],
)
async def test_bad_points_of_a_unary_call_are_named(
    database: str, points: list[tracking_pb2.Metric], field: str
) -> None:
    async with metric_path(database) as path:
        with pytest.raises(InvalidField) as refused:
            await path.door.log(path.run(), points)
        assert refused.value.field == field


async def test_history_pages_through_overlapping_chunks(path: Path) -> None:
    run = path.run()
    streams = [path.stream(run), path.stream(run)]
    points: list[Point] = []
    positions: list[metrics_pb2.Position] = []
    for number, stream in enumerate(streams):
        await stream.open()
        for seq in range(1, 6):
            part = [((seq * 500 + i) % 1700, i % 3, float(number)) for i in range(700)]
            points += part
            await stream.send(frame(seq, {"loss": part}))
        positions.append((await stream.acks_to(5)).position)
    await path.door.wait_for(positions, 10)
    pages = await path.history(run, "loss", page_size=999)
    assert [len(page) for page in pages] == [999] * 7 + [7]
    assert [point for page in pages for point in page] == sorted(points)
    assert await path.history(run, "nothing") == [[]]


async def test_history_refuses_what_it_cannot_read(database: str) -> None:
    async with metric_path(database) as path:
        run = path.run()
        history = tracking_service_pb2.GetMetricHistoryRequest
        for request, name in (
            (history(key="../a"), "key"),
            (history(key="a", page_size=-1), "page_size"),
            (history(key="a", page_token="abc"), "page_token"),
        ):
            with pytest.raises(InvalidField) as refused:
                await path.door.history(run, request)
            assert refused.value.field == name


async def test_waiting_for_a_position_says_how_far_it_is(database: str) -> None:
    async with metric_path(database) as path:
        [position] = await path.door.log(path.run(), [metric("a", 1, 1, 1.0)])
        await path.door.wait_for([position], 10)
        position.offset += 5
        with pytest.raises(DomainError) as late:
            await path.door.wait_for([position], 0.3)
        assert late.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert f"below offset {position.offset - 4}, {position.offset} was asked for" in late.value.message
        with pytest.raises(InvalidField) as bad:
            await path.door.wait_for([position, metrics_pb2.Position(partition=-1)], 1)
        assert bad.value.field == "at_least[1]"
        await path.door.wait_for([], 0)


async def test_a_wait_ends_when_the_writer_has_come_there(database: str) -> None:
    async with metric_path(database) as path:
        run = path.run()
        [position] = await path.door.log(run, [metric("a", 1, 1, 1.0)])
        position.offset += 1
        waiting = asyncio.create_task(path.door.wait_for([position], 10))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await path.door.log(run, [metric("a", 2, 2, 2.0)])
        await asyncio.wait_for(waiting, 0.4)  # told, rather than found by the poll


async def test_the_whole_service_takes_and_gives_metrics(database: str) -> None:
    async with running(database, app) as service:
        tracking: Any = TrackingServiceStub(service.channel)  # the stub files know the synchronous calls
        ingest: Any = IngestServiceStub(service.channel)
        run = (await tracking.CreateRun(tracking_service_pb2.CreateRunRequest())).run
        logged = await tracking.LogMetrics(
            tracking_service_pb2.LogMetricsRequest(run_id=run.run_id, metrics=[metric("loss", 2, 2, 0.5)])
        )
        requests = [
            pb.StreamMetricsRequest(open=pb.OpenStream(run_id=run.run_id, producer_id=bytes(16))),
            pb.StreamMetricsRequest(frame=frame(1, {"loss": [(1, 1, 1.0)]})),
        ]
        answers = [answer async for answer in ingest.StreamMetrics(iter(requests))]
        positions = [*logged.positions, answers[-1].ack.position]
        page = await tracking.GetMetricHistory(
            tracking_service_pb2.GetMetricHistoryRequest(run_id=run.run_id, key="loss", at_least=positions), timeout=10
        )
        assert (list(page.time_ms), list(page.steps), list(page.values)) == ([1, 2], [1, 2], [1.0, 0.5])
        read = await tracking.GetRun(tracking_service_pb2.GetRunRequest(run_id=run.run_id, at_least=positions))
        [latest] = read.run.metrics
        assert (latest.least, latest.greatest) == (0.5, 1.0)
        latest.ClearField("least")
        latest.ClearField("greatest")
        assert latest == metric("loss", 2, 2, 0.5)


async def test_notes_that_say_nothing_stop_nobody(database: str) -> None:
    async with running(database, app) as service:
        tracking: Any = TrackingServiceStub(service.channel)
        run = (await tracking.CreateRun(tracking_service_pb2.CreateRunRequest())).run
        for step in range(3):
            async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
                for note in ("", "nonsense", "1:"):
                    await conn.execute("SELECT pg_notify(%s, %s)", [notes.CHANNEL, note])
            request = tracking_service_pb2.LogMetricsRequest(
                run_id=run.run_id, metrics=[metric("loss", step, step, 0.5)]
            )
            logged = await tracking.LogMetrics(request)
            asked = tracking_service_pb2.GetRunRequest(run_id=run.run_id, at_least=logged.positions)
            assert (await tracking.GetRun(asked, timeout=20)).run.metrics[0].step == step


async def test_a_frame_by_a_call_is_visible_when_it_returns(database: str) -> None:
    async with running(database, app) as service:
        tracking: Any = TrackingServiceStub(service.channel)
        run = (await tracking.CreateRun(tracking_service_pb2.CreateRunRequest())).run
        points = {"loss": [(1, 1, 1.0), (2, 2, 0.5)], "acc": [(3, 3, 0.25)]}
        sent = frame(1, points)
        sent.seq = 0
        for _ in range(2):  # the same points again show once
            request = tracking_service_pb2.LogMetricsRequest(run_id=run.run_id, frame=sent, until_visible=True)
            await tracking.LogMetrics(request, timeout=10)
        page = await tracking.GetMetricHistory(
            tracking_service_pb2.GetMetricHistoryRequest(run_id=run.run_id, key="loss")
        )
        assert (list(page.steps), list(page.values)) == ([1, 2], [1.0, 0.5])
        nothing = tracking_service_pb2.LogMetricsRequest(run_id=run.run_id, frame=metrics_pb2.Frame())
        assert not (await tracking.LogMetrics(nothing)).positions


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda request: setattr(request.frame, "seq", 1), "frame.seq"),
        (lambda request: request.frame.series.add(key="a//b", count=1), "frame.series[1].key"),
        (lambda request: request.frame.series.add(key="a"), "frame.series[1].count"),
        (lambda request: request.metrics.add(key="a"), "metrics"),
    ],
)
async def test_a_frame_by_a_call_that_cannot_be(database: str, change: Any, field: str) -> None:
    async with running(database, app) as service:
        tracking: Any = TrackingServiceStub(service.channel)
        run = (await tracking.CreateRun(tracking_service_pb2.CreateRunRequest())).run
        sent = frame(1, {"loss": [(1, 1, 1.0)]})
        sent.seq = 0
        request = tracking_service_pb2.LogMetricsRequest(run_id=run.run_id, frame=sent)
        change(request)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await tracking.LogMetrics(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (refused.value.details() or "").startswith(f"{field}:")
