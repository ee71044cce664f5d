"""The tracking service as `app.start` wires it: what is logged is found, what happened reaches the bus."""

import asyncio
import time

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fix_services import running
from fix_tracking import tracking_stub
from headrace.api.tracking.v1 import tracking_events_pb2, tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import config
from headrace_kit.bus import Bus, Received
from headrace_kit.bus.choose import open_bus
from headrace_kit.topics import RUNS, partition_counts
from headrace_tracking import app


def events_of(bus: Bus, run_id: str, count: int) -> list[Received]:
    """The first events of a run; fewer when they do not come within 20 s. Other tests may use the topic too."""
    reader = bus.reader([RUNS.name], {})
    found: list[Received] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        found += [event for event in reader.poll(0.5) if event.key.decode().endswith(run_id)]
    reader.close()
    return found


@pytest.mark.parametrize("kind", ["postgres", "kafka"])
async def test_metrics_are_searched_and_events_published(
    request: pytest.FixtureRequest, database: str, kind: str
) -> None:
    kafka = request.getfixturevalue("own_kafka") if kind == "kafka" else ""
    bus = open_bus(app.Config(database=database, kafka=kafka, service_secret="x"))
    await asyncio.to_thread(bus.ensure_topics, partition_counts())
    async with running(database, app, kafka=kafka) as services:
        tracking = tracking_stub(services.channel)
        run = (await tracking.CreateRun(pb.CreateRunRequest(name="cookie"))).run
        points = [tracking_pb2.Metric(key="loss", value=1 / step, step=step, time_ms=step) for step in range(1, 6)]
        logged = await tracking.LogMetrics(pb.LogMetricsRequest(run_id=run.run_id, metrics=points))
        found = await tracking.SearchRuns(
            pb.SearchRunsRequest(experiment_ids=["0"], filter="metrics.loss < 0.3", at_least=logged.positions),
            timeout=30,
        )
        assert [one.run_id for one in found.runs] == [run.run_id]
        latest = tracking_pb2.Metric(key="loss", value=0.2, step=5, time_ms=5, least=0.2, greatest=1.0)
        assert list(found.runs[0].metrics) == [latest]
        history = await tracking.GetMetricHistory(pb.GetMetricHistoryRequest(run_id=run.run_id, key="loss"))
        assert list(history.steps) == [1, 2, 3, 4, 5]
        ended = tracking_pb2.Run(run_id=run.run_id, state=tracking_pb2.Run.STATE_FINISHED)
        await tracking.UpdateRun(pb.UpdateRunRequest(run=ended, update_mask=FieldMask(paths=["state"])))
        told = await asyncio.to_thread(events_of, bus, run.run_id, 2)
    await asyncio.to_thread(bus.close)
    assert [event.headers["ce_type"].decode().rpartition(".")[2] for event in told] == ["RunCreated", "RunEnded"]
    assert tracking_events_pb2.RunEnded.FromString(told[1].value).run_id == run.run_id


async def test_edge_and_writer_may_be_apart(database: str) -> None:
    async with running(database, app, write_metrics=False, merge_metrics=False) as edge:
        tracking = tracking_stub(edge.channel)
        run = (await tracking.CreateRun(pb.CreateRunRequest())).run
        point = tracking_pb2.Metric(key="loss", value=0.5, step=1, time_ms=1)
        logged = await tracking.LogMetrics(pb.LogMetricsRequest(run_id=run.run_id, metrics=[point]))
        asked = pb.GetMetricHistoryRequest(run_id=run.run_id, key="loss")
        assert not (await tracking.GetMetricHistory(asked)).steps
        asked.at_least.extend(logged.positions)
        async with running(database, app, serve_tracking=False) as writer:
            assert list((await tracking.GetMetricHistory(asked, timeout=30)).steps) == [1]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await tracking_stub(writer.channel).GetMetricHistory(asked)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_process_that_would_do_nothing_is_refused() -> None:
    nothing = {"HEADRACE_SERVE_TRACKING": "false", "HEADRACE_WRITE_METRICS": "false", "HEADRACE_MERGE_METRICS": "false"}
    nothing |= {"HEADRACE_PURGE_RUNS": "false"}
    with pytest.raises(config.ConfigError, match="HEADRACE_SERVE_TRACKING: is false, as write_metrics"):
        config.load(app.Config, {"HEADRACE_SERVICE_SECRET": "x", **nothing})
