"""Routes under `registered-models/`."""

import re
from typing import Final

import grpc

from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace_gateway.mlflow import experiments, failures, versions, wire
from headrace_gateway.mlflow.calls import A, Calls, Q
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Int64, Request, Tag, Text

MOST_RESULTS: Final = 1000
_PROMPT: Final = "mlflow.prompt.is_prompt"
_NO_PROMPT: Final = f"NOT tags.`{_PROMPT}` = 'true'"
_NOT_PROMPT: Final = re.compile(rf"tags?\.[`\"]?{re.escape(_PROMPT)}[`\"]?\s*!=\s*'true'", re.IGNORECASE)


class Create(Request):
    """create."""

    name: Text
    tags: tuple[Tag, ...] = ()
    description: str = ""


class ByName(Request):
    """get, delete."""

    name: Text


class Rename(Request):
    """rename."""

    name: Text
    new_name: Text


class Update(Request):
    """update."""

    name: Text
    description: str = ""


class Search(Request):
    """search."""

    filter: str = ""
    max_results: Int64 = 100
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class Latest(Request):
    """get-latest-versions."""

    name: Text
    stages: tuple[str, ...] = ()


class SetTag(Request):
    """set-tag."""

    name: Text
    key: Text
    value: str = ""


class DeleteTag(Request):
    """delete-tag."""

    name: Text
    key: Text


class SetAlias(Request):
    """POST alias."""

    name: Text
    alias: Text
    version: Text | int


class ByAlias(Request):
    """GET and DELETE alias."""

    name: Text
    alias: Text


async def create(calls: Calls, request: Create) -> Answer:
    """A name in use is RESOURCE_ALREADY_EXISTS."""
    model = pb.CreateModelRequest(
        name=request.name,
        description=request.description,
        tags={one.key: one.value for one in request.tags},
    )
    try:
        answer = await calls(calls.to.registry.CreateModel, model)
    except Failure as failure:
        if failure.reason == "MODEL_EXISTS":
            raise failure.said(f"Registered Model (name={request.name}) already exists.") from None
        raise
    return {"registered_model": shown(answer.model)}


async def get(calls: Calls, request: ByName) -> Answer:
    """With its aliases and the latest versions of its stages."""
    answer = await on_model(calls, request.name, calls.to.registry.GetModel, pb.GetModelRequest(name=request.name))
    return {"registered_model": shown(answer.model)}


async def rename(calls: Calls, request: Rename) -> Answer:
    """Versions, aliases and tags go with it."""
    renamed = pb.RenameModelRequest(name=request.name, new_name=request.new_name)
    try:
        answer = await on_model(calls, request.name, calls.to.registry.RenameModel, renamed)
    except Failure as failure:
        if failure.reason == "MODEL_EXISTS":
            raise failure.said(f"Registered Model (name={request.new_name}) already exists.") from None
        raise
    return {"registered_model": shown(answer.model)}


async def update(calls: Calls, request: Update) -> Answer:
    """The description."""
    model = registry_pb2.Model(name=request.name, description=request.description)
    changed = pb.UpdateModelRequest(model=model)
    changed.update_mask.paths.append("description")
    answer = await on_model(calls, request.name, calls.to.registry.UpdateModel, changed)
    return {"registered_model": shown(answer.model)}


async def delete(calls: Calls, request: ByName) -> Answer:
    """With all its versions."""
    await on_model(calls, request.name, calls.to.registry.DeleteModel, pb.DeleteModelRequest(name=request.name))
    return {}


async def search(calls: Calls, request: Search) -> Answer:
    """A page; prompts only where the filter asks for them."""
    found = await calls(
        calls.to.registry.SearchModels,
        pb.SearchModelsRequest(
            filter=without_prompts(request.filter),
            order_by=experiments.orders(request.order_by),
            page_size=experiments.page_size(request.max_results, MOST_RESULTS),
            page_token=request.page_token,
        ),
    )
    models = [shown(model) for model in found.models]
    return wire.without_empty({"registered_models": models, "next_page_token": found.next_page_token})


async def latest(calls: Calls, request: Latest) -> Answer:
    """The highest version of each stage, or of those named."""
    answer = await on_model(calls, request.name, calls.to.registry.GetModel, pb.GetModelRequest(name=request.name))
    wanted = {versions.stage(one) for one in request.stages}
    found = [one for one in answer.model.latest_versions if not wanted or one.stage in wanted]
    return wire.without_empty({"model_versions": [versions.shown(one) for one in found]})


async def set_tag(calls: Calls, request: SetTag) -> Answer:
    """Adds the tag or changes it."""
    tags = pb.SetModelTagsRequest(name=request.name, tags={request.key: request.value})
    await on_model(calls, request.name, calls.to.registry.SetModelTags, tags)
    return {}


async def delete_tag(calls: Calls, request: DeleteTag) -> Answer:
    """A tag that is not there is none already."""
    tag = pb.DeleteModelTagRequest(name=request.name, key=request.key)
    try:
        await on_model(calls, request.name, calls.to.registry.DeleteModelTag, tag)
    except Failure as failure:
        if failure.reason != "TAG_NOT_FOUND":
            raise
    return {}


async def set_alias(calls: Calls, request: SetAlias) -> Answer:
    """Promotes: whoever serves the alias serves this version."""
    promoted = pb.PromoteModelVersionRequest(
        model_name=request.name, version=versions.number(request.version), alias=request.alias
    )
    await versions.on_version(calls, request.name, promoted.version, calls.to.registry.PromoteModelVersion, promoted)
    return {}


async def get_by_alias(calls: Calls, request: ByAlias) -> Answer:
    """The alias "latest" is the highest version."""
    by_alias = pb.GetModelVersionRequest(model_name=request.name, alias=request.alias)
    try:
        answer = await on_model(calls, request.name, calls.to.registry.GetModelVersion, by_alias)
    except Failure as failure:
        if failure.reason == "ALIAS_NOT_FOUND":
            raise failures.invalid(f"Registered model alias {request.alias} not found.") from None
        raise
    return {"model_version": versions.shown(answer.version)}


async def delete_alias(calls: Calls, request: ByAlias) -> Answer:
    """An alias that is not there is none already."""
    alias = pb.DeleteModelAliasRequest(model_name=request.name, alias=request.alias)
    try:
        await on_model(calls, request.name, calls.to.registry.DeleteModelAlias, alias)
    except Failure as failure:
        if failure.reason != "ALIAS_NOT_FOUND":
            raise
    return {}


def shown(model: registry_pb2.Model) -> Answer:
    """The model as MLflow has it."""
    return wire.without_empty(
        {
            "name": model.name,
            "creation_timestamp": model.create_time.ToMilliseconds(),
            "last_updated_timestamp": model.update_time.ToMilliseconds(),
            "description": model.description,
            "latest_versions": [versions.shown(one) for one in model.latest_versions],
            "tags": wire.tags(model.tags),
            "aliases": [{"alias": alias, "version": str(number)} for alias, number in sorted(model.aliases.items())],
        }
    )


def without_prompts(text: str) -> str:
    """The filter, with what MLflow takes for granted: prompts are models too, and not meant unless they are asked for.

    Its clients may ask for the others by "!=", and mean models without the tag too.
    """
    if _PROMPT not in text:
        return f"({text}) AND {_NO_PROMPT}" if text.strip() else _NO_PROMPT
    return _NOT_PROMPT.sub(_NO_PROMPT, text)


async def on_model(calls: Calls, name: str, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
    """A call about the model of this name; says failures as MLflow does."""
    try:
        return await calls(method, request)
    except Failure as failure:
        if failure.reason == "MODEL_NOT_FOUND":
            raise failure.said(f"Registered Model with name={name} not found") from None
        raise
