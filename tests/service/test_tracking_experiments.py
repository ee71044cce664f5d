"""Experiments through the port."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import grpc
import pytest

from fix_services import as_tenant, running
from fix_tracking import Tracking, alone, refusal, tracking_stub
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb

DELETED = tracking_pb2.LIFECYCLE_STAGE_DELETED
ACTIVE = tracking_pb2.LIFECYCLE_STAGE_ACTIVE


@pytest.fixture
async def tracking(database: str) -> AsyncIterator[Tracking]:
    async with running(database, alone()) as services:
        yield tracking_stub(services.channel)


async def test_ids_count_from_one_in_each_tenant(tracking: Tracking) -> None:
    for tenant in ("bakery", "mill"):
        for number in (1, 2):
            request = pb.CreateExperimentRequest(name=f"e{number}", tags={"team": "pastry"})
            made = (await tracking.CreateExperiment(request, metadata=as_tenant(tenant))).experiment
            assert (made.experiment_id, made.name, dict(made.tags)) == (str(number), f"e{number}", {"team": "pastry"})
            assert made.lifecycle_stage == ACTIVE
            by_id = pb.GetExperimentRequest(experiment_id=made.experiment_id)
            by_name = pb.GetExperimentRequest(name=made.name)
            for ask in (by_id, by_name):
                assert (await tracking.GetExperiment(ask, metadata=as_tenant(tenant))).experiment == made


async def test_default_is_there_whatever_is_asked_first(tracking: Tracking) -> None:
    by_id, by_name = pb.GetExperimentRequest(experiment_id="0"), pb.GetExperimentRequest(name="Default")
    asked = [
        await tracking.GetExperiment(by_id, metadata=as_tenant("a")),
        await tracking.GetExperiment(by_name, metadata=as_tenant("b")),
    ]
    assert {(one.experiment.experiment_id, one.experiment.name) for one in asked} == {("0", "Default")}
    found = await tracking.SearchExperiments(pb.SearchExperimentsRequest(), metadata=as_tenant("c"))
    assert [one.name for one in found.experiments] == ["Default"]
    run = await tracking.CreateRun(pb.CreateRunRequest(), metadata=as_tenant("d"))
    assert run.run.experiment_id == "0"
    await tracking.SetExperimentTags(pb.SetExperimentTagsRequest(experiment_id="0"), metadata=as_tenant("e"))
    taken = await refusal(
        tracking.CreateExperiment, pb.CreateExperimentRequest(name="Default"), metadata=as_tenant("f")
    )
    assert taken.reason == "EXPERIMENT_EXISTS"


async def test_default_stays_deleted_and_renamed(tracking: Tracking) -> None:
    await tracking.DeleteExperiment(pb.DeleteExperimentRequest(experiment_id="0"))
    assert (await refusal(tracking.CreateRun, pb.CreateRunRequest())).reason == "NOT_ACTIVE"
    assert not (await tracking.SearchExperiments(pb.SearchExperimentsRequest())).experiments
    await tracking.RestoreExperiment(pb.RestoreExperimentRequest(experiment_id="0"))
    await tracking.UpdateExperiment(pb.UpdateExperimentRequest(experiment_id="0", name="first"))
    found = (await tracking.SearchExperiments(pb.SearchExperimentsRequest())).experiments
    assert [(one.experiment_id, one.name) for one in found] == [("0", "first")]
    gone = await refusal(tracking.GetExperiment, pb.GetExperimentRequest(name="Default"))
    assert gone.reason == "EXPERIMENT_NOT_FOUND"


async def test_the_same_request_makes_one(tracking: Tracking) -> None:
    request = pb.CreateExperimentRequest(name="once", request_id=str(uuid.uuid4()))
    made = await asyncio.gather(*(tracking.CreateExperiment(request) for _ in range(5)))
    assert len({one.experiment.experiment_id for one in made}) == 1
    other = await refusal(tracking.CreateExperiment, pb.CreateExperimentRequest(name="once"))
    assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EXPERIMENT_EXISTS")


async def test_many_at_once_get_their_own_ids(tracking: Tracking) -> None:
    requests = [pb.CreateExperimentRequest(name=f"e{number}") for number in range(20)]
    made = await asyncio.gather(*(tracking.CreateExperiment(request) for request in requests))
    assert sorted(int(one.experiment.experiment_id) for one in made) == list(range(1, 21))


async def test_names_stay_taken_in_the_bin(tracking: Tracking) -> None:
    made = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="old"))).experiment
    other = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="other"))).experiment
    await tracking.DeleteExperiment(pb.DeleteExperimentRequest(experiment_id=made.experiment_id))
    again = await refusal(tracking.CreateExperiment, pb.CreateExperimentRequest(name="old"))
    rename = pb.UpdateExperimentRequest(experiment_id=other.experiment_id, name="old")
    for refused in (again, await refusal(tracking.UpdateExperiment, rename)):
        assert refused.reason == "EXPERIMENT_EXISTS"
        assert "restore it" in refused.message
    by_name = await tracking.GetExperiment(pb.GetExperimentRequest(name="old"))
    assert by_name.experiment.lifecycle_stage == DELETED


async def test_deleting_takes_the_runs_along_and_restoring_brings_all_back(tracking: Tracking) -> None:
    made = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="e"))).experiment
    number = made.experiment_id
    ids = [(await tracking.CreateRun(pb.CreateRunRequest(experiment_id=number))).run.run_id for _ in range(3)]
    await tracking.DeleteRun(pb.DeleteRunRequest(run_id=ids[0]))
    await tracking.DeleteExperiment(pb.DeleteExperimentRequest(experiment_id=number))

    for run_id in ids:
        assert (await tracking.GetRun(pb.GetRunRequest(run_id=run_id))).run.lifecycle_stage == DELETED
    for view, count in ((pb.VIEW_TYPE_ACTIVE_ONLY, 0), (pb.VIEW_TYPE_DELETED_ONLY, 3), (pb.VIEW_TYPE_ALL, 3)):
        request = pb.SearchRunsRequest(experiment_ids=["0", number], view_type=view)
        assert len((await tracking.SearchRuns(request)).runs) == count
    refusals = [
        await refusal(tracking.CreateRun, pb.CreateRunRequest(experiment_id=number)),
        await refusal(tracking.LogParams, pb.LogParamsRequest(run_id=ids[1], params={"a": "b"})),
        await refusal(tracking.RestoreRun, pb.RestoreRunRequest(run_id=ids[1])),
        await refusal(tracking.CreateLoggedModel, pb.CreateLoggedModelRequest(experiment_id=number, name="m")),
        await refusal(tracking.DeleteExperiment, pb.DeleteExperimentRequest(experiment_id=number)),
        await refusal(tracking.UpdateExperiment, pb.UpdateExperimentRequest(experiment_id=number, name="x")),
        await refusal(tracking.SetExperimentTags, pb.SetExperimentTagsRequest(experiment_id=number, tags={"a": "b"})),
    ]
    for refused in refusals:
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE")
        assert "restore" in refused.message

    await tracking.RestoreExperiment(pb.RestoreExperimentRequest(experiment_id=number))
    for run_id in ids:
        assert (await tracking.GetRun(pb.GetRunRequest(run_id=run_id))).run.lifecycle_stage == ACTIVE
    twice = await refusal(tracking.RestoreExperiment, pb.RestoreExperimentRequest(experiment_id=number))
    assert twice.reason == "WRONG_STATE"


async def test_runs_and_their_experiment_cannot_pass_each_other(tracking: Tracking) -> None:
    """Runs made while the experiment is deleted are refused or deleted, never left active."""
    number = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="e"))).experiment.experiment_id

    async def make() -> None:
        try:
            await tracking.CreateRun(pb.CreateRunRequest(experiment_id=number))
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
                raise

    delete = tracking.DeleteExperiment(pb.DeleteExperimentRequest(experiment_id=number))
    await asyncio.gather(*(make() for _ in range(10)), delete, *(make() for _ in range(10)))
    active = pb.SearchRunsRequest(experiment_ids=[number])
    assert not (await tracking.SearchRuns(active)).runs


async def test_tags(tracking: Tracking) -> None:
    number = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="e"))).experiment.experiment_id
    for tags in ({"a": "1", "b": "2"}, {"b": "3"}):
        await tracking.SetExperimentTags(pb.SetExperimentTagsRequest(experiment_id=number, tags=tags))
    await tracking.DeleteExperimentTag(pb.DeleteExperimentTagRequest(experiment_id=number, key="a"))
    got = (await tracking.GetExperiment(pb.GetExperimentRequest(experiment_id=number))).experiment
    assert dict(got.tags) == {"b": "3"}
    gone = await refusal(tracking.DeleteExperimentTag, pb.DeleteExperimentTagRequest(experiment_id=number, key="a"))
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "TAG_NOT_FOUND")


async def test_search_filters_orders_and_pages(tracking: Tracking) -> None:
    for number in range(7):
        request = pb.CreateExperimentRequest(
            name=f"cookie {number}", tags={"team": "pastry" if number % 2 else "bread"}
        )
        await tracking.CreateExperiment(request)
    await tracking.DeleteExperiment(pb.DeleteExperimentRequest(experiment_id="7"))

    async def names(**fields: object) -> list[str]:
        found, token = [], ""
        while True:
            page = await tracking.SearchExperiments(
                pb.SearchExperimentsRequest(page_size=2, page_token=token, **fields)  # type: ignore[arg-type] # any field
            )
            found += [one.name for one in page.experiments]
            token = page.next_page_token
            if not token:
                return found

    newest_first = [f"cookie {number}" for number in (5, 4, 3, 2, 1, 0)]
    assert (
        await names(filter="name LIKE 'cookie%'", order_by=["create_time DESC", "experiment_id DESC"])
    ) == newest_first
    assert (await names(order_by=["name"])) == ["Default", *reversed(newest_first)]
    assert (await names(view_type=pb.VIEW_TYPE_DELETED_ONLY)) == ["cookie 6"]
    assert len(await names(view_type=pb.VIEW_TYPE_ALL)) == 8
    assert sorted(await names(filter="tags.team = 'bread'")) == ["cookie 0", "cookie 2", "cookie 4"]
    assert sorted(await names(filter="experiment_id IN ('0', '2', 'x')")) == ["Default", "cookie 1"]


NAME = "x" * 501


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("CreateExperiment", pb.CreateExperimentRequest(), "name"),
        ("CreateExperiment", pb.CreateExperimentRequest(name=NAME), "name"),
        ("CreateExperiment", pb.CreateExperimentRequest(name="a\x00"), "name"),
        ("CreateExperiment", pb.CreateExperimentRequest(name="a", request_id="1"), "request_id"),
        ("CreateExperiment", pb.CreateExperimentRequest(name="a", tags={"": "x"}), "tags"),
        ("CreateExperiment", pb.CreateExperimentRequest(name="a", tags={"k": "x" * 20_001}), "tags[k]"),
        ("GetExperiment", pb.GetExperimentRequest(), "by"),
        ("GetExperiment", pb.GetExperimentRequest(experiment_id="a"), "experiment_id"),
        ("GetExperiment", pb.GetExperimentRequest(name=""), "name"),
        ("UpdateExperiment", pb.UpdateExperimentRequest(experiment_id="0"), "name"),
        ("UpdateExperiment", pb.UpdateExperimentRequest(name="a"), "experiment_id"),
        ("DeleteExperiment", pb.DeleteExperimentRequest(), "experiment_id"),
        ("RestoreExperiment", pb.RestoreExperimentRequest(experiment_id="-1"), "experiment_id"),
        ("SetExperimentTags", pb.SetExperimentTagsRequest(experiment_id="0", tags={"a\x00": "x"}), "tags"),
        ("DeleteExperimentTag", pb.DeleteExperimentTagRequest(experiment_id="", key="a"), "experiment_id"),
        ("SearchExperiments", pb.SearchExperimentsRequest(page_size=-1), "page_size"),
        ("SearchExperiments", pb.SearchExperimentsRequest(filter="name = 5"), "filter"),
        ("SearchExperiments", pb.SearchExperimentsRequest(order_by=["metrics.a"]), "order_by[0]"),
        ("SearchExperiments", pb.SearchExperimentsRequest(page_token="x"), "page_token"),
        ("SearchExperiments", pb.SearchExperimentsRequest(view_type=9), "view_type"),  # type: ignore[arg-type] # on purpose
    ],
)
async def test_bad_input_names_the_field(tracking: Tracking, method: str, request_: object, field: str) -> None:
    refused = await refusal(getattr(tracking, method), request_)
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, field), refused


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetExperiment", pb.GetExperimentRequest(experiment_id="1")),
        ("GetExperiment", pb.GetExperimentRequest(name="mine")),
        ("UpdateExperiment", pb.UpdateExperimentRequest(experiment_id="1", name="b")),
        ("DeleteExperiment", pb.DeleteExperimentRequest(experiment_id="1")),
        ("RestoreExperiment", pb.RestoreExperimentRequest(experiment_id="1")),
        ("SetExperimentTags", pb.SetExperimentTagsRequest(experiment_id="1", tags={"a": "b"})),
        ("DeleteExperimentTag", pb.DeleteExperimentTagRequest(experiment_id="1", key="a")),
        ("CreateRun", pb.CreateRunRequest(experiment_id="1")),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(experiment_id="1", name="m")),
        ("ListLoggedModels", pb.ListLoggedModelsRequest(experiment_id="1")),
    ],
)
async def test_another_tenants_experiment_is_not_found(tracking: Tracking, method: str, request_: object) -> None:
    await tracking.CreateExperiment(pb.CreateExperimentRequest(name="mine", tags={"a": "b"}), metadata=as_tenant("me"))
    refused = await refusal(getattr(tracking, method), request_, metadata=as_tenant("you"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "EXPERIMENT_NOT_FOUND")
    found = await tracking.SearchExperiments(pb.SearchExperimentsRequest(), metadata=as_tenant("you"))
    assert [one.name for one in found.experiments] == ["Default"]
