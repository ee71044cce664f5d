"""Routes under `logged-models`, and which models a run used and made."""

from collections.abc import Sequence
from typing import Final

import grpc

from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_gateway.mlflow import experiments, failures, runs, wire
from headrace_gateway.mlflow.calls import A, Calls, Q
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Int64, Request, Tag, Text

MOST_RESULTS: Final = 1000
_STATES: Final = {
    tracking_pb2.LoggedModel.STATE_PENDING: "LOGGED_MODEL_PENDING",
    tracking_pb2.LoggedModel.STATE_READY: "LOGGED_MODEL_READY",
    tracking_pb2.LoggedModel.STATE_FAILED: "LOGGED_MODEL_UPLOAD_FAILED",
}
_FINAL: Final = {
    **dict.fromkeys(("2", "LOGGED_MODEL_READY"), tracking_pb2.LoggedModel.STATE_READY),
    **dict.fromkeys(("3", "LOGGED_MODEL_UPLOAD_FAILED"), tracking_pb2.LoggedModel.STATE_FAILED),
}


class Create(Request):
    """logged-models."""

    experiment_id: Text
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: tuple[Tag, ...] = ()
    tags: tuple[Tag, ...] = ()


class ById(Request):
    """logged-models/{model_id}."""

    model_id: Text
    allow_deleted: bool = False


class Finalize(Request):
    """PATCH logged-models/{model_id}."""

    model_id: Text
    status: str | int = ""


class SetTags(Request):
    """logged-models/{model_id}/tags."""

    model_id: Text
    tags: tuple[Tag, ...] = ()


class DeleteTag(Request):
    """logged-models/{model_id}/tags/{tag_key}."""

    model_id: Text
    tag_key: Text


class LogParams(Request):
    """logged-models/{model_id}/params."""

    model_id: Text
    params: tuple[Tag, ...] = ()


class Dataset(Request):
    """Of a search."""

    dataset_name: Text
    dataset_digest: str = ""


class OrderBy(Request):
    """Of a search."""

    field_name: Text
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


class Search(Request):
    """logged-models/search."""

    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    datasets: tuple[Dataset, ...] = ()
    max_results: Int64 = 50
    order_by: tuple[OrderBy, ...] = ()
    page_token: str = ""


class ModelOfRun(Request):
    """Of runs/outputs and runs/log-inputs."""

    model_id: Text
    step: Int64 = 0


class Outputs(Request):
    """runs/outputs."""

    run_id: Text
    models: tuple[ModelOfRun, ...] = ()


async def create(calls: Calls, request: Create) -> Answer:
    """A model that is PENDING; its files follow."""
    made = pb.CreateLoggedModelRequest(
        experiment_id=experiments.known_id(request.experiment_id),
        run_id=request.source_run_id,
        name=request.name,
        model_type=request.model_type,
        params=_values(request.params, runs.PARAM_VALUE),
        tags=_values(request.tags, runs.TAG_VALUE),
    )
    try:
        answer = await calls(calls.to.tracking.CreateLoggedModel, made)
    except Failure as failure:
        raise experiments.named(runs.named(failure, request.source_run_id), request.experiment_id) from None
    return {"model": shown(answer.model, calls.workspace)}


async def get(calls: Calls, request: ById) -> Answer:
    """A deleted one only with `allow_deleted`."""
    by_id = pb.GetLoggedModelRequest(model_id=request.model_id, show_deleted=request.allow_deleted)
    answer = await _on_model(calls, request.model_id, calls.to.tracking.GetLoggedModel, by_id)
    return {"model": shown(answer.model, calls.workspace)}


async def finalize(calls: Calls, request: Finalize) -> Answer:
    """READY, or failed."""
    state = _FINAL.get(str(request.status))
    if state is None:
        raise failures.unusable(
            "status", request.status, "it must be LOGGED_MODEL_READY or LOGGED_MODEL_UPLOAD_FAILED."
        )
    final = pb.FinalizeLoggedModelRequest(model_id=request.model_id, state=state)
    answer = await _on_model(calls, request.model_id, calls.to.tracking.FinalizeLoggedModel, final)
    return {"model": shown(answer.model, calls.workspace)}


async def delete(calls: Calls, request: ById) -> Answer:
    """To the bin."""
    deleted = pb.DeleteLoggedModelRequest(model_id=request.model_id)
    await _on_model(calls, request.model_id, calls.to.tracking.DeleteLoggedModel, deleted)
    return {}


async def set_tags(calls: Calls, request: SetTags) -> Answer:
    """Adds tags and changes them."""
    tags = pb.SetLoggedModelTagsRequest(model_id=request.model_id, tags=_values(request.tags, runs.TAG_VALUE))
    answer = await _on_model(calls, request.model_id, calls.to.tracking.SetLoggedModelTags, tags)
    return {"model": shown(answer.model, calls.workspace)}


async def delete_tag(calls: Calls, request: DeleteTag) -> Answer:
    """A tag that is not there is not found."""
    tag = pb.DeleteLoggedModelTagRequest(model_id=request.model_id, key=request.tag_key)
    await _on_model(calls, request.model_id, calls.to.tracking.DeleteLoggedModelTag, tag)
    return {}


async def log_params(calls: Calls, request: LogParams) -> Answer:
    """More params."""
    params = _values(request.params, runs.PARAM_VALUE)
    logged = pb.LogLoggedModelParamsRequest(model_id=request.model_id, params=params)
    await _on_model(calls, request.model_id, calls.to.tracking.LogLoggedModelParams, logged)
    return {}


async def search(calls: Calls, request: Search) -> Answer:
    """A page, in a stable order."""
    found = await calls(
        calls.to.tracking.SearchLoggedModels,
        pb.SearchLoggedModelsRequest(
            experiment_ids=request.experiment_ids,
            filter=request.filter,
            datasets=[pb.DatasetName(name=one.dataset_name, digest=one.dataset_digest) for one in request.datasets],
            order_by=[_order(one) for one in request.order_by],
            page_size=experiments.page_size(request.max_results, MOST_RESULTS),
            page_token=request.page_token,
        ),
    )
    models = [shown(model, calls.workspace) for model in found.models]
    return wire.without_empty({"models": models, "next_page_token": found.next_page_token})


async def outputs(calls: Calls, request: Outputs) -> Answer:
    """Which models the run made."""
    made = [tracking_pb2.ModelUse(model_id=one.model_id, step=one.step) for one in request.models]
    uses = pb.LogModelUsesRequest(run_id=runs.run_id(request.run_id), outputs=made)
    await runs.on_run(calls, request.run_id, calls.to.tracking.LogModelUses, uses)
    return {}


def shown(model: tracking_pb2.LoggedModel, workspace: str) -> Answer:
    """The model as MLflow has it."""
    info = wire.without_empty(
        {
            "model_id": model.model_id,
            "experiment_id": model.experiment_id,
            "name": model.name,
            "creation_timestamp_ms": model.create_time.ToMilliseconds(),
            "last_updated_timestamp_ms": model.update_time.ToMilliseconds(),
            "artifact_uri": artifact_uri(model, workspace),
            "status": _STATES[model.state],
            "creator_id": model.user_id,
            "model_type": model.model_type,
            "source_run_id": model.run_id,
            "status_message": model.state_message,
            "tags": wire.tags(model.tags),
        }
    )
    data = {
        "params": wire.tags(model.params),
        "metrics": [_metric(model.model_id, one) for one in model.metrics],
    }
    return {"info": info, "data": wire.without_empty(data)}


def artifact_uri(model: tracking_pb2.LoggedModel, workspace: str) -> str:
    """Where the model's files are."""
    return f"{experiments.artifact_root(model, workspace).rstrip('/')}/models/{model.model_id}/artifacts"


async def _on_model(calls: Calls, model_id: str, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
    try:
        return await calls(method, request)
    except Failure as failure:
        if failure.reason == "LOGGED_MODEL_NOT_FOUND" or (
            failure.reason == "INVALID_FIELD" and failure.message.startswith("model_id:")
        ):
            raise failures.absent(f"Logged model with ID '{model_id}' not found.") from None
        raise


def _order(order: OrderBy) -> pb.LoggedModelOrder:
    asked = pb.LoggedModelOrder(order=f"{order.field_name} {'ASC' if order.ascending else 'DESC'}")
    if order.dataset_name:
        asked.dataset.name, asked.dataset.digest = order.dataset_name, order.dataset_digest
    return asked


def _metric(model_id: str, one: tracking_pb2.ModelMetric) -> Answer:
    return wire.without_empty(
        {
            "key": one.key,
            "value": wire.number(one.value),
            "timestamp": one.time_ms,
            "step": one.step,
            "model_id": model_id,
            "run_id": one.run_id,
            "dataset_name": one.dataset_name,
            "dataset_digest": one.dataset_digest,
        }
    )


def _values(entries: Sequence[Tag], most: int) -> dict[str, str]:
    return {one.key: one.value[:most] for one in entries}
