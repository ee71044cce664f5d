"""MLflow's own client at work, by its documented calls; runs in MLflow's environment, where nothing of Headrace is.

Each part asserts what its user would see. `python client.py [PART ...]`; without a name, all of them.
"""

import base64
import hmac
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

MARK = f"{os.getpid()}-{time.time_ns()}"
PINNED = {"pip_requirements": ["scikit-learn"]}  # else the client works them out, in a process of its own
PARTS: dict[str, Callable[[], None]] = {}


def part(work: Callable[[], None]) -> Callable[[], None]:
    """Registers a part under its name."""
    PARTS[work.__name__] = work
    return work


def refused(work: Callable[[], object], code: str) -> None:
    """The call must fail with this code."""
    try:
        work()
    except MlflowException as error:
        assert error.error_code == code, error
    else:
        raise AssertionError(f"nothing refused with {code}")


@part
def runs() -> None:
    """A run with everything that is logged one by one, in batches and behind the back."""
    with mlflow.start_run(run_name="batch-1", tags={"oven": "hot"}, description="the first") as run:
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metric("loss", float("nan"), step=2)
        mlflow.log_param("sugar", 0.8)
        mlflow.set_tag("chef", "me")
        mlflow.log_metrics({"x": 1.0, "y": 2.0}, step=4)
        mlflow.log_params({"flour": 1, "butter": "much"})
        mlflow.set_tags({"u": "v", "w": "z"})
        for step in range(50):
            mlflow.log_metric("behind", step, step=step, synchronous=False)
    mlflow.flush_async_logging()
    client, run_id = MlflowClient(), run.info.run_id
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED" and found.info.run_name == "batch-1"
    assert found.data.params == {"sugar": "0.8", "flour": "1", "butter": "much"}
    assert found.data.metrics["x"] == 1.0 and np.isnan(found.data.metrics["loss"])
    assert found.data.tags["mlflow.note.content"] == "the first" and found.data.tags["chef"] == "me"
    history = client.get_metric_history(run_id, "behind")
    assert [(one.step, one.value) for one in history] == [(step, float(step)) for step in range(50)]
    client.log_batch(
        run_id,
        metrics=[Metric("many", n / 10, 1000 + n, n) for n in range(1000)],
    )
    client.log_batch(run_id, params=[Param("p", "q")], tags=[RunTag("t", "s")])
    assert len(client.get_metric_history(run_id, "many")) == 1000
    refused(lambda: client.log_param(run_id, "sugar", 0.9), "INVALID_PARAMETER_VALUE")
    client.delete_tag(run_id, "t")
    client.delete_run(run_id)
    refused(lambda: client.log_metric(run_id, "late", 1), "INVALID_PARAMETER_VALUE")
    client.restore_run(run_id)
    with mlflow.start_run(run_id=run_id), mlflow.start_run(nested=True, run_name="child") as child:
        mlflow.log_metric("loss", 0.1)
    assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run_id


@part
def search() -> None:
    """Experiments and runs, found by filter and order."""
    client = MlflowClient()
    experiment_id = mlflow.create_experiment(f"search-{MARK}", tags={"team": "pastry"})
    for number in range(5):
        with mlflow.start_run(experiment_id=experiment_id, run_name=f"r{number}"):
            mlflow.log_metric("acc", number / 10)
            mlflow.log_param("n", number)
    frame = mlflow.search_runs([experiment_id], "metrics.acc >= 0.2 and params.n != '4'", order_by=["metrics.acc DESC"])
    assert list(frame["params.n"]) == ["3", "2"]
    paged = client.search_runs([experiment_id], order_by=["metrics.acc"], max_results=2)
    assert len(paged) == 2 and paged.token
    following = client.search_runs([experiment_id], order_by=["metrics.acc"], max_results=2, page_token=paged.token)
    assert [run.data.params["n"] for run in following] == ["2", "3"]
    (found,) = mlflow.search_experiments(filter_string=f"name = 'search-{MARK}' and tags.team = 'pastry'")
    assert found.experiment_id == experiment_id
    client.rename_experiment(experiment_id, f"renamed-{MARK}")
    client.set_experiment_tag(experiment_id, "a", "b")
    client.delete_experiment(experiment_id)
    assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"
    client.restore_experiment(experiment_id)
    assert client.get_experiment_by_name(f"renamed-{MARK}").lifecycle_stage == "active"


@part
def artifacts() -> None:
    """Files of all kinds, up, listed and down."""
    client = MlflowClient()
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        mlflow.log_text("hello", "texts/hello.txt")
        mlflow.log_dict({"a": 1}, "d.json")
        mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), "dark.png")
        mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), key="dark", step=1)
        mlflow.log_table({"a": [1, 2]}, "table.json")
        mlflow.log_table({"a": [3]}, "table.json")
        with tempfile.TemporaryDirectory() as folder:
            for number in range(3):
                Path(folder, f"{number}.bin").write_bytes(os.urandom(1 << 20))
            mlflow.log_artifacts(folder, "many")
    assert {file.path for file in client.list_artifacts(run_id)} >= {
        "texts",
        "d.json",
        "dark.png",
        "table.json",
        "many",
    }
    assert [file.path for file in client.list_artifacts(run_id, "many")] == [
        f"many/{number}.bin" for number in range(3)
    ]
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/texts/hello.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/d.json") == {"a": 1}
    assert list(mlflow.load_table("table.json", [run_id])["a"]) == [1, 2, 3]
    with tempfile.TemporaryDirectory() as folder:
        local = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="many", dst_path=folder)
        assert sum(file.stat().st_size for file in Path(local).iterdir()) == 3 << 20


@part
def transfers() -> None:
    """A file in parts, and read by a signed URL in ranges; as large as it needs to be, with the client's own settings."""
    settings = {
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": 20 << 20,
        "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": 5 << 20,
        "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": 7 << 20,
    }
    os.environ.update({name: str(value) for name, value in settings.items()})
    content = os.urandom((32 << 20) + 5)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "large.bin").write_bytes(content)
        sent = Sent()
        with mlflow.start_run() as run:
            mlflow.log_artifact(str(Path(folder, "large.bin")), "weights")
        assert sent.count("PUT /signed/", " 200 ") == 7, sent.lines
        (found,) = MlflowClient().list_artifacts(run.info.run_id, "weights")
        assert found.path == "weights/large.bin" and found.file_size == len(content)
        for multipart in ("false", "true"):
            os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = multipart
            local = mlflow.artifacts.download_artifacts(
                run_id=run.info.run_id, artifact_path="weights/large.bin", dst_path=str(Path(folder, multipart))
            )
            assert Path(local).read_bytes() == content
        assert sent.count("GET /signed/", " 206 ") == 5, sent.lines
        del os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"]


class Sent(logging.Handler):
    """Every request of the client's from the moment it is made, by what its HTTP library logs of it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        logger = logging.getLogger("urllib3.connectionpool")
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def count(self, *words: str) -> int:
        """Requests with all of these words."""
        return sum(all(word in line for word in words) for line in self.lines)


@part
def traces() -> None:
    """Traced functions answer as untraced ones; the traces themselves are not kept here."""

    @mlflow.trace
    def double(number: int) -> int:
        with mlflow.start_span("inner") as span:
            span.set_inputs({"number": number})
            return number * 2

    with mlflow.start_run() as run:
        assert [double(number) for number in range(3)] == [0, 2, 4]
        mlflow.log_metric("after", 1)
    mlflow.flush_trace_async_logging()
    assert MlflowClient().get_run(run.info.run_id).data.metrics["after"] == 1
    try:
        mlflow.search_traces(return_type="list")
    except MlflowException as error:
        assert "404" in str(error), error
    else:
        raise AssertionError("traces are found that nothing keeps")


@part
def inputs() -> None:
    """Datasets that a run used."""
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [0, 1]})
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="flour", targets="b"), context="training")
    (found,) = MlflowClient().get_run(run.info.run_id).inputs.dataset_inputs
    assert found.dataset.name == "flour" and found.tags[0].value == "training"


@part
def models() -> None:
    """A model from training to its registered versions and back, by alias, stage and number."""
    client, name = MlflowClient(), f"iris-{MARK}"
    x, y = load_iris(return_X_y=True, as_frame=True)
    fitted = LogisticRegression(max_iter=200).fit(x, y)
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(
            fitted, name="judge", input_example=x.head(2), registered_model_name=name, **PINNED
        )
        mlflow.log_metric("acc", 0.9, model_id=logged.model_id)
    model = mlflow.get_logged_model(logged.model_id)
    assert str(model.status) == "READY" and model.source_run_id == run.info.run_id
    assert [one.key for one in model.metrics] == ["acc"]
    found = mlflow.search_logged_models([run.info.experiment_id], "name = 'judge'", output_format="list")
    assert logged.model_id in [one.model_id for one in found]
    assert client.get_run(run.info.run_id).outputs.model_outputs[0].model_id == logged.model_id
    second = mlflow.register_model(f"runs:/{run.info.run_id}/judge", name, tags={"second": "yes"})
    assert second.version == "2"
    client.set_registered_model_alias(name, "best", 1)
    client.set_registered_model_alias(name, "best", "2")
    assert client.get_model_version_by_alias(name, "best").version == "2"
    assert client.get_registered_model(name).aliases == {"best": "2"}
    for uri in (f"models:/{name}@best", f"models:/{name}/1", f"models:/{name}/latest", f"models:/{logged.model_id}"):
        assert (mlflow.pyfunc.load_model(uri).predict(x) == fitted.predict(x)).all(), uri
    assert (mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/judge").predict(x) == fitted.predict(x)).all()
    client.transition_model_version_stage(name, "1", "Production")
    assert [one.version for one in client.get_latest_versions(name, ["Production"])] == ["1"]
    client.set_registered_model_tag(name, "a", "b")
    client.set_model_version_tag(name, "1", "c", "d")
    client.update_model_version(name, "1", "the first")
    assert client.get_model_version(name, "1").tags == {"c": "d"}
    assert [one.version for one in client.search_model_versions(f"name = '{name}'")] == ["2", "1"]
    assert [one.name for one in client.search_registered_models(f"name = '{name}'")] == [name]
    copied = client.copy_model_version(f"models:/{name}@best", f"{name}-copy")
    assert (mlflow.pyfunc.load_model(f"models:/{name}-copy/{copied.version}").predict(x) == fitted.predict(x)).all()
    client.delete_registered_model_alias(name, "best")
    client.delete_model_version(name, "2")
    client.rename_registered_model(name, f"{name}-renamed")
    client.delete_registered_model(f"{name}-renamed")


@part
def serving() -> None:
    """`mlflow models serve` of an alias, in a process of its own."""
    client, name = MlflowClient(), f"served-{MARK}"
    x, y = load_iris(return_X_y=True, as_frame=True)
    fitted = LogisticRegression(max_iter=200).fit(x, y)
    with mlflow.start_run():
        mlflow.sklearn.log_model(fitted, name="served", registered_model_name=name, **PINNED)
    client.set_registered_model_alias(name, "best", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host, _, port = address.partition(":")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        f"models:/{name}@best",
        "--env-manager",
        "local",
    ]
    with subprocess.Popen([*command, "--host", host, "--port", port], start_new_session=True) as process:
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"http://{address}/ping", timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < until
                    time.sleep(0.2)
            body = json.dumps({"dataframe_split": x.head(5).to_dict(orient="split")}).encode()
            asked = urllib.request.Request(
                f"http://{address}/invocations", body, {"Content-Type": "application/json"}, method="POST"
            )
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert json.load(answer)["predictions"] == fitted.predict(x.head(5)).tolist()
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@part
def autologging() -> None:
    """What scikit-learn's autologging records by itself."""
    mlflow.sklearn.autolog()
    try:
        x, y = load_iris(return_X_y=True, as_frame=True)
        with mlflow.start_run() as run:
            LogisticRegression(max_iter=200).fit(x, y)
    finally:
        mlflow.sklearn.autolog(disable=True)
    found = MlflowClient().get_run(run.info.run_id)
    assert found.data.params["max_iter"] == "200" and found.data.metrics["training_accuracy_score"] > 0.9
    assert found.outputs.model_outputs


@part
def boosting() -> None:
    """LightGBM's autologging, its metrics a step each."""
    import lightgbm

    mlflow.lightgbm.autolog()
    try:
        x, y = load_iris(return_X_y=True, as_frame=True)
        data = lightgbm.Dataset(x, label=y)
        config = {"objective": "multiclass", "num_class": 3, "verbose": -1}
        with mlflow.start_run() as run:
            lightgbm.train(config, data, num_boost_round=5, valid_sets=[data], valid_names=["train"])
    finally:
        mlflow.lightgbm.autolog(disable=True)
    client = MlflowClient()
    assert client.get_run(run.info.run_id).data.params["num_class"] == "3"
    assert len(client.get_metric_history(run.info.run_id, "train-multi_logloss")) == 5


@part
def gradients() -> None:
    """XGBoost's autologging, and the model it logged, loaded by an alias."""
    import xgboost

    x, y = load_iris(return_X_y=True, as_frame=True)
    name, data = f"trees-{MARK}", xgboost.DMatrix(x, label=y)
    mlflow.xgboost.autolog(registered_model_name=name)
    try:
        config = {"objective": "multi:softprob", "num_class": 3}
        with mlflow.start_run() as run:
            booster = xgboost.train(config, data, num_boost_round=5, evals=[(data, "train")])
    finally:
        mlflow.xgboost.autolog(disable=True)
    client = MlflowClient()
    assert client.get_run(run.info.run_id).data.params["objective"] == "multi:softprob"
    assert [one.step for one in client.get_metric_history(run.info.run_id, "train-mlogloss")] == list(range(5))
    client.set_registered_model_alias(name, "best", 1)
    loaded = mlflow.xgboost.load_model(f"models:/{name}@best")
    assert (loaded.predict(xgboost.DMatrix(x)) == booster.predict(data)).all()
    assert (mlflow.pyfunc.load_model(f"models:/{name}@best").predict(x) == booster.predict(data)).all()


@part
def system_metrics() -> None:
    """The machine's metrics, sampled beside a run."""
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        time.sleep(2)
    metrics = MlflowClient().get_run(run.info.run_id).data.metrics
    assert any(key.startswith("system/") for key in metrics), metrics


@part
def evaluation() -> None:
    """mlflow.models.evaluate on a logged model."""
    x, y = load_iris(return_X_y=True, as_frame=True)
    fitted = LogisticRegression(max_iter=200).fit(x, y)
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(fitted, name="judged", **PINNED)
        data = x.assign(label=y)
        config = {"log_explainer": False}
        result = mlflow.models.evaluate(
            logged.model_uri, data, targets="label", model_type="classifier", evaluator_config=config
        )
    assert result.metrics["accuracy_score"] > 0.9


@part
def webhooks() -> None:
    """Webhooks, and what a receiver in this program is told."""
    client, told = MlflowClient(), queue.SimpleQueue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.put((self.headers, body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"thanks")

        def log_message(self, *args: object) -> None:
            """Not on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/hook"
        made = client.create_webhook(f"hook-{os.getpid()}", url, ["model_version.created"], "told", "s3cret")
        assert made.status == "ACTIVE" and [str(one) for one in made.events] == ["model_version.created"]
        assert client.get_webhook(made.webhook_id).url == url
        assert made.webhook_id in [one.webhook_id for one in client.list_webhooks(max_results=1000)]
        events = ["model_version_alias.created", "registered_model.created"]
        changed = client.update_webhook(made.webhook_id, description="other", events=events)
        assert changed.description == "other" and [str(one) for one in changed.events] == events
        tested = client.test_webhook(made.webhook_id)
        assert tested.success and tested.response_status == 200 and tested.response_body == "thanks"
        assert json.loads(told.get(timeout=60)[1])["entity"] == "model_version_alias"
        client.create_registered_model(f"told-{MARK}", {"a": "b"}, "described")
        headers, body = told.get(timeout=60)
        signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.digest(b"s3cret", signed, "sha256")).decode()
        assert headers["X-MLflow-Signature"] == f"v1,{mac}"
        assert json.loads(body)["data"] == {"name": f"told-{MARK}", "tags": {"a": "b"}, "description": "described"}
        client.delete_webhook(made.webhook_id)
        refused(lambda: client.get_webhook(made.webhook_id), "RESOURCE_DOES_NOT_EXIST")
        server.shutdown()


@part
def projects() -> None:
    """mlflow.projects.run, on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "MLproject").write_text(
            "name: bake\nentry_points:\n  main:\n    parameters: {heat: float}\n    command: python bake.py {heat}\n"
        )
        Path(folder, "bake.py").write_text("import sys, mlflow\nmlflow.log_metric('heat', float(sys.argv[1]))\n")
        done = mlflow.projects.run(folder, parameters={"heat": 180}, env_manager="local", experiment_id="0")
    found = MlflowClient().get_run(done.run_id)
    assert found.info.status == "FINISHED" and found.data.metrics["heat"] == 180
    assert found.data.params["heat"] == "180"


@part
def workspaces() -> None:
    """The same names in two workspaces, each with runs, files and a model of its own."""
    x, y = load_iris(return_X_y=True, as_frame=True)
    teams = {f"team-{letter}-{MARK}": c for letter, c in (("a", 0.1), ("b", 10.0))}
    run_ids: dict[str, str] = {}
    try:
        for team, c in teams.items():
            assert mlflow.create_workspace(team, description=f"C is {c}").description == f"C is {c}"
            mlflow.set_workspace(team)
            mlflow.set_experiment("flowers")
            fitted = LogisticRegression(C=c, max_iter=200).fit(x, y)
            with mlflow.start_run(run_name="same") as run:
                run_ids[team] = run.info.run_id
                mlflow.log_metric("c", c)
                mlflow.log_text(team, "notes/team.txt")
                mlflow.sklearn.log_model(fitted, name="judge", registered_model_name="judge", **PINNED)
            MlflowClient().set_registered_model_alias("judge", "best", 1)
            assert f"/workspaces/{team}/" in run.info.artifact_uri
        for team, c in teams.items():
            mlflow.set_workspace(team)
            assert mlflow.get_experiment_by_name("flowers").workspace == team
            assert list(mlflow.search_runs(experiment_names=["flowers"])["metrics.c"]) == [c]
            assert mlflow.artifacts.load_text(f"runs:/{run_ids[team]}/notes/team.txt") == team
            assert mlflow.sklearn.load_model("models:/judge@best").get_params()["C"] == c
            assert [one.version for one in MlflowClient().search_model_versions("name = 'judge'")] == ["1"]
        mlflow.set_workspace(None)
        refused(lambda: MlflowClient().get_run(run_ids[team]), "RESOURCE_DOES_NOT_EXIST")
        refused(lambda: MlflowClient().get_registered_model("judge"), "RESOURCE_DOES_NOT_EXIST")
        assert {one.name for one in mlflow.list_workspaces()} >= {*teams, "default"}
        assert mlflow.update_workspace(team, description="sharp").description == "sharp"
        assert mlflow.get_workspace(team).description == "sharp"
        empty = f"empty-{MARK}"
        mlflow.create_workspace(empty)
        mlflow.delete_workspace(empty)
        refused(lambda: mlflow.get_workspace(empty), "RESOURCE_DOES_NOT_EXIST")
        refused(lambda: mlflow.create_workspace(team), "RESOURCE_ALREADY_EXISTS")
        mlflow.set_workspace(f"nobody-{MARK}")
        refused(mlflow.search_experiments, "RESOURCE_DOES_NOT_EXIST")
    finally:
        mlflow.set_workspace(None)
        mlflow.set_experiment(f"client-{MARK}")


def main() -> None:
    """Runs the parts named, or all."""
    mlflow.set_experiment(f"client-{MARK}")
    for name in sys.argv[1:] or PARTS:
        started = time.monotonic()
        PARTS[name]()
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
