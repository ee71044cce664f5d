"""Logged models; each sentence against Headrace and MLflow itself."""

from typing import Any

import pytest

from fix_mlflow import Rest, unique


def make(rest: Rest, experiment_id: str | None = None, **fields: Any) -> dict[str, Any]:
    made = rest.post("logged-models", experiment_id=experiment_id or rest.experiment(), **{"name": "cookies", **fields})
    model: dict[str, Any] = made["model"]
    return model


def names(body: dict[str, Any]) -> list[str]:
    return [model["info"]["name"] for model in body.get("models", [])]


def test_a_new_model(rest: Rest) -> None:
    experiment_id = rest.experiment()
    run_id = rest.run(experiment_id)
    model = make(
        rest,
        experiment_id,
        source_run_id=run_id,
        model_type="sklearn",
        params=[{"key": "depth", "value": "3"}],
        tags=[{"key": "team", "value": "pastry"}],
    )
    info = model["info"]
    assert info["model_id"].startswith("m-")
    assert (info["name"], info["status"], info["model_type"]) == ("cookies", "LOGGED_MODEL_PENDING", "sklearn")
    assert (info["experiment_id"], info["source_run_id"]) == (experiment_id, run_id)
    assert info["artifact_uri"] == f"mlflow-artifacts:/{experiment_id}/models/{info['model_id']}/artifacts"
    assert model["data"]["params"] == [{"key": "depth", "value": "3"}]
    assert {"key": "team", "value": "pastry"} in info["tags"]
    assert rest.get(f"logged-models/{info['model_id']}")["model"]["info"] == info


@pytest.mark.parametrize(
    ("status", "shown"),
    [(2, "LOGGED_MODEL_READY"), ("LOGGED_MODEL_READY", "LOGGED_MODEL_READY"), (3, "LOGGED_MODEL_UPLOAD_FAILED")],
)
def test_finalizing(rest: Rest, status: object, shown: str) -> None:
    model_id = make(rest)["info"]["model_id"]
    done = rest.other("PATCH", f"logged-models/{model_id}", model_id=model_id, status=status)
    assert done["model"]["info"]["status"] == shown


def test_a_name_is_made_up_where_none_is_given(rest: Rest) -> None:
    assert make(rest, name="")["info"]["name"]


@pytest.mark.parametrize("name", ["a/b", "a:b", "a.b", "a%b", "a'b", 'a"b'])
def test_names_that_cannot_be(rest: Rest, name: str) -> None:
    refused = rest.call("POST", "logged-models", experiment_id=rest.experiment(), name=name)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_tags_and_params(rest: Rest) -> None:
    model_id = make(rest)["info"]["model_id"]
    rest.other(
        "PATCH",
        f"logged-models/{model_id}/tags",
        model_id=model_id,
        tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}],
    )
    rest.other("DELETE", f"logged-models/{model_id}/tags/a")
    rest.post(f"logged-models/{model_id}/params", model_id=model_id, params=[{"key": "p", "value": "x"}])
    model = rest.get(f"logged-models/{model_id}")["model"]
    tags = {tag["key"]: tag["value"] for tag in model["info"]["tags"]}
    assert tags["b"] == "2"
    assert "a" not in tags
    assert model["data"]["params"] == [{"key": "p", "value": "x"}]
    missing = rest.call("DELETE", f"logged-models/{model_id}/tags/a")
    assert (missing.status, missing.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_deleting(rest: Rest) -> None:
    experiment_id = rest.experiment()
    model_id = make(rest, experiment_id)["info"]["model_id"]
    rest.other("DELETE", f"logged-models/{model_id}")
    gone = rest.call("GET", f"logged-models/{model_id}")
    assert (gone.status, gone.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert rest.get(f"logged-models/{model_id}", allow_deleted="true")["model"]["info"]["model_id"] == model_id
    assert rest.post("logged-models/search", experiment_ids=[experiment_id]) == {}


def test_unknown_ones(rest: Rest) -> None:
    unknown = rest.call("GET", f"logged-models/m-{'0' * 32}")
    assert (unknown.status, unknown.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_metrics_of_models(rest: Rest) -> None:
    experiment_id = rest.experiment()
    run_id = rest.run(experiment_id)
    model_id = make(rest, experiment_id, source_run_id=run_id)["info"]["model_id"]
    rest.post("runs/log-metric", run_id=run_id, key="acc", value=0.5, timestamp=1, step=1, model_id=model_id)
    on = {"dataset_name": "flour", "dataset_digest": "d1"}
    batch = [{"key": "acc", "value": 0.75, "timestamp": 2, "step": 1, "model_id": model_id, **on}]
    rest.post("runs/log-batch", run_id=run_id, metrics=batch)
    metrics = rest.get(f"logged-models/{model_id}")["model"]["data"]["metrics"]
    found = {one.get("dataset_name", ""): one["value"] for one in metrics}
    assert found == {"": 0.5, "flour": 0.75}
    assert all(one["run_id"] == run_id and one["model_id"] == model_id for one in metrics)
    run = rest.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert [one["value"] for one in run] == [0.75]


def test_searching(rest: Rest) -> None:
    experiment_id = rest.experiment()
    run_id = rest.run(experiment_id)
    for number, name in enumerate("abc"):
        model_id = make(
            rest, experiment_id, name=name, source_run_id=run_id, model_type="tree" if name != "c" else "net",
            params=[{"key": "depth", "value": str(number)}], tags=[{"key": "t", "value": name}],
        )["info"]["model_id"]  # fmt: skip
        metrics = [{"key": "acc", "value": number / 10, "timestamp": 1, "model_id": model_id}]
        metrics += [
            {"key": "acc", "value": 1 - number / 10, "timestamp": 2, "model_id": model_id,
             "dataset_name": "flour", "dataset_digest": "d1"}
        ]  # fmt: skip
        rest.post("runs/log-batch", run_id=run_id, metrics=metrics)

    def found(**fields: Any) -> list[str]:
        order = [{"field_name": "name", "ascending": True}]
        return names(rest.post("logged-models/search", experiment_ids=[experiment_id], **{"order_by": order, **fields}))

    assert found() == ["a", "b", "c"]
    assert found(order_by=[]) == ["c", "b", "a"]
    assert found(order_by=[{"field_name": "name", "ascending": False}]) == ["c", "b", "a"]
    assert found(filter="params.depth = '1'") == ["b"]
    assert found(filter="model_type = 'tree' AND name != 'a'") == ["b"]
    assert found(filter="tags.t LIKE 'c%'") == ["c"]
    assert found(filter=f"source_run_id = '{run_id}'") == ["a", "b", "c"]
    flour = {"dataset_name": "flour", "dataset_digest": "d1"}
    assert found(filter="metrics.acc >= 0.9", datasets=[flour]) == ["a", "b"]
    by_flour = [{"field_name": "metrics.acc", "ascending": True, **flour}]
    assert found(order_by=by_flour) == ["c", "b", "a"]
    assert rest.post("logged-models/search", experiment_ids=[]) == {}


def test_pages(rest: Rest) -> None:
    experiment_id = rest.experiment()
    for name in "abcde":
        make(rest, experiment_id, name=name)
    order = [{"field_name": "name", "ascending": True}]
    seen: list[str] = []
    token = ""
    while True:
        page = rest.post(
            "logged-models/search", experiment_ids=[experiment_id], order_by=order, max_results=2, page_token=token
        )
        seen += names(page)
        token = page.get("next_page_token", "")
        if not token:
            break
    assert seen == ["a", "b", "c", "d", "e"]
    first = rest.post("logged-models/search", experiment_ids=[experiment_id], order_by=order, max_results=2)
    other = rest.call(
        "POST",
        "logged-models/search",
        experiment_ids=[experiment_id],
        filter="name = 'a'",
        max_results=2,
        page_token=first["next_page_token"],
    )
    assert (other.status, other.code) == (400, "INVALID_PARAMETER_VALUE")


def test_files(rest: Rest) -> None:
    experiment_id = rest.experiment()
    model_id = make(rest, experiment_id, name=unique("files"))["info"]["model_id"]
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment_id}/models/{model_id}/artifacts/data/MLmodel"
    assert rest.http.put(path, content=b"flavors: {}").status_code == 200
    assert rest.http.get(path).content == b"flavors: {}"
    listed = rest.get(f"logged-models/{model_id}/artifacts/directories")
    assert [(one["path"], one["is_dir"]) for one in listed["files"]] == [("data", True)]
    below = rest.get(f"logged-models/{model_id}/artifacts/directories", artifact_directory_path="data")
    assert [one["path"] for one in below["files"]] == ["data/MLmodel"]
