"""Every kind of thing that MLflow records, brought over from each of its stores, then looked at through the public API."""

import json
import math
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fix_imports import Filled, Moved
from headrace.api.registry.v1 import registry_service_pb2 as registry
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.client import Client

BEGUN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # 1_700_000_000_000 ms
SOURCES = ("server", "sqlite", "postgres", "files")
TOLD = [
    *("ExperimentCreated", "ExperimentUpdated", "ExperimentDeleted", "ExperimentRestored", "ArtifactStored"),
    *("RunCreated", "RunUpdated", "RunEnded", "RunDeleted", "RunRestored"),
    *("LoggedModelCreated", "LoggedModelFinalized", "LoggedModelUpdated"),
    *("ModelCreated", "ModelUpdated", "ModelVersionCreated", "ModelVersionUpdated", "ModelVersionPromoted"),
]
MOST = 1.7976931348623157e308


@pytest.fixture(scope="module", params=SOURCES)
def brought(request: pytest.FixtureRequest, moved: Moved) -> tuple[str, Filled, Any]:
    """Which source, what is in it, and what the first import of it said (or a later one, where two are of one MLflow)."""
    name = {"server": "on_sqlite", "sqlite": "on_sqlite", "postgres": "on_postgres", "files": "in_files"}[request.param]
    source: Filled = request.getfixturevalue(name)
    return request.param, source, moved.run("import", "mlflow", *source.ways[request.param])


@pytest.fixture
def client(moved: Moved) -> Iterator[Client]:
    with moved.client() as client:
        yield client


def test_both_sides_are_the_same(brought: tuple[str, Filled, Any]) -> None:
    _, _, said = brought
    assert said["same"]
    assert said["differences"] == said["refused"] == []
    counts = {kind: one["count"] for kind, one in said["headrace"].items()}
    assert counts == {
        "experiments": 3,  # Default too
        "runs": 7,
        "params": 5,
        "tags": counts["tags"],
        "points": 938,
        "datasets": counts["datasets"],
        "logged models": 5,
        "models": 2,
        "versions": 3,
        "aliases": 2,
        "files": counts["files"],
    }
    assert {kind: one["checksum"] for kind, one in said["headrace"].items()} == {
        kind: one["checksum"] for kind, one in said["source"].items()
    }


def test_a_run_is_as_it_was(brought: tuple[str, Filled, Any], client: Client) -> None:
    name, source, _ = brought
    run = client.get_run(source.ids["run"])
    assert (run.name, run.user, run.state, run.deleted) == (
        "whole",
        "ada" if name != "files" else run.user,
        "FINISHED",
        False,
    )
    assert run.start_time == BEGUN + timedelta(milliseconds=123)
    assert run.end_time == BEGUN + timedelta(seconds=100)
    assert run.params == {"sugar": "0.8", "µ/x": "ü" * 100} | {
        k: v for k, v in run.params.items() if k not in {"sugar", "µ/x"}
    }
    assert (run.tags["ключ"], run.tags["empty"], run.tags["mlflow.runName"]) == ("значение", "", "whole")
    assert run.tags["mlflow.note.content"] == "from a browser:\r\ntwo lines\n"
    flour = next(one for one in run.inputs if one.dataset.name == "flour")
    assert (flour.dataset.digest, flour.context, flour.tags) == ("d1", "training", {"kind": "rye"})
    assert (flour.dataset.source, flour.dataset.profile) == ('{"uri": "/mill"}', '{"num_rows": 3}')
    assert {one.dataset.name for one in run.inputs} == {"flour", "water", "test-set"}


def test_every_point_is_there(brought: tuple[str, Filled, Any], client: Client) -> None:
    name, source, _ = brought
    found = {key: list(one) for (_, key), one in client.metric_histories([source.ids["run"]]).items()}
    infinite = math.inf if name == "files" else MOST
    ms = 1_700_000_000_000
    assert [math.isnan(value) for _, _, value in found["odd/größe µ"]] == [True, *[False] * 5]
    assert found["odd/größe µ"][1:] == [
        (1, ms + 7, infinite),
        (2, ms + 14, -infinite),
        (3, ms + 21, 0.0),
        (4, ms + 28, 1e-300),
        (5, ms + 35, 0.1),
    ]
    assert found["loss"] == [(step, ms + step, 1 / (1 + step)) for step in range(900)]
    assert found["same step"] == [(3, ms + 500, value) for value in (1.0, 2.0, 3.0)]
    assert found["backwards"] == [(-step, ms - step, float(step)) for step in range(19, -1, -1)]
    assert [(step, value) for step, _, value in found["accuracy"]] == [(1, 0.5), (2, 0.75), (9, 0.25)]


def test_states_and_the_bin_are_kept(brought: tuple[str, Filled, Any], client: Client) -> None:
    _, source, _ = brought
    for state in ("failed", "killed", "scheduled", "running"):
        run = client.get_run(source.ids[state])
        assert (run.state, run.deleted) == (state.upper(), False)
        assert (run.end_time is None) == (state in {"scheduled", "running"})
    assert client.get_run(source.ids["failed"]).tags["mlflow.parentRunId"] == source.ids["run"]
    deleted = client.get_run(source.ids["deleted run"])
    assert (deleted.deleted, deleted.state, deleted.metrics) == (True, "FINISHED", {"loss": 3.0})
    assert [one.path for one in client.artifacts.list(source.ids["deleted run"])] == ["gone.txt"]
    below = client.get_run(source.ids["run of it"])
    assert (below.deleted, below.metrics) == (True, {"depth": 9.0})
    assert client.get_experiment(below.experiment_id).deleted


def test_files_are_the_same_bytes(brought: tuple[str, Filled, Any], client: Client, tmp_path: Path) -> None:
    _, source, _ = brought
    root = client.artifacts.download(source.ids["run"], to=tmp_path)
    assert (root / "notes" / "räume.txt").read_text() == "a text"
    assert (root / "empty.txt").read_bytes() == b""
    assert (root / "data" / "large.bin").stat().st_size == 3_200_000
    assert (root / "old model" / "MLmodel").is_file()


def test_logged_models_are_as_they_were(brought: tuple[str, Filled, Any], client: Client) -> None:
    _, source, _ = brought

    def model(id_: str) -> tracking_pb2.LoggedModel:
        request = wire.GetLoggedModelRequest(model_id=source.ids[id_], show_deleted=True)
        return client.connection.call(lambda c: c.tracking.GetLoggedModel, request).model

    oven = model("logged model")
    assert (oven.name, oven.run_id, oven.state) == ("oven", source.ids["run"], tracking_pb2.LoggedModel.STATE_READY)
    assert (oven.params["depth"], oven.tags["kind"]) == ("3", "hot")
    # Of each run and dataset the latest point. MLflow's own reader of files takes points on a dataset for step 0.
    measured = {(one.dataset_name, one.value, one.step) for one in oven.metrics if one.key == "accuracy"}
    assert measured == {("test-set", 0.75, 2), ("", 0.25, 9)}
    assert client.artifacts.list(source.ids["logged model"])
    failed = model("failed model")
    assert (failed.state, failed.model_type) == (tracking_pb2.LoggedModel.STATE_FAILED, "agent")
    assert model("pending model").state == tracking_pb2.LoggedModel.STATE_PENDING
    assert model("deleted model").lifecycle_stage == tracking_pb2.LIFECYCLE_STAGE_DELETED
    run = client.connection.call(lambda c: c.tracking.GetRun, wire.GetRunRequest(run_id=source.ids["run"])).run
    made = {(use.model_id, use.step) for use in run.output_models}
    assert made == {(source.ids["logged model"], 0), (source.ids["deleted model"], 7)}
    assert [use.model_id for use in run.input_models] == [source.ids["logged model"]]


def test_versions_keep_their_numbers(brought: tuple[str, Filled, Any], client: Client) -> None:
    _, source, _ = brought
    asked = registry.GetModelRequest(name=source.ids["model"])
    model = client.connection.call(lambda c: c.registry.GetModel, asked).model
    assert (model.description, dict(model.tags)) == ("all of it", {"team": "pastry"})
    assert dict(model.aliases) == {"champion": 1, "challenger": 4}
    found = {one.version: one for one in client.registry.list_versions(source.ids["model"])}
    assert sorted(found) == [1, 2, 4]
    assert (found[1].model_id, found[1].run_id, found[1].description) == (
        source.ids["logged model"],
        source.ids["run"],
        "first",
    )
    assert (found[2].model_id, found[2].tags) == ("", {"checked": "yes"})
    of = registry.ListModelVersionsRequest(model_name=source.ids["model"])
    versions = {one.version: one for one in client.connection.call(lambda c: c.registry.ListModelVersions, of).versions}
    assert (versions[2].source, versions[2].run_link, versions[2].stage) == (
        "s3://elsewhere/model",
        "http://page",
        "Archived",
    )
    assert versions[4].stage == "Production"
    assert "MLmodel" in [one.path for one in client.artifacts.list(found[4].model_id)]


def test_to_bring_it_again_changes_nothing_and_tells_nothing(
    brought: tuple[str, Filled, Any], moved: Moved, client: Client
) -> None:
    name, source, _ = brought
    experiment = client.get_experiment(client.get_run(source.ids["run"]).experiment_id)
    with client.events.subscribe(TOLD) as events:
        for more in ((), ("--read-all",)):
            said = moved.run("import", "mlflow", *source.ways[name], *more)
            assert (said["changed"], said["points_sent"], said["files_sent"], said["same"]) == (0, 0, 0, True)
        marker = client.get_or_create_experiment(f"behind {name}")
        assert events.next(30).subject.endswith(f"experiments/{marker.id}")
    assert client.get_experiment(experiment.id) == experiment


@pytest.mark.parametrize(
    ("first", "then", "fixture"), [("server", "sqlite", "on_sqlite"), ("postgres", "postgres's server", "on_postgres")]
)
def test_one_mlflow_is_the_same_however_it_is_read(
    first: str, then: str, fixture: str, moved: Moved, request: pytest.FixtureRequest
) -> None:
    source: Filled = request.getfixturevalue(fixture)
    one = moved.run("import", "mlflow", *source.ways[first])
    other = moved.run("import", "mlflow", *source.ways[then], "--read-all")
    assert (other["changed"], other["same"]) == (0, True)
    assert {kind: total["checksum"] for kind, total in one["source"].items()} == {
        kind: total["checksum"] for kind, total in other["source"].items()
    }


@pytest.mark.timeout(300)
def test_what_had_an_alias_answers(on_sqlite: Filled, moved: Moved, client: Client) -> None:
    """A version of a logged model by the alias that it had, and one of a run's files when it is promoted."""
    moved.run("import", "mlflow", *on_sqlite.ways["server"])
    name = on_sqlite.ids["model"]
    answers(moved, client.deployments.wait(f"{name}@champion", 1, 120).path)
    client.registry.promote(name, 4)
    answers(moved, client.deployments.wait(name, 4, 120).path)
    client.registry.delete_alias(name, "production")


def answers(moved: Moved, path: str) -> None:
    body = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[0.0], [1.0]]}}).encode()
    asked = urllib.request.Request(moved.uri + path, body, {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert json.load(answer)["predictions"] == [0, 1]


def test_experiments_are_chosen_by_name(on_sqlite: Filled, moved: Moved) -> None:
    said = moved.run("import", "mlflow", *on_sqlite.ways["server"], "--experiment", "sqlite cellar", "--read-all")
    assert {kind: one["count"] for kind, one in said["source"].items() if one["count"]} == {
        "experiments": 1,
        "runs": 1,
        "points": 1,
        "tags": 1,
    }


def test_files_may_be_left_out(on_sqlite: Filled, moved: Moved) -> None:
    said = moved.run("import", "mlflow", *on_sqlite.ways["server"], "--experiment", "sqlite cellar", "--no-artifacts")
    assert "files" not in {kind for kind, one in said["source"].items() if one["count"]}


def test_no_number_is_given_again(on_postgres: Filled, moved: Moved, client: Client) -> None:
    moved.run("import", "mlflow", *on_postgres.ways["postgres"])
    made = registry.CreateModelVersionRequest(model_name=on_postgres.ids["model"], source="s3://elsewhere/new")
    number = client.connection.call(lambda c: c.registry.CreateModelVersion, made, again=False).version.version
    assert number == 5
    gone = registry.DeleteModelVersionRequest(model_name=on_postgres.ids["model"], version=number)
    client.connection.call(lambda c: c.registry.DeleteModelVersion, gone, again=False)
