"""How requests are read, and how answers and errors are written; each sentence against Headrace and MLflow itself."""

import json
import math

import pytest

from fix_mlflow import Rest, unique


def test_names_are_snake_case_and_integers_numbers(rest: Rest) -> None:
    run_id = rest.run(start_time=1700000000123)
    info = rest.get("runs/get", run_id=run_id)["run"]["info"]
    assert info["start_time"] == 1700000000123
    assert info["run_uuid"] == info["run_id"] == run_id
    assert info["lifecycle_stage"] == "active"
    assert "end_time" not in info


def test_what_is_not_set_is_left_out(rest: Rest) -> None:
    assert rest.post("runs/search", experiment_ids=[]) == {}
    run = rest.get("runs/get", run_id=rest.run())["run"]
    assert "metrics" not in run["data"]
    assert "params" not in run["data"]


def test_integers_come_as_strings_too(rest: Rest) -> None:
    run_id = rest.run()
    rest.post("runs/log-metric", run_id=run_id, key="m", value=1, timestamp="1700000000000", step="7")
    (metric,) = rest.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert (metric["step"], metric["timestamp"]) == (7, 1700000000000)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_doubles_that_json_has_not(rest: Rest, text: str) -> None:
    run_id = rest.run()
    rest.post("runs/log-metric", run_id=run_id, key="m", value=text, timestamp=1)
    (metric,) = rest.get("metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
    expected = {"NaN": "NaN", "Infinity": 1.7976931348623157e308, "-Infinity": -1.7976931348623157e308}
    assert metric["value"] == expected[text]
    (latest,) = rest.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert latest["value"] == expected[text]


def test_a_bare_nan_is_read(rest: Rest) -> None:
    run_id = rest.run()
    body = json.dumps({"run_id": run_id, "key": "m", "value": math.nan, "timestamp": 1}).encode()
    assert rest.call("POST", "runs/log-metric", raw=body).status == 200
    (metric,) = rest.get("metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
    assert metric["value"] == ("NaN" if rest.name == "headrace" else 0.0)  # which is not what was logged


def test_run_uuid_stands_for_run_id(rest: Rest) -> None:
    run_id = rest.run()
    rest.post("runs/set-tag", run_uuid=run_id, key="k", value="v")
    tags = rest.get("runs/get", run_uuid=run_id)["run"]["data"]["tags"]
    assert {"key": "k", "value": "v"} in tags


def test_a_body_encoded_twice_is_read(rest: Rest) -> None:
    name = unique("twice")
    body = json.dumps(json.dumps({"name": name})).encode()
    assert rest.call("POST", "experiments/create", raw=body).status == 200
    assert rest.get("experiments/get-by-name", experiment_name=name)


def test_nulls_are_not_set(rest: Rest) -> None:
    made = rest.post("experiments/create", name=unique("null"), tags=None, artifact_location=None)
    assert made["experiment_id"]


def test_the_body_must_say_that_it_is_json(rest: Rest) -> None:
    refused = rest.call("POST", "experiments/create", raw=b'{"name": "x"}', headers={"content-type": "text/plain"})
    assert refused.status == 400


def test_errors_say_code_and_message(rest: Rest) -> None:
    refused = rest.call("GET", "runs/get", run_id="0" * 32)
    assert (refused.status, refused.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert refused.message == f"Run with id={'0' * 32} not found"
    assert refused.headers["content-type"].startswith("application/json")


def test_a_missing_parameter_is_named(rest: Rest) -> None:
    refused = rest.call("POST", "experiments/create")
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert refused.message.startswith("Missing value for required parameter 'name'.")
    assert "See the API docs" in refused.message
    empty = rest.call("POST", "experiments/create", name="")
    assert empty.message == refused.message


def test_a_value_of_another_type_is_named(rest: Rest) -> None:
    refused = rest.call("POST", "experiments/create", name=17)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert refused.message.startswith("Invalid value 17 for parameter 'name' supplied")


def test_unknown_routes_are_html(rest: Rest) -> None:
    unknown = rest.call("POST", "experiments/no-such-thing")
    assert unknown.status == 404
    assert unknown.headers["content-type"].startswith("text/html")
    wrong = rest.call("DELETE", "experiments/get")
    assert wrong.status == 405
    assert wrong.headers["content-type"].startswith("text/html")


def test_the_browsers_routes_are_the_same(rest: Rest) -> None:
    experiment_id = rest.experiment()
    got = rest.get("/ajax-api/2.0/mlflow/experiments/get", experiment_id=experiment_id)
    assert got == rest.get("experiments/get", experiment_id=experiment_id)


def test_health_and_version(rest: Rest) -> None:
    assert rest.http.get("/health").status_code == 200
    assert rest.http.get("/version").status_code == 200
    told = rest.get("/api/3.0/mlflow/server-info")
    assert told["workspaces_enabled"] is (rest.name == "headrace")  # MLflow's need an option of the server
