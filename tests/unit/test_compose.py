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
    assert sorted(name for service in OWN.values() for name in service["command"][1:]) == sorted(services.NAMES)
    assert {service["command"][0] for service in OWN.values()} == {"serve"}


@pytest.mark.parametrize("name", OWN)
def test_settings_are_those_of_its_services(name: str) -> None:
    environment = OWN[name]["environment"]
    configs = [services.app(each).Config for each in OWN[name]["command"][1:]]
    known = {f"HEADRACE_{field.name.upper()}" for config in configs for field in dataclasses.fields(config)}
    assert {setting for setting in environment if setting.startswith("HEADRACE_")} <= known
    for public in filter(None, environment.get("HEADRACE_PUBLIC_GRPC", "").split(",")):
        service, _, port = public.partition("=:")
        assert f"127.0.0.1:{port}:{port}" in OWN[service]["ports"]
    port = environment["HEADRACE_LISTEN"].rpartition(":")[2]
    assert environment[f"HEADRACE_{name.upper()}"] == f"{name}:{port}"
