"""Runs, params and tags; each sentence against Headrace and MLflow itself."""

import json
from typing import Any

import pytest

from fix_mlflow import Name, Rest, unique


def tags_of(rest: Rest, run_id: str) -> dict[str, str]:
    return entries(rest, run_id, "tags")


def entries(rest: Rest, run_id: str, what: str) -> dict[str, str]:
    data = rest.get("runs/get", run_id=run_id)["run"]["data"]
    return {one["key"]: one["value"] for one in data.get(what, [])}


def test_a_new_run(rest: Rest) -> None:
    experiment_id = rest.experiment()
    made = rest.post(
        "runs/create",
        experiment_id=experiment_id,
        run_name="batch",
        user_id="chef",
        start_time=1700000000000,
        tags=[{"key": "oven", "value": "hot"}],
    )["run"]
    info = made["info"]
    assert (info["run_name"], info["status"], info["experiment_id"]) == ("batch", "RUNNING", experiment_id)
    assert (info["user_id"], info["start_time"]) == ("chef", 1700000000000)
    assert info["artifact_uri"] == f"mlflow-artifacts:/{experiment_id}/{info['run_id']}/artifacts"
    assert {"key": "mlflow.runName", "value": "batch"} in made["data"]["tags"]
    assert rest.get("runs/get", run_id=info["run_id"])["run"]["info"] == info


def test_names_are_made_up_where_none_is_given(rest: Rest) -> None:
    info = rest.get("runs/get", run_id=rest.run())["run"]["info"]
    adjective, animal, number = info["run_name"].split("-")
    assert adjective.isalpha()
    assert animal.isalpha()
    assert number.isdigit()


def test_the_name_is_a_tag(rest: Rest) -> None:
    run_id = rest.run(run_name="first")
    rest.post("runs/set-tag", run_id=run_id, key="mlflow.runName", value="second")
    assert rest.get("runs/get", run_id=run_id)["run"]["info"]["run_name"] == "second"
    rest.post("runs/update", run_id=run_id, run_name="third")
    assert tags_of(rest, run_id)["mlflow.runName"] == "third"
    both = {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}
    refused = rest.call("POST", "runs/create", experiment_id=rest.experiment(), **both)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_ends(rest: Rest) -> None:
    run_id = rest.run()
    info = rest.post("runs/update", run_id=run_id, status="FINISHED", end_time=1700000009000)["run_info"]
    assert (info["status"], info["end_time"]) == ("FINISHED", 1700000009000)
    info = rest.post("runs/update", run_id=run_id, status="KILLED")["run_info"]
    assert info["status"] == "KILLED"


def test_deleted_and_restored_as_often_as_one_likes(rest: Rest) -> None:
    run_id = rest.run()
    for _ in range(2):
        rest.post("runs/delete", run_id=run_id)
        assert rest.get("runs/get", run_id=run_id)["run"]["info"]["lifecycle_stage"] == "deleted"
    for _ in range(2):
        rest.post("runs/restore", run_id=run_id)
        assert rest.get("runs/get", run_id=run_id)["run"]["info"]["lifecycle_stage"] == "active"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"key": "p", "value": "1"}),
        ("runs/set-tag", {"key": "t", "value": "1"}),
        ("runs/log-batch", {"params": [{"key": "p", "value": "1"}]}),
        ("runs/update", {"status": "FINISHED"}),
    ],
)
def test_a_deleted_run_is_not_written_to(rest: Rest, path: str, fields: dict[str, Any]) -> None:
    run_id = rest.run()
    rest.post("runs/delete", run_id=run_id)
    refused = rest.call("POST", path, run_id=run_id, **fields)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "must be in the 'active' state" in refused.message


def test_unknown_runs(rest: Rest) -> None:
    for run_id in ("0" * 32, "nobody"):
        unknown = rest.call("GET", "runs/get", run_id=run_id)
        assert (unknown.status, unknown.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert unknown.message == f"Run with id={run_id} not found"


def test_a_param_keeps_its_value(rest: Rest) -> None:
    run_id = rest.run()
    for _ in range(2):
        rest.post("runs/log-parameter", run_id=run_id, key="sugar", value="0.8")
    refused = rest.call("POST", "runs/log-parameter", run_id=run_id, key="sugar", value="0.9")
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert refused.message.startswith("Changing param values is not allowed")
    assert entries(rest, run_id, "params") == {"sugar": "0.8"}


def test_long_values_are_cut_off(rest: Rest) -> None:
    run_id = rest.run()
    rest.post("runs/log-parameter", run_id=run_id, key="p", value="x" * 7000)
    rest.post("runs/set-tag", run_id=run_id, key="t", value="y" * 9000)
    assert entries(rest, run_id, "params")["p"] == "x" * 6000
    assert tags_of(rest, run_id)["t"] == "y" * 8000


@pytest.mark.parametrize("key", ["a//b", "../a", "/a", "a/", "k" * 251, "a?b", "."])
def test_keys_that_no_path_can_be(rest: Rest, key: str) -> None:
    run_id = rest.run()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("runs/log-parameter", {"value": "1"}),
        ("runs/set-tag", {"value": "1"}),
        ("runs/log-metric", {"value": 1, "timestamp": 1}),
    ]
    for path, fields in calls:
        refused = rest.call("POST", path, run_id=run_id, key=key, **fields)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("key", ["a/b", "a b.c-d:e_f", "schön", "k" * 250])
def test_keys_that_can_be(rest: Rest, key: str) -> None:
    run_id = rest.run()
    rest.post("runs/log-parameter", run_id=run_id, key=key, value="1")
    assert entries(rest, run_id, "params") == {key: "1"}


def test_tags_go(rest: Rest) -> None:
    run_id = rest.run()
    rest.post("runs/set-tag", run_id=run_id, key="t", value="1")
    rest.post("runs/delete-tag", run_id=run_id, key="t")
    assert "t" not in tags_of(rest, run_id)
    missing = rest.call("POST", "runs/delete-tag", run_id=run_id, key="t")
    assert (missing.status, missing.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_batch(rest: Rest) -> None:
    run_id = rest.run()
    rest.post(
        "runs/log-batch",
        run_id=run_id,
        metrics=[{"key": "m", "value": 0.5, "timestamp": 10, "step": 1}],
        params=[{"key": "p", "value": "1"}, {"key": "q", "value": "2"}],
        tags=[{"key": "t", "value": "v"}],
    )
    data = rest.get("runs/get", run_id=run_id)["run"]["data"]
    assert data["metrics"][0]["value"] == 0.5
    assert entries(rest, run_id, "params") == {"p": "1", "q": "2"}
    assert tags_of(rest, run_id)["t"] == "v"


@pytest.mark.parametrize(("metrics", "params", "tags"), [(1001, 0, 0), (0, 101, 0), (0, 0, 101), (900, 51, 50)])
def test_a_batch_that_is_too_large_writes_nothing(rest: Rest, metrics: int, params: int, tags: int) -> None:
    run_id = rest.run()
    refused = rest.call(
        "POST",
        "runs/log-batch",
        run_id=run_id,
        metrics=[{"key": f"m{n}", "value": 1, "timestamp": 1} for n in range(metrics)],
        params=[{"key": f"p{n}", "value": "1"} for n in range(params)],
        tags=[{"key": f"t{n}", "value": "1"} for n in range(tags)],
    )
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    data = rest.get("runs/get", run_id=run_id)["run"]["data"]
    assert "metrics" not in data
    assert "params" not in data


def test_a_param_twice_in_a_batch(rest: Rest) -> None:
    run_id = rest.run()
    twice = [{"key": "p", "value": "1"}, {"key": "p", "value": "1"}]
    refused = rest.call("POST", "runs/log-batch", run_id=run_id, params=twice)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "Duplicate parameter keys" in refused.message


def test_a_batch_without_a_key(rest: Rest) -> None:
    run_id = rest.run()
    refused = rest.call("POST", "runs/log-batch", run_id=run_id, metrics=[{"value": 1, "timestamp": 1}])
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert refused.message.startswith("Missing value for required parameter 'metrics[0].key'.")


def test_inputs(rest: Rest) -> None:
    run_id = rest.run()
    dataset = {"name": "flour", "digest": "abc", "source_type": "local", "source": "{}", "schema": "s", "profile": "p"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    rest.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": tags}])
    inputs = rest.get("runs/get", run_id=run_id)["run"]["inputs"]
    assert inputs["dataset_inputs"] == [{"dataset": dataset, "tags": tags}]


def test_outputs(rest: Rest) -> None:
    experiment_id = rest.experiment()
    run_id = rest.run(experiment_id)
    made = rest.post("logged-models", experiment_id=experiment_id, name="cookies", source_run_id=run_id)
    model_id = made["model"]["info"]["model_id"]
    rest.post("runs/outputs", run_id=run_id, models=[{"model_id": model_id, "step": 3}])
    run = rest.get("runs/get", run_id=run_id)["run"]
    assert run["outputs"]["model_outputs"] == [{"model_id": model_id, "step": 3}]
    other = rest.run(experiment_id)
    rest.post("runs/log-inputs", run_id=other, models=[{"model_id": model_id}])
    assert rest.get("runs/get", run_id=other)["run"]["inputs"]["model_inputs"] == [{"model_id": model_id}]


def test_a_name_with_a_percent_sign(rest: Rest) -> None:
    name = unique("100 %")
    run_id = rest.run(run_name=name)
    assert rest.get("runs/get", run_id=run_id)["run"]["info"]["run_name"] == name


def test_models_logged_the_old_way(rest: Rest) -> None:
    run_id = rest.run()
    models = [
        {
            "artifact_path": path,
            "run_id": run_id,
            "utc_time_created": "2020-01-01 00:00:00.000000",
            "flavors": {"sklearn": {"pickled_model": "model.pkl", "config": {"a": 1}}, "python_function": {}},
            "signature": None,
        }
        for path in ("first", "second")
    ]
    for model in models:
        assert rest.post("runs/log-model", run_id=run_id, model_json=json.dumps(model)) == {}
    assert json.loads(tags_of(rest, run_id)["mlflow.log-model.history"]) == [
        {
            "artifact_path": model["artifact_path"],
            "run_id": run_id,
            "utc_time_created": model["utc_time_created"],
            "model_uuid": None,
            "flavors": {"sklearn": {"pickled_model": "model.pkl"}, "python_function": {}},
        }
        for model in models
    ]
    for text, message in (("{", "Malformed model info"), ("{}", "Model json is missing mandatory fields")):
        refused = rest.call("POST", "runs/log-model", run_id=run_id, model_json=text)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in refused.message


def test_a_long_history_of_models_keeps_the_newest(servers: dict[Name, Rest]) -> None:
    rest = servers["headrace"]
    run_id = rest.run()
    for number in range(30):
        model = {"artifact_path": f"m{number}", "run_id": run_id, "utc_time_created": "", "flavors": {"x": "y" * 500}}
        rest.post("runs/log-model", run_id=run_id, model_json=json.dumps(model))
    paths = [model["artifact_path"] for model in json.loads(tags_of(rest, run_id)["mlflow.log-model.history"])]
    assert paths == [f"m{number}" for number in range(30 - len(paths), 30)]
    assert len(paths) > 5


def test_datasets_of_experiments(rest: Rest) -> None:
    experiments = [rest.experiment(), rest.experiment()]
    dataset = {"digest": "d1", "source_type": "local", "source": "{}"}
    context = [{"key": "mlflow.data.context", "value": "training"}]
    used = [
        (experiments[0], [{"dataset": {"name": "iris", **dataset}, "tags": context}]),
        (experiments[0], [{"dataset": {"name": "iris", **dataset}, "tags": context}]),
        (experiments[0], [{"dataset": {"name": "iris", **dataset}}, {"dataset": {"name": "wine", **dataset}}]),
        (experiments[1], [{"dataset": {"name": "iris", **dataset}, "tags": context}]),
    ]
    for experiment_id, datasets in used:
        rest.post("runs/log-inputs", run_id=rest.run(experiment_id), datasets=datasets)
    route = "/ajax-api/2.0/mlflow/experiments/search-datasets"

    def found(*experiment_ids: str) -> list[tuple[str, str, str, str]]:
        summaries = rest.post(route, experiment_ids=experiment_ids).get("dataset_summaries", [])
        return sorted((one["experiment_id"], one["name"], one["digest"], one.get("context", "")) for one in summaries)

    first = [
        (experiments[0], "iris", "d1", ""),
        (experiments[0], "iris", "d1", "training"),
        (experiments[0], "wine", "d1", ""),
    ]
    assert found(experiments[0]) == first
    assert found(*experiments) == sorted([*first, (experiments[1], "iris", "d1", "training")])
    assert found(rest.experiment()) == []
    for wrong, message in (([], "at least one experiment_id"), (["1"] * 21, "more than 20 experiment_ids")):
        refused = rest.call("POST", route, experiment_ids=wrong)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in refused.message
