"""Wiring of the gateway."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from headrace.api.common.v1 import error_reason_pb2
from headrace_gateway.connect import ConnectDoor
from headrace_gateway.forwarded import checked_token
from headrace_gateway.mlflow.calls import Stubs
from headrace_gateway.mlflow.door import MlflowDoor
from headrace_gateway.mlflow.table import ROUTES
from headrace_gateway.pages import Pages
from headrace_gateway.router import RouteFollower, Router, Routes
from headrace_gateway.services import Services, public_addresses
from headrace_gateway.signed import SignedDoor
from headrace_gateway.web import HostGuard, HttpFront, workspace_of
from headrace_kit.auth import AUTHORIZATION, WORKSPACE, Authenticator, RemoteIdentity
from headrace_kit.config import ServiceConfig, is_loopback, setting
from headrace_kit.errors import DomainError
from headrace_kit.lifecycle import Runner
from headrace_kit.tenancy import Caller


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the gateway."""

    http_listen: str = setting("127.0.0.1:8080", "Address of the HTTP server, host:port.")
    allowed_hosts: tuple[str, ...] = setting((), 'Host names it answers to beside loopback ones; "*" for any.')
    public_grpc: tuple[str, ...] = setting(
        (),
        "Where clients reach the gRPC services: host:port for all, or service=host:port[,...] for some; without a host,"
        " it is the gateway's. Empty: each at its own address.",
    )
    public_url: str = setting(
        "",
        "Where clients reach the HTTP server, such as https://ml.example.com/tracking, for the URLs that it signs;"
        " empty: where each request came to, which a proxy may have changed.",
    )

    def problems(self) -> list[str]:
        """As in ServiceConfig."""
        host = self.http_listen.rpartition(":")[0]
        found = super().problems()
        if self.auth == "open" and not is_loopback(host):
            found.append(f'http_listen: auth is "open", for loopback only, and this is {self.http_listen!r}')
        try:
            public_addresses(self.public_grpc)
        except ValueError as error:
            found.append(f"public_grpc: {error}")
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            found.append(f"public_url: must begin with http:// or https://, got {self.public_url!r}")
        return found


async def start(config: Config, runner: Runner) -> HttpFront:
    """Wires the gateway into the process; its address is known once the runner serves."""
    services = await runner.resource(Services(config))
    authenticate = Authenticator(
        config.auth, config.service_secret, RemoteIdentity(services.channel("identity"), config.service_secret)
    )
    routes = Routes()
    await runner.resource(RouteFollower(services, config.service_secret, routes))
    router = await runner.resource(Router(routes, _caller_by(authenticate), runner.telemetry))
    pages = Pages(services, public_addresses(config.public_grpc))
    stubs = Stubs(services)
    mlflow = MlflowDoor(stubs, ROUTES, config.public_url)
    signed = SignedDoor(stubs, config.service_secret)
    web = Starlette(
        routes=[
            Route("/", pages.first),
            Route("/health", pages.health),
            Route("/version", pages.version),
            Route("/.well-known/headrace", pages.discovery),
            Route("/serving/{name}/{path:path}", router.answer, methods=["GET", "POST"]),
            Route("/signed/{ticket}", signed.file, methods=["GET", "PUT"]),
            Route("/signed/{ticket}/{number:int}", signed.part, methods=["PUT"]),
            Route("/headrace.api.{service}/{method}", ConnectDoor(services).answer, methods=["GET", "POST"]),
            Route("/{path:path}", mlflow.answer, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ],
    )
    front = HttpFront(HostGuard(web, config.allowed_hosts), config.http_listen, config.drain_seconds)
    runner.front(front)
    return front


def _caller_by(authenticate: Authenticator) -> Callable[[Request], Awaitable[Caller]]:
    async def caller(request: Request) -> Caller:
        """Raises DomainError where nobody can be made out."""
        authorization = request.headers.get(AUTHORIZATION, "")
        checked_token(authorization.partition(" ")[2])
        who = await authenticate({AUTHORIZATION: authorization, WORKSPACE: workspace_of(request.headers)})
        if who is None:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_TOKEN_MISSING, 'no token: send "Authorization: Bearer <token>"'
            )
        return who

    return caller
