"""Records one of every kind of thing with MLflow's own client; runs in MLflow's environment, where nothing of Headrace is.

`python fill.py MARK`: names begin with MARK. MLFLOW_TRACKING_URI says where. Prints the ids as JSON.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.dataset_source import DatasetSource  # noqa: F401 - registers the kinds of sources
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from sklearn.linear_model import LogisticRegression

MARK = sys.argv[1]
PINNED = {"pip_requirements": ["scikit-learn"]}  # else the client works them out, in a process of its own
client = MlflowClient()
ids: dict[str, object] = {}


def points() -> list[Metric]:
    """Odd values, odd keys, several at one step, none in order."""
    odd = [float("nan"), float("inf"), float("-inf"), -0.0, 1e-300, 0.1]
    found = [Metric("odd/größe µ", value, 1_700_000_000_000 + 7 * step, step) for step, value in enumerate(odd)]
    found += [Metric("loss", 1 / (1 + step), 1_700_000_000_000 + step, step) for step in range(900)]
    found += [Metric("same step", value, 1_700_000_000_500, 3) for value in (2.0, 1.0, 3.0)]
    found += [Metric("backwards", float(step), 1_700_000_000_000 - step, -step) for step in range(20)]
    return found


def main_run(experiment: str) -> str:
    run = client.create_run(
        experiment, start_time=1_700_000_000_123, tags={"mlflow.user": "ada", "ключ": "значение"}, run_name="whole"
    )
    run_id = str(run.info.run_id)
    client.log_batch(run_id, points()[:900], [Param("sugar", "0.8"), Param("µ/x", "ü" * 100)], [RunTag("empty", "")])
    client.set_tag(run_id, "mlflow.note.content", "from a browser:\r\ntwo lines\n")
    client.log_batch(run_id, points()[900:])
    data = Dataset("flour", "d1", "local", '{"uri": "/mill"}', '{"mlflow_colspec": []}', '{"num_rows": 3}')
    other = Dataset("water", "d2", "http", '{"url": "http://well"}')
    client.log_inputs(
        run_id,
        [
            DatasetInput(data, [InputTag("mlflow.data.context", "training"), InputTag("kind", "rye")]),
            DatasetInput(other, []),
        ],
    )
    client.log_text(run_id, "a text", "notes/räume.txt")
    client.log_text(run_id, "", "empty.txt")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "large.bin").write_bytes(np.arange(400_000).tobytes())
        client.log_artifacts(run_id, folder, "data")
    return run_id


def lesser_runs(experiment: str, parent: str) -> None:
    for name, state in (("failed", "FAILED"), ("killed", "KILLED"), ("scheduled", "SCHEDULED")):
        run = client.create_run(experiment, tags={"mlflow.parentRunId": parent}, run_name=name)
        client.log_metric(run.info.run_id, "loss", 1.0, timestamp=1_700_000_000_000, step=1)
        if state == "SCHEDULED":
            client.update_run(run.info.run_id, status=state)
        else:
            client.set_terminated(run.info.run_id, state, 1_700_000_009_000)
        ids[name] = run.info.run_id
    running = client.create_run(experiment, run_name="running")
    client.log_metric(running.info.run_id, "loss", 2.0, timestamp=1_700_000_000_000, step=1)
    ids["running"] = running.info.run_id
    deleted = client.create_run(experiment, run_name="deleted")
    client.log_metric(deleted.info.run_id, "loss", 3.0, timestamp=1_700_000_000_000, step=1)
    client.log_text(deleted.info.run_id, "gone", "gone.txt")
    client.set_terminated(deleted.info.run_id)
    client.delete_run(deleted.info.run_id)
    ids["deleted run"] = deleted.info.run_id


def logged_models(experiment: str, run_id: str) -> tuple[str, str]:
    mlflow.set_experiment(experiment_id=experiment)
    fitted = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
    with mlflow.start_run(run_id=run_id):
        made = mlflow.sklearn.log_model(fitted, name="oven", params={"depth": 3}, tags={"kind": "hot"}, **PINNED)
        data = mlflow.data.from_numpy(np.arange(3), name="test-set")
        mlflow.log_metric("accuracy", 0.5, step=1, model_id=made.model_id, dataset=data)
        mlflow.log_metric("accuracy", 0.75, step=2, model_id=made.model_id, dataset=data)
        mlflow.log_metric("accuracy", 0.25, step=9, model_id=made.model_id)
        mlflow.sklearn.save_model(fitted, path := str(Path(tempfile.mkdtemp(), "old")), **PINNED)
        mlflow.log_artifacts(path, "old model")
    failed = client.create_logged_model(experiment, "failed", source_run_id=run_id, model_type="agent")
    client.finalize_logged_model(failed.model_id, "FAILED")
    pending = client.create_logged_model(experiment, "pending")
    gone = client.create_logged_model(experiment, "gone", source_run_id=run_id)
    client.finalize_logged_model(gone.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(gone.model_id, 7)])
    client.log_inputs(run_id, models=[LoggedModelInput(made.model_id)])
    client.delete_logged_model(gone.model_id)
    ids.update({"failed model": failed.model_id, "pending model": pending.model_id, "deleted model": gone.model_id})
    return made.model_id, gone.model_id


def registered(run_id: str, model_id: str) -> None:
    name = f"{MARK} bread"
    client.create_registered_model(name, tags={"team": "pastry"}, description="all of it")
    client.create_registered_model(f"{MARK} empty")
    client.create_model_version(name, f"models:/{model_id}", model_id=model_id, run_id=run_id, description="first")
    client.create_model_version(name, "s3://elsewhere/model", run_link="http://page", tags={"checked": "yes"})
    client.create_model_version(name, "s3://elsewhere/other")
    client.create_model_version(name, f"runs:/{run_id}/old model", run_id=run_id)
    client.delete_model_version(name, "3")
    with mlflow_warnings_off():
        client.transition_model_version_stage(name, "2", "Archived")
        client.transition_model_version_stage(name, "4", "Production")
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "challenger", "4")
    ids["model"] = name


def mlflow_warnings_off() -> "object":
    import warnings

    return warnings.catch_warnings(action="ignore")


def main() -> None:
    experiment = client.create_experiment(f"{MARK} kitchen", tags={"owner": "ada"})
    ids["experiment"] = experiment
    run_id = main_run(experiment)
    ids["run"] = run_id
    lesser_runs(experiment, run_id)
    model_id, _ = logged_models(experiment, run_id)
    ids["logged model"] = model_id
    registered(run_id, model_id)
    client.set_terminated(run_id, "FINISHED", 1_700_000_100_000)
    second = client.create_experiment(f"{MARK} cellar")
    gone = client.create_run(second, run_name="below")
    client.log_metric(gone.info.run_id, "depth", 9.0, timestamp=1_700_000_000_000)
    client.delete_experiment(second)
    ids.update({"deleted experiment": second, "run of it": gone.info.run_id})
    print(json.dumps(ids))


main()
