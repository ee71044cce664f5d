"""Routes under `experiments/`."""

from collections.abc import Sequence
from typing import Final

import grpc

from headrace.api.identity.v1 import identity_service_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_gateway.mlflow import failures, wire
from headrace_gateway.mlflow.calls import A, Calls, Q
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Int64, Request, Tag, Text
from headrace_kit import workspaces

MOST_RESULTS: Final = 50_000
_MOST_WITH_DATASETS: Final = 20
VIEWS: Final = {
    "ACTIVE_ONLY": pb.VIEW_TYPE_ACTIVE_ONLY,
    "DELETED_ONLY": pb.VIEW_TYPE_DELETED_ONLY,
    "ALL": pb.VIEW_TYPE_ALL,
    "1": pb.VIEW_TYPE_ACTIVE_ONLY,
    "2": pb.VIEW_TYPE_DELETED_ONLY,
    "3": pb.VIEW_TYPE_ALL,
}
"""Names and numbers of ViewType, as JSON has either."""


class Create(Request):
    """experiments/create."""

    name: Text
    artifact_location: str = ""
    tags: tuple[Tag, ...] = ()


class ById(Request):
    """get, delete, restore."""

    experiment_id: Text


class ByName(Request):
    """get-by-name."""

    experiment_name: Text


class Update(Request):
    """update: renames."""

    experiment_id: Text
    new_name: Text


class SetTag(Request):
    """set-experiment-tag."""

    experiment_id: Text
    key: Text
    value: str = ""


class DeleteTag(Request):
    """delete-experiment-tag."""

    experiment_id: Text
    key: Text


class Search(Request):
    """search."""

    filter: str = ""
    order_by: tuple[str, ...] = ()
    max_results: Int64 = 0
    page_token: str = ""
    view_type: str | int = "ACTIVE_ONLY"


class SearchDatasets(Request):
    """search-datasets."""

    experiment_ids: tuple[str, ...] = ()


async def create(calls: Calls, request: Create) -> Answer:
    """A name in use, also by a deleted experiment, is RESOURCE_ALREADY_EXISTS."""
    made = pb.CreateExperimentRequest(
        name=request.name,
        artifact_location=request.artifact_location,
        tags={tag.key: tag.value for tag in request.tags},
    )
    if not made.artifact_location:
        here = identity_service_pb2.GetWorkspaceRequest(name=calls.workspace)
        made.artifact_root = (await calls(calls.to.identity.GetWorkspace, here)).workspace.default_artifact_root
    try:
        answer = await calls(calls.to.tracking.CreateExperiment, made)
    except Failure as failure:
        if failure.reason == "EXPERIMENT_EXISTS":
            raise failure.said(
                f"Experiment '{request.name}' already exists. It may be deleted: then restore it, or purge it for good."
            ) from None
        raise
    return {"experiment_id": answer.experiment.experiment_id}


async def get(calls: Calls, request: ById) -> Answer:
    """Deleted ones included."""
    by_id = pb.GetExperimentRequest(experiment_id=known_id(request.experiment_id))
    answer = await _on_experiment(calls, request.experiment_id, calls.to.tracking.GetExperiment, by_id)
    return {"experiment": shown(answer.experiment, calls.workspace)}


async def get_by_name(calls: Calls, request: ByName) -> Answer:
    """Deleted ones included."""
    try:
        answer = await calls(calls.to.tracking.GetExperiment, pb.GetExperimentRequest(name=request.experiment_name))
    except Failure as failure:
        if failure.reason == "EXPERIMENT_NOT_FOUND":
            raise failure.said(f"Could not find experiment with name '{request.experiment_name}'") from None
        raise
    return {"experiment": shown(answer.experiment, calls.workspace)}


async def delete(calls: Calls, request: ById) -> Answer:
    """With its runs; a deleted one is not found."""
    deleted = pb.DeleteExperimentRequest(experiment_id=known_id(request.experiment_id))
    try:
        await calls(calls.to.tracking.DeleteExperiment, deleted)
    except Failure as failure:
        if failure.reason == "NOT_ACTIVE":
            raise _unknown(request.experiment_id) from None
        raise named(failure, request.experiment_id) from None
    return {}


async def restore(calls: Calls, request: ById) -> Answer:
    """With all its runs; one that is not deleted is not found."""
    restored = pb.RestoreExperimentRequest(experiment_id=known_id(request.experiment_id))
    await _on_experiment(calls, request.experiment_id, calls.to.tracking.RestoreExperiment, restored)
    return {}


async def update(calls: Calls, request: Update) -> Answer:
    """Renames; that of a deleted one is INVALID_STATE, as clients expect it."""
    renamed = pb.UpdateExperimentRequest(experiment_id=known_id(request.experiment_id), name=request.new_name)
    try:
        await calls(calls.to.tracking.UpdateExperiment, renamed)
    except Failure as failure:
        if failure.reason == "NOT_ACTIVE":
            raise Failure("INVALID_STATE", "Cannot rename a non-active experiment.") from None
        raise named(failure, request.experiment_id) from None
    return {}


async def set_tag(calls: Calls, request: SetTag) -> Answer:
    """Adds the tag or changes it."""
    tags = pb.SetExperimentTagsRequest(experiment_id=known_id(request.experiment_id), tags={request.key: request.value})
    await _on_experiment(calls, request.experiment_id, calls.to.tracking.SetExperimentTags, tags)
    return {}


async def delete_tag(calls: Calls, request: DeleteTag) -> Answer:
    """A tag that is not there is not found."""
    tag = pb.DeleteExperimentTagRequest(experiment_id=known_id(request.experiment_id), key=request.key)
    await _on_experiment(calls, request.experiment_id, calls.to.tracking.DeleteExperimentTag, tag)
    return {}


async def search(calls: Calls, request: Search) -> Answer:
    """A page; clients must say how large."""
    size = page_size(request.max_results, MOST_RESULTS)
    found = await calls(
        calls.to.tracking.SearchExperiments,
        pb.SearchExperimentsRequest(
            filter=request.filter,
            order_by=orders(request.order_by),
            view_type=view(request.view_type),
            page_size=size,
            page_token=request.page_token,
        ),
    )
    experiments = [shown(experiment, calls.workspace) for experiment in found.experiments]
    return wire.without_empty({"experiments": experiments, "next_page_token": found.next_page_token})


async def search_datasets(calls: Calls, request: SearchDatasets) -> Answer:
    """Which datasets the runs used and what for, each once; the first thousand."""
    if not request.experiment_ids:
        raise failures.invalid("SearchDatasets request must specify at least one experiment_id.")
    if len(request.experiment_ids) > _MOST_WITH_DATASETS:
        raise failures.invalid(
            f"SearchDatasets request cannot specify more than {_MOST_WITH_DATASETS} experiment_ids."
            f" Received {len(request.experiment_ids)} experiment_ids."
        )
    asked = pb.SearchDatasetsRequest(experiment_ids=[known_id(one) for one in request.experiment_ids])
    found = await calls(calls.to.tracking.SearchDatasets, asked)
    summaries = [
        wire.without_empty(
            {"experiment_id": one.experiment_id, "name": one.name, "digest": one.digest, "context": one.context}
        )
        for one in found.datasets
    ]
    return wire.without_empty({"dataset_summaries": summaries})


def shown(experiment: tracking_pb2.Experiment, workspace: str) -> Answer:
    """The experiment as MLflow has it."""
    active = experiment.lifecycle_stage == tracking_pb2.LIFECYCLE_STAGE_ACTIVE
    return wire.without_empty(
        {
            "experiment_id": experiment.experiment_id,
            "name": experiment.name,
            "artifact_location": artifact_root(experiment, workspace),
            "lifecycle_stage": "active" if active else "deleted",
            "creation_time": experiment.create_time.ToMilliseconds(),
            "last_update_time": experiment.update_time.ToMilliseconds(),
            "tags": wire.tags(experiment.tags),
            "workspace": workspace,
        }
    )


def artifact_root(of: tracking_pb2.Experiment | tracking_pb2.Run | tracking_pb2.LoggedModel, workspace: str) -> str:
    """Below which its files are: the experiment's own location, else Headrace's store."""
    folder = "" if workspace == workspaces.DEFAULT else f"workspaces/{workspace}/"
    return of.artifact_location or f"mlflow-artifacts:/{folder}{of.experiment_id}"


def page_size(asked: int, most: int) -> int:
    """Raises Failure for what is no size of a page."""
    if not 0 < asked <= most:
        raise failures.unusable("max_results", asked, f"it must be from 1 to {most}.")
    return asked


def view(asked: str | int) -> pb.ViewType:
    """Raises Failure for what is no view."""
    known = VIEWS.get(str(asked))
    if known is None:
        raise failures.unusable("view_type", asked, f"it must be one of {', '.join(list(VIEWS)[:3])}.")
    return known


def orders(asked: Sequence[str]) -> list[str]:
    """MLflow's clients send their list's entries as they are; an empty one means nothing."""
    return [one for one in asked if one.strip()]


def known_id(text: str) -> str:
    """The id as Headrace writes it. Raises Failure for what can be no experiment's id."""
    if not text.isascii() or not text.isdigit():
        raise failures.invalid(f"Invalid experiment ID: '{text[:250]}'. It must be an integer, as a string.")
    return text.lstrip("0") or "0"


def named(failure: Failure, experiment_id: str) -> Failure:
    """In MLflow's words, where clients match them."""
    if failure.reason in {"EXPERIMENT_NOT_FOUND", "WRONG_STATE"}:
        return _unknown(experiment_id)
    if failure.reason == "NOT_ACTIVE":
        return failures.invalid(
            f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted."
        )
    return failure


async def _on_experiment(
    calls: Calls, experiment_id: str, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q
) -> A:
    """A call about the experiment; says failures as MLflow does."""
    try:
        return await calls(method, request)
    except Failure as failure:
        raise named(failure, experiment_id) from None


def _unknown(experiment_id: str) -> Failure:
    return failures.absent(f"No Experiment with id={experiment_id} exists")
