"""Whole series in one call, and series and runs that are watched while they change."""

import asyncio
import math
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace as hr
from fix_client import with_client
from fix_ingest import metric_path
from fix_metrics import Point, frame
from fix_services import Running
from fix_tracking import tracking_stub
from fix_twins import Reader, Twin
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.db import Database
from headrace_tracking import blocks
from headrace_tracking.doors import Asked
from headrace_tracking.reads import Reads

POINTS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 2), st.sampled_from([0.0, 1.0, math.nan])), min_size=1, max_size=6
)
LOOKS = st.lists(st.tuples(POINTS, st.booleans()), max_size=8)


class Turns:
    """A watcher's turns, each given by the test."""

    def __init__(self) -> None:
        self.turn = 0
        self.asked, self.given = asyncio.Event(), asyncio.Event()

    async def next_turn(self, since: int) -> None:
        self.asked.set()
        await self.given.wait()
        self.given.clear()

    def check_open(self) -> None:
        pass

    async def give(self) -> None:
        """Lets the watcher look once, and waits until it has."""
        self.asked.clear()
        self.given.set()
        await self.asked.wait()


class Copies:
    """What a watcher has, kept as its updates say."""

    def __init__(self) -> None:
        self.histories: dict[tuple[str, str], hr.MetricHistory] = {}
        self.sent = 0

    def take(self, answer: pb.WatchMetricsResponse) -> None:
        if not answer.HasField("block"):
            return
        points = hr.MetricHistory(answer.block.key)
        points.extend(answer.block)
        self.sent += len(points)
        update = hr.MetricUpdate(answer.block.run_id, answer.offset, points)
        update.apply(self.histories.setdefault((update.run_id, points.key), hr.MetricHistory(points.key)))

    def texts(self, run_id: uuid.UUID) -> list[str]:
        history = self.histories.get((run_id.hex, "loss"), hr.MetricHistory("loss"))
        return [str((time_ms, step, value)) for step, time_ms, value in history]


def test_whatever_comes_late_a_watcher_has_the_series_as_it_is(database: str) -> None:
    with ExitStack() as stack:
        reader = Reader(database, stack)
        db = Database(database, "tracking", connections=1, constraints={})
        reader.loop.run(db.open())
        stack.callback(lambda: reader.loop.run(db.close()))

        async def play(twin: Twin, looks: Sequence[tuple[Sequence[Point], bool]], block: int) -> None:
            turns, copies = Turns(), Copies()

            async def watch() -> None:
                asked = Asked(twin.tenant, [twin.run_id], [])
                async for answer in blocks.watch(Reads(db, reader.archives), turns, asked, block=block):
                    copies.take(answer)

            watching = asyncio.create_task(watch())
            await turns.asked.wait()
            for points, looked in looks:
                await asyncio.to_thread(twin.write, points)
                if looked:
                    await turns.give()
            await turns.give()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            seen.append(copies.texts(twin.run_id))

        seen: list[list[str]] = []

        @settings(
            max_examples=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(looks=LOOKS, block=st.sampled_from([1, 2, 5, 1000]))
        def holds(looks: Sequence[tuple[Sequence[Point], bool]], block: int) -> None:
            with ExitStack() as own:
                twin = Twin(database, own, reader, noted=False)
                reader.loop.run(play(twin, looks, block))
                assert seen.pop() == twin.everything()

        holds()


async def test_points_in_order_are_sent_once(database: str) -> None:
    async with metric_path(database) as path:
        run = path.run()
        stream = path.stream(run)
        await stream.open()
        copies, sent = Copies(), 0
        async for answer in path.door.watch(Asked(run.tenant_id, [run.run_id], ["loss"])):
            copies.take(answer)
            if sent < 2_000:
                await stream.send(frame(sent // 500 + 1, {"loss": [(n, n, 0.5) for n in range(sent, sent + 500)]}))
                sent += 500
            if len(copies.texts(run.run_id)) == sent == 2_000:
                break
        assert copies.sent == 2_000
        assert copies.texts(run.run_id) == [str((n, n, 0.5)) for n in range(2_000)]


async def to_the_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_a_watch_ends_when_the_server_drains(services: Running) -> None:
    stub = tracking_stub(services.channel)
    run = (await stub.CreateRun(pb.CreateRunRequest())).run
    watches = [
        stub.WatchRun(pb.WatchRunRequest(run_id=run.run_id)),
        stub.WatchMetrics(pb.WatchMetricsRequest(run_ids=[run.run_id])),
    ]
    for watch in watches:
        await watch.read()
    services.runner.stop()
    for watch in watches:
        with pytest.raises(grpc.aio.AioRpcError, match="this server is going away") as ended:
            await to_the_end(watch)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_the_client_reads_many_series_at_once(services: Running) -> None:
    def work(client: hr.Client) -> None:
        runs = [client.start_run(capture=False) for _ in range(3)]
        for number, run in enumerate(runs):
            run.log_columns(
                range(250_000 if number == 1 else 10), {"loss": [float(number)] * 10} if number != 1 else {}
            )
            if number == 1:
                run.log_series("loss", range(250_000))
            run.log({"odd": math.nan}, step=3)
            run.flush(visible=True)
        ids = [run.id for run in runs]
        found = client.metric_histories([*ids, ids[0]], ["loss", "nothing"])
        assert {name: len(history) for name, history in found.items()} == {
            (ids[0], "loss"): 10,
            (ids[1], "loss"): 250_000,
            (ids[2], "loss"): 10,
        }
        whole = found[ids[1], "loss"]
        assert list(whole.values) == list(range(250_000))
        assert whole.to_arrow().column("value").to_pylist() == list(whole.values)
        assert str(whole.to_arrow().schema.field("time").type) == "timestamp[ms, tz=UTC]"
        assert {key for _, key in client.metric_histories(ids)} == {"loss", "odd"}
        assert len(client.metric_history(ids[0], "nothing")) == 0
        for bad, field in (
            (([], ["a"]), "run_ids"),
            (([ids[0], "x"], ["a"]), "run_ids[1]"),
            ((ids, ["a"] * 1_001), "keys"),
            ((ids, ["a", ""]), "keys[1]"),
        ):
            with pytest.raises(hr.errors.InvalidRequest) as refused:
                client.metric_histories(*bad)
            assert [violation.field for violation in refused.value.violations] == [field]
        with pytest.raises(hr.errors.NotFound):
            client.metric_histories([ids[0], uuid.uuid4().hex])
        for run in runs:
            run.end()

    await with_client(services, work)


async def test_the_client_watches_a_run_to_its_end(services: Running) -> None:
    def work(client: hr.Client) -> None:
        run = client.start_run(capture=False)
        run.log({"loss": math.nan}, step=0)
        run.flush(visible=True)
        copy, states = hr.MetricHistory("loss"), list[str]()
        for update in client.watch_metrics([run.id], ["loss"]):
            update.apply(copy)
            if len(copy) == 1:
                run.log({"loss": 0.5}, step=1)
            else:
                break
        assert list(copy.steps) == [0, 1]
        for found in client.watch_run(run.id):
            states.append(found.state)
            if len(states) == 1:
                run.set_tags({"seen": True})
            elif "seen" in found.tags:
                run.end()
        assert states == ["RUNNING", "RUNNING", "FINISHED"]
        with pytest.raises(hr.errors.NotFound):
            next(client.watch_run(uuid.uuid4().hex))

    await with_client(services, work)
