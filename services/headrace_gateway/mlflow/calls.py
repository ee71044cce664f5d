"""What handlers call: the services' stubs, in the name of whoever sent the request."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, cast

import grpc

from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from headrace.api.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from headrace.api.registry.v1.webhook_service_pb2_grpc import WebhookServiceStub
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace.connection import PageA, PageQ
from headrace_gateway.mlflow import failures
from headrace_gateway.services import Services
from headrace_kit import workspaces

if TYPE_CHECKING:  # these exist for type checkers only
    from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceAsyncStub
    from headrace.api.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub
    from headrace.api.registry.v1.webhook_service_pb2_grpc import WebhookServiceAsyncStub
    from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

TIMEOUT_S: Final = 60.0
SHARED: Final = {"webhooks": "registry"}
"""Stub → the service in whose process it answers, where that is another one's."""
Q = TypeVar("Q")
A = TypeVar("A")


class Stubs:
    """One of each service, for all requests."""

    def __init__(self, services: Services) -> None:
        self.tracking: TrackingServiceAsyncStub = cast(
            "TrackingServiceAsyncStub", TrackingServiceStub(services.channel("tracking"))
        )
        self.artifacts: ArtifactServiceAsyncStub = cast(
            "ArtifactServiceAsyncStub", ArtifactServiceStub(services.channel("artifacts"))
        )
        self.registry: RegistryServiceAsyncStub = cast(
            "RegistryServiceAsyncStub", RegistryServiceStub(services.channel("registry"))
        )
        self.identity: IdentityServiceAsyncStub = cast(
            "IdentityServiceAsyncStub", IdentityServiceStub(services.channel("identity"))
        )
        self.webhooks: WebhookServiceAsyncStub = cast(
            "WebhookServiceAsyncStub", WebhookServiceStub(services.channel(SHARED["webhooks"]))
        )


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one request."""

    to: Stubs
    metadata: tuple[tuple[str, str], ...]
    workspace: str = workspaces.DEFAULT
    here: Callable[[], str] = lambda: ""
    """Where the client reaches this server: a URL without the last slash. To tell takes longer than most routes want."""

    async def __call__(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q, *, timeout_s: float = TIMEOUT_S
    ) -> A:
        """One unary call. Raises Failure."""
        try:
            return await method(request, metadata=self.metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise failures.of_call(error) from None

    async def pages(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[PageQ, PageA]", request: PageQ
    ) -> AsyncIterator[PageA]:
        """The answers of a method that lists, page after page. Raises Failure."""
        while True:
            answer = await self(method, request)
            yield answer
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token
