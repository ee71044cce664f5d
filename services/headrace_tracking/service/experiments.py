"""Calls about experiments, but for their search."""

from collections.abc import Callable
from dataclasses import replace

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import tenancy
from headrace_kit.errors import InvalidField
from headrace_tracking import events, limits, messages, rules
from headrace_tracking.service.base import Calls, Context, experiment_not_found
from headrace_tracking.store import experiments as store
from headrace_tracking.store.experiments import ExperimentRow


class ExperimentCalls(Calls):
    """Experiments: create, get, update, delete, restore, tags."""

    async def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: Context
    ) -> pb.CreateExperimentResponse:
        name = limits.text("name", request.name, limits.EXPERIMENT_NAME, least=1)
        tags = limits.entries("tags", request.tags, limits.EXPERIMENT_TAG_VALUE)
        request_id = limits.request_id("request_id", request.request_id)
        location = limits.text("artifact_location", request.artifact_location, limits.ARTIFACT_LOCATION)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            # Before any other, so that nobody takes its name.
            await self._ensure_default(conn, tenant_id)
            experiment_id = await self._free_id(conn, tenant_id)
            known = await store.find_by_request(conn, request_id) if request_id else None
            if known is not None:
                return pb.CreateExperimentResponse(experiment=messages.experiment(known))
            now_ms = self._now_ms()
            row = ExperimentRow(experiment_id, name, tags, now_ms, now_ms, artifact_location=location)
            await store.insert(conn, tenant_id, row, request_id)
            await events.experiment_created(conn, tenant_id, row)
        return pb.CreateExperimentResponse(experiment=messages.experiment(row))

    async def GetExperiment(self, request: pb.GetExperimentRequest, context: Context) -> pb.GetExperimentResponse:
        tenant_id = tenancy.caller().tenant_id
        match request.WhichOneof("by"):
            case "experiment_id":
                experiment_id = limits.experiment_id("experiment_id", request.experiment_id)
                async with self._db.tenant(tenant_id) as conn:
                    row = await self._experiment(conn, tenant_id, experiment_id)
            case "name":
                row = await self._by_name(tenant_id, limits.text("name", request.name, limits.EXPERIMENT_NAME, least=1))
            case _:
                raise InvalidField("by", "must name the experiment by experiment_id or by name")
        return pb.GetExperimentResponse(experiment=messages.experiment(row))

    async def _by_name(self, tenant_id: str, name: str) -> ExperimentRow:
        async with self._db.tenant(tenant_id) as conn:
            if name == rules.DEFAULT_EXPERIMENT_NAME:
                await self._ensure_default(conn, tenant_id)
            row = await store.find_by_name(conn, name)
        if row is None:
            raise experiment_not_found(f"the name {name!r}")
        return row

    async def UpdateExperiment(
        self, request: pb.UpdateExperimentRequest, context: Context
    ) -> pb.UpdateExperimentResponse:
        name = limits.text("name", request.name, limits.EXPERIMENT_NAME, least=1)
        now_ms = self._now_ms()
        row = await self._change_experiment(
            request.experiment_id, lambda old: replace(old, name=name, update_ms=now_ms)
        )
        return pb.UpdateExperimentResponse(experiment=messages.experiment(row))

    async def SetExperimentTags(
        self, request: pb.SetExperimentTagsRequest, context: Context
    ) -> pb.SetExperimentTagsResponse:
        tags = limits.entries("tags", request.tags, limits.EXPERIMENT_TAG_VALUE)
        now_ms = self._now_ms()
        await self._change_experiment(request.experiment_id, lambda old: rules.experiment_with_tags(old, tags, now_ms))
        return pb.SetExperimentTagsResponse()

    async def DeleteExperimentTag(
        self, request: pb.DeleteExperimentTagRequest, context: Context
    ) -> pb.DeleteExperimentTagResponse:
        now_ms = self._now_ms()
        await self._change_experiment(
            request.experiment_id, lambda old: rules.experiment_without_tag(old, request.key, now_ms)
        )
        return pb.DeleteExperimentTagResponse()

    async def _change_experiment(
        self, experiment_id: str, change: Callable[[ExperimentRow], ExperimentRow]
    ) -> ExperimentRow:
        """Changes an active experiment; one that stays as it is is not written and tells nothing."""
        number = limits.experiment_id("experiment_id", experiment_id)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            old = await self._experiment(conn, tenant_id, number, store.lock)
            rules.check_experiment_active(old)
            new = change(old)
            if replace(new, update_ms=old.update_ms) == old:
                return old
            await store.update(conn, new)
            await events.experiment_updated(conn, tenant_id, new)
        return new

    async def DeleteExperiment(
        self, request: pb.DeleteExperimentRequest, context: Context
    ) -> pb.DeleteExperimentResponse:
        number = limits.experiment_id("experiment_id", request.experiment_id)
        tenant_id = tenancy.caller().tenant_id
        now_ms = self._now_ms()
        async with self._db.tenant(tenant_id) as conn:
            row = await self._experiment(conn, tenant_id, number, store.lock)
            rules.check_experiment_active(row)
            await store.update(conn, replace(row, update_ms=now_ms, delete_ms=now_ms))
            await events.experiment_deleted(conn, tenant_id, row)
        return pb.DeleteExperimentResponse()

    async def RestoreExperiment(
        self, request: pb.RestoreExperimentRequest, context: Context
    ) -> pb.RestoreExperimentResponse:
        number = limits.experiment_id("experiment_id", request.experiment_id)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            row = await self._experiment(conn, tenant_id, number, store.lock)
            rules.check_experiment_deleted(row)
            await store.update(conn, replace(row, update_ms=self._now_ms(), delete_ms=None))
            await store.restore_runs(conn, number)
            await events.experiment_restored(conn, tenant_id, row)
        return pb.RestoreExperimentResponse()
