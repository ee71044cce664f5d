"""Takes runs and experiments out of the bin for good: each in one short transaction with its events."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from headrace.api.tracking.v1 import tracking_events_pb2 as pb
from headrace_kit import names, outbox
from headrace_tracking.purger import store
from headrace_tracking.purger.store import Experiment
from headrace_tracking.writer.store import Connection, Run

_RUNS: Final = 100  # in a step
_EXPERIMENTS: Final = 10


def purge_run(conn: Connection, run: Run, deleted_ms: int) -> bool:
    """Removes a run that went into the bin then or before, and has been there since; False for any other.

    With it go its inputs, the datasets that no other run uses, and its logged models. Of its metrics nothing can be seen
    any more; `step.Purger` deletes them. Never waits for whoever works with the run: then it is False, too.
    """
    with conn.transaction():
        experiment_id = store.lock_run(conn, run, deleted_ms)
        if experiment_id is None:
            return False
        datasets = store.delete_inputs(conn, run)
        models = store.delete_models_of_run(conn, run)
        store.delete_run(conn, run)
        if datasets:
            store.lock_datasets(conn, run.tenant_id, datasets)
            store.delete_unused_datasets(conn, run.tenant_id, datasets)
        store.add_purge(conn, run)
        _tell_models(conn, run.tenant_id, experiment_id, models, run.run_id.hex)
        event = pb.RunPurged(run_id=run.run_id.hex, experiment_id=str(experiment_id))
        _tell(conn, names.run(run.tenant_id, str(experiment_id), run.run_id.hex), event)
    return True


def purge_experiment(conn: Connection, experiment: Experiment, deleted_ms: int) -> bool:
    """Removes an experiment that went into the bin then or before, and has no runs any more; False for any other.

    With it go its datasets and the logged models of no run. Does not wait for whoever works with it.
    """
    with conn.transaction():
        # Looked at behind the lock, which keeps runs from coming in.
        if not store.lock_experiment(conn, experiment, deleted_ms) or store.runs_of(conn, experiment, 1):
            return False
        models = store.delete_models_of(conn, experiment)
        store.delete_datasets_of(conn, experiment)
        store.delete_experiment(conn, experiment)
        tenant_id, number = experiment.tenant_id, str(experiment.experiment_id)
        _tell_models(conn, tenant_id, experiment.experiment_id, models, "")
        _tell(conn, names.experiment(tenant_id, number), pb.ExperimentPurged(experiment_id=number))
    return True


def purge_old(conn: Connection, deleted_ms: int) -> bool:
    """Removes some of what went into the bin then or before, of all tenants; False when nothing was removed."""
    gone = [purge_run(conn, run, deleted_ms) for run in store.due_runs(conn, deleted_ms, _RUNS)]
    for experiment in store.due_experiments(conn, deleted_ms, _EXPERIMENTS):
        gone += [purge_run(conn, run, deleted_ms) for run in store.runs_of(conn, experiment, _RUNS)]
        gone.append(purge_experiment(conn, experiment, deleted_ms))
    return any(gone)


def _tell_models(conn: Connection, tenant_id: str, experiment_id: int, models: Sequence[UUID], run_id: str) -> None:
    for model in models:
        model_id, number = f"m-{model.hex}", str(experiment_id)
        event = pb.LoggedModelPurged(model_id=model_id, experiment_id=number, run_id=run_id)
        _tell(conn, names.logged_model(tenant_id, number, model_id), event)


def _tell(conn: Connection, subject: str, event: Message) -> None:
    outbox.append_event_sync(conn, outbox.event(subject, event))
