"""Workspaces; each sentence against Headrace and an MLflow that was started with them."""

from collections.abc import Iterator
from typing import Any

import pytest

from fix_mlflow import WORKSPACES, Rest, unique

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def teams(divided: Rest) -> Iterator[tuple[Rest, Rest]]:
    """Two workspaces."""
    one, other = divided.within(divided.workspace()), divided.within(divided.workspace())
    yield one, other
    one.http.close()
    other.http.close()


def team(rest: Rest) -> str:
    return str(rest.http.headers["x-mlflow-workspace"])


def test_the_server_says_that_it_has_them(divided: Rest) -> None:
    for workspace in ("default", "no-such-team", "NO NAME"):
        with_header = divided.within(workspace)
        assert with_header.get("/api/3.0/mlflow/server-info")["workspaces_enabled"] is True
        with_header.http.close()


@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_made_shown_changed_and_deleted(divided: Rest, prefix: str) -> None:
    name, place = unique("team"), f"{prefix}/3.0/mlflow/workspaces"
    made = divided.call("POST", place, name=name, description="bakes")
    assert (made.status, made.body) == (201, {"workspace": {"name": name, "description": "bakes"}})
    again = divided.call("POST", place, name=name)
    assert (again.status, again.code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert f"Workspace '{name}' already exists" in again.message
    assert divided.get(f"{place}/{name}") == made.body
    changed = divided.other("PATCH", f"{place}/{name}", description="mills")
    assert changed == {"workspace": {"name": name, "description": "mills"}}
    names = [one["name"] for one in divided.get(place)["workspaces"]]
    assert {name, "default"} <= set(names)
    assert names == sorted(names)
    assert divided.call("DELETE", f"{place}/{name}").status == 204
    gone = divided.call("GET", f"{place}/{name}")
    assert (gone.status, gone.code, gone.message) == (404, "RESOURCE_DOES_NOT_EXIST", f"Workspace '{name}' not found")
    assert divided.call("POST", place, name=name).status == 201


@pytest.mark.parametrize(
    "name", ["", "x", "UP", "a_b", "a.b", "-ab", "ab-", "x" * 64, "api", "workspaces", "static-files", "default", 5]
)
def test_names_that_none_can_have(divided: Rest, name: object) -> None:
    refused = divided.call("POST", WORKSPACES, name=name)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_default_is_there_and_stays(divided: Rest) -> None:
    assert divided.get(f"{WORKSPACES}/default")["workspace"]["name"] == "default"
    kept = divided.call("DELETE", f"{WORKSPACES}/default")
    assert (kept.status, kept.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "reserved and cannot be deleted" in kept.message
    changed = divided.other("PATCH", f"{WORKSPACES}/default", description="all of us")
    assert changed["workspace"]["description"] == "all of us"


@pytest.mark.parametrize(
    ("verb", "name", "fields", "status"),
    [
        ("PATCH", "no-such-team", {"description": "x"}, 404),
        ("DELETE", "no-such-team", {}, 404),
        ("GET", "NO", {}, 400),
        ("PATCH", "NO", {"description": "x"}, 400),
        ("DELETE", "NO", {}, 400),
        ("PATCH", "default", {}, 400),
        ("DELETE", "default?mode=SOMEHOW", {}, 400),
        ("DELETE", "no-such-team?mode=SOMEHOW", {}, 400),
    ],
)
def test_what_cannot_be_done_with_one(divided: Rest, verb: str, name: str, fields: dict[str, Any], status: int) -> None:
    refused = divided.call(verb, f"{WORKSPACES}/{name}", **fields)
    assert (refused.status, refused.code) == (
        status,
        "RESOURCE_DOES_NOT_EXIST" if status == 404 else "INVALID_PARAMETER_VALUE",
    )


@pytest.mark.parametrize(
    ("workspace", "status", "said"),
    [("no-such-team", 404, "Workspace 'no-such-team' not found"), ("NO", 400, "'NO'"), ("a.b", 400, "'a.b'")],
)
def test_a_workspace_that_is_none(divided: Rest, workspace: str, status: int, said: str) -> None:
    rest = divided.within(workspace)
    calls = [
        rest.call("GET", "experiments/get", experiment_id="0"),
        rest.call("POST", "experiments/create", name="x"),
        rest.call("POST", "runs/search", experiment_ids=["0"], max_results=5),
        rest.call("GET", "registered-models/search", max_results=5),
        rest.call("GET", PROXY, path=f"0/{'0' * 32}/artifacts"),
        rest.call("GET", "/get-artifact", run_id="0" * 32, path="x"),
    ]
    assert {(one.status, said in one.message) for one in calls} == {(status, True)}
    rest.http.close()


def test_none_means_default(divided: Rest) -> None:
    run_id = divided.run()
    for name in ("default", ""):
        rest = divided.within(name)
        assert rest.get("runs/get", run_id=run_id)["run"]["info"]["run_id"] == run_id
        rest.http.close()


def test_names_are_apart(divided: Rest, teams: tuple[Rest, Rest]) -> None:
    name = unique("same")
    ids = {}
    for rest in (divided, *teams):
        ids[rest] = rest.post("experiments/create", name=name)["experiment_id"]
        rest.post("registered-models/create", name=name)
        rest.post("model-versions/create", name=name, source="s3://elsewhere/model")
    for rest, experiment_id in ids.items():
        found = rest.get("experiments/get-by-name", experiment_name=name)["experiment"]
        assert found["experiment_id"] == experiment_id
        assert found["workspace"] == rest.http.headers.get("x-mlflow-workspace", "default")
        searched = rest.post("experiments/search", max_results=100, filter=f"name = '{name}'")
        assert len(searched["experiments"]) == 1
        assert (
            len(rest.get("registered-models/search", max_results=100, filter=f"name = '{name}'")["registered_models"])
            == 1
        )
        assert rest.get("registered-models/get", name=name)["registered_model"]["latest_versions"][0]["version"] == "1"
    one, other = teams
    one.other("DELETE", "registered-models/delete", name=name)
    assert other.get("registered-models/get", name=name)
    assert divided.get("registered-models/get", name=name)


def test_runs_and_models_of_one_are_not_found_in_another(divided: Rest, teams: tuple[Rest, Rest]) -> None:
    one, other = teams
    experiment_id = one.experiment()
    run_id = one.run(experiment_id)
    one.post("runs/log-metric", run_id=run_id, key="loss", value=0.5, timestamp=1, step=1)
    logged = one.post("logged-models", experiment_id=experiment_id, name="m")["model"]["info"]["model_id"]
    model = one.model()
    for rest in (other, divided):
        for answer in (
            rest.call("GET", "runs/get", run_id=run_id),
            rest.call("POST", "runs/log-metric", run_id=run_id, key="loss", value=1, timestamp=1),
            rest.call("POST", "runs/set-tag", run_id=run_id, key="a", value="b"),
            rest.call("POST", "runs/delete", run_id=run_id),
            rest.call("GET", f"logged-models/{logged}"),
            rest.call("GET", "registered-models/get", name=model),
            rest.call("POST", "model-versions/create", name=model, source="s3://elsewhere/model"),
        ):
            assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST"), answer
    history = one.get("metrics/get-history", run_id=run_id, metric_key="loss")
    assert [point["value"] for point in history["metrics"]] == [0.5]


def test_files_have_a_place_of_their_workspace(divided: Rest, teams: tuple[Rest, Rest]) -> None:
    one, other = teams
    experiment_id = one.experiment()
    run_id = one.run(experiment_id)
    found = one.get("experiments/get", experiment_id=experiment_id)["experiment"]
    assert found["artifact_location"] == f"mlflow-artifacts:/workspaces/{team(one)}/{experiment_id}"
    root = f"workspaces/{team(one)}/{experiment_id}/{run_id}/artifacts"
    info = one.get("runs/get", run_id=run_id)["run"]["info"]
    assert info["artifact_uri"] == f"mlflow-artifacts:/{root}"
    assert one.http.put(f"{PROXY}/{root}/a/1.txt", content=b"one").status_code == 200
    assert one.http.get(f"{PROXY}/{root}/a/1.txt").content == b"one"
    plain = f"{experiment_id}/{run_id}/artifacts/a/1.txt"
    assert one.http.get(f"{PROXY}/{plain}").content == b"one"
    listed = one.get("artifacts/list", run_id=run_id, path="a")
    assert (listed["root_uri"], [file["path"] for file in listed["files"]]) == (
        f"mlflow-artifacts:/{root}",
        ["a/1.txt"],
    )
    assert [file["path"] for file in one.get(PROXY, path=f"{root}/a")["files"]] == ["1.txt"]
    assert one.http.get("/get-artifact", params={"run_id": run_id, "path": "a/1.txt"}).content == b"one"
    for rest in (other, divided):
        for verb in ("GET", "PUT", "DELETE"):
            foreign = rest.call(verb, f"{PROXY}/{root}/a/1.txt", raw=b"{}")
            assert (foreign.status, foreign.code) == (400, "INVALID_PARAMETER_VALUE")
            assert f"Artifact path targets workspace '{team(one)}'" in foreign.message
        assert rest.call("GET", PROXY, path=f"{root}/a").status == 400
        assert rest.http.get(f"{PROXY}/{plain}").status_code == 404
        assert rest.http.get("/get-artifact", params={"run_id": run_id, "path": "a/1.txt"}).status_code == 404
    assert one.http.delete(f"{PROXY}/{root}/a/1.txt").status_code == 200
    assert one.http.get(f"{PROXY}/{root}/a/1.txt").status_code == 404


def test_a_version_is_made_of_files_of_its_own_workspace(teams: tuple[Rest, Rest]) -> None:
    one, other = teams
    experiment_id = one.experiment()
    run_id = one.run(experiment_id)
    root = f"workspaces/{team(one)}/{experiment_id}/{run_id}/artifacts"
    one.http.put(f"{PROXY}/{root}/model/MLmodel", content=b"flavors: {}")
    name, source = one.model(), f"mlflow-artifacts:/{root}/model"
    one.version(name, source=source, run_id=run_id)
    uri = one.get("model-versions/get-download-uri", name=name, version="1")["artifact_uri"]
    assert uri.startswith(f"mlflow-artifacts:/workspaces/{team(one)}/")
    path = uri.removeprefix("mlflow-artifacts:/")
    assert one.http.get(f"{PROXY}/{path}/MLmodel").content == b"flavors: {}"
    refused = other.call("POST", "model-versions/create", name=other.model(), source=source, run_id=run_id)
    assert refused.status in {400, 404}


def test_only_an_empty_one_is_deleted(divided: Rest, teams: tuple[Rest, Rest]) -> None:
    one, other = teams
    one.experiment()
    other.model()
    for rest in teams:
        kept = divided.call("DELETE", f"{WORKSPACES}/{team(rest)}?mode=RESTRICT")
        # MLflow says INVALID_STATE with 500, which its client then repeats for minutes.
        assert (kept.status, kept.code) == (
            (500, "INVALID_STATE") if divided.name == "mlflow" else (400, "INVALID_PARAMETER_VALUE")
        )
        assert team(rest) in kept.message
        assert "still" in kept.message
        assert divided.get(f"{WORKSPACES}/{team(rest)}")


def test_a_root_for_the_files_of_new_experiments(divided: Rest) -> None:
    name = unique("team")
    refused = divided.call("POST", WORKSPACES, name=name, default_artifact_root="relative/x")
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    made = divided.call("POST", WORKSPACES, name=name, default_artifact_root="s3://bucket/x/")
    assert made.body["workspace"]["default_artifact_root"] == "s3://bucket/x/"
    rest = divided.within(name)
    experiment_id = rest.experiment()
    found = rest.get("experiments/get", experiment_id=experiment_id)["experiment"]
    assert found["artifact_location"] == f"s3://bucket/x/{experiment_id}"
    info = rest.get("runs/get", run_id=rest.run(experiment_id))["run"]["info"]
    assert info["artifact_uri"] == f"s3://bucket/x/{experiment_id}/{info['run_id']}/artifacts"
    divided.other("PATCH", f"{WORKSPACES}/{name}", default_artifact_root="")
    experiment_id = rest.experiment()
    found = rest.get("experiments/get", experiment_id=experiment_id)["experiment"]
    assert found["artifact_location"] == f"mlflow-artifacts:/workspaces/{name}/{experiment_id}"
    rest.http.close()
