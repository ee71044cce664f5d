"""MLflow's own unmodified client, in an environment without Headrace, against Headrace in both set-ups."""

from pathlib import Path
from typing import Final

import pytest

from fix_mlflow import Name, Rest, run_client
from fix_platform import Platform

_CLIENT: Final = Path(__file__).with_name("client.py")
_PARTS: Final = (
    "runs",
    "search",
    "artifacts",
    "transfers",
    "traces",
    "inputs",
    "models",
    "serving",
    "autologging",
    "boosting",
    "gradients",
    "system_metrics",
    "evaluation",
    "webhooks",
    "projects",
    "workspaces",
)


@pytest.mark.timeout(600)
def test_against_headrace_up(servers: dict[Name, Rest], mlflow_python: Path) -> None:
    said = run_client(mlflow_python, servers["headrace"].uri, _CLIENT)
    assert [line.partition(":")[0] for line in said.splitlines() if line.endswith(" s")] == list(_PARTS)


@pytest.mark.timeout(600)
def test_against_the_services_apart(platform: Platform, mlflow_python: Path) -> None:
    said = run_client(mlflow_python, platform.uri, _CLIENT)
    assert [line.partition(":")[0] for line in said.splitlines() if line.endswith(" s")] == list(_PARTS)


@pytest.mark.timeout(600)
def test_workspaces_against_mlflow_itself(divided_servers: dict[Name, Rest], mlflow_python: Path) -> None:
    assert "workspaces: " in run_client(mlflow_python, divided_servers["mlflow"].uri, _CLIENT, "workspaces")
