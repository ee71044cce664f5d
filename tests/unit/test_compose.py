"""deploy/compose.yaml describes all services, with settings that exist."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace_server import services

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "compose.yaml").read_text())


BACKENDS = {"postgres", "kafka", "minio", "migrate"}
OWN = {name: service for name, service in COMPOSE["services"].items() if name not in BACKENDS}


def test_every_service_is_there() -> None:
    assert COMPOSE["services"].keys() >= BACKENDS
    answering = [service["command"][1:] for service in OWN.values() if "HEADRACE_LISTEN" in service["environment"]]
    assert sorted(name for names in answering for name in names) == sorted(services.NAMES)
    assert {service["command"][0] for service in OWN.values()} == {"serve"}


def test_metrics_are_written_by_one_process_or_another() -> None:
    work = ("SERVE_TRACKING", "WRITE_METRICS", "MERGE_METRICS", "ARCHIVE_METRICS", "PURGE_RUNS")
    settings = [service["environment"] for service in OWN.values() if "tracking" in service["command"]]
    for kind in work:
        assert [each.get(f"HEADRACE_{kind}", "true") for each in settings].count("true") == 1


@pytest.mark.parametrize("name", OWN)
def test_settings_are_those_of_its_services(name: str) -> None:
    environment = OWN[name]["environment"]
    configs = [services.app(each).Config for each in OWN[name]["command"][1:]]
    known = {f"HEADRACE_{field.name.upper()}" for config in configs for field in dataclasses.fields(config)}
    assert {setting for setting in environment if setting.startswith("HEADRACE_")} <= known
    for public in filter(None, environment.get("HEADRACE_PUBLIC_GRPC", "").split(",")):
        service, _, port = public.partition("=:")
        assert f"127.0.0.1:{port}:{port}" in OWN[service]["ports"]
    if listen := environment.get("HEADRACE_LISTEN"):
        assert environment[f"HEADRACE_{name.upper()}"] == f"{name}:{listen.rpartition(':')[2]}"
