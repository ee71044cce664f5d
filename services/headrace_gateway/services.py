"""The gRPC services behind the gateway, and where each answers."""

from collections.abc import Iterable, Mapping
from typing import Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from headrace.api.artifacts.v1 import artifact_service_pb2
from headrace.api.deployment.v1 import deployment_service_pb2
from headrace.api.events.v1 import event_service_pb2
from headrace.api.identity.v1 import identity_service_pb2
from headrace.api.registry.v1 import registry_service_pb2, webhook_service_pb2
from headrace.api.tracking.v1 import ingest_service_pb2, tracking_service_pb2
from headrace_kit import rpc
from headrace_kit.config import ServiceConfig

DESCRIPTORS: Final[Mapping[str, tuple[ServiceDescriptor, ...]]] = {
    "tracking": (
        tracking_service_pb2.DESCRIPTOR.services_by_name["TrackingService"],
        ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
    ),
    "artifacts": (artifact_service_pb2.DESCRIPTOR.services_by_name["ArtifactService"],),
    "registry": (
        registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"],
        webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
    ),
    "deployment": (deployment_service_pb2.DESCRIPTOR.services_by_name["DeploymentService"],),
    "identity": (identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"],),
    "events": (event_service_pb2.DESCRIPTOR.services_by_name["EventService"],),
}
"""What outsiders may call, by the setting that says where it answers."""


def public_addresses(entries: Iterable[str]) -> dict[str, str]:
    """Service → where clients reach it, from entries like "host:port", for all, and "tracking=host:port", for one.

    An address without a host, ":port", is on the host at which the client found the gateway. Raises ValueError.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, given, address = entry.rpartition("=")
        if given and name not in DESCRIPTORS:
            raise ValueError(f"there is no service {name!r}; there are {', '.join(DESCRIPTORS)}")
        port = address.rpartition(":")[2]
        if ":" not in address or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"must be host:port, :port or service=host:port, got {entry!r}")
        found |= {name: address} if given else dict.fromkeys(DESCRIPTORS.keys() - found.keys(), address)
    return found


class Services:
    """One channel for each address, kept open."""

    def __init__(self, config: ServiceConfig) -> None:
        self._addresses: dict[str, str] = {name: getattr(config, name) for name in DESCRIPTORS}
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def open(self) -> None:
        """Channels connect by themselves, when first used."""

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            await channel.close()

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to "tracking", "registry", ..."""
        address = self._addresses[service]
        if address not in self._channels:
            self._channels[address] = rpc.channel(address)
        return self._channels[address]

    def directory(self, public: Mapping[str, str]) -> dict[str, str]:
        """Full service name → address, for clients: the one in `public` (service → address) where there is one."""
        return {
            descriptor.full_name: public.get(name, self._addresses[name])
            for name, descriptors in DESCRIPTORS.items()
            for descriptor in descriptors
        }
