"""The metric path when something fails: the bus, the database, writers, frames. Nothing acknowledged is lost or doubled."""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import grpc
import psycopg
import pytest
from typing_extensions import override

from fix_ingest import TENANT, Path, Stream, metric_path
from fix_metrics import Letters, Point, frame, make_runs, pack, received, stored
from fix_services import running
from headrace.api.tracking.v1 import ingest_service_pb2 as pb
from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2, tracking_service_pb2
from headrace.api.tracking.v1.ingest_service_pb2_grpc import IngestServiceStub, add_IngestServiceServicer_to_server
from headrace_kit.bus import Assignment, Bus, BusUnavailable, Consumer, Partition, Producer, Reader, Record
from headrace_kit.bus.postgres import PostgresBus
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.errors import DomainError
from headrace_kit.lifecycle import Runner
from headrace_kit.rpc import Servicer
from headrace_kit.topics import FRAMES
from headrace_tracking import app
from headrace_tracking.ingest import IngestService
from headrace_tracking.packer import Packer
from headrace_tracking.writer.applier import Applier, connect
from headrace_tracking.writer.letters import Letter, PoisonShare, TooManyPoisonFrames
from headrace_tracking.writer.loop import AWAY, MetricWriter

Position = tuple[Partition, int]


class Gate:
    """A bus whose producers hold records back, or fail them, as the test says."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.failing = False
        self.holding = False
        self.held: list[tuple[Record, Future[Position]]] = []

    def publish(self, producer: Producer, record: Record) -> Future[Position]:
        future: Future[Position] = Future()
        if self.failing:
            future.set_exception(BusUnavailable("gone fishing"))
        elif self.holding:
            self.held.append((record, future))
        else:
            return producer.publish(record)
        return future

    def release(self, index: int) -> None:
        """As if the bus had it now; it does not come to the writer."""
        self.held[index][1].set_result((Partition(FRAMES.name, 0), index))

    def producer(self) -> Producer:
        return GatedProducer(self, self.bus.producer())

    def consumer(self, group: str, topics: Sequence[str], assignment: Assignment | None = None) -> Consumer:
        return self.bus.consumer(group, topics, assignment)

    def reader(self, topics: Sequence[str], positions: Mapping[Partition, int]) -> Reader:
        return self.bus.reader(topics, positions)

    def end_offsets(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        return self.bus.end_offsets(topics)

    def ensure_topics(self, topics: Mapping[str, int]) -> None:
        self.bus.ensure_topics(topics)

    def close(self) -> None:
        self.bus.close()


class GatedProducer:
    def __init__(self, gate: Gate, producer: Producer) -> None:
        self.gate, self.producer = gate, producer

    def publish(self, record: Record) -> Future[Position]:
        return self.gate.publish(self.producer, record)

    def flush(self, timeout: float) -> bool:
        return self.producer.flush(timeout)

    def close(self) -> None:
        self.producer.close()


def gated(path: Path) -> Gate:
    assert isinstance(path.bus, Gate)
    return path.bus


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads
        await asyncio.sleep(0.01)


def died(error: BaseException) -> None:
    pytest.fail(f"died: {error}")


def point(at: int) -> Point:
    return at, at, float(at)


async def test_a_run_deleted_while_it_streams_takes_no_more(database: str) -> None:
    async def start(config: app.Config, runner: Runner) -> None:
        bus = Gate(PostgresBus(as_role(config.database, worker_role("bus"))))
        bus.holding = True
        db = await runner.resource(Database(config.database, "tracking", connections=2, constraints={}))
        ingest = IngestService(db, Packer(runner.producer(bus.producer()), 4, died), check_run_s=0)
        runner.serve(
            Servicer(pb.DESCRIPTOR.services_by_name["IngestService"], add_IngestServiceServicer_to_server, ingest)
        )
        gates.append(bus)

    gates: list[Gate] = []
    run_id = uuid.uuid4()
    make_runs(database, TENANT, [run_id])
    async with running(database, cast("Any", SimpleNamespace(Config=app.Config, start=start))) as service:
        stub: Any = IngestServiceStub(service.channel)
        stream = Stream(stub.StreamMetrics(), run_id.hex, bytes(16))
        await stream.open()
        await stream.send(frame(1, {"a": [point(1)]}))
        await until(lambda: len(gates[0].held) == 1)
        with psycopg.connect(database) as conn:
            conn.execute("UPDATE tracking.runs SET delete_ms = 1")
        await stream.send(frame(2, {"a": [point(2)]}))
        gates[0].release(0)
        ended = await stream.ended()
        assert [ack.seq for ack in stream.acked] == [1]
        assert (ended.code, ended.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE")


async def test_an_absent_bus_ends_the_stream_and_a_resend_mends_it(database: str) -> None:
    async with metric_path(database, around=Gate) as path:
        run = path.run()
        stream = path.stream(run)
        await stream.open()
        await stream.send(frame(1, {"a": [point(1)]}))
        await stream.acks_to(1)
        gated(path).failing = True
        await stream.send(frame(2, {"a": [point(2)]}))
        ended = await stream.ended()
        assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")
        assert ended.retry_after_s == 2
        assert "gone fishing" in ended.message
        with pytest.raises(DomainError) as refused:
            await path.door.log(run, [tracking_pb2.Metric(key="a")])
        assert refused.value.code == grpc.StatusCode.UNAVAILABLE

        gated(path).failing = False
        again = path.stream(run, stream.producer_id)
        await again.open()
        await again.send(*(frame(seq, {"a": [point(seq)]}) for seq in (2, 3)))
        await path.door.wait_for([(await again.acks_to(3)).position], 10)
        assert await path.history(run, "a") == [[point(1), point(2), point(3)]]


async def test_acks_wait_for_the_frames_before(database: str) -> None:
    async with metric_path(database, around=Gate) as path:
        gate = gated(path)
        gate.holding = True
        stream = path.stream(path.run())
        await stream.open()
        for seq in (1, 2, 3):
            await stream.send(frame(seq, {"a": [point(seq)]}))
            await until(lambda seq=seq: len(gate.held) == seq)
        reading = asyncio.create_task(stream.read())
        gate.release(1)
        await asyncio.sleep(0.2)
        assert not reading.done()
        gate.release(0)
        assert (await reading).ack.seq == 2
        gate.release(2)
        assert (await stream.read()).ack.seq == 3


async def test_back_pressure_reaches_the_client(database: str) -> None:
    """A client that ignores its window is not read any more; others are."""
    async with metric_path(database, around=Gate) as path:
        gate = gated(path)
        gate.holding = True
        stream = path.stream(path.run())
        window = (await stream.open()).window_bytes
        large = metrics_pb2.Frame(columns=bytes(1_000_000))

        async def send_all() -> None:
            for seq in range(1, 61):
                large.seq = seq
                await stream.send(large)

        sending = asyncio.create_task(send_all())
        held = -1
        while held != len(gate.held):
            held = len(gate.held)
            await asyncio.sleep(0.3)
        assert not sending.done()
        assert sum(len(record.value) for record, _ in gate.held) <= window
        other = path.stream(path.run())
        await other.open()
        await other.send(frame(1, {"a": [point(1)]}))
        await until(lambda: len(gate.held) > held)
        gate.release(held)
        assert (await other.read()).ack.seq == 1
        gate.holding = False
        for index in range(held):
            gate.release(index)
        assert (await stream.acks_to(60)).seq == 60
        await sending


async def test_too_much_under_way_is_refused_with_a_delay() -> None:
    gate = Gate(PostgresBus(""))
    gate.holding = True
    packer = Packer(GatedProducer(gate, Letters()), 4, died, overloaded_s=0.2)
    large = metrics_pb2.RoutedFrame(frame=metrics_pb2.Frame(columns=bytes(1_000_000)))
    taken = await asyncio.gather(*(packer.send(uuid.uuid4(), large) for _ in range(80)), return_exceptions=True)
    refused = [one for one in taken if isinstance(one, DomainError)]
    assert len(refused) == 80 - 67  # 64 MiB
    assert refused[0].code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused[0].retry_after_s == 5
    await until(lambda: len(gate.held) == 67)
    gate.release(0)
    await packer.send(uuid.uuid4(), large)


# --- the writer


POISON: Mapping[str, metrics_pb2.Frame] = {
    "cannot be decompressed": metrics_pb2.Frame(
        series=[metrics_pb2.SeriesHeader(key="a", count=1)], encoding=metrics_pb2.ENCODING_ZSTD, columns=b"zst?"
    ),
    "is no MetricColumns": metrics_pb2.Frame(
        series=[metrics_pb2.SeriesHeader(key="a", count=1)], columns=b"\xff\xff\xff"
    ),
    "where the series count 2": metrics_pb2.Frame(
        series=[metrics_pb2.SeriesHeader(key="a", count=2)], columns=frame(1, {"a": [point(1)]}).columns
    ),
    "has the encoding 9": metrics_pb2.Frame(
        series=[metrics_pb2.SeriesHeader(key="a", count=1)],
        encoding=cast("metrics_pb2.Encoding", 9),
        columns=b"x",
    ),
    "series[0].key": metrics_pb2.Frame(
        series=[metrics_pb2.SeriesHeader(key="\0", count=1)], columns=frame(1, {"a": [point(1)]}).columns
    ),
}


async def test_poison_frames_become_letters_and_stop_nothing(database: str) -> None:
    async with metric_path(database) as path:
        run, other = path.run(), path.run("another tenant")
        producer_id = uuid.uuid4().bytes
        frames = [frame(1, {"a": [point(1)]})]
        for seq, poison in enumerate(POISON.values(), 2):
            frames.append(metrics_pb2.Frame())
            frames[-1].CopyFrom(poison)
            frames[-1].seq = seq
        frames.append(frame(len(frames) + 1, {"a": [point(9)]}))
        good = pack(TENANT, run.run_id, producer_id, frames)
        good.frames.add(tenant_id=TENANT, run_id="no hex", frame=frame(1, {"a": [point(1)]}))
        good.frames.add(tenant_id=TENANT, run_id=run.run_id.hex, producer_id=b"short", frame=frames[0])
        good.frames.add(tenant_id="a\0b", run_id=run.run_id.hex, frame=frames[0])
        foreign = pack(TENANT, other.run_id, producer_id, [frame(1, {"a": [point(1)]})])
        producer = path.bus.producer()
        for value in (b"\xff no pack", foreign.SerializeToString(), good.SerializeToString()):
            _, offset = producer.publish(Record(path.topic, b"", value, partition=1)).result(10)
        producer.close()
        await path.door.wait_for([metrics_pb2.Position(partition=1, offset=offset)], 10)

        assert await path.history(run, "a") == [[point(1), point(9)]]
        with psycopg.connect(database) as conn:
            assert stored(conn, "another tenant") == {}
            seqs = conn.execute("SELECT applied_seq FROM tracking.ingest_producers").fetchall()
        assert seqs == [(len(frames),)]
        letters = read_letters(path)
        reasons = [letter.headers["dlq_reason"].decode() for letter in letters]
        for words in ("is no FramePack", f"has no run {other.run_id.hex}", "no hex", "16 bytes", "a\\x00b", *POISON):
            assert sum(words in reason for reason in reasons) == 1, (words, reasons)
        assert len(letters) == 5 + len(POISON)
        assert letters[0].value == b"\xff no pack"
        assert {letter.headers["dlq_partition"] for letter in letters} == {b"1"}
        assert letters[-1].headers["dlq_offset"] == str(offset).encode()
        for letter in letters[1:]:
            assert len(metrics_pb2.FramePack.FromString(letter.value).frames) == 1


def read_letters(path: Path) -> list[Record]:
    reader = path.bus.reader([f"{path.topic}.dlq"], {})
    try:
        found = reader.poll(5, 1000)
    finally:
        reader.close()
    return [Record("", r.key, r.value, r.headers) for r in found]


def test_a_writer_whose_frames_mostly_fail_stops_before_it_passes_them(database: str) -> None:
    run_id = uuid.uuid4()
    make_runs(database, TENANT, [run_id])
    with connect(database) as conn:
        letters = Letters()
        applier = Applier(conn, letters, PoisonShare())
        applier.take([Partition(FRAMES.name, 0)])
        bad = metrics_pb2.Frame(series=[metrics_pb2.SeriesHeader(key="a", count=1)], columns=b"\xff")
        good = metrics_pb2.Frame()

        def record(*frames: metrics_pb2.Frame) -> bytes:
            sent = pack(TENANT, run_id, uuid.uuid4().bytes, frames)
            for seq, routed in enumerate(sent.frames, 1):
                routed.frame.seq = seq
            return sent.SerializeToString()

        applier.apply([received(record(*[bad] * 400, *[good] * 599), 0)])
        assert len(letters.records) == 400
        with pytest.raises(TooManyPoisonFrames, match="stops before it passes over more"):
            applier.apply([received(record(*[bad] * 900), 1)])
        assert len(letters.records) == 400
        assert conn.execute("SELECT next_offset FROM tracking.ingest_partitions").fetchone() == (1,)


class Frozen(PoisonShare):
    """Stands still inside the transaction."""

    @override
    def count(self, frames: int, letters: Sequence[Letter]) -> None:
        time.sleep(2)


async def test_a_writer_frozen_inside_its_transaction_gives_way(database: str) -> None:
    run_id = uuid.uuid4()
    make_runs(database, TENANT, [run_id])
    partition = Partition(FRAMES.name, 0)
    value = pack(TENANT, run_id, bytes(16), [frame(1, {"a": [point(1)]})]).SerializeToString()
    with connect(database) as conn, connect(database) as other:
        conn.execute("SET transaction_timeout = '200ms'")
        frozen = Applier(conn, Letters(), Frozen())
        frozen.take([partition])
        freezing = asyncio.create_task(asyncio.to_thread(frozen.apply, [received(value, 0)]))
        await asyncio.sleep(0.5)
        next_one = Applier(other, Letters(), PoisonShare())
        assert next_one.take([partition]) == {partition: 0}
        assert not freezing.done()
        next_one.apply([received(value, 0)])
        with pytest.raises(AWAY):
            await freezing
        assert stored(other, TENANT) == {(run_id, "a"): [point(1)]}


def test_postgres_ends_a_writer_that_stands_still(database: str) -> None:
    with connect(database, brief=True) as conn:
        limits = ["idle_in_transaction_session_timeout"]
        if conn.info.server_version >= 170000:
            limits.append("transaction_timeout")
        for limit in limits:
            shown = conn.execute("SELECT extract(epoch FROM current_setting(%s)::interval)", (limit,)).fetchone()
            assert shown is not None
            assert 0 < shown[0] <= 60


@contextmanager
def writers(dsn: str, bus: Bus, topic: str, count: int) -> Iterator[list[MetricWriter]]:
    producer = bus.producer()
    running = [MetricWriter(dsn, bus, producer, died, topic=topic) for _ in range(count)]
    for writer in running:
        writer.start()
    try:
        yield running
    finally:
        for writer in running:
            writer.close()
        for writer in running:
            assert writer.join(10)
        producer.close()


@pytest.mark.timeout(120)
async def test_writers_lose_their_connections_and_each_other(database: str) -> None:
    """Writers come, go and are cut off from PostgreSQL while streams go on."""
    async with metric_path(database) as path:
        runs = [path.run() for _ in range(6)]
        streams = [path.stream(run) for run in runs]
        stop = threading.Event()
        trouble = asyncio.create_task(asyncio.to_thread(make_trouble, database, path, stop))
        for stream in streams:
            await stream.open()
        for seq in range(1, 101):
            for stream in streams:
                await stream.send(frame(seq, {"a": [point(seq * 10 + i) for i in range(10)], f"k{seq}": [point(seq)]}))
            if seq % 10 == 0:
                await asyncio.sleep(0.3)
        positions = [(await stream.acks_to(100)).position for stream in streams]
        stop.set()
        await trouble
        await path.door.wait_for(positions, 30)
        for run in runs:
            assert await path.history(run, "a") == [[point(at) for at in range(10, 1010)]]
            assert await path.history(run, "k77") == [[point(77)]]


def make_trouble(database: str, path: Path, stop: threading.Event) -> None:
    bus = PostgresBus(as_role(database, worker_role("bus")))
    try:
        while not stop.is_set():
            with writers(database, bus, path.topic, 2), psycopg.connect(database, autocommit=True) as conn:
                for _ in range(3):
                    stop.wait(0.4)
                    conn.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'headrace_tracking_worker' AND datname = current_database()"
                    )
    finally:
        bus.close()


async def test_a_damaged_chunk_is_told_as_lost(database: str) -> None:
    async with metric_path(database) as path:
        run = path.run()
        metric = tracking_pb2.Metric(key="a", time_ms=1, step=1, value=1)
        await path.door.wait_for(await path.door.log(run, [metric]), 10)
        with psycopg.connect(database) as conn:
            conn.execute("UPDATE tracking.metric_chunks SET data = set_byte(data, 20, 255 - get_byte(data, 20))")
        with pytest.raises(DomainError) as lost:
            await path.door.history(run, tracking_service_pb2.GetMetricHistoryRequest(key="a"))
        assert lost.value.code == grpc.StatusCode.DATA_LOSS
