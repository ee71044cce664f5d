"""What grpcurl and a Kubernetes probe see: reflection and health on every service."""

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fix_platform import SERVICES, Platform

EXPECTED = {
    "identity": {"headrace.api.identity.v1.IdentityService"},
    "tracking": {"headrace.api.tracking.v1.TrackingService", "headrace.api.tracking.v1.IngestService"},
    "artifacts": {"headrace.api.artifacts.v1.ArtifactService"},
    "registry": {"headrace.api.registry.v1.RegistryService"},
    "deployment": {"headrace.api.deployment.v1.DeploymentService", "headrace.api.deployment.v1.RouteService"},
    "events": {"headrace.api.events.v1.EventService"},
    "gateway": set(),
}


@pytest.mark.parametrize("service", SERVICES)
def test_reflection_lists_the_methods(platform: Platform, service: str) -> None:
    with grpc.insecure_channel(platform.addresses[service]) as channel:
        ask: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        (listed,) = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10)
        names = {found.name for found in listed.list_services_response.service}
        assert names >= EXPECTED[service] | {"grpc.health.v1.Health"}
        for name in EXPECTED[service]:
            symbol = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
            (found,) = ask(iter([symbol]), timeout=10)
            files = [
                FileDescriptorProto.FromString(raw) for raw in found.file_descriptor_response.file_descriptor_proto
            ]
            assert name in {f"{file.package}.{described.name}" for file in files for described in file.service}


@pytest.mark.parametrize("service", SERVICES)
def test_health_per_service(platform: Platform, service: str) -> None:
    with grpc.insecure_channel(platform.addresses[service]) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in {"", *EXPECTED[service]}:
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
