"""Experiments; each sentence against Headrace and MLflow itself."""

import pytest

from fix_mlflow import Rest, unique


def test_made_and_found_by_id_and_name(rest: Rest) -> None:
    name = unique("found")
    experiment_id = rest.post("experiments/create", name=name, tags=[{"key": "team", "value": "pastry"}])[
        "experiment_id"
    ]
    assert experiment_id.isdigit()
    found = rest.get("experiments/get", experiment_id=experiment_id)["experiment"]
    assert (found["name"], found["lifecycle_stage"]) == (name, "active")
    assert found["artifact_location"] == f"mlflow-artifacts:/{experiment_id}"
    assert found["tags"] == [{"key": "team", "value": "pastry"}]
    assert isinstance(found["creation_time"], int)
    assert rest.get("experiments/get-by-name", experiment_name=name)["experiment"] == found


def test_an_artifact_location_of_ones_own(rest: Rest) -> None:
    made = rest.post("experiments/create", name=unique("located"), artifact_location="s3://bucket/folder")
    found = rest.get("experiments/get", experiment_id=made["experiment_id"])["experiment"]
    assert found["artifact_location"] == "s3://bucket/folder"
    run_id = rest.run(made["experiment_id"])
    info = rest.get("runs/get", run_id=run_id)["run"]["info"]
    assert info["artifact_uri"] == f"s3://bucket/folder/{run_id}/artifacts"


def test_unknown_ones(rest: Rest) -> None:
    by_id = rest.call("GET", "experiments/get", experiment_id="999999999")
    assert (by_id.status, by_id.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "No Experiment with id=999999999 exists" in by_id.message
    by_name = rest.call("GET", "experiments/get-by-name", experiment_name="no-such-experiment")
    assert (by_name.status, by_name.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert by_name.message == "Could not find experiment with name 'no-such-experiment'"


def test_names_are_unique_deleted_ones_included(rest: Rest) -> None:
    name = unique("taken")
    experiment_id = rest.post("experiments/create", name=name)["experiment_id"]
    again = rest.call("POST", "experiments/create", name=name)
    assert (again.status, again.code) == (400, "RESOURCE_ALREADY_EXISTS")
    rest.post("experiments/delete", experiment_id=experiment_id)
    held = rest.call("POST", "experiments/create", name=name)
    assert (held.status, held.code) == (400, "RESOURCE_ALREADY_EXISTS")


def test_names_have_500_characters(rest: Rest) -> None:
    assert rest.call("POST", "experiments/create", name=unique("x" * 480)).status == 200
    refused = rest.call("POST", "experiments/create", name="x" * 501)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_ids_are_integers(rest: Rest) -> None:
    refused = rest.call("POST", "runs/create", experiment_id="no-number")
    assert refused.status == 400 if rest.name == "headrace" else refused.status in {400, 500}


def test_deleting_takes_the_runs_along_and_restoring_brings_all_back(rest: Rest) -> None:
    experiment_id = rest.experiment()
    kept, dropped = rest.run(experiment_id), rest.run(experiment_id)
    rest.post("runs/delete", run_id=dropped)
    rest.post("experiments/delete", experiment_id=experiment_id)
    assert rest.get("experiments/get", experiment_id=experiment_id)["experiment"]["lifecycle_stage"] == "deleted"
    assert rest.get("runs/get", run_id=kept)["run"]["info"]["lifecycle_stage"] == "deleted"
    twice = rest.call("POST", "experiments/delete", experiment_id=experiment_id)
    assert (twice.status, twice.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    rest.post("experiments/restore", experiment_id=experiment_id)
    for run_id in (kept, dropped):
        assert rest.get("runs/get", run_id=run_id)["run"]["info"]["lifecycle_stage"] == "active"
    again = rest.call("POST", "experiments/restore", experiment_id=experiment_id)
    assert (again.status, again.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_renaming(rest: Rest) -> None:
    experiment_id, name = rest.experiment(), unique("renamed")
    rest.post("experiments/update", experiment_id=experiment_id, new_name=name)
    assert rest.get("experiments/get", experiment_id=experiment_id)["experiment"]["name"] == name
    rest.post("experiments/delete", experiment_id=experiment_id)
    refused = rest.call("POST", "experiments/update", experiment_id=experiment_id, new_name=unique("again"))
    assert (refused.status, refused.code) == (500, "INVALID_STATE")


def test_tags(rest: Rest) -> None:
    experiment_id = rest.experiment()
    rest.post("experiments/set-experiment-tag", experiment_id=experiment_id, key="a", value="1")
    rest.post("experiments/set-experiment-tag", experiment_id=experiment_id, key="a", value="2")
    rest.post("experiments/set-experiment-tag", experiment_id=experiment_id, key="b", value="x" * 20_000)
    tags = rest.get("experiments/get", experiment_id=experiment_id)["experiment"]["tags"]
    assert {tag["key"]: tag["value"] for tag in tags} == {"a": "2", "b": "x" * 20_000}
    rest.post("experiments/delete-experiment-tag", experiment_id=experiment_id, key="b")
    missing = rest.call("POST", "experiments/delete-experiment-tag", experiment_id=experiment_id, key="b")
    assert (missing.status, missing.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    for key, value in (("k" * 251, "v"), ("k", "v" * 20_001)):
        refused = rest.call("POST", "experiments/set-experiment-tag", experiment_id=experiment_id, key=key, value=value)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_searching(rest: Rest) -> None:
    mark = unique("searched")
    ids = [
        rest.post("experiments/create", name=f"{mark}-{letter}", tags=[{"key": "letter", "value": letter}])[
            "experiment_id"
        ]
        for letter in "abc"
    ]

    def found(**fields: object) -> list[str]:
        body = rest.post("experiments/search", **{"max_results": 100, "filter": f"name LIKE '{mark}%'", **fields})
        return [one["name"][-1] for one in body.get("experiments", [])]

    assert found(order_by=["name ASC"]) == ["a", "b", "c"]
    assert found(order_by=["name DESC"]) == ["c", "b", "a"]
    assert found(filter=f"name ILIKE '{mark.upper()}%'", order_by=["name"]) == ["a", "b", "c"]
    assert found(filter=f"name = '{mark}-b'") == ["b"]
    assert found(filter=f"name LIKE '{mark}%' AND tags.letter != 'b'", order_by=["name"]) == ["a", "c"]
    rest.post("experiments/delete", experiment_id=ids[0])
    assert found(order_by=["name"]) == ["b", "c"]
    assert found(view_type="DELETED_ONLY") == ["a"]
    assert found(view_type="ALL", order_by=["name"]) == ["a", "b", "c"]


def test_pages_of_a_search(rest: Rest) -> None:
    mark = unique("paged")
    for letter in "abc":
        rest.post("experiments/create", name=f"{mark}-{letter}")
    seen: list[str] = []
    token = ""
    while True:
        page = rest.post(
            "experiments/search", max_results=2, filter=f"name LIKE '{mark}%'", order_by=["name"], page_token=token
        )
        seen += [one["name"][-1] for one in page["experiments"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert seen == ["a", "b", "c"]
    refused = rest.call("POST", "experiments/search", max_results=2, page_token="nonsense")
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("size", [0, -1, 50_001])
def test_sizes_of_pages(rest: Rest, size: int) -> None:
    refused = rest.call("POST", "experiments/search", max_results=size)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_the_default_experiment_is_there(rest: Rest) -> None:
    assert rest.get("experiments/get", experiment_id="0")["experiment"]["name"] == "Default"
