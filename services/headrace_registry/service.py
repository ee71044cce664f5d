"""RegistryService: translates requests, owns the transactions."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc

from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceServicer
from headrace.api.tracking.v1 import tracking_pb2
from headrace_kit import paging, tenancy
from headrace_kit.db import Connection, Database
from headrace_kit.errors import InvalidField
from headrace_kit.search import finder
from headrace_kit.search.parser import parse_filter, parse_order
from headrace_kit.search.request import Search, View
from headrace_kit.search.tree import Filter, Order
from headrace_kit.search.vocabulary import Vocabulary
from headrace_registry import events, importing, messages, rules, search, store
from headrace_registry.store import ModelRow, RequestRow, VersionRow

Context = grpc.aio.ServicerContext[Any, Any]
GetLoggedModel = Callable[[str, str], Awaitable[tracking_pb2.LoggedModel]]
"""(tenant, model id) → the logged model, or LOGGED_MODEL_NOT_FOUND."""


class RegistryService(RegistryServiceServicer):
    """`logged_model` is asked before a transaction begins, never inside one."""

    def __init__(
        self, db: Database, logged_model: GetLoggedModel, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._db = db
        self._logged_model = logged_model
        self._now = now

    async def CreateModel(self, request: pb.CreateModelRequest, context: Context) -> pb.CreateModelResponse:
        name = rules.name("name", request.name)
        description = rules.description("description", request.description)
        tags = rules.tags("tags", request.tags)
        now = self._now()
        row = ModelRow(tenancy.caller().tenant_id, name, description, {}, now, now, {}, 0)
        row = rules.with_tags(row, tags, now)
        async with self._changing(name) as conn:
            if not await store.insert_model(conn, row):
                raise rules.model_exists(name)
            await events.model_created(conn, row)
        return pb.CreateModelResponse(model=messages.model(row))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            model = await _shown(conn, await _model(conn, rules.name("name", request.name)))
        return pb.GetModelResponse(model=model)

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.UpdateModelResponse:
        name = rules.name("model.name", request.model.name)
        rules.check_mask(request.update_mask.paths)
        description = rules.description("model.description", request.model.description)
        async with self._changing(name) as conn:
            old = await _model(conn, name)
            rules.check_etag(old, request.model.etag, messages.model(old).etag)
            new = rules.described(old, description, self._now())
            await _update_model(conn, old, new)
            return pb.UpdateModelResponse(model=await _shown(conn, new))

    async def RenameModel(self, request: pb.RenameModelRequest, context: Context) -> pb.RenameModelResponse:
        name = rules.name("name", request.name)
        new_name = rules.name("new_name", request.new_name)
        async with self._changing(name, new_name) as conn:
            old = new = await _model(conn, name)
            if new_name != name:
                new = replace(old, name=new_name, update_time=rules.later(old, self._now()))
                await _rename(conn, old, new)
            return pb.RenameModelResponse(model=await _shown(conn, new))

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> pb.DeleteModelResponse:
        name = rules.name("name", request.name)
        async with self._changing(name) as conn:
            row = await _model(conn, name)
            for alias, version in sorted(row.aliases.items()):
                await events.alias_deleted(conn, row.tenant_id, name, alias, version)
            for version in await store.version_numbers(conn, name):
                await events.version_deleted(conn, row.tenant_id, name, version)
            await store.delete_model(conn, name)
            await events.model_deleted(conn, row)
        return pb.DeleteModelResponse()

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        prefix = rules.name("name_prefix", request.name_prefix) if request.name_prefix else ""
        key = paging.decode(request.page_token, ("models", prefix))
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            rows = await store.list_models(conn, prefix, str(key[0]) if key else "", size + 1)
        found = [messages.model(row) for row in rows]
        page = found[: rules.page_length(found, size)]
        token = paging.encode(("models", prefix), [page[-1].name]) if len(page) < len(found) else ""
        return pb.ListModelsResponse(models=page, next_page_token=token)

    async def SearchModels(self, request: pb.SearchModelsRequest, context: Context) -> pb.SearchModelsResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        wanted, orders = _asked(request, search.MODELS)
        binding = ("search models", request.filter, list(request.order_by))
        after = paging.decode(request.page_token, binding)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            asked = Search(search.MODEL_ROWS, tenant_id, View.ALL, wanted, orders)
            hits = await finder.find(conn, asked, after, size + 1)
            ids = [str(hit.id) for hit in hits[:size]]
            rows, latest = await store.find_models(conn, ids), await store.latest_of_stages(conn, ids)
        found = [messages.model(rows[name], latest.get(name, ())) for name in ids]
        kept = rules.page_length(found, size)
        token = paging.encode(binding, hits[kept - 1].place) if kept < len(hits) else ""
        return pb.SearchModelsResponse(models=found[:kept], next_page_token=token)

    async def SetModelTags(self, request: pb.SetModelTagsRequest, context: Context) -> pb.SetModelTagsResponse:
        name = rules.name("name", request.name)
        tags = rules.tags("tags", request.tags)
        async with self._changing(name) as conn:
            old = await _model(conn, name)
            await _update_model(conn, old, rules.with_tags(old, tags, self._now()))
        return pb.SetModelTagsResponse()

    async def DeleteModelTag(self, request: pb.DeleteModelTagRequest, context: Context) -> pb.DeleteModelTagResponse:
        name = rules.name("name", request.name)
        async with self._changing(name) as conn:
            old = await _model(conn, name)
            await _update_model(conn, old, rules.without_tag(old, request.key, self._now()))
        return pb.DeleteModelTagResponse()

    async def CreateModelVersion(
        self, request: pb.CreateModelVersionRequest, context: Context
    ) -> pb.CreateModelVersionResponse:
        name = rules.name("model_name", request.model_name)
        request_id = rules.request_id("request_id", request.request_id)
        row = self._new_version(request)
        if request_id is not None:
            async with self._db.tenant(row.tenant_id) as conn:
                if (made := await _made_before(conn, request_id, request)) is not None:
                    return pb.CreateModelVersionResponse(version=messages.version(made))
        if request.model_id or not request.source:
            logged = await self._logged_model(row.tenant_id, request.model_id)
            rules.check_ready(logged)
            row = replace(row, model_id=logged.model_id, run_id=logged.run_id)
        async with self._changing(name) as conn:
            if request_id is not None and (made := await _made_before(conn, request_id, request)) is not None:
                return pb.CreateModelVersionResponse(version=messages.version(made))
            row = await _insert_version(conn, row)
            if request_id is not None:
                digest = rules.request_digest(request)
                await store.insert_request(conn, row.tenant_id, RequestRow(request_id, digest, name, row.version))
        return pb.CreateModelVersionResponse(version=messages.version(row))

    async def GetModelVersion(self, request: pb.GetModelVersionRequest, context: Context) -> pb.GetModelVersionResponse:
        name = rules.name("model_name", request.model_name)
        by = request.WhichOneof("by")
        if by is None:
            raise InvalidField("by", "must have a version or an alias")
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            if by == "version":
                row = await _version(conn, name, rules.version("version", request.version))
            else:
                row = await _version_of_alias(conn, name, rules.alias_to_read("alias", request.alias))
        return pb.GetModelVersionResponse(version=messages.version(row))

    async def UpdateModelVersion(
        self, request: pb.UpdateModelVersionRequest, context: Context
    ) -> pb.UpdateModelVersionResponse:
        name = rules.name("version.model_name", request.version.model_name)
        number = rules.version("version.version", request.version.version)
        rules.check_mask(request.update_mask.paths)
        description = rules.description("version.description", request.version.description)
        async with self._changing(name) as conn:
            old = await _version(conn, name, number)
            rules.check_etag(old, request.version.etag, messages.version(old).etag)
            new = rules.described(old, description, self._now())
            await _update_version(conn, old, new)
        return pb.UpdateModelVersionResponse(version=messages.version(new))

    async def DeleteModelVersion(
        self, request: pb.DeleteModelVersionRequest, context: Context
    ) -> pb.DeleteModelVersionResponse:
        name = rules.name("model_name", request.model_name)
        number = rules.version("version", request.version)
        async with self._changing(name) as conn:
            model = await _model(conn, name)
            row = await _version(conn, name, number)
            for alias in row.aliases:
                await events.alias_deleted(conn, row.tenant_id, name, alias, number)
            await store.delete_version(conn, name, number)
            await store.update_model(conn, name, replace(model, update_time=rules.later(model, self._now())))
            await events.version_deleted(conn, row.tenant_id, name, number)
        return pb.DeleteModelVersionResponse()

    async def ListModelVersions(
        self, request: pb.ListModelVersionsRequest, context: Context
    ) -> pb.ListModelVersionsResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        name = rules.name("model_name", request.model_name) if request.model_name else ""
        run_id, model_id = rules.sought_id("run_id", request.run_id), rules.sought_id("model_id", request.model_id)
        binding = ("versions", name, run_id, model_id)
        before = rules.position(paging.decode(request.page_token, binding))
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            rows = await store.list_versions(conn, name, run_id, model_id, before, size + 1)
            if name and not rows:
                await _model(conn, name)
        found = [messages.version(row) for row in rows]
        page = found[: rules.page_length(found, size)]
        token = ""
        if len(page) < len(found):
            last = rows[len(page) - 1]
            token = paging.encode(binding, [last.create_time.isoformat(), last.version, last.model_name])
        return pb.ListModelVersionsResponse(versions=page, next_page_token=token)

    async def SearchModelVersions(
        self, request: pb.SearchModelVersionsRequest, context: Context
    ) -> pb.SearchModelVersionsResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        wanted, orders = _asked(request, search.VERSIONS)
        binding = ("search versions", request.filter, list(request.order_by))
        after = paging.decode(request.page_token, binding)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            asked = Search(search.VERSION_ROWS, tenant_id, View.ALL, wanted, orders)
            hits = await finder.find(conn, asked, after, size + 1)
            keys = [(str(hit.row[-2]), int(hit.row[-1])) for hit in hits[:size]]
            rows = await store.find_versions(conn, keys)
        found = [messages.version(rows[key]) for key in keys]
        kept = rules.page_length(found, size)
        token = paging.encode(binding, hits[kept - 1].place) if kept < len(hits) else ""
        return pb.SearchModelVersionsResponse(versions=found[:kept], next_page_token=token)

    async def SetModelVersionStage(
        self, request: pb.SetModelVersionStageRequest, context: Context
    ) -> pb.SetModelVersionStageResponse:
        name = rules.name("model_name", request.model_name)
        number = rules.version("version", request.version)
        stage = rules.stage("stage", request.stage)
        now = self._now()
        async with self._changing(name) as conn:
            old = await _version(conn, name, number)
            there = await store.versions_in_stage(conn, name, stage) if request.archive_existing else []
            for other in there:
                if other.version != number:
                    await _update_version(conn, other, rules.staged(other, rules.ARCHIVED, now))
            new = rules.staged(old, stage, now)
            await _update_version(conn, old, new)
        return pb.SetModelVersionStageResponse(version=messages.version(new))

    async def SetModelVersionTags(
        self, request: pb.SetModelVersionTagsRequest, context: Context
    ) -> pb.SetModelVersionTagsResponse:
        name = rules.name("model_name", request.model_name)
        number = rules.version("version", request.version)
        tags = rules.tags("tags", request.tags)
        async with self._changing(name) as conn:
            old = await _version(conn, name, number)
            await _update_version(conn, old, rules.with_tags(old, tags, self._now()))
        return pb.SetModelVersionTagsResponse()

    async def DeleteModelVersionTag(
        self, request: pb.DeleteModelVersionTagRequest, context: Context
    ) -> pb.DeleteModelVersionTagResponse:
        name = rules.name("model_name", request.model_name)
        number = rules.version("version", request.version)
        async with self._changing(name) as conn:
            old = await _version(conn, name, number)
            await _update_version(conn, old, rules.without_tag(old, request.key, self._now()))
        return pb.DeleteModelVersionTagResponse()

    async def PromoteModelVersion(
        self, request: pb.PromoteModelVersionRequest, context: Context
    ) -> pb.PromoteModelVersionResponse:
        name = rules.name("model_name", request.model_name)
        number = rules.version("version", request.version)
        alias = rules.alias("alias", request.alias or rules.PRODUCTION)
        async with self._changing(name) as conn:
            model = await _model(conn, name)
            row = await _version(conn, name, number)
            previous = model.aliases.get(alias, 0)
            if previous != number:
                rules.check_room_for_alias(model, alias)
                await store.set_alias(conn, row.tenant_id, name, alias, number)
                row = replace(row, aliases=sorted([*row.aliases, alias]))
                await events.promoted(conn, row, alias, previous)
        return pb.PromoteModelVersionResponse(version=messages.version(row), previous_version=previous)

    async def DeleteModelAlias(
        self, request: pb.DeleteModelAliasRequest, context: Context
    ) -> pb.DeleteModelAliasResponse:
        name = rules.name("model_name", request.model_name)
        async with self._changing(name) as conn:
            row = await _model(conn, name)
            version = row.aliases.get(request.alias)
            if version is None:
                raise rules.alias_not_found(name, request.alias)
            await store.delete_alias(conn, name, request.alias)
            await events.alias_deleted(conn, row.tenant_id, name, request.alias, version)
        return pb.DeleteModelAliasResponse()

    async def ImportModel(self, request: pb.ImportModelRequest, context: Context) -> pb.ImportModelResponse:
        wanted = importing.model(tenancy.caller().tenant_id, request.model, self._now())
        async with self._changing(wanted.name) as conn:
            old = await store.find_model(conn, wanted.name)
            if old is None:
                await store.insert_model(conn, wanted)
                await events.model_created(conn, wanted)
            else:
                await _update_model(conn, old, new := importing.as_wanted(old, wanted))
            raised = await store.raise_last_version(conn, wanted.name, request.last_version)
        return pb.ImportModelResponse(changed=raised or old is None or new is not old)

    async def ImportModelVersion(
        self, request: pb.ImportModelVersionRequest, context: Context
    ) -> pb.ImportModelVersionResponse:
        wanted = importing.version(tenancy.caller().tenant_id, request.version, self._now())
        name, number = wanted.model_name, wanted.version
        async with self._db.tenant(wanted.tenant_id) as conn:
            old = await store.find_version(conn, name, number)
        if wanted.model_id and (old is None or old.model_id != wanted.model_id):
            rules.check_ready(await self._logged_model(wanted.tenant_id, wanted.model_id))
        async with self._changing(name) as conn:
            await _model(conn, name)
            old = await store.find_version(conn, name, number)
            if old is None:
                await store.raise_last_version(conn, name, number)
                await store.insert_version(conn, wanted)
                await events.version_created(conn, wanted)
            else:
                await _update_version(conn, old, new := importing.as_wanted(old, wanted))
        return pb.ImportModelVersionResponse(changed=old is None or new is not old)

    @asynccontextmanager
    async def _changing(self, *names: str) -> AsyncIterator[Connection]:
        """A transaction in which nobody else changes what has these names, or takes one of them."""
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            for name in sorted(set(names)):  # in one order, so that two renames cannot wait for each other
                await store.lock_name(conn, name)
            yield conn

    def _new_version(self, request: pb.CreateModelVersionRequest) -> VersionRow:
        """What the request says of the version; its number, model and run are not known yet."""
        now = self._now()
        tags = rules.tags("tags", request.tags)
        row = VersionRow(
            tenant_id=tenancy.caller().tenant_id,
            model_name=request.model_name,
            version=0,
            model_id="",
            run_id=rules.sought_id("run_id", request.run_id),
            source=rules.location("source", request.source),
            run_link=rules.location("run_link", request.run_link),
            description=rules.description("description", request.description),
            tags={},
            user_id="",
            create_time=now,
            update_time=now,
            aliases=(),
        )
        return rules.with_tags(row, tags, now)


def _asked(
    request: pb.SearchModelsRequest | pb.SearchModelVersionsRequest, vocabulary: Vocabulary
) -> tuple[Filter | None, list[Order]]:
    return parse_filter(request.filter, vocabulary), parse_order(request.order_by, vocabulary)


async def _model(conn: Connection, name: str) -> ModelRow:
    row = await store.find_model(conn, name)
    if row is None:
        raise rules.model_not_found(name)
    return row


async def _shown(conn: Connection, row: ModelRow) -> registry_pb2.Model:
    latest = await store.latest_of_stages(conn, [row.name])
    return messages.model(row, latest.get(row.name, ()))


async def _version(conn: Connection, name: str, number: int) -> VersionRow:
    row = await store.find_version(conn, name, number)
    if row is None:
        await _model(conn, name)  # says so when there is not even that
        raise rules.version_not_found(name, number)
    return row


async def _version_of_alias(conn: Connection, name: str, alias: str) -> VersionRow:
    latest = alias.lower() == rules.LATEST
    row = await (store.find_latest(conn, name) if latest else store.find_by_alias(conn, name, alias))
    if row is None:
        await _model(conn, name)
        raise rules.version_not_found(name, 0) if latest else rules.alias_not_found(name, alias)
    return row


async def _update_model(conn: Connection, old: ModelRow, new: ModelRow) -> None:
    if new is not old:
        await store.update_model(conn, old.name, new)
        await events.model_updated(conn, new)


async def _update_version(conn: Connection, old: VersionRow, new: VersionRow) -> None:
    if new is not old:
        await store.update_version(conn, new)
        await events.version_updated(conn, new)


async def _rename(conn: Connection, old: ModelRow, new: ModelRow) -> None:
    """The old name's aliases end and the new name's begin: whoever follows a name learns it from the name's events."""
    if await store.find_model(conn, new.name) is not None:
        raise rules.model_exists(new.name)
    await store.update_model(conn, old.name, new)
    for alias, version in sorted(old.aliases.items()):
        await events.alias_deleted(conn, old.tenant_id, old.name, alias, version)
    await events.model_updated(conn, new, previous_name=old.name)
    for alias, version in sorted(new.aliases.items()):
        await events.promoted(conn, await _version(conn, new.name, version), alias, 0)


async def _made_before(conn: Connection, request_id: UUID, request: pb.CreateModelVersionRequest) -> VersionRow | None:
    """What the same request made the first time. Raises InvalidField when it was another, NOT_FOUND when it is deleted."""
    known = await store.find_request(conn, request_id)
    if known is None:
        return None
    rules.check_repetition(known, rules.request_digest(request))
    return await _version(conn, known.model_name, known.version)


async def _insert_version(conn: Connection, row: VersionRow) -> VersionRow:
    """Gives it the model's next number."""
    model = await _model(conn, row.model_name)
    time = rules.later(model, row.create_time)
    number = await store.next_version(conn, row.model_name, time)
    row = replace(row, version=number, create_time=time, update_time=time)
    await store.insert_version(conn, row)
    await events.version_created(conn, row)
    return row
