"""Logged models through the port."""

import re
from collections.abc import AsyncIterator

import grpc
import pytest

from fix_services import as_tenant, running
from fix_tracking import Tracking, alone, refusal, tracking_stub
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb

Model = tracking_pb2.LoggedModel
MODEL_ID = "m-" + "0" * 32


@pytest.fixture
async def tracking(database: str) -> AsyncIterator[Tracking]:
    async with running(database, alone()) as services:
        yield tracking_stub(services.channel)


async def new_model(tracking: Tracking, **fields: object) -> Model:
    request = pb.CreateLoggedModelRequest(**{"name": "wine", **fields})  # type: ignore[arg-type] # any field
    return (await tracking.CreateLoggedModel(request)).model


async def finalize(tracking: Tracking, model_id: str, state: Model.State, message: str = "") -> Model:
    request = pb.FinalizeLoggedModelRequest(model_id=model_id, state=state, state_message=message)
    return (await tracking.FinalizeLoggedModel(request)).model


async def test_a_model_is_announced_and_comes_to_its_end(tracking: Tracking) -> None:
    run = (await tracking.CreateRun(pb.CreateRunRequest())).run
    made = await new_model(tracking, run_id=run.run_id, model_type="sklearn", params={"a": "1"}, tags={"t": "x"})
    assert re.fullmatch(r"m-[0-9a-f]{32}", made.model_id)
    assert (made.experiment_id, made.run_id, made.name, made.model_type) == ("0", run.run_id, "wine", "sklearn")
    assert (made.state, dict(made.params), dict(made.tags)) == (Model.STATE_PENDING, {"a": "1"}, {"t": "x"})
    assert made == (await tracking.GetLoggedModel(pb.GetLoggedModelRequest(model_id=made.model_id))).model

    ready = await finalize(tracking, made.model_id, Model.STATE_READY)
    assert ready.state == Model.STATE_READY
    assert await finalize(tracking, made.model_id, Model.STATE_READY) == ready
    failed = pb.FinalizeLoggedModelRequest(model_id=made.model_id, state=Model.STATE_FAILED)
    refused = await refusal(tracking.FinalizeLoggedModel, failed)
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


async def test_announced_twice_a_model_is_there_once(tracking: Tracking) -> None:
    run = (await tracking.CreateRun(pb.CreateRunRequest())).run
    chosen = "m-" + "1" * 32
    made = await new_model(tracking, run_id=run.run_id, model_id=chosen)
    assert made.model_id == chosen
    assert await new_model(tracking, run_id=run.run_id, model_id=chosen) == made
    listed = await tracking.ListLoggedModels(pb.ListLoggedModelsRequest(run_id=run.run_id))
    assert list(listed.models) == [made]
    for name, owner in (("wine", ""), ("beer", run.run_id)):
        request = pb.CreateLoggedModelRequest(name=name, run_id=owner, model_id=chosen)
        refused = await refusal(tracking.CreateLoggedModel, request)
        assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "LOGGED_MODEL_EXISTS")
    bad = await refusal(tracking.CreateLoggedModel, pb.CreateLoggedModelRequest(name="wine", model_id="m-1"))
    assert (bad.code, bad.field) == (grpc.StatusCode.INVALID_ARGUMENT, "model_id")


async def test_a_model_that_failed_says_why(tracking: Tracking) -> None:
    made = await new_model(tracking)
    assert (made.experiment_id, made.run_id) == ("0", "")
    failed = await finalize(tracking, made.model_id, Model.STATE_FAILED, "disk full")
    assert (failed.state, failed.state_message) == (Model.STATE_FAILED, "disk full")


async def test_models_are_listed_newest_first(tracking: Tracking) -> None:
    run = (await tracking.CreateRun(pb.CreateRunRequest())).run
    made = [(await new_model(tracking, run_id=run.run_id if n % 2 else "")).model_id for n in range(9)]

    async def listed(**fields: str) -> list[str]:
        found, token = [], ""
        while True:
            request = pb.ListLoggedModelsRequest(page_size=2, page_token=token, **fields)
            page = await tracking.ListLoggedModels(request)
            found += [(model.create_time.ToMilliseconds(), model.model_id) for model in page.models]
            token = page.next_page_token
            if not token:
                assert [time for time, _ in found] == sorted((time for time, _ in found), reverse=True)
                return [model_id for _, model_id in found]

    assert sorted(await listed(experiment_id="0")) == sorted(made)
    assert sorted(await listed(run_id=run.run_id)) == sorted(made[1::2])
    first = await tracking.ListLoggedModels(pb.ListLoggedModelsRequest(experiment_id="0", page_size=1))
    other = pb.ListLoggedModelsRequest(run_id=run.run_id, page_token=first.next_page_token)
    assert (await refusal(tracking.ListLoggedModels, other)).reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(name="a/b"), "name"),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(name="x" * 257), "name"),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(name="a", model_type="x" * 251), "model_type"),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(name="a", run_id="x"), "run_id"),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(name="a", experiment_id="x"), "experiment_id"),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(name="a", params={"k": "x" * 6_001}), "params[k]"),
        ("CreateLoggedModel", pb.CreateLoggedModelRequest(name="a", tags={"k": "\x00"}), "tags[k]"),
        ("FinalizeLoggedModel", pb.FinalizeLoggedModelRequest(model_id="m-1"), "model_id"),
        ("FinalizeLoggedModel", pb.FinalizeLoggedModelRequest(model_id=MODEL_ID), "state"),
        ("FinalizeLoggedModel", pb.FinalizeLoggedModelRequest(model_id=MODEL_ID, state=Model.STATE_PENDING), "state"),
        (
            "FinalizeLoggedModel",
            pb.FinalizeLoggedModelRequest(model_id=MODEL_ID, state=Model.STATE_FAILED, state_message="x" * 8_001),
            "state_message",
        ),
        ("GetLoggedModel", pb.GetLoggedModelRequest(model_id="0" * 32), "model_id"),
        ("ListLoggedModels", pb.ListLoggedModelsRequest(), "run_id"),
        ("ListLoggedModels", pb.ListLoggedModelsRequest(run_id="0" * 32, experiment_id="0"), "run_id"),
        ("ListLoggedModels", pb.ListLoggedModelsRequest(experiment_id="x"), "experiment_id"),
        ("ListLoggedModels", pb.ListLoggedModelsRequest(experiment_id="0", page_size=-1), "page_size"),
        ("ListLoggedModels", pb.ListLoggedModelsRequest(experiment_id="0", page_token="!"), "page_token"),
    ],
)
async def test_bad_input_names_the_field(tracking: Tracking, method: str, request_: object, field: str) -> None:
    refused = await refusal(getattr(tracking, method), request_)
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, field), refused


async def test_a_model_belongs_where_its_run_does(tracking: Tracking) -> None:
    run = (await tracking.CreateRun(pb.CreateRunRequest())).run
    other = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="e"))).experiment.experiment_id
    request = pb.CreateLoggedModelRequest(name="a", run_id=run.run_id, experiment_id=other)
    assert (await refusal(tracking.CreateLoggedModel, request)).field == "experiment_id"


async def test_another_tenants_model_is_not_found(tracking: Tracking) -> None:
    made = await new_model(tracking)
    for method, request in (
        (tracking.GetLoggedModel, pb.GetLoggedModelRequest(model_id=made.model_id)),
        (tracking.FinalizeLoggedModel, pb.FinalizeLoggedModelRequest(model_id=made.model_id, state=Model.STATE_READY)),
    ):
        refused = await refusal(method, request, metadata=as_tenant("mill"))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "LOGGED_MODEL_NOT_FOUND")
    empty = await tracking.ListLoggedModels(pb.ListLoggedModelsRequest(experiment_id="0"), metadata=as_tenant("mill"))
    assert not empty.models
