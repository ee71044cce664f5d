"""PurgeBin from outside: who may, what goes with it in tracking and in artifacts, what a registered model keeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fix_artifacts import until, upload_of
from fix_purges import rows_of
from fix_services import Running, as_tenant, running
from fix_tracking import Tracking, alone, refusal, tracking_stub
from headrace.api.artifacts.v1 import artifact_service_pb2, artifacts_pb2
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from headrace.api.registry.v1 import registry_service_pb2
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from headrace.api.tracking.v1 import tracking_events_pb2, tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_artifacts import app as artifacts_app
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.config import ServiceConfig
from headrace_kit.testing.backends.processes import free_port
from headrace_registry import app as registry_app
from headrace_tracking import app

RUN_IDS = [f"{number:032x}" for number in range(1, 6)]


def before(delta: timedelta = timedelta(0)) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(datetime.now(UTC) + timedelta(seconds=1) + delta)
    return found


@pytest.fixture
async def tracking(database: str) -> AsyncIterator[Tracking]:
    async with running(database, alone()) as services:
        yield tracking_stub(services.channel)


async def make(tracking: Tracking, experiment_id: str = "0", run_ids: list[str] = RUN_IDS) -> None:
    for run_id in run_ids:
        await tracking.CreateRun(pb.CreateRunRequest(run_id=run_id, experiment_id=experiment_id))


async def left(tracking: Tracking) -> list[str]:
    """The runs that anybody can see."""
    everything = pb.SearchExperimentsRequest(view_type=pb.VIEW_TYPE_ALL)
    experiments = (await tracking.SearchExperiments(everything)).experiments
    ids = [experiment.experiment_id for experiment in experiments]
    found = await tracking.SearchRuns(pb.SearchRunsRequest(experiment_ids=ids, view_type=pb.VIEW_TYPE_ALL))
    return sorted(run.run_id for run in found.runs)


async def test_what_is_deleted_goes_page_by_page_and_nothing_else(tracking: Tracking) -> None:
    await make(tracking)
    for run_id in RUN_IDS[:3]:
        await tracking.DeleteRun(pb.DeleteRunRequest(run_id=run_id))
    young = await tracking.PurgeBin(pb.PurgeBinRequest(deleted_before=before(timedelta(hours=-1))))
    assert not young.runs
    request = pb.PurgeBinRequest(deleted_before=before(), page_size=2, dry_run=True)
    first = await tracking.PurgeBin(request)
    assert [one.run_id for one in first.runs] == RUN_IDS[:2]
    assert await left(tracking) == RUN_IDS
    request.dry_run = False
    assert (await refusal(tracking.PurgeBin, pb.PurgeBinRequest(page_token=first.next_page_token))).field
    first = await tracking.PurgeBin(request)
    request.page_token = first.next_page_token
    second = await tracking.PurgeBin(request)
    assert [one.run_id for one in (*first.runs, *second.runs)] == RUN_IDS[:3]
    assert not second.next_page_token
    assert await left(tracking) == RUN_IDS[3:]
    again = await refusal(tracking.CreateRun, pb.CreateRunRequest(run_id=RUN_IDS[0]))
    assert again.reason == "RUN_EXISTS"


async def test_named_runs_must_be_in_the_bin(tracking: Tracking) -> None:
    await make(tracking)
    await tracking.DeleteRun(pb.DeleteRunRequest(run_id=RUN_IDS[0]))
    both = pb.PurgeBinRequest(deleted_before=before(), run_ids=RUN_IDS[:2])
    assert (await refusal(tracking.PurgeBin, both)).reason == "WRONG_STATE"
    unknown = pb.PurgeBinRequest(deleted_before=before(), run_ids=["ab" * 16])
    assert (await refusal(tracking.PurgeBin, unknown)).reason == "RUN_NOT_FOUND"
    foreign = pb.PurgeBinRequest(deleted_before=before(), run_ids=RUN_IDS[:1])
    assert (await refusal(tracking.PurgeBin, foreign, metadata=as_tenant("mill"))).reason == "RUN_NOT_FOUND"
    assert not (await tracking.PurgeBin(pb.PurgeBinRequest(deleted_before=before()), metadata=as_tenant("mill"))).runs
    assert (await refusal(tracking.PurgeBin, pb.PurgeBinRequest())).field == "deleted_before"
    assert await left(tracking) == RUN_IDS
    for _ in range(2):  # the answer may be lost
        await tracking.PurgeBin(pb.PurgeBinRequest(deleted_before=before(), run_ids=RUN_IDS[:1]))
    assert await left(tracking) == RUN_IDS[1:]


async def test_an_experiment_goes_with_all_its_runs_and_frees_its_name(tracking: Tracking, database: str) -> None:
    made = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="e"))).experiment
    other = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="other"))).experiment
    await make(tracking, made.experiment_id, RUN_IDS[:3])
    await make(tracking, other.experiment_id, RUN_IDS[3:])
    dataset = tracking_pb2.Dataset(name="d", digest="1")
    shared = tracking_pb2.DatasetInput(dataset=dataset)
    for run_id in (RUN_IDS[0], RUN_IDS[3], RUN_IDS[4]):
        await tracking.LogInputs(pb.LogInputsRequest(run_id=run_id, inputs=[shared]))
    loose = pb.CreateLoggedModelRequest(name="m", experiment_id=made.experiment_id)
    model = (await tracking.CreateLoggedModel(loose)).model
    await tracking.DeleteExperiment(pb.DeleteExperimentRequest(experiment_id=made.experiment_id))
    for run_id in RUN_IDS[3:4]:
        await tracking.DeleteRun(pb.DeleteRunRequest(run_id=run_id))
    only = pb.PurgeBinRequest(deleted_before=before(), experiment_ids=[made.experiment_id], page_size=2)
    only.page_token = (await tracking.PurgeBin(only)).next_page_token
    assert list((await tracking.PurgeBin(only)).experiment_ids) == [made.experiment_id]
    assert await left(tracking) == RUN_IDS[3:]
    again = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="e"))).experiment
    assert again.experiment_id != made.experiment_id
    with psycopg.connect(database, autocommit=True) as conn:
        kept = conn.execute("SELECT experiment_id FROM tracking.datasets").fetchall()
        assert kept == [(int(other.experiment_id),)]
        await tracking.PurgeBin(pb.PurgeBinRequest(deleted_before=before()))
        assert conn.execute("SELECT experiment_id FROM tracking.datasets").fetchall() == kept  # the last run uses it
        told = conn.execute("SELECT type, value FROM tracking.outbox WHERE type LIKE '%Purged' ORDER BY seq").fetchall()
    kinds = [kind.rpartition(".")[2] for kind, _ in told]
    assert kinds == ["RunPurged"] * 3 + ["LoggedModelPurged", "ExperimentPurged", "RunPurged"]
    assert tracking_events_pb2.LoggedModelPurged.FromString(told[3][1]) == tracking_events_pb2.LoggedModelPurged(
        model_id=model.model_id, experiment_id=made.experiment_id
    )


@asynccontextmanager
async def platform(database: str, folder: Path) -> AsyncIterator[Running]:
    """Tracking, artifacts and registry in one process."""
    address = f"127.0.0.1:{free_port()}"
    await asyncio.to_thread(ensure_all_topics, ServiceConfig(database=database))
    async with running(
        database,
        app,
        artifacts_app,
        registry_app,
        listen=address,
        tracking=address,
        registry=address,
        blobs_dir=folder,
        purged_model_grace_seconds=0.0,
    ) as services:
        yield services


async def test_files_go_and_those_of_a_registered_model_stay_as_long_as_it(database: str, tmp_path: Path) -> None:
    async with platform(database, tmp_path) as services:
        tracking = tracking_stub(services.channel)
        artifacts: Any = ArtifactServiceStub(services.channel)
        registry: Any = RegistryServiceStub(services.channel)
        await make(tracking, run_ids=RUN_IDS[:2])
        models = []
        for name in ("kept", "gone"):
            model = (await tracking.CreateLoggedModel(pb.CreateLoggedModelRequest(name=name, run_id=RUN_IDS[0]))).model
            models.append(model.model_id)
            ready = tracking_pb2.LoggedModel.STATE_READY
            await tracking.FinalizeLoggedModel(pb.FinalizeLoggedModelRequest(model_id=model.model_id, state=ready))
        owners = [artifacts_pb2.Owner(run_id=run_id) for run_id in RUN_IDS[:2]]
        owners += [artifacts_pb2.Owner(model_id=model_id) for model_id in models]
        for owner in owners:
            await artifacts.UploadArtifact(iter(upload_of("a/b", b"bytes", owner)))
        await registry.CreateModel(registry_service_pb2.CreateModelRequest(name="wine"))
        version = registry_service_pb2.CreateModelVersionRequest(model_name="wine", model_id=models[0])
        await registry.CreateModelVersion(version)
        point = tracking_pb2.Metric(key="loss", value=0.5, step=1, time_ms=1)
        logged = await tracking.LogMetrics(pb.LogMetricsRequest(run_id=RUN_IDS[0], metrics=[point]))
        await tracking.GetRun(pb.GetRunRequest(run_id=RUN_IDS[0], at_least=logged.positions), timeout=30)
        await tracking.DeleteRun(pb.DeleteRunRequest(run_id=RUN_IDS[0]))
        purged = await tracking.PurgeBin(pb.PurgeBinRequest(deleted_before=before()))
        assert [(one.run_id, one.points) for one in purged.runs] == [(RUN_IDS[0], 1)]
        with psycopg.connect(database, autocommit=True) as conn:

            def held() -> set[str]:
                return {owner for (owner,) in conn.execute("SELECT owner_id FROM artifacts.artifacts")}

            await until(lambda: held() == {RUN_IDS[1], models[0]})
            await until(lambda: len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2)
            await until(lambda: not rows_of(conn, UUID(RUN_IDS[0])))
            by_path = artifact_service_pb2.ArtifactPath(owner=owners[2], path="a/b")
            got = artifacts.DownloadArtifact(artifact_service_pb2.DownloadArtifactRequest(path=by_path))
            assert b"".join([answer.part async for answer in got]) == b"bytes"
            await registry.DeleteModelVersion(
                registry_service_pb2.DeleteModelVersionRequest(model_name="wine", version=1)
            )
            conn.execute("UPDATE artifacts.purged_owners SET due_time = now() WHERE empty_time IS NULL")  # a day later
            await until(lambda: held() == {RUN_IDS[1]})
        with pytest.raises(grpc.aio.AioRpcError):
            await artifacts.UploadArtifact(iter(upload_of("late", b"bytes", owners[0])))
