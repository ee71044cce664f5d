"""Calls about logged models."""

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from uuid import UUID

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import paging, tenancy
from headrace_kit.db import Connection
from headrace_kit.errors import DomainError, InvalidField
from headrace_tracking import events, limits, lookup, messages, reading, rules
from headrace_tracking.service.base import Calls, Context
from headrace_tracking.store import models as store
from headrace_tracking.store.models import MeasuredRow, ModelPlace, ModelRow


class ModelCalls(Calls):
    """Logged models, but for their search."""

    async def CreateLoggedModel(
        self, request: pb.CreateLoggedModelRequest, context: Context
    ) -> pb.CreateLoggedModelResponse:
        name = limits.model_name("name", request.name) if request.name else self._new_name()
        limits.text("model_type", request.model_type, limits.MODEL_TYPE)
        params = limits.entries("params", request.params, limits.PARAM_VALUE)
        tags = limits.entries("tags", request.tags, limits.RUN_TAG_VALUE)
        user_id = limits.text("user_id", request.user_id, limits.USER_ID)
        tenant_id = tenancy.caller().tenant_id
        now_ms = self._now_ms()
        async with self._db.tenant(tenant_id) as conn:
            experiment_id, run_id = await self._owner(conn, tenant_id, request)
            row = ModelRow(
                model_id=limits.model_id("model_id", request.model_id) if request.model_id else self._new_id(),
                experiment_id=experiment_id,
                run_id=run_id,
                name=name,
                model_type=request.model_type,
                state=rules.PENDING,
                state_message="",
                params=params,
                tags=tags,
                create_ms=now_ms,
                update_ms=now_ms,
                user_id=user_id,
            )
            if not await store.insert(conn, tenant_id, row):
                return pb.CreateLoggedModelResponse(model=messages.model(await _announced_before(conn, row)))
            await events.model_created(conn, tenant_id, row)
        return pb.CreateLoggedModelResponse(model=messages.model(row))

    async def _owner(
        self, conn: Connection, tenant_id: str, request: pb.CreateLoggedModelRequest
    ) -> tuple[int, UUID | None]:
        named = limits.experiment_id("experiment_id", request.experiment_id) if request.experiment_id else None
        if not request.run_id:
            named = rules.DEFAULT_EXPERIMENT if named is None else named
            experiment = await self._experiment(conn, tenant_id, named)
            rules.check_experiment_active(experiment)
            return named, None
        address = await lookup.run_address(conn, tenant_id, request.run_id, active=True)
        if named not in {None, address.experiment_id}:
            raise InvalidField(
                "experiment_id", f"must be empty or {address.experiment_id}, where the run belongs; got {named}"
            )
        return address.experiment_id, address.run_id

    async def FinalizeLoggedModel(
        self, request: pb.FinalizeLoggedModelRequest, context: Context
    ) -> pb.FinalizeLoggedModelResponse:
        model_id = limits.model_id("model_id", request.model_id)
        if request.state not in {tracking_pb2.LoggedModel.STATE_READY, tracking_pb2.LoggedModel.STATE_FAILED}:
            raise InvalidField("state", "must be READY or FAILED")
        message = limits.text("state_message", request.state_message, limits.STATE_MESSAGE)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            old = await _locked(conn, model_id)
            new = rules.finalized(old, messages.model_state_name(request.state), message, self._now_ms())
            if new != old:
                await store.update(conn, new)
                await events.model_finalized(conn, tenant_id, new)
            return pb.FinalizeLoggedModelResponse(model=await _read(conn, new))

    async def DeleteLoggedModel(
        self, request: pb.DeleteLoggedModelRequest, context: Context
    ) -> pb.DeleteLoggedModelResponse:
        now_ms = self._now_ms()
        await self._change_model(
            request.model_id,
            lambda old: old if old.delete_ms is not None else replace(old, delete_ms=now_ms, update_ms=now_ms),
            deleted=True,
        )
        return pb.DeleteLoggedModelResponse()

    async def SetLoggedModelTags(
        self, request: pb.SetLoggedModelTagsRequest, context: Context
    ) -> pb.SetLoggedModelTagsResponse:
        tags = limits.entries("tags", request.tags, limits.RUN_TAG_VALUE)
        now_ms = self._now_ms()
        model = await self._change_model(request.model_id, lambda old: rules.model_with_tags(old, tags, now_ms))
        return pb.SetLoggedModelTagsResponse(model=model)

    async def DeleteLoggedModelTag(
        self, request: pb.DeleteLoggedModelTagRequest, context: Context
    ) -> pb.DeleteLoggedModelTagResponse:
        now_ms = self._now_ms()
        await self._change_model(request.model_id, lambda old: rules.model_without_tag(old, request.key, now_ms))
        return pb.DeleteLoggedModelTagResponse()

    async def LogLoggedModelParams(
        self, request: pb.LogLoggedModelParamsRequest, context: Context
    ) -> pb.LogLoggedModelParamsResponse:
        params = limits.entries("params", request.params, limits.PARAM_VALUE)
        now_ms = self._now_ms()
        await self._change_model(request.model_id, lambda old: rules.model_with_params(old, params, now_ms))
        return pb.LogLoggedModelParamsResponse()

    async def _change_model(
        self, model_id: str, change: Callable[[ModelRow], ModelRow], *, deleted: bool = False
    ) -> tracking_pb2.LoggedModel:
        """Writes what differs, and the event of the difference; of one in the bin only with `deleted`."""
        number = limits.model_id("model_id", model_id)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            old = await _locked(conn, number, deleted=deleted)
            new = change(old)
            if new != old:
                await store.update(conn, new)
                await events.model_updated(conn, tenant_id, old, new)
            return await _read(conn, new)

    async def LogLoggedModelMetrics(
        self, request: pb.LogLoggedModelMetricsRequest, context: Context
    ) -> pb.LogLoggedModelMetricsResponse:
        limits.count("metrics", request.metrics, limits.MEASURED)
        rows = [
            measured(f"metrics[{at}]", request.run_id, one.model_id, one.metric)
            for at, one in enumerate(request.metrics)
        ]
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            await lookup.run_address(conn, tenant_id, request.run_id, active=True)
            # In one order, so that two calls with the same models do not wait for each other.
            models = [await _locked(conn, model_id) for model_id in sorted({row.model_id for row in rows})]
            homes = {model.model_id: model.experiment_id for model in models}
            await store.upsert_measured(conn, tenant_id, homes, sorted(rows, key=attrgetter("model_id", "key")))
        return pb.LogLoggedModelMetricsResponse()

    async def GetLoggedModel(self, request: pb.GetLoggedModelRequest, context: Context) -> pb.GetLoggedModelResponse:
        model_id = limits.model_id("model_id", request.model_id)
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row = await store.find(conn, model_id)
            if row is None or (row.delete_ms is not None and not request.show_deleted):
                raise _model_not_found(model_id)
            return pb.GetLoggedModelResponse(model=await _read(conn, row))

    async def ListLoggedModels(
        self, request: pb.ListLoggedModelsRequest, context: Context
    ) -> pb.ListLoggedModelsResponse:
        if bool(request.experiment_id) == bool(request.run_id):
            raise InvalidField("run_id", "give either experiment_id or run_id")
        size = paging.page_size(request.page_size, default=50, most=1000)
        binding = ("models", request.experiment_id, request.run_id)
        after = _place(request.page_token, binding)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            if request.run_id:
                address = await lookup.run_address(conn, tenant_id, request.run_id, active=False)
                rows = await store.of_run(conn, address.run_id, after, size + 1)
            else:
                experiment_id = limits.experiment_id("experiment_id", request.experiment_id)
                await self._experiment(conn, tenant_id, experiment_id)
                rows = await store.of_experiment(conn, experiment_id, after, size + 1)
            measured = await store.measured(conn, [row.model_id for row in rows[:size]])
        models = [messages.model(row, measured.get(row.model_id, ())) for row in rows[:size]]
        # A model takes at most a megabyte: one always fits.
        kept = reading.fitting((model.ByteSize() for model in models), reading.PAGE_BYTES)
        last = rows[kept - 1] if kept < len(rows) else None
        token = paging.encode(binding, [last.create_ms, last.model_id.hex]) if last else ""
        return pb.ListLoggedModelsResponse(models=models[:kept], next_page_token=token)


async def _locked(conn: Connection, model_id: UUID, *, deleted: bool = False) -> ModelRow:
    """A model for a change; also one in the bin with `deleted`. Raises LOGGED_MODEL_NOT_FOUND."""
    row = await store.lock(conn, model_id)
    if row is None or (row.delete_ms is not None and not deleted):
        raise _model_not_found(model_id)
    return row


async def _read(conn: Connection, row: ModelRow) -> tracking_pb2.LoggedModel:
    measured = await store.measured(conn, [row.model_id])
    return messages.model(row, measured.get(row.model_id, ()))


def measured(field: str, run_id: str, model_id: str, metric: tracking_pb2.ModelMetric) -> MeasuredRow:
    """A point of a model as it is kept. Raises InvalidField."""
    return MeasuredRow(
        model_id=limits.model_id(f"{field}.model_id", model_id),
        key=limits.key(f"{field}.metric.key", metric.key),
        dataset_name=limits.text(f"{field}.metric.dataset_name", metric.dataset_name, limits.DATASET_NAME),
        dataset_digest=limits.text(f"{field}.metric.dataset_digest", metric.dataset_digest, limits.DATASET_DIGEST),
        run_id=limits.run_id("run_id", run_id),
        value=metric.value,
        step=metric.step,
        time_ms=metric.time_ms,
    )


async def _announced_before(conn: Connection, row: ModelRow) -> ModelRow:
    known = await store.find(conn, row.model_id)
    same = known and (known.experiment_id, known.run_id, known.name) == (row.experiment_id, row.run_id, row.name)
    if known is None or not same:
        raise DomainError(
            error_reason_pb2.ERROR_REASON_LOGGED_MODEL_EXISTS,
            f"logged model m-{row.model_id.hex} exists, with another owner or name; choose another model_id",
        )
    return known


def _place(token: str, binding: object) -> ModelPlace | None:
    match paging.decode(token, binding):
        case None:
            return None
        case [int(time), str(model)] if 0 <= time < 2**63:
            try:
                return time, UUID(model)
            except ValueError:
                raise paging.invalid_token() from None
        case _:
            raise paging.invalid_token()


def _model_not_found(model_id: UUID) -> DomainError:
    return DomainError(
        error_reason_pb2.ERROR_REASON_LOGGED_MODEL_NOT_FOUND, f"no logged model has the id m-{model_id.hex}"
    )
