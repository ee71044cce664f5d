"""Calls that make things as another system has them, with their ids and times; each changes nothing when repeated."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import tenancy
from headrace_kit.db import Connection
from headrace_kit.errors import DomainError, InvalidField
from headrace_tracking import events, limits, messages, rules
from headrace_tracking.search.vocabulary import RUN_NAME_TAG
from headrace_tracking.service.base import Calls, Context
from headrace_tracking.service.models import measured
from headrace_tracking.service.runs import model_uses
from headrace_tracking.store import experiments, inputs, models, runs
from headrace_tracking.store.experiments import ExperimentRow
from headrace_tracking.store.models import MeasuredRow, ModelRow
from headrace_tracking.store.runs import MADE, USED, RunRow

_DELETED = tracking_pb2.LIFECYCLE_STAGE_DELETED


class ImportCalls(Calls):
    """Experiments, runs, logged models: as they are elsewhere."""

    async def ImportExperiment(
        self, request: pb.ImportExperimentRequest, context: Context
    ) -> pb.ImportExperimentResponse:
        wanted = request.experiment
        number = limits.experiment_id("experiment.experiment_id", wanted.experiment_id or "0")
        name = limits.text("experiment.name", wanted.name, limits.EXPERIMENT_NAME, least=1)
        tags = limits.entries("experiment.tags", wanted.tags, limits.EXPERIMENT_TAG_VALUE)
        location = limits.text("experiment.artifact_location", wanted.artifact_location, limits.ARTIFACT_LOCATION)
        request_id = limits.request_id("request_id", request.request_id)
        now_ms = self._now_ms()
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            await self._ensure_default(conn, tenant_id)
            await experiments.hold_ids(conn, tenant_id)
            known = await experiments.find_by_request(conn, request_id) if request_id else None
            known = known or await experiments.find_by_name(conn, name)
            row = ExperimentRow(
                experiment_id=known.experiment_id if known else await self._wished_id(conn, tenant_id, number),
                name=name,
                tags=tags,
                create_ms=_time("experiment.create_time", wanted, known.create_ms if known else now_ms),
                update_ms=_time("experiment.update_time", wanted, known.update_ms if known else now_ms),
                delete_ms=_delete_ms(wanted, request, known.delete_ms if known else None, now_ms),
                artifact_location=location,
            )
            if known is None:
                await experiments.insert(conn, tenant_id, row, request_id)
                await events.experiment_created(conn, tenant_id, row)
                known = replace(row, delete_ms=None)
                changed = True
            elif changed := known != row:
                await experiments.update(conn, row)
            await _tell_experiment(conn, tenant_id, known, row)
        return pb.ImportExperimentResponse(experiment=messages.experiment(row), changed=changed)

    async def _wished_id(self, conn: Connection, tenant_id: str, number: int) -> int:
        if await experiments.find(conn, number) is None:
            return number
        return await self._free_id(conn, tenant_id)

    async def ImportRun(self, request: pb.ImportRunRequest, context: Context) -> pb.ImportRunResponse:
        limits.inputs("run.inputs", request.run.inputs)
        now_ms = self._now_ms()
        wanted = _run(request, now_ms)
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            experiment = await self._experiment(conn, tenant_id, wanted.experiment_id)
            if await runs.insert(conn, tenant_id, wanted):
                await self._tell_new_run(
                    conn, tenant_id, replace(wanted, artifact_location=experiment.artifact_location)
                )
                changed = True
            else:
                changed = await self._change_known_run(conn, tenant_id, wanted, experiment, now_ms)
            added = await _new_inputs(conn, wanted, request.run.inputs)
            if added:
                await self._add_inputs(conn, tenant_id, wanted, added)
        return pb.ImportRunResponse(changed=changed or bool(added))

    async def _tell_new_run(self, conn: Connection, tenant_id: str, row: RunRow) -> None:
        if await runs.purged(conn, row.run_id):
            raise DomainError(
                error_reason_pb2.ERROR_REASON_RUN_EXISTS,
                f"run {row.run_id.hex} was purged lately, and points of it may still come; import it later",
            )
        await events.run_created(conn, tenant_id, row)
        await events.run_changed(conn, tenant_id, replace(row, state="RUNNING", end_ms=None), row)
        if row.delete_ms is not None:
            await events.run_deleted(conn, tenant_id, row)

    async def _change_known_run(
        self, conn: Connection, tenant_id: str, wanted: RunRow, experiment: ExperimentRow, now_ms: int
    ) -> bool:
        old = await self._locked_run(conn, wanted.run_id, active=False)
        if old.experiment_id != wanted.experiment_id:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_RUN_EXISTS,
                f"run {old.run_id.hex} exists, in experiment {old.experiment_id}; it does not move to another",
            )
        new = rules.with_models(old, wanted.models.get(USED, {}), wanted.models.get(MADE, {}))
        new = replace(wanted, models=new.models, delete_ms=old.delete_ms, artifact_location=old.artifact_location)
        if new != old:
            await runs.overwrite(conn, new)
            await events.run_changed(conn, tenant_id, old, new)
        is_deleted, to_be = old.delete_ms is not None, wanted.delete_ms is not None
        # One that lies in the bin with its experiment comes out of it with that.
        if is_deleted == to_be or (experiment.delete_ms is not None and not to_be):
            return new != old
        await runs.set_deleted(conn, new.run_id, (wanted.delete_ms or now_ms) if to_be else None)
        await (events.run_deleted if to_be else events.run_restored)(conn, tenant_id, new)
        return True

    async def ImportLoggedModel(
        self, request: pb.ImportLoggedModelRequest, context: Context
    ) -> pb.ImportLoggedModelResponse:
        now_ms = self._now_ms()
        wanted = _model(request, now_ms)
        points = [
            measured(f"model.metrics[{at}]", one.run_id, request.model.model_id, one)
            for at, one in enumerate(request.model.metrics)
        ]
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            await self._experiment(conn, tenant_id, wanted.experiment_id)
            if changed := await models.insert(conn, tenant_id, wanted):
                await _tell_new_model(conn, tenant_id, wanted)
            else:
                changed = await _change_known_model(conn, tenant_id, wanted, request)
            known = (await models.measured(conn, [wanted.model_id])).get(wanted.model_id, [])
            later = _later(known, points)
            if later:
                await models.upsert_measured(conn, tenant_id, {wanted.model_id: wanted.experiment_id}, later)
        return pb.ImportLoggedModelResponse(changed=changed or bool(later))


async def _tell_experiment(conn: Connection, tenant_id: str, old: ExperimentRow, new: ExperimentRow) -> None:
    if replace(new, delete_ms=old.delete_ms) != old:
        await events.experiment_updated(conn, tenant_id, new)
    if old.delete_ms is None and new.delete_ms is not None:
        await events.experiment_deleted(conn, tenant_id, new)
    if old.delete_ms is not None and new.delete_ms is None:
        await events.experiment_restored(conn, tenant_id, new)


def _run(request: pb.ImportRunRequest, now_ms: int) -> RunRow:
    run = request.run
    if run.state not in tracking_pb2.Run.State.values()[1:]:
        raise InvalidField("run.state", "must be RUNNING, SCHEDULED, FINISHED, FAILED or KILLED")
    tags = limits.entries("run.tags", run.tags, limits.RUN_TAG_VALUE)
    if run.name:
        tags[RUN_NAME_TAG] = limits.text("run.name", run.name, limits.RUN_NAME)
        limits.document("run.tags", tags)
    empty = RunRow(
        run_id=limits.run_id("run.run_id", run.run_id),
        experiment_id=limits.experiment_id("run.experiment_id", run.experiment_id),
        user_id=limits.text("run.user_id", run.user_id, limits.USER_ID),
        state=messages.run_state_name(run.state),
        start_ms=_time("run.start_time", run, now_ms),
        end_ms=_time("run.end_time", run, 0) if run.HasField("end_time") else None,
        delete_ms=_delete_ms(run, request, None, now_ms),
        params=limits.entries("run.params", run.params, limits.PARAM_VALUE),
        tags=tags,
    )
    used = model_uses("run.input_models", run.input_models)
    return rules.with_models(empty, used, model_uses("run.output_models", run.output_models))


async def _new_inputs(
    conn: Connection, run: RunRow, wanted: Sequence[tracking_pb2.DatasetInput]
) -> list[tracking_pb2.DatasetInput]:
    """Those that the run has not, or with other tags."""
    rows = (await inputs.of_runs(conn, [run.run_id])).get(run.run_id, []) if wanted else []
    known = {(row.name, row.digest): row.tags for row in rows}
    return [
        one
        for one in wanted
        if (has := known.get((one.dataset.name, one.dataset.digest))) is None or {**has, **one.tags} != has
    ]


def _model(request: pb.ImportLoggedModelRequest, now_ms: int) -> ModelRow:
    model = request.model
    if model.state not in tracking_pb2.LoggedModel.State.values()[1:]:
        raise InvalidField("model.state", "must be PENDING, READY or FAILED")
    limits.count("model.metrics", model.metrics, limits.MEASURED)
    return ModelRow(
        model_id=limits.model_id("model.model_id", model.model_id),
        experiment_id=limits.experiment_id("model.experiment_id", model.experiment_id),
        run_id=limits.run_id("model.run_id", model.run_id) if model.run_id else None,
        name=limits.model_name("model.name", model.name),
        model_type=limits.text("model.model_type", model.model_type, limits.MODEL_TYPE),
        state=messages.model_state_name(model.state),
        state_message=limits.text("model.state_message", model.state_message, limits.STATE_MESSAGE),
        params=limits.entries("model.params", model.params, limits.PARAM_VALUE),
        tags=limits.entries("model.tags", model.tags, limits.RUN_TAG_VALUE),
        create_ms=_time("model.create_time", model, now_ms),
        update_ms=_time("model.update_time", model, now_ms),
        user_id=limits.text("model.user_id", model.user_id, limits.USER_ID),
        delete_ms=_delete_ms(model, request, None, now_ms),
    )


async def _tell_new_model(conn: Connection, tenant_id: str, row: ModelRow) -> None:
    await events.model_created(conn, tenant_id, row)
    if row.state != rules.PENDING:
        await events.model_finalized(conn, tenant_id, row)


async def _change_known_model(
    conn: Connection, tenant_id: str, wanted: ModelRow, request: pb.ImportLoggedModelRequest
) -> bool:
    old = await models.lock(conn, wanted.model_id)
    if old is None or (old.experiment_id, old.run_id) != (wanted.experiment_id, wanted.run_id):
        raise DomainError(
            error_reason_pb2.ERROR_REASON_LOGGED_MODEL_EXISTS,
            f"logged model m-{wanted.model_id.hex} exists, with another owner; it does not change it",
        )
    new = replace(wanted, artifact_location=old.artifact_location)
    if not request.model.HasField("create_time"):
        new = replace(new, create_ms=old.create_ms)
    if not request.model.HasField("update_time"):
        new = replace(new, update_ms=old.update_ms)
    if new.delete_ms is not None and old.delete_ms is not None:
        new = replace(new, delete_ms=old.delete_ms)
    if new == old:
        return False
    await models.update(conn, new)
    if new.state not in {old.state, rules.PENDING}:
        await events.model_finalized(conn, tenant_id, new)
    if replace(new, state=old.state, state_message=old.state_message, update_ms=old.update_ms) != old:
        await events.model_updated(conn, tenant_id, old, new)
    return True


def _later(known: Sequence[MeasuredRow], points: Sequence[MeasuredRow]) -> list[MeasuredRow]:
    """The points that are to take the place of those known."""
    series = attrgetter("key", "dataset_name", "dataset_digest", "run_id")
    order = attrgetter("step", "time_ms", "value")
    has = {series(row): row for row in known}
    return [one for one in points if series(one) not in has or order(has[series(one)]) < order(one)]


def _time(
    field: str, message: tracking_pb2.Experiment | tracking_pb2.Run | tracking_pb2.LoggedModel, absent: int
) -> int:
    name = field.rpartition(".")[2]
    if not message.HasField(name):
        return absent
    time: Timestamp = getattr(message, name)
    return limits.time_ms(field, time)


def _delete_ms(
    message: tracking_pb2.Experiment | tracking_pb2.Run | tracking_pb2.LoggedModel,
    request: pb.ImportExperimentRequest | pb.ImportRunRequest | pb.ImportLoggedModelRequest,
    known: int | None,
    now_ms: int,
) -> int | None:
    """Since when it is to be in the bin: for one that is there, as long as it is."""
    if message.lifecycle_stage != _DELETED:
        return None
    if known is not None:
        return known
    return limits.time_ms("delete_time", request.delete_time) if request.HasField("delete_time") else now_ms
