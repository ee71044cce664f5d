"""SearchRuns through the port; what filters and orders mean is tested in test_tracking_search_sql.py."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fix_services import as_tenant, running
from fix_tracking import Tracking, alone, refusal, tracking_stub
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.rpc import MAX_MESSAGE_BYTES


@pytest.fixture
async def tracking(database: str) -> AsyncIterator[Tracking]:
    async with running(database, alone()) as services:
        yield tracking_stub(services.channel)


async def bake(tracking: Tracking, seconds: int, **fields: object) -> tracking_pb2.Run:
    request = pb.CreateRunRequest(start_time=Timestamp(seconds=seconds), **fields)  # type: ignore[arg-type] # any field
    return (await tracking.CreateRun(request)).run


async def search(tracking: Tracking, **fields: object) -> list[str]:
    request = pb.SearchRunsRequest(**{"experiment_ids": ["0"], **fields})  # type: ignore[arg-type] # any field
    return [run.name for run in (await tracking.SearchRuns(request)).runs]


async def test_runs_are_found_by_all_that_they_hold(tracking: Tracking, database: str) -> None:
    runs = [
        await bake(tracking, 1, name="plain", params={"model": "tree", "depth": "3"}, user_id="ada"),
        await bake(tracking, 2, name="sweet", params={"model": "tree", "depth": "5"}, tags={"team": "pastry"}),
        await bake(tracking, 3, name="burnt", params={"model": "linear"}),
    ]
    with psycopg.connect(database) as conn:
        for run, value in zip(runs, (0.7, 0.9, float("nan")), strict=True):
            conn.execute(
                "INSERT INTO tracking.metric_latest (tenant_id, run_id, experiment_id, key, value, step, time_ms)"
                " VALUES ('default', %s, 0, 'accuracy', %s, 0, 0)",
                [UUID(run.run_id), value],
            )
    used = tracking_pb2.DatasetInput(
        dataset=tracking_pb2.Dataset(name="wine", digest="d"), tags={"mlflow.data.context": "training"}
    )
    await tracking.LogInputs(pb.LogInputsRequest(run_id=runs[1].run_id, inputs=[used]))
    await tracking.DeleteRun(pb.DeleteRunRequest(run_id=runs[2].run_id))

    assert await search(tracking) == ["sweet", "plain"]
    assert await search(tracking, filter="metrics.accuracy >= 0.8 AND params.model = 'tree'") == ["sweet"]
    assert await search(tracking, filter="dataset.name = 'wine' AND dataset.context LIKE 'train%'") == ["sweet"]
    assert await search(tracking, filter="run_name ILIKE 'PLAIN' OR tags.team = 'pastry'") == ["sweet", "plain"]
    assert await search(tracking, filter="user_id = 'ada'") == ["plain"]
    assert await search(tracking, filter="start_time > 1000 AND status = 'RUNNING'") == ["sweet"]
    assert await search(tracking, filter=f"run_id IN ('{runs[0].run_id}')") == ["plain"]
    everything = {"view_type": pb.VIEW_TYPE_ALL}
    assert await search(tracking, order_by=["metrics.accuracy DESC"], **everything) == ["sweet", "plain", "burnt"]
    assert await search(tracking, order_by=["metrics.accuracy"], **everything) == ["plain", "sweet", "burnt"]
    assert await search(tracking, order_by=["params.depth DESC"], **everything) == ["sweet", "plain", "burnt"]
    assert await search(tracking, view_type=pb.VIEW_TYPE_DELETED_ONLY) == ["burnt"]
    found = await tracking.SearchRuns(pb.SearchRunsRequest(experiment_ids=["0"], filter="run_name = 'sweet'"))
    assert found.runs[0] == (await tracking.GetRun(pb.GetRunRequest(run_id=runs[1].run_id))).run
    assert list(found.runs[0].inputs) == [used]


async def test_only_the_experiments_named_are_searched(tracking: Tracking) -> None:
    ids = ["0"]
    for number in range(2):
        made = await tracking.CreateExperiment(pb.CreateExperimentRequest(name=f"e{number}"))
        ids.append(made.experiment.experiment_id)
    for number, experiment_id in enumerate(ids):
        await bake(tracking, number, name=f"in {experiment_id}", experiment_id=experiment_id)
    assert await search(tracking, experiment_ids=["1"]) == ["in 1"]
    assert await search(tracking, experiment_ids=["2", "0", "2", "999"]) == ["in 2", "in 0"]
    assert await search(tracking, experiment_ids=[]) == []


async def test_another_tenants_runs_are_not_found(tracking: Tracking) -> None:
    await bake(tracking, 1, name="mine", params={"a": "b"})
    for text in ("", "params.a = 'b'", "NOT params.a = 'x'", "params.a = 'b' OR run_name = 'mine'"):
        request = pb.SearchRunsRequest(experiment_ids=["0", "1"], filter=text, view_type=pb.VIEW_TYPE_ALL)
        assert not (await tracking.SearchRuns(request, metadata=as_tenant("mill"))).runs
        assert len((await tracking.SearchRuns(request)).runs) == 1


@pytest.mark.parametrize("order_by", [[], ["start_time ASC"], ["params.batch"], ["metrics.none DESC"]])
async def test_pages_stay_whole_while_runs_come_and_go(tracking: Tracking, order_by: list[str]) -> None:
    """Each run that was there all the time is shown once, whatever comes in between the pages."""
    before = [(await bake(tracking, number, params={"batch": str(number % 5)})).run_id for number in range(30)]
    shown: list[str] = []
    token = ""
    while True:
        request = pb.SearchRunsRequest(experiment_ids=["0"], order_by=order_by, page_size=4, page_token=token)
        page = await tracking.SearchRuns(request)
        assert len(page.runs) <= 4
        shown += [run.run_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
        newcomers = [bake(tracking, number, params={"batch": "2"}) for number in (0, 15, 40)]
        await asyncio.gather(*newcomers)
        await tracking.DeleteRun(pb.DeleteRunRequest(run_id=shown[-1]))
    assert len(shown) == len(set(shown))
    assert set(before) <= set(shown)


async def test_a_page_token_belongs_to_its_request(tracking: Tracking) -> None:
    for number in range(3):
        await bake(tracking, number)
    first = pb.SearchRunsRequest(experiment_ids=["0"], page_size=1)
    token = (await tracking.SearchRuns(first)).next_page_token
    assert token
    for changed in (
        pb.SearchRunsRequest(experiment_ids=["0", "1"], page_token=token),
        pb.SearchRunsRequest(experiment_ids=["0"], filter="run_name = 'x'", page_token=token),
        pb.SearchRunsRequest(experiment_ids=["0"], order_by=["start_time"], page_token=token),
        pb.SearchRunsRequest(experiment_ids=["0"], view_type=pb.VIEW_TYPE_ALL, page_token=token),
    ):
        assert (await refusal(tracking.SearchRuns, changed)).reason == "INVALID_PAGE_TOKEN"
    larger = pb.SearchRunsRequest(experiment_ids=["0"], page_size=5, page_token=token)
    assert len((await tracking.SearchRuns(larger)).runs) == 2


async def test_a_page_ends_before_the_message_is_too_large(tracking: Tracking) -> None:
    params = {f"k{number:02}": "x" * 6_000 for number in range(81)}
    profile = "x" * 4_000_000
    ids = [(await bake(tracking, number, params=params)).run_id for number in range(20)]
    large = tracking_pb2.DatasetInput(dataset=tracking_pb2.Dataset(name="large", digest="d", profile=profile))
    for run_id in ids[:3]:
        await tracking.LogInputs(pb.LogInputsRequest(run_id=run_id, inputs=[large]))
    shown: list[str] = []
    token = ""
    while True:
        page = await tracking.SearchRuns(pb.SearchRunsRequest(experiment_ids=["0"], page_token=token))
        assert page.ByteSize() < MAX_MESSAGE_BYTES
        shown += [run.run_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert shown == ids[::-1]


async def test_filters_are_refused_with_their_position(tracking: Tracking) -> None:
    request = pb.SearchRunsRequest(experiment_ids=["0"], filter="params.a = 'x' AND metrics.loss > 'y'")
    refused = await refusal(tracking.SearchRuns, request)
    assert (refused.reason, refused.field) == ("INVALID_FILTER", "filter")
    assert refused.message == "filter: expected a number, got 'y', at character 35"
