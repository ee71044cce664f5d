"""Runs through the port."""

import asyncio
import math
import re
from collections.abc import AsyncIterator
from uuid import UUID

import grpc
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from fix_services import as_tenant, running
from fix_tracking import NotedDoor, Tracking, alone, refusal, tracking_stub
from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_tracking import limits

Run = tracking_pb2.Run
RUN_ID = "0123456789abcdef" * 2


@pytest.fixture
def door() -> NotedDoor:
    return NotedDoor()


@pytest.fixture
async def tracking(database: str, door: NotedDoor) -> AsyncIterator[Tracking]:
    async with running(database, alone(door)) as services:
        yield tracking_stub(services.channel)


async def new_run(tracking: Tracking, **fields: object) -> Run:
    return (await tracking.CreateRun(pb.CreateRunRequest(**fields))).run  # type: ignore[arg-type] # any field


async def get(tracking: Tracking, run_id: str) -> Run:
    return (await tracking.GetRun(pb.GetRunRequest(run_id=run_id))).run


async def update(tracking: Tracking, run_id: str, *paths: str, **fields: object) -> Run:
    run = Run(run_id=run_id, **fields)  # type: ignore[arg-type] # any field
    return (await tracking.UpdateRun(pb.UpdateRunRequest(run=run, update_mask=FieldMask(paths=paths)))).run


async def test_a_run_comes_back_as_it_was_made(tracking: Tracking) -> None:
    made = await new_run(
        tracking,
        name="first batch",
        user_id="ada",
        start_time=Timestamp(seconds=1_700_000_000, nanos=123_456_789),
        tags={"team": "pastry", "ümlaut": "ja\n'\"\\{}%s", "empty": ""},
        params={"lr": "0.1", "model/depth": "3"},
        run_id=RUN_ID.upper(),
    )
    assert made == await get(tracking, RUN_ID)
    assert (made.run_id, made.experiment_id, made.name, made.user_id) == (RUN_ID, "0", "first batch", "ada")
    assert (made.state, made.lifecycle_stage) == (Run.STATE_RUNNING, tracking_pb2.LIFECYCLE_STAGE_ACTIVE)
    assert made.start_time == Timestamp(seconds=1_700_000_000, nanos=123_000_000)
    assert not made.HasField("end_time")
    assert dict(made.params) == {"lr": "0.1", "model/depth": "3"}
    assert dict(made.tags) == {
        "team": "pastry",
        "ümlaut": "ja\n'\"\\{}%s",
        "empty": "",
        "mlflow.runName": "first batch",
    }


async def test_what_is_not_given_is_chosen(tracking: Tracking) -> None:
    one, other = await new_run(tracking), await new_run(tracking)
    assert one.run_id != other.run_id
    assert re.fullmatch(r"[0-9a-f]{32}", one.run_id)
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{3}", one.name)
    assert abs(one.start_time.ToMilliseconds() - Timestamp(seconds=one.start_time.seconds).ToMilliseconds()) < 1000
    assert (await new_run(tracking, tags={"mlflow.runName": "tagged"})).name == "tagged"


async def test_made_again_it_is_the_same_run(tracking: Tracking) -> None:
    made = await asyncio.gather(*(new_run(tracking, run_id=RUN_ID, params={"a": str(n)}) for n in range(5)))
    assert all(one == made[0] for one in made)
    await tracking.SetRunTags(pb.SetRunTagsRequest(run_id=RUN_ID, tags={"later": "yes"}))
    assert (await new_run(tracking, run_id=RUN_ID)).tags["later"] == "yes"
    other = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="other"))).experiment.experiment_id
    refused = await refusal(tracking.CreateRun, pb.CreateRunRequest(experiment_id=other, run_id=RUN_ID))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "RUN_EXISTS")
    elsewhere = await tracking.CreateRun(pb.CreateRunRequest(run_id=RUN_ID), metadata=as_tenant("mill"))
    assert "later" not in elsewhere.run.tags


async def test_name_and_tag_are_one(tracking: Tracking) -> None:
    run_id = (await new_run(tracking, name="a")).run_id
    await tracking.SetRunTags(pb.SetRunTagsRequest(run_id=run_id, tags={"mlflow.runName": "b"}))
    assert (await get(tracking, run_id)).name == "b"
    renamed = await update(tracking, run_id, "name", name="c")
    assert (renamed.name, renamed.tags["mlflow.runName"]) == ("c", "c")
    refused = await refusal(tracking.DeleteRunTag, pb.DeleteRunTagRequest(run_id=run_id, key="mlflow.runName"))
    assert refused.field == "key"


async def test_update_changes_what_the_mask_names(tracking: Tracking) -> None:
    run_id = (await new_run(tracking, name="a")).run_id
    ended = await update(tracking, run_id, "state", state=Run.STATE_FINISHED, name="ignored")
    assert (ended.state, ended.name) == (Run.STATE_FINISHED, "a")
    assert ended.HasField("end_time")
    again = await update(tracking, run_id, "state", "end_time", state=Run.STATE_FAILED, end_time=Timestamp(seconds=5))
    assert (again.state, again.end_time.seconds) == (Run.STATE_FAILED, 5)
    resumed = await update(tracking, run_id, "state", state=Run.STATE_RUNNING)
    assert (resumed.state, resumed.HasField("end_time")) == (Run.STATE_RUNNING, False)
    assert resumed == await get(tracking, run_id)


async def test_params_keep_their_value_all_or_none(tracking: Tracking) -> None:
    run_id = (await new_run(tracking, params={"lr": "0.1"})).run_id
    for _ in range(2):
        await tracking.LogParams(pb.LogParamsRequest(run_id=run_id, params={"lr": "0.1", "depth": "3"}))
    refused = await refusal(
        tracking.LogParams, pb.LogParamsRequest(run_id=run_id, params={"new": "x", "lr": "0.2", "newer": "y"})
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PARAM_CONFLICT")
    assert refused.field == "params[lr]"
    assert "0.1" in refused.message
    assert dict((await get(tracking, run_id)).params) == {"lr": "0.1", "depth": "3"}


async def test_params_logged_at_once_are_all_kept(tracking: Tracking) -> None:
    run_id = (await new_run(tracking)).run_id
    requests = [pb.LogParamsRequest(run_id=run_id, params={f"p{n}": str(n), "same": "x"}) for n in range(20)]
    await asyncio.gather(*(tracking.LogParams(request) for request in requests))
    assert dict((await get(tracking, run_id)).params) == {f"p{n}": str(n) for n in range(20)} | {"same": "x"}


async def test_a_run_holds_so_many_params_and_no_more(tracking: Tracking) -> None:
    run_id = (await new_run(tracking)).run_id
    full = {f"k{number:02}": "x" * 6_000 for number in range(81)}
    await tracking.LogParams(pb.LogParamsRequest(run_id=run_id, params=full))
    refused = await refusal(tracking.LogParams, pb.LogParamsRequest(run_id=run_id, params={"more": "x" * 6_000}))
    assert refused.field == "params"
    assert "491,520" in refused.message
    assert dict((await get(tracking, run_id)).params) == full


async def test_tags_change_and_go(tracking: Tracking) -> None:
    run_id = (await new_run(tracking, name="n")).run_id
    for tags in ({"a": "1", "b": "2"}, {"a": "3"}):
        await tracking.SetRunTags(pb.SetRunTagsRequest(run_id=run_id, tags=tags))
    await tracking.DeleteRunTag(pb.DeleteRunTagRequest(run_id=run_id, key="b"))
    assert dict((await get(tracking, run_id)).tags) == {"a": "3", "mlflow.runName": "n"}
    gone = await refusal(tracking.DeleteRunTag, pb.DeleteRunTagRequest(run_id=run_id, key="b"))
    assert gone.reason == "TAG_NOT_FOUND"


async def test_the_bin(tracking: Tracking) -> None:
    run_id = (await new_run(tracking)).run_id
    for _ in range(2):
        await tracking.DeleteRun(pb.DeleteRunRequest(run_id=run_id))
    assert (await get(tracking, run_id)).lifecycle_stage == tracking_pb2.LIFECYCLE_STAGE_DELETED
    mask = FieldMask(paths=["state"])
    for refused in (
        await refusal(tracking.LogParams, pb.LogParamsRequest(run_id=run_id, params={"a": "b"})),
        await refusal(tracking.SetRunTags, pb.SetRunTagsRequest(run_id=run_id, tags={"a": "b"})),
        await refusal(tracking.DeleteRunTag, pb.DeleteRunTagRequest(run_id=run_id, key="mlflow.user")),
        await refusal(tracking.LogInputs, pb.LogInputsRequest(run_id=run_id)),
        await refusal(tracking.LogMetrics, pb.LogMetricsRequest(run_id=run_id)),
        await refusal(tracking.CreateLoggedModel, pb.CreateLoggedModelRequest(run_id=run_id, name="m")),
        await refusal(
            tracking.UpdateRun,
            pb.UpdateRunRequest(run=Run(run_id=run_id, state=Run.STATE_FINISHED), update_mask=mask),
        ),
    ):
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE")
        assert "restore it" in refused.message
    for _ in range(2):
        await tracking.RestoreRun(pb.RestoreRunRequest(run_id=run_id))
    await tracking.SetRunTags(pb.SetRunTagsRequest(run_id=run_id, tags={"a": "b"}))
    assert (await get(tracking, run_id)).lifecycle_stage == tracking_pb2.LIFECYCLE_STAGE_ACTIVE


def dataset(name: str, digest: str = "d", profile: str = "", **tags: str) -> tracking_pb2.DatasetInput:
    return tracking_pb2.DatasetInput(
        dataset=tracking_pb2.Dataset(
            name=name, digest=digest, source_type="local", source="wine.csv", schema="{}", profile=profile
        ),
        tags=tags,
    )


async def test_inputs(tracking: Tracking) -> None:
    run_id, other = (await new_run(tracking)).run_id, (await new_run(tracking)).run_id
    train, test = dataset("wine", "d1", "[1]", use="train"), dataset("wine", "d2", use="test")
    for inputs in ([train, test], [train], []):
        await tracking.LogInputs(pb.LogInputsRequest(run_id=run_id, inputs=inputs))
    assert list((await get(tracking, run_id)).inputs) == [train, test]

    changed = dataset("wine", "d1", "[2]", more="yes")
    await tracking.LogInputs(pb.LogInputsRequest(run_id=run_id, inputs=[changed, changed]))
    await tracking.LogInputs(pb.LogInputsRequest(run_id=other, inputs=[changed]))
    kept = (await get(tracking, run_id)).inputs[0]
    assert (kept.dataset, dict(kept.tags)) == (train.dataset, {"use": "train", "more": "yes"})
    assert (await get(tracking, other)).inputs[0].dataset == train.dataset


async def test_inputs_of_a_run_have_a_limit_together(tracking: Tracking) -> None:
    run_id = (await new_run(tracking)).run_id
    for number in range(4):
        large = dataset("large", str(number), "x" * 1_000_000)
        await tracking.LogInputs(pb.LogInputsRequest(run_id=run_id, inputs=[large]))
    one_more = pb.LogInputsRequest(run_id=run_id, inputs=[dataset("large", "4", "x" * 1_000_000)])
    refused = await refusal(tracking.LogInputs, one_more)
    assert refused.field == "inputs"
    assert f"at most {limits.INPUTS_BYTES:,} are kept" in refused.message
    assert len((await get(tracking, run_id)).inputs) == 4


def put_latest(dsn: str, run: Run, **values: float) -> None:
    with psycopg.connect(dsn) as conn:
        for key, value in values.items():
            conn.execute(
                "INSERT INTO tracking.metric_latest (tenant_id, run_id, experiment_id, key, value, step, time_ms)"
                " VALUES ('default', %s, %s, %s, %s, 7, 8)",
                [UUID(run.run_id), int(run.experiment_id), key, value],
            )


async def test_latest_metrics_are_shown_as_they_are(tracking: Tracking, database: str) -> None:
    run = await new_run(tracking)
    put_latest(database, run, a=1.5, b=math.inf, c=-math.inf, d=math.nan)
    shown = (await get(tracking, run.run_id)).metrics
    assert [(m.key, m.value, m.step, m.time_ms) for m in shown[:3]] == [
        ("a", 1.5, 7, 8),
        ("b", math.inf, 7, 8),
        ("c", -math.inf, 7, 8),
    ]
    assert math.isnan(shown[3].value)


async def test_metrics_go_through_the_door(tracking: Tracking, door: NotedDoor) -> None:
    run_id = (await new_run(tracking)).run_id
    points = [tracking_pb2.Metric(key="loss", value=1.0), tracking_pb2.Metric(key="loss", value=2.0, step=1)]
    answer = await tracking.LogMetrics(pb.LogMetricsRequest(run_id=run_id, metrics=points))
    assert list(answer.positions) == [metrics_pb2.Position(partition=1, offset=1)]
    [(address, count)] = door.logged
    assert (address.tenant_id, address.experiment_id, address.run_id.hex, count) == ("default", 0, run_id, 2)
    history = await tracking.GetMetricHistory(pb.GetMetricHistoryRequest(run_id=run_id, key="loss"))
    assert history.next_page_token == f"{run_id} loss"


async def test_reads_wait_for_positions(tracking: Tracking, door: NotedDoor) -> None:
    run_id = (await new_run(tracking)).run_id
    at_least = [metrics_pb2.Position(partition=1, offset=5)]
    await tracking.GetRun(pb.GetRunRequest(run_id=run_id, at_least=at_least), timeout=20)
    await tracking.SearchRuns(pb.SearchRunsRequest(experiment_ids=["0"], at_least=at_least))
    await tracking.GetMetricHistory(pb.GetMetricHistoryRequest(run_id=run_id, key="a", at_least=at_least), timeout=20)
    assert [offset for offset, _ in door.waited] == [5, 5, 5]
    within = [seconds for _, seconds in door.waited]
    assert within[1] is None
    assert within[0] is not None
    assert 10 < within[0] < 19


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetRun", pb.GetRunRequest(run_id=RUN_ID)),
        ("UpdateRun", pb.UpdateRunRequest(run=Run(run_id=RUN_ID, name="x"), update_mask=FieldMask(paths=["name"]))),
        ("DeleteRun", pb.DeleteRunRequest(run_id=RUN_ID)),
        ("RestoreRun", pb.RestoreRunRequest(run_id=RUN_ID)),
        ("LogParams", pb.LogParamsRequest(run_id=RUN_ID, params={"a": "b"})),
        ("SetRunTags", pb.SetRunTagsRequest(run_id=RUN_ID, tags={"a": "b"})),
        ("DeleteRunTag", pb.DeleteRunTagRequest(run_id=RUN_ID, key="a")),
        ("LogInputs", pb.LogInputsRequest(run_id=RUN_ID, inputs=[dataset("x")])),
        ("LogMetrics", pb.LogMetricsRequest(run_id=RUN_ID)),
        ("GetMetricHistory", pb.GetMetricHistoryRequest(run_id=RUN_ID, key="a")),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID], keys=["a"])),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(run_id=RUN_ID, name="m")),
        ("ListLoggedModels", pb.ListLoggedModelsRequest(run_id=RUN_ID)),
    ],
)
async def test_another_tenants_run_is_not_found(
    tracking: Tracking, door: NotedDoor, method: str, request_: object
) -> None:
    before = await new_run(tracking, run_id=RUN_ID, tags={"a": "b"})
    refused = await refusal(getattr(tracking, method), request_, metadata=as_tenant("mill"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
    assert RUN_ID in refused.message
    assert await get(tracking, RUN_ID) == before
    assert not door.logged


LONG = "x" * 251


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("GetMetricCharts", pb.GetMetricChartsRequest(keys=["a"]), "run_ids"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID] * 101, keys=["a"]), "run_ids"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=["x"], keys=["a"]), "run_ids[0]"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID]), "keys"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID], keys=["a", "../b"]), "keys[1]"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID], keys=["a"], pixels=10_001), "pixels"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID] * 9, keys=["a"], pixels=10_000), "pixels"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID], keys=["a"], start=5, end=5), "end"),
        ("GetMetricCharts", pb.GetMetricChartsRequest(run_ids=[RUN_ID], keys=["a"], axis=9), "axis"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # no axis
        ("CreateRun", pb.CreateRunRequest(experiment_id="x"), "experiment_id"),
        ("CreateRun", pb.CreateRunRequest(run_id="x"), "run_id"),
        ("CreateRun", pb.CreateRunRequest(name=LONG), "name"),
        ("CreateRun", pb.CreateRunRequest(name="a\x00"), "name"),
        ("CreateRun", pb.CreateRunRequest(name="a", tags={"mlflow.runName": "b"}), "name"),
        ("CreateRun", pb.CreateRunRequest(user_id=LONG), "user_id"),
        ("CreateRun", pb.CreateRunRequest(start_time=Timestamp(seconds=-1)), "start_time"),
        ("CreateRun", pb.CreateRunRequest(tags={LONG: ""}), "tags"),
        ("CreateRun", pb.CreateRunRequest(tags={"k": "x" * 8_001}), "tags[k]"),
        ("CreateRun", pb.CreateRunRequest(params={"a//b": ""}), "params"),
        ("CreateRun", pb.CreateRunRequest(params={"k": "\x00"}), "params[k]"),
        ("GetRun", pb.GetRunRequest(), "run_id"),
        ("GetRun", pb.GetRunRequest(run_id="z" * 32), "run_id"),
        ("UpdateRun", pb.UpdateRunRequest(run=Run(run_id=RUN_ID)), "update_mask"),
        ("UpdateRun", pb.UpdateRunRequest(run=Run(run_id=RUN_ID), update_mask=FieldMask(paths=["user_id"])), "update_mask"),
        ("UpdateRun", pb.UpdateRunRequest(run=Run(run_id=RUN_ID), update_mask=FieldMask(paths=["name"])), "run.name"),
        ("UpdateRun", pb.UpdateRunRequest(run=Run(run_id=RUN_ID), update_mask=FieldMask(paths=["state"])), "run.state"),
        ("UpdateRun", pb.UpdateRunRequest(run=Run(name="x"), update_mask=FieldMask(paths=["name"])), "run.run_id"),
        ("LogParams", pb.LogParamsRequest(run_id="1"), "run_id"),
        ("LogParams", pb.LogParamsRequest(run_id=RUN_ID, params={"k": "x" * 6_001}), "params[k]"),
        ("SetRunTags", pb.SetRunTagsRequest(run_id=RUN_ID, tags={"k": "x" * 8_001}), "tags[k]"),
        ("SetRunTags", pb.SetRunTagsRequest(run_id=RUN_ID, tags={"mlflow.runName": LONG}), "tags[mlflow.runName]"),
        ("LogInputs", pb.LogInputsRequest(run_id=RUN_ID, inputs=[dataset("")]), "inputs[0].dataset.name"),
        ("LogInputs", pb.LogInputsRequest(run_id=RUN_ID, inputs=[dataset("a"), dataset("a", "x" * 37)]), "inputs[1].dataset.digest"),
        ("LogInputs", pb.LogInputsRequest(run_id=RUN_ID, inputs=[dataset("a", k="x" * 501)]), "inputs[0].tags[k]"),
        ("LogInputs", pb.LogInputsRequest(run_id=RUN_ID, inputs=[dataset("x" * 500, str(n)) for n in range(1000)]), "inputs"),
        ("SearchRuns", pb.SearchRunsRequest(experiment_ids=["0", "x"]), "experiment_ids[1]"),
        ("SearchRuns", pb.SearchRunsRequest(experiment_ids=["0"] * 1001), "experiment_ids"),
        ("SearchRuns", pb.SearchRunsRequest(page_size=-1), "page_size"),
        ("SearchRuns", pb.SearchRunsRequest(page_token="x"), "page_token"),
        ("SearchRuns", pb.SearchRunsRequest(filter="metrics.a > 'x'"), "filter"),
        ("SearchRuns", pb.SearchRunsRequest(order_by=["a.b.c"]), "order_by[0]"),
    ],
)  # fmt: skip
async def test_bad_input_names_the_field(tracking: Tracking, method: str, request_: object, field: str) -> None:
    await new_run(tracking, run_id=RUN_ID)
    refused = await refusal(getattr(tracking, method), request_)
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, field), refused


async def test_a_run_never_seen_is_not_found(tracking: Tracking) -> None:
    refused = await refusal(tracking.GetRun, pb.GetRunRequest(run_id=RUN_ID))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
    refused = await refusal(tracking.CreateRun, pb.CreateRunRequest(experiment_id="17"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "EXPERIMENT_NOT_FOUND")
