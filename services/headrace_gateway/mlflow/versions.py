"""Routes under `model-versions/`."""

import re
from typing import Final

import grpc
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace.api.tracking.v1 import tracking_service_pb2
from headrace_gateway.mlflow import adopting, artifacts, experiments, failures, models, registered, wire
from headrace_gateway.mlflow.artifacts import Place
from headrace_gateway.mlflow.calls import A, Calls, Q
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Int64, Request, Tag, Text

MOST_RESULTS: Final = 200_000
_PAGE: Final = 1000
_STAGES: Final = {name.lower(): name for name in ("None", "Staging", "Production", "Archived")}
_OF_STAGES: Final = ("Staging", "Production")
"""Stages whose versions others may take the place of."""
_VERSION: Final = re.compile(r"[0-9]{1,9}")


class Create(Request):
    """create."""

    name: Text
    source: Text
    run_id: str = ""
    run_link: str = ""
    description: str = ""
    model_id: str = ""
    tags: tuple[Tag, ...] = ()


class ByVersion(Request):
    """get, delete, get-download-uri."""

    name: Text
    version: Text | int


class Update(Request):
    """update."""

    name: Text
    version: Text | int
    description: str = ""


class Transition(Request):
    """transition-stage."""

    name: Text
    version: Text | int
    stage: Text
    archive_existing_versions: bool = False


class Search(Request):
    """search."""

    filter: str = ""
    max_results: Int64 = MOST_RESULTS
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class SetTag(Request):
    """set-tag."""

    name: Text
    version: Text | int
    key: Text
    value: str = ""


class DeleteTag(Request):
    """delete-tag."""

    name: Text
    version: Text | int
    key: Text


async def create(calls: Calls, request: Create) -> Answer:
    """The next version of a model, from a logged model, from files of a run, or from elsewhere."""
    made = pb.CreateModelVersionRequest(
        model_name=request.name,
        model_id=await adopting.logged_model(calls, request.source, request.model_id),
        source=request.source,
        run_id=request.run_id,
        run_link=request.run_link,
        description=request.description,
        tags={one.key: one.value for one in request.tags},
    )
    answer = await registered.on_model(calls, request.name, calls.to.registry.CreateModelVersion, made)
    return {"model_version": shown(answer.version)}


async def get(calls: Calls, request: ByVersion) -> Answer:
    """With its aliases."""
    return {"model_version": shown(await _found(calls, request))}


async def update(calls: Calls, request: Update) -> Answer:
    """The description."""
    version = number(request.version)
    changed = pb.UpdateModelVersionRequest(
        version=registry_pb2.ModelVersion(model_name=request.name, version=version, description=request.description)
    )
    changed.update_mask.paths.append("description")
    answer = await on_version(calls, request.name, version, calls.to.registry.UpdateModelVersion, changed)
    return {"model_version": shown(answer.version)}


async def transition(calls: Calls, request: Transition) -> Answer:
    """To a stage; what is served follows aliases alone."""
    wanted = stage(request.stage)
    if request.archive_existing_versions and wanted not in _OF_STAGES:
        # As MLflow has it: without a code of its own, and so 500.
        raise Failure(
            "INTERNAL_ERROR",
            f"Model version transition cannot archive existing model versions because '{wanted}' is not an Active stage."
            f" Valid stages are {', '.join(_OF_STAGES)}",
        )
    moved = pb.SetModelVersionStageRequest(
        model_name=request.name,
        version=number(request.version),
        stage=wanted,
        archive_existing=request.archive_existing_versions,
    )
    answer = await on_version(calls, request.name, moved.version, calls.to.registry.SetModelVersionStage, moved)
    return {"model_version": shown(answer.version)}


async def delete(calls: Calls, request: ByVersion) -> Answer:
    """With the aliases that point to it."""
    gone = pb.DeleteModelVersionRequest(model_name=request.name, version=number(request.version))
    await on_version(calls, request.name, gone.version, calls.to.registry.DeleteModelVersion, gone)
    return {}


async def search(calls: Calls, request: Search) -> Answer:
    """A page; prompts only where the filter asks for them."""
    size = experiments.page_size(request.max_results, MOST_RESULTS)
    found = await calls(
        calls.to.registry.SearchModelVersions,
        pb.SearchModelVersionsRequest(
            filter=registered.without_prompts(request.filter),
            order_by=experiments.orders(request.order_by),
            page_size=min(size, _PAGE),
            page_token=request.page_token,
        ),
    )
    shown_versions = [shown(version) for version in found.versions]
    return wire.without_empty({"model_versions": shown_versions, "next_page_token": found.next_page_token})


async def download_uri(calls: Calls, request: ByVersion) -> Answer:
    """Where the version's files are."""
    version = await _found(calls, request)
    if not version.model_id:
        return {"artifact_uri": version.source}
    by_id = tracking_service_pb2.GetLoggedModelRequest(model_id=version.model_id, show_deleted=True)
    model = (await calls(calls.to.tracking.GetLoggedModel, by_id)).model
    return {"artifact_uri": models.artifact_uri(model, calls.workspace)}


async def file(calls: Calls, request: HttpRequest) -> Response:
    """model-versions/get-artifact: for a browser."""
    asked = request.query_params
    for name in ("name", "version", "path"):
        if not asked.get(name):
            raise failures.missing(name)
    version = await _found(calls, ByVersion(name=asked["name"], version=asked["version"]))
    if not version.model_id:
        raise failures.absent(f"The files of this version are not here, but at '{version.source}'.")
    where = Place(artifacts_pb2.Owner(model_id=version.model_id), artifacts.safe(asked["path"]))
    return await artifacts.sent(calls, where, request.headers)


async def set_tag(calls: Calls, request: SetTag) -> Answer:
    """Adds the tag or changes it."""
    tags = pb.SetModelVersionTagsRequest(
        model_name=request.name, version=number(request.version), tags={request.key: request.value}
    )
    await on_version(calls, request.name, tags.version, calls.to.registry.SetModelVersionTags, tags)
    return {}


async def delete_tag(calls: Calls, request: DeleteTag) -> Answer:
    """A tag that is not there is none already."""
    tag = pb.DeleteModelVersionTagRequest(model_name=request.name, version=number(request.version), key=request.key)
    try:
        await on_version(calls, request.name, tag.version, calls.to.registry.DeleteModelVersionTag, tag)
    except Failure as failure:
        if failure.reason != "TAG_NOT_FOUND":
            raise
    return {}


def shown(version: registry_pb2.ModelVersion) -> Answer:
    """The version as MLflow has it."""
    return wire.without_empty(
        {
            "name": version.model_name,
            "version": str(version.version),
            "creation_timestamp": version.create_time.ToMilliseconds(),
            "last_updated_timestamp": version.update_time.ToMilliseconds(),
            "user_id": version.user_id,
            "current_stage": version.stage or "None",
            "description": version.description,
            "source": version.source or f"models:/{version.model_id}",
            "run_id": version.run_id,
            "run_link": version.run_link,
            "status": "READY",
            "tags": wire.tags(version.tags),
            "aliases": list(version.aliases),
            "model_id": version.model_id,
        }
    )


def number(text: str | int) -> int:
    """Raises Failure where it can be no version."""
    if not _VERSION.fullmatch(str(text)) or not int(text):
        raise failures.unusable("version", text, "it must be a positive integer.")
    return int(text)


def stage(text: str) -> str:
    """As it is kept, however it is written. Raises Failure."""
    known = _STAGES.get(text.lower())
    if known is None:
        raise failures.invalid(
            f"Invalid Model Version stage: {text[:250]}. Value must be one of {', '.join(_STAGES.values())}."
        )
    return known


async def on_version(
    calls: Calls, name: str, version: int, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q
) -> A:
    """A call about the version; says failures as MLflow does."""
    try:
        return await registered.on_model(calls, name, method, request)
    except Failure as failure:
        if failure.reason == "MODEL_VERSION_NOT_FOUND":
            raise failure.said(f"Model Version (name={name}, version={version}) not found") from None
        raise


async def _found(calls: Calls, request: ByVersion) -> registry_pb2.ModelVersion:
    by_number = pb.GetModelVersionRequest(model_name=request.name, version=number(request.version))
    called = calls.to.registry.GetModelVersion
    return (await on_version(calls, request.name, by_number.version, called, by_number)).version
