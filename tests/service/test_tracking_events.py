"""What tracking tells: each fact has its event, in the same transaction, and nothing else has one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fix_services import running
from fix_tracking import Tracking, alone, refusal, tracking_stub
from headrace.api.tracking.v1 import tracking_events_pb2 as events_pb
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.topics import EVENT_TYPES, EXPERIMENTS, RUNS

Run = tracking_pb2.Run
RUN_ID = "0123456789abcdef" * 2
RUN = f"tenants/default/experiments/0/runs/{RUN_ID}"


@pytest.fixture
async def tracking(database: str) -> AsyncIterator[Tracking]:
    async with running(database, alone()) as services:
        yield tracking_stub(services.channel)


class Told:
    """Reads what came to the outbox since the last look; no relay empties it here."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._seq = 0

    def __call__(self) -> list[Any]:
        with psycopg.connect(self._dsn) as conn:
            rows = conn.execute(
                "SELECT seq, type, topic, key, subject, value FROM tracking.outbox WHERE seq > %s ORDER BY seq",
                [self._seq],
            ).fetchall()
        found = []
        for seq, kind, topic, key, subject, value in rows:
            self._seq = seq
            known, message = EVENT_TYPES[kind]
            assert (topic, key) == (known.name, subject)
            assert len(value) < known.max_bytes
            found.append((subject, message.FromString(value)))
        return found


@pytest.fixture
def told(database: str) -> Told:
    return Told(database)


async def test_experiments(tracking: Tracking, told: Told) -> None:
    made = (await tracking.CreateExperiment(pb.CreateExperimentRequest(name="e", tags={"a": "b"}))).experiment
    default, created = told()
    assert default[0] == "tenants/default/experiments/0"
    assert default[1].experiment.name == "Default"
    assert created == ("tenants/default/experiments/1", events_pb.ExperimentCreated(experiment=made))

    await tracking.UpdateExperiment(pb.UpdateExperimentRequest(experiment_id="1", name="f"))
    await tracking.SetExperimentTags(pb.SetExperimentTagsRequest(experiment_id="1", tags={"c": "d"}))
    await tracking.DeleteExperimentTag(pb.DeleteExperimentTagRequest(experiment_id="1", key="a"))
    updates = [event for _, event in told()]
    assert [type(event) for event in updates] == [events_pb.ExperimentUpdated] * 3
    now = (await tracking.GetExperiment(pb.GetExperimentRequest(experiment_id="1"))).experiment
    assert updates[-1] == events_pb.ExperimentUpdated(experiment=now)

    await tracking.CreateRun(pb.CreateRunRequest(experiment_id="1"))
    told()
    await tracking.DeleteExperiment(pb.DeleteExperimentRequest(experiment_id="1"))
    await tracking.RestoreExperiment(pb.RestoreExperimentRequest(experiment_id="1"))
    assert [event for _, event in told()] == [
        events_pb.ExperimentDeleted(experiment_id="1"),
        events_pb.ExperimentRestored(experiment_id="1"),
    ]


async def test_a_runs_life(tracking: Tracking, told: Told) -> None:
    made = (await tracking.CreateRun(pb.CreateRunRequest(run_id=RUN_ID, name="n", params={"a": "1"}))).run
    assert told()[-1] == (RUN, events_pb.RunCreated(run=made))

    await tracking.LogParams(pb.LogParamsRequest(run_id=RUN_ID, params={"a": "1", "b": "2"}))
    await tracking.SetRunTags(pb.SetRunTagsRequest(run_id=RUN_ID, tags={"t": "x", "mlflow.runName": "m"}))
    await tracking.DeleteRunTag(pb.DeleteRunTagRequest(run_id=RUN_ID, key="t"))
    used = tracking_pb2.DatasetInput(
        dataset=tracking_pb2.Dataset(name="wine", digest="d", source_type="local", profile="x" * 100), tags={"k": "v"}
    )
    await tracking.LogInputs(pb.LogInputsRequest(run_id=RUN_ID, inputs=[used]))
    used.dataset.ClearField("profile")
    common: dict[str, Any] = {"run_id": RUN_ID, "experiment_id": "0", "state": Run.STATE_RUNNING}
    assert told() == [
        (RUN, events_pb.RunUpdated(name="n", params_logged={"b": "2"}, **common)),
        (RUN, events_pb.RunUpdated(name="m", tags_set={"t": "x", "mlflow.runName": "m"}, **common)),
        (RUN, events_pb.RunUpdated(name="m", tags_deleted=["t"], **common)),
        (RUN, events_pb.RunUpdated(name="m", inputs_logged=[used], **common)),
    ]

    ended = Run(run_id=RUN_ID, state=Run.STATE_FINISHED, name="z")
    await tracking.UpdateRun(pb.UpdateRunRequest(run=ended, update_mask=FieldMask(paths=["state", "name"])))
    again = Run(run_id=RUN_ID, state=Run.STATE_RUNNING)
    await tracking.UpdateRun(pb.UpdateRunRequest(run=again, update_mask=FieldMask(paths=["state"])))
    await tracking.DeleteRun(pb.DeleteRunRequest(run_id=RUN_ID))
    await tracking.RestoreRun(pb.RestoreRunRequest(run_id=RUN_ID))
    finished: dict[str, Any] = common | {"state": Run.STATE_FINISHED}
    assert [event for _, event in told()] == [
        events_pb.RunUpdated(name="z", tags_set={"mlflow.runName": "z"}, **finished),
        events_pb.RunEnded(**finished),
        events_pb.RunUpdated(name="z", **common),
        events_pb.RunDeleted(run_id=RUN_ID, experiment_id="0"),
        events_pb.RunRestored(run_id=RUN_ID, experiment_id="0"),
    ]


async def test_runs_that_are_made_at_the_same_time(tracking: Tracking, told: Told) -> None:
    """One is refused, two ask for the same id: each call gets its own answer, each run has one event."""
    asked = [pb.CreateRunRequest(name=f"n{number}") for number in range(20)]
    asked += [pb.CreateRunRequest(run_id=RUN_ID, name="twice") for _ in range(2)]
    wrong = pb.CreateRunRequest(experiment_id="77")
    made, refused = await asyncio.gather(
        asyncio.gather(*(tracking.CreateRun(one) for one in asked)), refusal(tracking.CreateRun, wrong)
    )
    assert refused.reason == "EXPERIMENT_NOT_FOUND"
    runs = [one.run for one in made]
    assert [run.name for run in runs] == [one.name for one in asked]
    assert runs[-1] == runs[-2]
    created = [event.run for _, event in told() if isinstance(event, events_pb.RunCreated)]
    assert {run.run_id: run for run in created} == {run.run_id: run for run in runs}
    assert len(created) == 21


async def test_what_changes_nothing_tells_nothing(tracking: Tracking, told: Told) -> None:
    await tracking.CreateRun(pb.CreateRunRequest(run_id=RUN_ID, name="n", params={"a": "1"}, tags={"t": "x"}))
    await tracking.DeleteRun(pb.DeleteRunRequest(run_id=RUN_ID))
    await tracking.RestoreRun(pb.RestoreRunRequest(run_id=RUN_ID))
    told()
    await tracking.CreateRun(pb.CreateRunRequest(run_id=RUN_ID))
    await tracking.LogParams(pb.LogParamsRequest(run_id=RUN_ID, params={"a": "1"}))
    await tracking.SetRunTags(pb.SetRunTagsRequest(run_id=RUN_ID, tags={"t": "x", "mlflow.runName": "n"}))
    await tracking.LogInputs(pb.LogInputsRequest(run_id=RUN_ID))
    await tracking.RestoreRun(pb.RestoreRunRequest(run_id=RUN_ID))
    same = Run(run_id=RUN_ID, state=Run.STATE_RUNNING, name="n")
    await tracking.UpdateRun(pb.UpdateRunRequest(run=same, update_mask=FieldMask(paths=["state", "name"])))
    await tracking.UpdateExperiment(pb.UpdateExperimentRequest(experiment_id="0", name="Default"))
    await refusal(tracking.LogParams, pb.LogParamsRequest(run_id=RUN_ID, params={"b": "2", "a": "3"}))
    await refusal(tracking.CreateExperiment, pb.CreateExperimentRequest(name="Default"))
    assert told() == []


async def test_models(tracking: Tracking, told: Told) -> None:
    made = (await tracking.CreateLoggedModel(pb.CreateLoggedModelRequest(name="m"))).model
    request = pb.FinalizeLoggedModelRequest(model_id=made.model_id, state=tracking_pb2.LoggedModel.STATE_READY)
    ready = [(await tracking.FinalizeLoggedModel(request)).model for _ in range(2)][-1]
    subject = f"tenants/default/experiments/0/models/{made.model_id}"
    assert told()[1:] == [
        (subject, events_pb.LoggedModelCreated(model=made)),
        (subject, events_pb.LoggedModelFinalized(model=ready)),
    ]


async def test_the_largest_facts_fit_in_a_record(tracking: Tracking, told: Told) -> None:
    largest = {f"k{number:02}" + "ü" * 247: "ü" * 2_750 for number in range(80)}
    await tracking.CreateRun(pb.CreateRunRequest(run_id=RUN_ID, params=largest, tags=largest, name="ü" * 250))
    request = pb.CreateLoggedModelRequest(name="m", params=largest, tags=largest)
    made = (await tracking.CreateLoggedModel(request)).model
    failed = pb.FinalizeLoggedModelRequest(
        model_id=made.model_id, state=tracking_pb2.LoggedModel.STATE_FAILED, state_message="🙂" * 8_000
    )
    await tracking.FinalizeLoggedModel(failed)
    sizes = [event.ByteSize() for _, event in told()]
    assert max(sizes) > 0.9 * RUNS.max_bytes
    assert max(sizes) < min(RUNS.max_bytes, EXPERIMENTS.max_bytes)


async def test_fact_and_event_are_of_one_transaction(tracking: Tracking, database: str) -> None:
    await tracking.GetExperiment(pb.GetExperimentRequest(experiment_id="0"))
    await tracking.CreateRun(pb.CreateRunRequest(run_id=RUN_ID))
    await tracking.SetRunTags(pb.SetRunTagsRequest(run_id=RUN_ID, tags={"a": "b"}))
    with psycopg.connect(database) as conn:
        [fact] = conn.execute("SELECT xmin FROM tracking.runs").fetchall()
        events = conn.execute("SELECT xmin FROM tracking.outbox ORDER BY seq").fetchall()
    assert events[-1] == fact
    assert events[-2] != fact
