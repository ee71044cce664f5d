"""Routes under `runs/`, but for metrics and batches."""

import re
from collections.abc import Sequence
from typing import Final

import grpc

from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_gateway.mlflow import experiments, failures, wire
from headrace_gateway.mlflow.calls import A, Calls, Q
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Int64, Request, Tag, Text

MOST_RUNS: Final = 50_000
PARAM_VALUE: Final = 6_000
TAG_VALUE: Final = 8_000
"""Longer values are cut off, as MLflow does unless it is told otherwise."""
_HEX: Final = re.compile(r"[0-9a-fA-F]{32}")
_ANY_ID: Final = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")
_STATES: Final = {  # in the order of MLflow's RunStatus, from 1 on
    "RUNNING": tracking_pb2.Run.STATE_RUNNING,
    "SCHEDULED": tracking_pb2.Run.STATE_SCHEDULED,
    "FINISHED": tracking_pb2.Run.STATE_FINISHED,
    "FAILED": tracking_pb2.Run.STATE_FAILED,
    "KILLED": tracking_pb2.Run.STATE_KILLED,
}
_STATE_NAMES: Final = {state: name for name, state in _STATES.items()}


class Create(Request):
    """runs/create."""

    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: Int64 | None = None
    tags: tuple[Tag, ...] = ()


class ById(Request):
    """get, delete, restore."""

    run_id: Text


class Update(Request):
    """update."""

    run_id: Text
    status: str | int | None = None
    end_time: Int64 | None = None
    run_name: str = ""


class LogParam(Request):
    """log-parameter."""

    run_id: Text
    key: Text
    value: str = ""


class SetTag(Request):
    """set-tag."""

    run_id: Text
    key: Text
    value: str = ""


class DeleteTag(Request):
    """delete-tag."""

    run_id: Text
    key: Text


class Search(Request):
    """search."""

    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: Int64 = 1000
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class Dataset(Request):
    """Of log-inputs."""

    name: Text
    digest: Text
    source_type: Text
    source: Text
    schema: str = ""
    profile: str = ""


class DatasetInput(Request):
    """A dataset and what it was used for."""

    dataset: Dataset
    tags: tuple[Tag, ...] = ()


class ModelInput(Request):
    """A logged model that a run used."""

    model_id: Text


class LogInputs(Request):
    """log-inputs."""

    run_id: Text
    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[ModelInput, ...] = ()


async def create(calls: Calls, request: Create) -> Answer:
    """A run without a start begins now, as one that begins at 0."""
    run = pb.CreateRunRequest(
        experiment_id=request.experiment_id,
        user_id=request.user_id,
        name=request.run_name,
        tags=_cut(request.tags),
    )
    if request.start_time:
        run.start_time.FromMilliseconds(_time("start_time", request.start_time))
    try:
        answer = await calls(calls.to.tracking.CreateRun, run)
    except Failure as failure:
        raise experiments.named(failure, request.experiment_id) from None
    return {"run": shown(answer.run, calls.workspace)}


async def get(calls: Calls, request: ById) -> Answer:
    """With its data; deleted ones included."""
    run = run_id(request.run_id)
    answer = await on_run(calls, run, calls.to.tracking.GetRun, pb.GetRunRequest(run_id=run))
    return {"run": shown(answer.run, calls.workspace)}


async def delete(calls: Calls, request: ById) -> Answer:
    """Again changes nothing."""
    run = run_id(request.run_id)
    await on_run(calls, run, calls.to.tracking.DeleteRun, pb.DeleteRunRequest(run_id=run))
    return {}


async def restore(calls: Calls, request: ById) -> Answer:
    """Again changes nothing."""
    run = run_id(request.run_id)
    await on_run(calls, run, calls.to.tracking.RestoreRun, pb.RestoreRunRequest(run_id=run))
    return {}


async def update(calls: Calls, request: Update) -> Answer:
    """Name, state and end; with none of them the run as it is."""
    run = run_id(request.run_id)
    wanted = pb.UpdateRunRequest(run=tracking_pb2.Run(run_id=run))
    if request.run_name:
        wanted.run.name = request.run_name
        wanted.update_mask.paths.append("name")
    if request.status is not None:
        wanted.run.state = _state(request.status)
        wanted.update_mask.paths.append("state")
    if request.end_time is not None:
        wanted.run.end_time.FromMilliseconds(_time("end_time", request.end_time))
        wanted.update_mask.paths.append("end_time")
    if not wanted.update_mask.paths:
        found = await on_run(calls, run, calls.to.tracking.GetRun, pb.GetRunRequest(run_id=run))
        return {"run_info": info(found.run, calls.workspace)}
    answer = await on_run(calls, run, calls.to.tracking.UpdateRun, wanted)
    return {"run_info": info(answer.run, calls.workspace)}


async def log_param(calls: Calls, request: LogParam) -> Answer:
    """The same value again is fine; another is refused."""
    params = pb.LogParamsRequest(run_id=run_id(request.run_id), params={request.key: request.value[:PARAM_VALUE]})
    await on_run(calls, request.run_id, calls.to.tracking.LogParams, params)
    return {}


async def set_tag(calls: Calls, request: SetTag) -> Answer:
    """Adds the tag or changes it."""
    tags = pb.SetRunTagsRequest(run_id=run_id(request.run_id), tags={request.key: request.value[:TAG_VALUE]})
    await on_run(calls, request.run_id, calls.to.tracking.SetRunTags, tags)
    return {}


async def delete_tag(calls: Calls, request: DeleteTag) -> Answer:
    """A tag that is not there is not found."""
    tag = pb.DeleteRunTagRequest(run_id=run_id(request.run_id), key=request.key)
    try:
        await on_run(calls, request.run_id, calls.to.tracking.DeleteRunTag, tag)
    except Failure as failure:
        if failure.reason == "TAG_NOT_FOUND":
            raise failure.said(f"No tag with name: {request.key} in run with id {request.run_id}") from None
        raise
    return {}


async def search(calls: Calls, request: Search) -> Answer:
    """A page, in a stable order."""
    size = experiments.page_size(request.max_results, MOST_RUNS)
    found = await calls(
        calls.to.tracking.SearchRuns,
        pb.SearchRunsRequest(
            experiment_ids=request.experiment_ids,
            filter=request.filter,
            order_by=experiments.orders(request.order_by),
            view_type=experiments.view(request.run_view_type),
            page_size=size,
            page_token=request.page_token,
        ),
    )
    return wire.without_empty(
        {"runs": [shown(run, calls.workspace) for run in found.runs], "next_page_token": found.next_page_token}
    )


async def log_inputs(calls: Calls, request: LogInputs) -> Answer:
    """Which datasets and models the run used."""
    inputs = [
        tracking_pb2.DatasetInput(
            dataset=tracking_pb2.Dataset(
                name=one.dataset.name,
                digest=one.dataset.digest,
                source_type=one.dataset.source_type,
                source=one.dataset.source,
                schema=one.dataset.schema,
                profile=one.dataset.profile,
            ),
            tags={tag.key: tag.value for tag in one.tags},
        )
        for one in request.datasets
    ]
    run = run_id(request.run_id)
    await on_run(calls, run, calls.to.tracking.LogInputs, pb.LogInputsRequest(run_id=run, inputs=inputs))
    if request.models:
        used = [tracking_pb2.ModelUse(model_id=one.model_id) for one in request.models]
        await on_run(calls, run, calls.to.tracking.LogModelUses, pb.LogModelUsesRequest(run_id=run, inputs=used))
    return {}


def shown(run: tracking_pb2.Run, workspace: str) -> Answer:
    """The run with its data, as MLflow has it."""
    data = {
        "metrics": [metric(one) for one in run.metrics],
        "params": wire.tags(run.params),
        "tags": wire.tags(run.tags),
    }
    inputs = {
        "dataset_inputs": [_input(one) for one in run.inputs],
        "model_inputs": [{"model_id": one.model_id} for one in run.input_models],
    }
    outputs = {"model_outputs": [{"model_id": one.model_id, "step": one.step} for one in run.output_models]}
    return {
        "info": info(run, workspace),
        "data": wire.without_empty(data),
        "inputs": wire.without_empty(inputs),
        "outputs": wire.without_empty(outputs),
    }


def info(run: tracking_pb2.Run, workspace: str) -> Answer:
    """What stands in `run_info`."""
    shown_info: Answer = {
        "run_id": run.run_id,
        "run_uuid": run.run_id,
        "run_name": run.name,
        "experiment_id": run.experiment_id,
        "user_id": run.user_id,
        "status": _STATE_NAMES.get(run.state, "RUNNING"),
        "start_time": run.start_time.ToMilliseconds(),
        "artifact_uri": artifact_uri(run, workspace),
        "lifecycle_stage": "deleted" if run.lifecycle_stage == tracking_pb2.LIFECYCLE_STAGE_DELETED else "active",
    }
    if run.HasField("end_time"):
        shown_info["end_time"] = run.end_time.ToMilliseconds()
    return shown_info


def artifact_uri(run: tracking_pb2.Run, workspace: str) -> str:
    """Where the run's files are."""
    return f"{experiments.artifact_root(run, workspace).rstrip('/')}/{run.run_id}/artifacts"


def metric(one: tracking_pb2.Metric) -> Answer:
    """A point."""
    return {"key": one.key, "value": wire.number(one.value), "timestamp": one.time_ms, "step": one.step}


async def on_run(calls: Calls, run: str, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
    """A call about the run; says failures as MLflow does."""
    try:
        return await calls(method, request)
    except Failure as failure:
        raise named(failure, run) from None


def run_id(text: str) -> str:
    """Raises Failure where it can be no run's id."""
    if _HEX.fullmatch(text):
        return text
    if _ANY_ID.fullmatch(text):
        raise failures.absent(f"Run with id={text} not found")
    raise failures.unusable("run_id", text, "it must be the id of a run.")


def named(failure: Failure, run: str) -> Failure:
    """In MLflow's words, where clients match them."""
    match failure.reason:
        case "RUN_NOT_FOUND":
            return failure.said(f"Run with id={run} not found")
        case "NOT_ACTIVE":
            return failure.said(f"The run {run} must be in the 'active' state. Current state is deleted.")
        case "PARAM_CONFLICT":
            return failure.said(f"Changing param values is not allowed. In run {run}: {failure.message}")
        case _:
            return failure


def _cut(tags: Sequence[Tag]) -> dict[str, str]:
    return {tag.key: tag.value[:TAG_VALUE] for tag in tags}


def _state(asked: str | int) -> tracking_pb2.Run.State:
    name = str(asked)
    if name.isdigit() and 0 < int(name) <= len(_STATES):
        name = list(_STATES)[int(name) - 1]
    if name not in _STATES:
        raise failures.unusable("status", asked, f"it must be one of {', '.join(_STATES)}.")
    return _STATES[name]


def _time(parameter: str, milliseconds: int) -> int:
    """Raises Failure for what no timestamp can be: the years 1970 to 9999."""
    if not 0 <= milliseconds < 253_402_300_800_000:
        raise failures.unusable(parameter, milliseconds, "it must be milliseconds of the years 1970 to 9999.")
    return milliseconds


def _input(one: tracking_pb2.DatasetInput) -> Answer:
    dataset = one.dataset
    return {
        "tags": wire.tags(one.tags),
        "dataset": wire.without_empty(
            {
                "name": dataset.name,
                "digest": dataset.digest,
                "source_type": dataset.source_type,
                "source": dataset.source,
                "schema": dataset.schema,
                "profile": dataset.profile,
            }
        ),
    }
