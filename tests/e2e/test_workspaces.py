"""A workspace from outside: made by the command line, worked in by every door, its promoted model called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pandas as pd
import pytest

import headrace as hr
from fix_platform import Platform

HEADRACE = Path(sys.executable).with_name("headrace")
TRACKING = "headrace.api.tracking.v1.TrackingService"
ROWS = {"dataframe_records": [{"x": 1}]}


def command(platform: Platform, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [HEADRACE, *words, "--uri", platform.uri], env=dict(os.environ), capture_output=True, text=True, check=False
    )


def promoted(client: hr.Client, answer: str) -> None:
    """A model "speaker" that says so, promoted and serving."""

    def say(frame: pd.DataFrame) -> list[str]:
        return [answer] * len(frame)

    with client.start_run("speaking", capture=False) as run:
        model = run.log_model(say)
    version = client.registry.register_model(model, "speaker")
    client.registry.promote("speaker", version)
    client.deployments.wait("speaker", version=version.version, timeout=60)


def test_the_same_model_in_two_workspaces_answers_each_its_own(platform: Platform) -> None:
    for name in ("loud", "quiet"):
        made = command(platform, "workspaces", "create", name, "--description", f"the {name} ones")
        assert made.returncode == 0, made.stderr
    listed = json.loads(command(platform, "workspaces", "list", "--json").stdout)
    assert {"default", "loud", "quiet"} <= {one["name"] for one in listed}
    with (
        hr.Client(platform.uri, workspace="loud") as loud,
        hr.Client(platform.uri, workspace="quiet") as quiet,
        loud.events.subscribe(types=["ModelVersionPromoted"]) as heard,
    ):
        promoted(quiet, "hush")
        promoted(loud, "HEY")
        event = next(heard)
        assert event.subject == "tenants/default.loud/models/speaker/versions/1"
    url = f"{platform.uri}/serving/speaker/invocations"
    for header in ("x-mlflow-workspace", "x-headrace-workspace"):
        for name, said in (("loud", "HEY"), ("quiet", "hush")):
            answer = httpx.post(url, json=ROWS, headers={header: name}, timeout=30)
            assert (answer.status_code, answer.json()) == (200, {"predictions": [said]})
    outside = httpx.post(url, json=ROWS)
    assert (outside.status_code, outside.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    kept = command(platform, "workspaces", "delete", "loud")
    assert kept.returncode == 1
    assert "workspace 'loud' still holds run" in kept.stderr


@pytest.mark.parametrize(("name", "status"), [("nowhere", 404), ("No Name", 400)])
def test_a_workspace_that_is_none_is_told_at_every_door(platform: Platform, name: str, status: int) -> None:
    headers = {"x-headrace-workspace": name}
    served = httpx.post(f"{platform.uri}/serving/speaker/invocations", json=ROWS, headers=headers)
    asked = httpx.post(f"{platform.uri}/{TRACKING}/SearchExperiments", json={}, headers=headers)
    mlflow = httpx.get(f"{platform.uri}/api/2.0/mlflow/experiments/get?experiment_id=0", headers=headers)
    assert {answer.status_code for answer in (served, asked, mlflow)} == {status}
    assert {name in answer.json()["message"] for answer in (served, asked, mlflow)} == {True}


def test_json_and_mlflow_see_the_same_workspace(platform: Platform) -> None:
    assert command(platform, "workspaces", "create", "shared").returncode == 0
    headers = {"x-headrace-workspace": "shared"}
    made = httpx.post(f"{platform.uri}/{TRACKING}/CreateExperiment", json={"name": "apart"}, headers=headers).json()
    url = f"{platform.uri}/api/2.0/mlflow/experiments/get-by-name"
    found = httpx.get(url, params={"experiment_name": "apart"}, headers={"X-MLFLOW-WORKSPACE": "shared"}).json()
    assert found["experiment"]["experiment_id"] == made["experiment"]["experimentId"]
    assert found["experiment"]["workspace"] == "shared"
    assert httpx.get(url, params={"experiment_name": "apart"}).status_code == 404
