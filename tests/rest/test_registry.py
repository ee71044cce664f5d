"""Registered models, versions, aliases and stages; each sentence against Headrace and MLflow itself."""

from typing import Any

import pytest

from fix_mlflow import Rest, unique


def model_of(rest: Rest, name: str) -> dict[str, Any]:
    body: dict[str, Any] = rest.get("registered-models/get", name=name)["registered_model"]
    return body


def version_of(rest: Rest, name: str, version: str) -> dict[str, Any]:
    body: dict[str, Any] = rest.get("model-versions/get", name=name, version=version)["model_version"]
    return body


def test_a_new_model(rest: Rest) -> None:
    name = unique("model")
    made = rest.post(
        "registered-models/create", name=name, description="crisp", tags=[{"key": "team", "value": "pastry"}]
    )["registered_model"]
    assert (made["name"], made["description"]) == (name, "crisp")
    assert made["tags"] == [{"key": "team", "value": "pastry"}]
    assert isinstance(made["creation_timestamp"], int)
    assert "latest_versions" not in made
    assert "aliases" not in model_of(rest, name)


def test_a_name_in_use(rest: Rest) -> None:
    name = rest.model()
    again = rest.call("POST", "registered-models/create", name=name)
    assert (again.status, again.code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert f"Registered Model (name={name}) already exists." in again.message


@pytest.mark.parametrize("name", ["a/b", "a:b"])
def test_names_that_cannot_be(rest: Rest, name: str) -> None:
    refused = rest.call("POST", "registered-models/create", name=name)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_unknown_ones(rest: Rest) -> None:
    model = rest.call("GET", "registered-models/get", name="nobody")
    assert (model.status, model.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert model.message == "Registered Model with name=nobody not found"
    name = rest.model()
    version = rest.call("GET", "model-versions/get", name=name, version="7")
    assert (version.status, version.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert version.message == f"Model Version (name={name}, version=7) not found"
    number = rest.call("GET", "model-versions/get", name=name, version="seven")
    assert (number.status, number.code) == (400, "INVALID_PARAMETER_VALUE")


def test_renamed_described_and_deleted(rest: Rest) -> None:
    name, other = rest.model(), unique("renamed")
    rest.version(name)
    assert rest.post("registered-models/rename", name=name, new_name=other)["registered_model"]["name"] == other
    assert version_of(rest, other, "1")["name"] == other
    rest.other("PATCH", "registered-models/update", name=other, description="better")
    assert model_of(rest, other)["description"] == "better"
    taken = rest.model()
    refused = rest.call("POST", "registered-models/rename", name=other, new_name=taken)
    assert (refused.status, refused.code) == (400, "RESOURCE_ALREADY_EXISTS")
    rest.other("DELETE", "registered-models/delete", name=other)
    assert rest.call("GET", "registered-models/get", name=other).status == 404


def test_tags(rest: Rest) -> None:
    name = rest.model()
    rest.version(name)
    rest.post("registered-models/set-tag", name=name, key="k", value="v")
    rest.post("model-versions/set-tag", name=name, version="1", key="k", value="w" * 100_000)
    assert model_of(rest, name)["tags"] == [{"key": "k", "value": "v"}]
    assert version_of(rest, name, "1")["tags"] == [{"key": "k", "value": "w" * 100_000}]
    for _ in range(2):
        rest.other("DELETE", "registered-models/delete-tag", name=name, key="k")
        rest.other("DELETE", "model-versions/delete-tag", name=name, version="1", key="k")
    assert "tags" not in model_of(rest, name)
    for key, value in (("k" * 251, "v"), ("k", "v" * 100_001)):
        refused = rest.call("POST", "registered-models/set-tag", name=name, key=key, value=value)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_versions_count_up_and_are_never_used_again(rest: Rest) -> None:
    name = rest.model()
    assert [rest.version(name) for _ in range(3)] == ["1", "2", "3"]
    rest.other("DELETE", "model-versions/delete", name=name, version="3")
    assert rest.version(name) == "4"
    assert rest.call("GET", "model-versions/get", name=name, version="3").status == 404


def test_a_version(rest: Rest) -> None:
    name = rest.model()
    made = rest.post(
        "model-versions/create",
        name=name,
        source="s3://elsewhere/model",
        run_link="https://elsewhere/run",
        description="first",
        tags=[{"key": "k", "value": "v"}],
    )["model_version"]
    assert (made["name"], made["version"], made["status"]) == (name, "1", "READY")
    assert (made["source"], made["run_link"]) == ("s3://elsewhere/model", "https://elsewhere/run")
    assert (made["current_stage"], made["description"]) == ("None", "first")
    assert made["tags"] == [{"key": "k", "value": "v"}]
    uri = rest.get("model-versions/get-download-uri", name=name, version="1")["artifact_uri"]
    assert uri == "s3://elsewhere/model"
    changed = rest.other("PATCH", "model-versions/update", name=name, version="1", description="other")
    assert changed["model_version"]["description"] == "other"
    assert version_of(rest, name, "1")["description"] == "other"


def test_a_version_of_a_logged_model(rest: Rest) -> None:
    experiment_id = rest.experiment()
    run_id = rest.run(experiment_id)
    made = rest.post("logged-models", experiment_id=experiment_id, name="cookies", source_run_id=run_id)
    model_id = made["model"]["info"]["model_id"]
    rest.other("PATCH", f"logged-models/{model_id}", model_id=model_id, status=2)
    name = rest.model()
    version = rest.version(name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id)
    shown = version_of(rest, name, version)
    assert shown["run_id"] == run_id
    if rest.name == "headrace":  # MLflow keeps it, and does not show it
        assert shown["model_id"] == model_id
    uri = rest.get("model-versions/get-download-uri", name=name, version=version)["artifact_uri"]
    assert uri.endswith(f"{experiment_id}/models/{model_id}/artifacts")


def test_a_version_of_a_runs_files(rest: Rest) -> None:
    experiment_id = rest.experiment()
    run_id = rest.run(experiment_id)
    proxy = "/api/2.0/mlflow-artifacts/artifacts"
    rest.http.put(f"{proxy}/{experiment_id}/{run_id}/artifacts/model/MLmodel", content=b"flavors: {}")
    name = rest.model()
    source = f"mlflow-artifacts:/{experiment_id}/{run_id}/artifacts/model"
    version = rest.version(name, source=source, run_id=run_id)
    shown = version_of(rest, name, version)
    assert (shown["source"], shown["run_id"]) == (source, run_id)
    uri = rest.get("model-versions/get-download-uri", name=name, version=version)["artifact_uri"]
    path = uri.removeprefix("mlflow-artifacts:/").lstrip("/")
    assert rest.http.get(f"{proxy}/{path}/MLmodel").content == b"flavors: {}"


@pytest.mark.parametrize("source", ["s3://bucket/../other", "/etc", "file:///etc", "mlflow-artifacts:/1/../2"])
def test_sources_that_cannot_be(rest: Rest, source: str) -> None:
    name = rest.model()
    refused = rest.call("POST", "model-versions/create", name=name, source=source)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_aliases(rest: Rest) -> None:
    name = rest.model()
    for _ in range(2):
        rest.version(name)
    rest.post("registered-models/alias", name=name, alias="best", version="1")
    rest.post("registered-models/alias", name=name, alias="best", version="2")
    assert model_of(rest, name)["aliases"] == [{"alias": "best", "version": "2"}]
    assert version_of(rest, name, "2")["aliases"] == ["best"]
    assert rest.get("registered-models/alias", name=name, alias="best")["model_version"]["version"] == "2"
    assert rest.get("registered-models/alias", name=name, alias="latest")["model_version"]["version"] == "2"
    for _ in range(2):
        rest.other("DELETE", "registered-models/alias", name=name, alias="best")
    unknown = rest.call("GET", "registered-models/alias", name=name, alias="best")
    assert (unknown.status, unknown.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "best not found" in unknown.message


def test_a_deleted_version_takes_its_aliases_along(rest: Rest) -> None:
    name = rest.model()
    rest.version(name)
    rest.post("registered-models/alias", name=name, alias="best", version="1")
    rest.other("DELETE", "model-versions/delete", name=name, version="1")
    assert "aliases" not in model_of(rest, name)


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V12", "a b", "a" * 256, "a/b"])
def test_aliases_that_cannot_be(rest: Rest, alias: str) -> None:
    name = rest.model()
    rest.version(name)
    refused = rest.call("POST", "registered-models/alias", name=name, alias=alias, version="1")
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_an_alias_of_no_version(rest: Rest) -> None:
    name = rest.model()
    refused = rest.call("POST", "registered-models/alias", name=name, alias="best", version="9")
    assert (refused.status, refused.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_stages(rest: Rest) -> None:
    name = rest.model()
    for _ in range(3):
        rest.version(name)

    def move(version: str, stage: str, archive: bool = False) -> str:
        moved = rest.post(
            "model-versions/transition-stage",
            name=name,
            version=version,
            stage=stage,
            archive_existing_versions=archive,
        )
        return str(moved["model_version"]["current_stage"])

    assert move("1", "production") == "Production"
    assert move("2", "Production", archive=True) == "Production"
    assert version_of(rest, name, "1")["current_stage"] == "Archived"
    assert move("3", "STAGING") == "Staging"
    latest = rest.post("registered-models/get-latest-versions", name=name)["model_versions"]
    assert sorted((one["current_stage"], one["version"]) for one in latest) == [
        ("Archived", "1"),
        ("Production", "2"),
        ("Staging", "3"),
    ]
    some = rest.post("registered-models/get-latest-versions", name=name, stages=["staging"])["model_versions"]
    assert [one["version"] for one in some] == ["3"]
    assert sorted(one["version"] for one in model_of(rest, name)["latest_versions"]) == ["1", "2", "3"]
    refused = rest.call("POST", "model-versions/transition-stage", name=name, version="1", stage="Shelf")
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    archived = rest.call(
        "POST",
        "model-versions/transition-stage",
        name=name,
        version="1",
        stage="Archived",
        archive_existing_versions=True,
    )
    assert archived.status == 500


def test_searching_for_models(rest: Rest) -> None:
    mark = unique("searched")
    for letter in "abc":
        rest.post("registered-models/create", name=f"{mark}-{letter}", tags=[{"key": "letter", "value": letter}])
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    rest.post("registered-models/create", name=f"{mark}-prompt", tags=prompt)

    def found(text: str = f"name LIKE '{mark}%'", **fields: Any) -> list[str]:
        body = rest.get("registered-models/search", filter=text, **fields)
        return [one["name"].rpartition("-")[2] for one in body.get("registered_models", [])]

    assert found() == ["a", "b", "c"]
    assert found(order_by=["name DESC"]) == ["c", "b", "a"]
    assert found(f"name = '{mark}-b'") == ["b"]
    assert found(f"name ILIKE '{mark.upper()}%' AND tags.letter = 'c'") == ["c"]
    assert found(f"name LIKE '{mark}%' AND tags.`mlflow.prompt.is_prompt` = 'true'") == ["prompt"]
    first = rest.get("registered-models/search", filter=f"name LIKE '{mark}%'", max_results=2)
    rest_of = found(max_results=2, page_token=first["next_page_token"])
    assert rest_of == ["c"]
    wrong: list[dict[str, Any]] = [
        {"filter": "nothing = 'a'"},
        {"order_by": ["nothing"]},
        {"max_results": 1001},
        {"page_token": "x"},
    ]
    for fields in wrong:
        refused = rest.call("GET", "registered-models/search", **fields)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_searching_for_versions(rest: Rest) -> None:
    name, other = rest.model(), rest.model()
    for version in range(3):
        rest.version(name, source=f"s3://bucket/{version}", tags=[{"key": "v", "value": str(version)}])
    rest.version(other)

    def found(text: str = f"name = '{name}'", **fields: Any) -> list[str]:
        body = rest.get("model-versions/search", **{"filter": text, "max_results": 100, **fields})
        return [one["version"] for one in body.get("model_versions", [])]

    assert found() == ["3", "2", "1"]
    assert found(order_by=["version_number ASC"]) == ["1", "2", "3"]
    assert found(f"name = '{name}' AND tags.v = '1'") == ["2"]
    assert found(f"name = '{name}' AND version_number > 1") == ["3", "2"]
    assert found("source_path = 's3://bucket/1'" + f" AND name = '{name}'") == ["2"]
    both = rest.get("model-versions/search", filter=f"name IN ('{name}', '{other}')", max_results=100)
    assert len(both["model_versions"]) == 4
    first = rest.get("model-versions/search", filter=f"name = '{name}'", max_results=2)
    assert found(max_results=2, page_token=first["next_page_token"]) == ["1"]
