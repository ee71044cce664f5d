"""The facts that tracking tells, each written in the transaction that makes it one.

A run in the bin because its experiment went there tells nothing of its own: ExperimentDeleted and ExperimentRestored
stand for all runs of the experiment. What is large stays out of events: datasets come without source, schema and
profile, runs without metrics.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from google.protobuf.message import Message

from headrace.api.tracking.v1 import tracking_events_pb2 as pb
from headrace.api.tracking.v1 import tracking_pb2
from headrace_kit import names, outbox
from headrace_kit.db import Connection
from headrace_tracking import messages, rules
from headrace_tracking.search.vocabulary import RUN_NAME_TAG
from headrace_tracking.store.experiments import ExperimentRow
from headrace_tracking.store.models import ModelRow
from headrace_tracking.store.runs import MADE, USED, RunRow


async def experiment_created(conn: Connection, tenant_id: str, row: ExperimentRow) -> None:
    """Emits ExperimentCreated."""
    await _experiment(conn, tenant_id, row, pb.ExperimentCreated(experiment=messages.experiment(row)))


async def experiment_updated(conn: Connection, tenant_id: str, row: ExperimentRow) -> None:
    """Emits ExperimentUpdated."""
    await _experiment(conn, tenant_id, row, pb.ExperimentUpdated(experiment=messages.experiment(row)))


async def experiment_deleted(conn: Connection, tenant_id: str, row: ExperimentRow) -> None:
    """Emits ExperimentDeleted."""
    await _experiment(conn, tenant_id, row, pb.ExperimentDeleted(experiment_id=str(row.experiment_id)))


async def experiment_restored(conn: Connection, tenant_id: str, row: ExperimentRow) -> None:
    """Emits ExperimentRestored."""
    await _experiment(conn, tenant_id, row, pb.ExperimentRestored(experiment_id=str(row.experiment_id)))


async def runs_created(conn: Connection, tenant_id: str, made: Iterable[tuple[tracking_pb2.Run, str]]) -> None:
    """Emits RunCreated for each run, in the trace given with it."""
    told = [
        outbox.event(
            names.run(tenant_id, run.experiment_id, run.run_id), pb.RunCreated(run=run), traceparent=traceparent
        )
        for run, traceparent in made
    ]
    await outbox.append_events(conn, told)


async def run_changed(conn: Connection, tenant_id: str, old: RunRow, new: RunRow) -> None:
    """Emits RunEnded where the state came to an end, RunUpdated for any other difference; none for none."""
    ended = new.state != old.state and new.state in rules.ENDED
    if replace(old, state=new.state, end_ms=new.end_ms) != new if ended else old != new:
        await _run(conn, tenant_id, new, _difference(old, new))
    if ended:
        event = pb.RunEnded(
            run_id=new.run_id.hex, experiment_id=str(new.experiment_id), state=messages.run_state(new.state)
        )
        await _run(conn, tenant_id, new, event)


async def inputs_logged(
    conn: Connection, tenant_id: str, run: RunRow, inputs: Sequence[tracking_pb2.DatasetInput]
) -> None:
    """Emits RunUpdated with the inputs, which `without_contents` made small."""
    event = _difference(run, run)
    event.inputs_logged.extend(inputs)
    await _run(conn, tenant_id, run, event)


async def run_deleted(conn: Connection, tenant_id: str, row: RunRow) -> None:
    """Emits RunDeleted."""
    event = pb.RunDeleted(run_id=row.run_id.hex, experiment_id=str(row.experiment_id))
    await _run(conn, tenant_id, row, event)


async def run_restored(conn: Connection, tenant_id: str, row: RunRow) -> None:
    """Emits RunRestored."""
    event = pb.RunRestored(run_id=row.run_id.hex, experiment_id=str(row.experiment_id))
    await _run(conn, tenant_id, row, event)


async def model_created(conn: Connection, tenant_id: str, row: ModelRow) -> None:
    """Emits LoggedModelCreated."""
    await _model(conn, tenant_id, row, pb.LoggedModelCreated(model=messages.model(row)))


async def model_finalized(conn: Connection, tenant_id: str, row: ModelRow) -> None:
    """Emits LoggedModelFinalized."""
    await _model(conn, tenant_id, row, pb.LoggedModelFinalized(model=messages.model(row)))


async def model_updated(conn: Connection, tenant_id: str, old: ModelRow, new: ModelRow) -> None:
    """Emits LoggedModelUpdated."""
    shown = messages.model(new)
    event = pb.LoggedModelUpdated(
        model_id=shown.model_id,
        experiment_id=shown.experiment_id,
        params_logged={key: value for key, value in new.params.items() if key not in old.params},
        tags_set={key: value for key, value in new.tags.items() if old.tags.get(key) != value},
        tags_deleted=sorted(old.tags.keys() - new.tags.keys()),
        lifecycle_stage=shown.lifecycle_stage,
    )
    await _model(conn, tenant_id, new, event)


def without_contents(message: tracking_pb2.DatasetInput) -> tracking_pb2.DatasetInput:
    """An input as it stands in events."""
    dataset = message.dataset
    return tracking_pb2.DatasetInput(
        dataset=tracking_pb2.Dataset(name=dataset.name, digest=dataset.digest, source_type=dataset.source_type),
        tags=message.tags,
    )


def _difference(old: RunRow, new: RunRow) -> pb.RunUpdated:
    return pb.RunUpdated(
        run_id=new.run_id.hex,
        experiment_id=str(new.experiment_id),
        name=new.tags.get(RUN_NAME_TAG, ""),
        state=messages.run_state(new.state),
        params_logged={key: value for key, value in new.params.items() if key not in old.params},
        tags_set={key: value for key, value in new.tags.items() if old.tags.get(key) != value},
        tags_deleted=sorted(old.tags.keys() - new.tags.keys()),
        input_models_logged=_new_uses(old, new, USED),
        output_models_logged=_new_uses(old, new, MADE),
    )


def _new_uses(old: RunRow, new: RunRow, what: str) -> list[tracking_pb2.ModelUse]:
    before = old.models.get(what, {})
    return messages.model_uses({id_: step for id_, step in new.models.get(what, {}).items() if before.get(id_) != step})


async def _experiment(conn: Connection, tenant_id: str, row: ExperimentRow, event: Message) -> None:
    await outbox.append(conn, names.experiment(tenant_id, str(row.experiment_id)), event)


async def _run(conn: Connection, tenant_id: str, row: RunRow, event: Message) -> None:
    await outbox.append(conn, names.run(tenant_id, str(row.experiment_id), row.run_id.hex), event)


async def _model(conn: Connection, tenant_id: str, row: ModelRow, event: Message) -> None:
    await outbox.append(conn, names.logged_model(tenant_id, str(row.experiment_id), messages.model_id(row)), event)
