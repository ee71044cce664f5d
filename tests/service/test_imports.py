"""What imports call, through the ports: things as another system has them, once each."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fix_registry import Platform, platform
from fix_services import running
from fix_tracking import Tracking, alone, refusal, tracking_stub
from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as registry
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb

RUN_ID = "a" * 32
MODEL_ID = "m-" + "b" * 32
ACTIVE, DELETED = tracking_pb2.LIFECYCLE_STAGE_ACTIVE, tracking_pb2.LIFECYCLE_STAGE_DELETED
Run = tracking_pb2.Run
Model = tracking_pb2.LoggedModel


def at(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=7_000_000)


@pytest.fixture
async def tracking(database: str) -> AsyncIterator[Tracking]:
    async with running(database, alone()) as services:
        yield tracking_stub(services.channel)


@pytest.fixture
async def both(database: str) -> AsyncIterator[Platform]:
    async with platform(database) as services:
        yield services


def experiment(**fields: Any) -> tracking_pb2.Experiment:
    given = {"experiment_id": "5", "name": "kitchen", "create_time": at(10), "update_time": at(20), **fields}
    return tracking_pb2.Experiment(**given)


def run(**fields: Any) -> Run:
    given = {
        "run_id": RUN_ID,
        "experiment_id": "5",
        "name": "one",
        "user_id": "ada",
        "state": Run.STATE_FINISHED,
        "start_time": at(30),
        "end_time": at(40),
        "params": {"a": "1"},
        "tags": {"t": "x"},
        **fields,
    }
    return Run(**given)


async def put(tracking: Tracking, one: tracking_pb2.Experiment, request_id: str = "") -> pb.ImportExperimentResponse:
    return await tracking.ImportExperiment(pb.ImportExperimentRequest(experiment=one, request_id=request_id))


async def test_an_experiment_keeps_id_and_times_where_the_id_is_free(tracking: Tracking) -> None:
    made = await put(tracking, experiment(tags={"team": "pastry"}))
    assert made.changed
    assert made.experiment.experiment_id == "5"
    assert (made.experiment.create_time, made.experiment.update_time) == (at(10), at(20))
    again = await put(tracking, experiment(tags={"team": "pastry"}))
    assert (again.changed, again.experiment) == (False, made.experiment)
    assert (await put(tracking, experiment(name="cellar"))).experiment.experiment_id == "1"
    new = [await tracking.CreateExperiment(pb.CreateExperimentRequest(name=f"new {n}")) for n in range(5)]
    assert [one.experiment.experiment_id for one in new] == ["2", "3", "4", "6", "7"]


async def test_an_experiment_is_known_by_its_request_whatever_its_name(tracking: Tracking) -> None:
    key = "00000000-0000-0000-0000-000000000001"
    await put(tracking, experiment(), key)
    renamed = await put(tracking, experiment(name="bakery", lifecycle_stage=DELETED), key)
    assert (renamed.changed, renamed.experiment.experiment_id) == (True, "5")
    assert (renamed.experiment.name, renamed.experiment.lifecycle_stage) == ("bakery", DELETED)
    assert not (await put(tracking, experiment(name="bakery", lifecycle_stage=DELETED), key)).changed
    assert (await put(tracking, experiment(name="bakery"), key)).experiment.lifecycle_stage == ACTIVE


async def test_default_is_default(tracking: Tracking) -> None:
    made = await put(tracking, experiment(experiment_id="0", name="Default"))
    assert (made.experiment.experiment_id, made.experiment.create_time) == ("0", at(10))


async def test_a_run_is_replaced_by_what_is_told(tracking: Tracking) -> None:
    await put(tracking, experiment())
    data = tracking_pb2.DatasetInput(dataset=tracking_pb2.Dataset(name="d", digest="1"), tags={"kind": "rye"})
    uses = [tracking_pb2.ModelUse(model_id=MODEL_ID, step=3)]
    first = run(inputs=[data], output_models=uses)
    assert (await tracking.ImportRun(pb.ImportRunRequest(run=first))).changed
    assert not (await tracking.ImportRun(pb.ImportRunRequest(run=first))).changed
    found = (await tracking.GetRun(pb.GetRunRequest(run_id=RUN_ID))).run
    assert (found.start_time, found.end_time, found.state, found.user_id) == (at(30), at(40), Run.STATE_FINISHED, "ada")
    assert (dict(found.params), dict(found.tags)) == ({"a": "1"}, {"t": "x", "mlflow.runName": "one"})
    assert (list(found.inputs), list(found.output_models)) == ([data], uses)

    other = run(params={"a": "2"}, tags={}, state=Run.STATE_KILLED, lifecycle_stage=DELETED)
    assert (await tracking.ImportRun(pb.ImportRunRequest(run=other, delete_time=at(50)))).changed
    assert not (await tracking.ImportRun(pb.ImportRunRequest(run=other, delete_time=at(50)))).changed
    found = (await tracking.GetRun(pb.GetRunRequest(run_id=RUN_ID))).run
    assert (dict(found.params), dict(found.tags)) == ({"a": "2"}, {"mlflow.runName": "one"})
    assert (found.state, found.lifecycle_stage, list(found.output_models)) == (Run.STATE_KILLED, DELETED, uses)
    assert (await tracking.ImportRun(pb.ImportRunRequest(run=run()))).changed
    assert (await tracking.GetRun(pb.GetRunRequest(run_id=RUN_ID))).run.lifecycle_stage == ACTIVE


async def test_a_run_in_the_bin_with_its_experiment_stays_there(tracking: Tracking) -> None:
    await put(tracking, experiment())
    await tracking.ImportRun(pb.ImportRunRequest(run=run()))
    await put(tracking, experiment(lifecycle_stage=DELETED))
    for stage in (DELETED, ACTIVE):
        assert not (await tracking.ImportRun(pb.ImportRunRequest(run=run(lifecycle_stage=stage)))).changed
        assert (await tracking.GetRun(pb.GetRunRequest(run_id=RUN_ID))).run.lifecycle_stage == DELETED


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda one: one.ClearField("state"), "run.state"),
        (lambda one: one.MergeFrom(Run(run_id="x")), "run.run_id"),
        (lambda one: one.tags.update({"t": "x" * 8001}), "run.tags[t]"),
        (lambda one: one.start_time.CopyFrom(Timestamp(seconds=-1)), "run.start_time"),
    ],
)
async def test_a_bad_run_is_refused_by_its_field(tracking: Tracking, change: Callable[[Run], None], field: str) -> None:
    await put(tracking, experiment())
    bad = run()
    change(bad)
    refused = await refusal(tracking.ImportRun, pb.ImportRunRequest(run=bad))
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_a_run_does_not_move(tracking: Tracking) -> None:
    await put(tracking, experiment())
    await tracking.ImportRun(pb.ImportRunRequest(run=run()))
    refused = await refusal(tracking.ImportRun, pb.ImportRunRequest(run=run(experiment_id="0")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "RUN_EXISTS")


def model(**fields: Any) -> Model:
    given = {
        "model_id": MODEL_ID,
        "experiment_id": "5",
        "name": "oven",
        "state": Model.STATE_READY,
        "create_time": at(50),
        "update_time": at(60),
        "params": {"depth": "3"},
        **fields,
    }
    return Model(**given)


async def test_a_logged_model_keeps_times_and_the_latest_of_each_metric(tracking: Tracking) -> None:
    await put(tracking, experiment())
    points = [tracking_pb2.ModelMetric(key="k", value=float(n), step=n, time_ms=n, run_id=RUN_ID) for n in (2, 3)]
    assert (await tracking.ImportLoggedModel(pb.ImportLoggedModelRequest(model=model(metrics=points[1:])))).changed
    for again in (points[1:], points[:1]):
        assert not (await tracking.ImportLoggedModel(pb.ImportLoggedModelRequest(model=model(metrics=again)))).changed
    by_id = pb.GetLoggedModelRequest(model_id=MODEL_ID, show_deleted=True)
    found = (await tracking.GetLoggedModel(by_id)).model
    assert (found.create_time, found.update_time, list(found.metrics)) == (at(50), at(60), points[1:])
    gone = pb.ImportLoggedModelRequest(model=model(lifecycle_stage=DELETED, state=Model.STATE_FAILED))
    assert [(await tracking.ImportLoggedModel(gone)).changed for _ in range(2)] == [True, False]
    found = (await tracking.GetLoggedModel(by_id)).model
    assert (found.lifecycle_stage, found.state) == (DELETED, Model.STATE_FAILED)
    refused = await refusal(tracking.ImportLoggedModel, pb.ImportLoggedModelRequest(model=model(experiment_id="0")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "LOGGED_MODEL_EXISTS")


async def test_versions_keep_numbers_and_none_is_given_again(both: Platform) -> None:
    logged = await both.logged_model()
    wanted = registry_pb2.Model(name="bread", description="d", tags={"t": "x"}, create_time=at(1), update_time=at(2))
    request = registry.ImportModelRequest(model=wanted, last_version=9)
    assert [(await both.registry.ImportModel(request)).changed for _ in range(2)] == [True, False]
    for number, fields in (
        (4, {"model_id": logged.model_id}),
        (7, {"source": "s3://elsewhere", "stage": "Production"}),
    ):
        version = registry_pb2.ModelVersion(
            model_name="bread",
            version=number,
            user_id="ada",
            create_time=at(3),
            update_time=at(4),
            **fields,  # type: ignore[arg-type] # any field
        )
        asked = registry.ImportModelVersionRequest(version=version)
        assert [(await both.registry.ImportModelVersion(asked)).changed for _ in range(2)] == [True, False]
        got = registry.GetModelVersionRequest(model_name="bread", version=number)
        found = (await both.registry.GetModelVersion(got)).version
        assert (found.create_time, found.update_time, found.user_id) == (at(3), at(4), "ada")
    assert found.stage == "Production"
    assert await both.promote("bread", 4, "champion") == 0
    assert not (await both.registry.ImportModel(request)).changed
    model_now = (await both.registry.GetModel(registry.GetModelRequest(name="bread"))).model
    assert (dict(model_now.aliases), model_now.update_time) == ({"champion": 4}, at(2))
    made = registry.CreateModelVersionRequest(model_name="bread", source="s3://more")
    assert (await both.registry.CreateModelVersion(made)).version.version == 10


async def test_a_version_is_of_something_that_is_there(both: Platform) -> None:
    await both.registry.ImportModel(registry.ImportModelRequest(model=registry_pb2.Model(name="bread")))
    nothing = registry_pb2.ModelVersion(model_name="bread", version=1)
    refused = await refusal(both.registry.ImportModelVersion, registry.ImportModelVersionRequest(version=nothing))
    assert refused.field == "version.source"
    unknown = registry_pb2.ModelVersion(model_name="bread", version=1, model_id=MODEL_ID)
    refused = await refusal(both.registry.ImportModelVersion, registry.ImportModelVersionRequest(version=unknown))
    assert refused.reason == "LOGGED_MODEL_NOT_FOUND"
    orphan = registry_pb2.ModelVersion(model_name="cake", version=1, source="s3://x")
    refused = await refusal(both.registry.ImportModelVersion, registry.ImportModelVersionRequest(version=orphan))
    assert refused.reason == "MODEL_NOT_FOUND"
