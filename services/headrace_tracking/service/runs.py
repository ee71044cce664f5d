"""Calls about runs, but for their search and their metrics."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import tenancy
from headrace_kit.db import Connection
from headrace_kit.errors import DomainError, InvalidField
from headrace_tracking import events, limits, lookup, messages, reading, rules
from headrace_tracking.rules import RunChange
from headrace_tracking.service.base import Calls, Context
from headrace_tracking.store import runs as store
from headrace_tracking.store.runs import RunRow

_UPDATABLE: Final = ("name", "state", "end_time")


class RunCalls(Calls):
    """Runs: create, get, update, delete, restore, params, tags, inputs."""

    async def CreateRun(self, request: pb.CreateRunRequest, context: Context) -> pb.CreateRunResponse:
        row = self._new_run(request)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            experiment = await self._experiment(conn, tenant_id, row.experiment_id)
            rules.check_experiment_active(experiment)
            row = replace(row, artifact_location=experiment.artifact_location)
            if not await store.insert(conn, tenant_id, row):
                return pb.CreateRunResponse(run=await self._created_before(conn, row))
            # Behind the insert, which waits for a purge that is under way. An id made here was never used before.
            if request.run_id and await store.purged(conn, row.run_id):
                raise DomainError(
                    error_reason_pb2.ERROR_REASON_RUN_EXISTS,
                    f"run {row.run_id.hex} was purged lately, and points of it may still come; choose another run_id",
                )
            await events.run_created(conn, tenant_id, row)
        return pb.CreateRunResponse(run=messages.run(row))

    def _new_run(self, request: pb.CreateRunRequest) -> RunRow:
        tags = limits.entries("tags", request.tags, limits.RUN_TAG_VALUE)
        tags = rules.new_run_tags(request.name, tags, self._new_name())
        limits.document("tags", tags)
        started = limits.time_ms("start_time", request.start_time) if request.HasField("start_time") else self._now_ms()
        return RunRow(
            run_id=limits.run_id("run_id", request.run_id) if request.run_id else self._new_id(),
            experiment_id=limits.experiment_id("experiment_id", request.experiment_id or str(rules.DEFAULT_EXPERIMENT)),
            user_id=limits.text("user_id", request.user_id, limits.USER_ID),
            state="RUNNING",
            start_ms=started,
            end_ms=None,
            delete_ms=None,
            params=limits.entries("params", request.params, limits.PARAM_VALUE),
            tags=tags,
        )

    async def _created_before(self, conn: Connection, row: RunRow) -> tracking_pb2.Run:
        known = (await store.find_many(conn, [row.run_id]))[row.run_id]
        if known.experiment_id != row.experiment_id:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_RUN_EXISTS,
                f"run {row.run_id.hex} exists, in experiment {known.experiment_id}; choose another run_id",
            )
        return await reading.read_run(conn, known)

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        run_id = limits.run_id("run_id", request.run_id)
        await self._visible(request.at_least, context)
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row = (await store.find_many(conn, [run_id])).get(run_id)
            if row is None:
                raise lookup.run_not_found(run_id)
            return pb.GetRunResponse(run=await reading.read_run(conn, row))

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        sent = b""
        async for _ in self._metrics.turns():
            run = (await self.GetRun(pb.GetRunRequest(run_id=request.run_id), context)).run
            now = run.SerializeToString(deterministic=True)  # as messages, a run with a NaN is not equal to itself
            if now != sent:
                yield pb.WatchRunResponse(run=run)
                sent = now
            if request.until_end and run.HasField("end_time"):
                return

    async def UpdateRun(self, request: pb.UpdateRunRequest, context: Context) -> pb.UpdateRunResponse:
        change = _change(request)
        now_ms = self._now_ms()
        tenant_id = tenancy.caller().tenant_id
        run_id = limits.run_id("run.run_id", request.run.run_id)
        async with self._db.tenant(tenant_id) as conn:
            row = await self._changed_run(conn, tenant_id, run_id, lambda old: rules.updated(old, change, now_ms))
            return pb.UpdateRunResponse(run=await reading.read_run(conn, row))

    async def LogParams(self, request: pb.LogParamsRequest, context: Context) -> pb.LogParamsResponse:
        params = limits.entries("params", request.params, limits.PARAM_VALUE)
        await self._change_run(request.run_id, lambda old: rules.with_params(old, params))
        return pb.LogParamsResponse()

    async def SetRunTags(self, request: pb.SetRunTagsRequest, context: Context) -> pb.SetRunTagsResponse:
        tags = limits.entries("tags", request.tags, limits.RUN_TAG_VALUE)
        await self._change_run(request.run_id, lambda old: rules.with_tags(old, tags))
        return pb.SetRunTagsResponse()

    async def DeleteRunTag(self, request: pb.DeleteRunTagRequest, context: Context) -> pb.DeleteRunTagResponse:
        await self._change_run(request.run_id, lambda old: rules.without_tag(old, request.key))
        return pb.DeleteRunTagResponse()

    async def _change_run(self, run_id: str, change: Callable[[RunRow], RunRow]) -> None:
        number = limits.run_id("run_id", run_id)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            await self._changed_run(conn, tenant_id, number, change)

    async def _changed_run(
        self, conn: Connection, tenant_id: str, run_id: UUID, change: Callable[[RunRow], RunRow]
    ) -> RunRow:
        """Changes an active run; writes what differs, and the event of the difference."""
        old = await self._locked_run(conn, run_id)
        new = change(old)
        if new.params != old.params:
            await store.set_params(conn, run_id, new.params)
        if new.tags != old.tags:
            await store.set_tags(conn, run_id, new.tags)
        if new.models != old.models:
            await store.set_models(conn, run_id, new.models)
        if (new.state, new.end_ms) != (old.state, old.end_ms):
            await store.set_state(conn, run_id, new.state, new.end_ms)
        await events.run_changed(conn, tenant_id, old, new)
        return new

    async def LogModelUses(self, request: pb.LogModelUsesRequest, context: Context) -> pb.LogModelUsesResponse:
        used = model_uses("inputs", request.inputs)
        made = model_uses("outputs", request.outputs)
        await self._change_run(request.run_id, lambda old: rules.with_models(old, used, made))
        return pb.LogModelUsesResponse()

    async def DeleteRun(self, request: pb.DeleteRunRequest, context: Context) -> pb.DeleteRunResponse:
        run_id = limits.run_id("run_id", request.run_id)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            row = await self._locked_run(conn, run_id, active=False)
            if row.delete_ms is None:
                await store.set_deleted(conn, run_id, self._now_ms())
                await events.run_deleted(conn, tenant_id, row)
        return pb.DeleteRunResponse()

    async def RestoreRun(self, request: pb.RestoreRunRequest, context: Context) -> pb.RestoreRunResponse:
        run_id = limits.run_id("run_id", request.run_id)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            address = await lookup.run_address(conn, tenant_id, request.run_id, active=False)
            experiment = await self._experiment(conn, tenant_id, address.experiment_id)
            rules.check_experiment_active(experiment)
            row = await self._locked_run(conn, run_id, active=False)
            if row.delete_ms is not None:
                await store.set_deleted(conn, run_id, None)
                await events.run_restored(conn, tenant_id, row)
        return pb.RestoreRunResponse()

    async def LogInputs(self, request: pb.LogInputsRequest, context: Context) -> pb.LogInputsResponse:
        run_id = limits.run_id("run_id", request.run_id)
        limits.inputs("inputs", request.inputs)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            run = await self._locked_run(conn, run_id)
            await self._add_inputs(conn, tenant_id, run, request.inputs)
        return pb.LogInputsResponse()


def model_uses(field: str, uses: Sequence[tracking_pb2.ModelUse]) -> dict[str, int]:
    """Ids of models, each with its step. Raises InvalidField."""
    return {
        f"m-{limits.model_id(f'{field}[{at}].model_id', use.model_id).hex}": use.step for at, use in enumerate(uses)
    }


def _change(request: pb.UpdateRunRequest) -> RunChange:
    paths = set(request.update_mask.paths)
    if not paths or not paths <= set(_UPDATABLE):
        unknown = ", ".join(sorted(paths - set(_UPDATABLE)))
        raise InvalidField("update_mask", f"must name one or more of {', '.join(_UPDATABLE)}; got {unknown or 'none'}")
    run = request.run
    if "state" in paths and run.state not in tracking_pb2.Run.State.values()[1:]:
        raise InvalidField("run.state", "must be RUNNING, SCHEDULED, FINISHED, FAILED or KILLED")
    with_end = "end_time" in paths and run.HasField("end_time")
    return RunChange(
        name=limits.text("run.name", run.name, limits.RUN_NAME, least=1) if "name" in paths else None,
        state=messages.run_state_name(run.state) if "state" in paths else None,
        end_ms=limits.time_ms("run.end_time", run.end_time) if with_end else None,
        reset_end="end_time" in paths,
    )
