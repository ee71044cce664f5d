"""The router in front of deployed models: follows the route table, and loses no request while it changes."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import aiohttp
import grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from headrace.api.deployment.v1 import deployment_pb2, route_service_pb2
from headrace.api.deployment.v1.route_service_pb2_grpc import RouteServiceStub
from headrace_gateway.services import Services
from headrace_gateway.web import body_of
from headrace_kit.auth import service_metadata
from headrace_kit.errors import DomainError
from headrace_kit.telemetry import TRACEPARENT, Telemetry
from headrace_kit.tenancy import Caller

if TYPE_CHECKING:
    from headrace.api.deployment.v1.route_service_pb2_grpc import RouteServiceAsyncStub

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 64 << 20
_PATHS: Final = frozenset({"invocations", "ping", "health", "version"})
_WAIT_S: Final = 10.0  # how long a request waits for an instance, when the one it had has gone
_HEADERS_IN: Final = ("content-type", "accept", TRACEPARENT)
_HEADERS_OUT: Final = ("content-type",)


@dataclass
class Routes:
    """The table in use: (tenant, deployment) → route, and who is next."""

    table: dict[tuple[str, str], deployment_pb2.Route] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: "itertools.count[int]" = field(default_factory=itertools.count)

    def replace(self, routes: list[deployment_pb2.Route]) -> None:
        """Takes a whole new table into use at once."""
        self.table = {(route.tenant_id, route.deployment_name): route for route in routes}
        self.changed.set()
        self.changed = asyncio.Event()

    def address(self, route: deployment_pb2.Route) -> str | None:
        """An instance of the route, each in turn."""
        return route.addresses[next(self._turn) % len(route.addresses)] if route.addresses else None


class RouteFollower:
    """Keeps `Routes` as the deployment service says; the last table stays in use while that service is away."""

    def __init__(self, services: Services, secret: str, routes: Routes) -> None:
        self._services = services
        self._metadata = service_metadata(secret)
        self._routes = routes
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begins to follow."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stops following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _follow(self) -> None:
        channel = self._services.channel("deployment")
        stub = cast("RouteServiceAsyncStub", RouteServiceStub(channel))
        while True:
            call = stub.WatchRoutes(metadata=self._metadata)
            try:
                await call.write(route_service_pb2.WatchRoutesRequest(generation=0))
                async for table in call:
                    self._routes.replace(list(table.routes))
                    await call.write(route_service_pb2.WatchRoutesRequest(generation=table.generation))
            except grpc.aio.AioRpcError as error:
                log.info("the deployment service is away, routes stay as they are: %s", error.details())
            except asyncio.InvalidStateError:  # the call ended between a table and the word that it is in use
                log.info("the deployment service ended the call, routes stay as they are")
            except asyncio.CancelledError:
                call.cancel()
                raise
            await asyncio.sleep(0.5)


class Router:
    """Answers /serving/<deployment>/<path>; a request whose instance is gone before it answered goes to the next one."""

    def __init__(self, routes: Routes, caller: Callable[[Request], Awaitable[Caller]], telemetry: Telemetry) -> None:
        self._routes = routes
        self._caller = caller
        self._telemetry = telemetry
        self._session: aiohttp.ClientSession | None = None
        self._answered: set[tuple[str, str, int]] = set()

    async def open(self) -> None:
        """Opens the connections to instances, which are kept."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=120)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)

    async def close(self) -> None:
        """Closes them."""
        if self._session is not None:
            await self._session.close()

    async def answer(self, request: Request) -> Response:
        """The whole exchange."""
        name, path = request.path_params["name"], request.path_params["path"]
        if path not in _PATHS:
            return _refusal(404, "ENDPOINT_NOT_FOUND", f"no such path; there are {', '.join(sorted(_PATHS))}")
        try:
            who = await self._caller(request)
        except DomainError as error:
            return _unknown(error)
        body = await body_of(request, MAX_BODY_BYTES)
        if body is None:
            return _refusal(413, "REQUEST_LIMIT_EXCEEDED", f"the body may have at most {MAX_BODY_BYTES} bytes")
        return await self._forward((who.tenant_id, name), path, request, body)

    async def _forward(self, key: tuple[str, str], path: str, request: Request, body: bytes) -> Response:
        deadline = monotonic() + _WAIT_S
        while True:
            changed = self._routes.changed
            route = self._routes.table.get(key)
            if route is None:
                return _refusal(
                    404, "RESOURCE_DOES_NOT_EXIST", f"nothing is deployed as {key[1]!r}; promote a model version first"
                )
            address = self._routes.address(route)
            if address is not None:
                try:
                    return await self._send(route, address, path, request, body)
                except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                    log.info("%s at %s did not answer: %r", key[1], address, error)
            left = deadline - monotonic()
            if left <= 0:
                message = f"no instance of {key[1]!r} answers now; try again"
                return _refusal(503, "TEMPORARILY_UNAVAILABLE", message, {"retry-after": "1"})
            try:
                await asyncio.wait_for(changed.wait(), min(left, 0.05))
            except TimeoutError:
                continue

    async def _send(
        self, route: deployment_pb2.Route, address: str, path: str, request: Request, body: bytes
    ) -> Response:
        if self._session is None:
            raise RuntimeError("Router.open was not called")
        headers = {name: request.headers[name] for name in _HEADERS_IN if name in request.headers}
        with self._telemetry.span(f"serve {route.deployment_name}", "server", traceparent=self._parent(route, headers)):
            parent = self._telemetry.traceparent()
            if parent:
                headers[TRACEPARENT] = parent
            answer = await self._session.request(request.method, f"http://{address}/{path}", data=body, headers=headers)
        kept = {name: answer.headers[name] for name in _HEADERS_OUT if name in answer.headers}
        kept["x-headrace-deployment"] = route.deployment_name
        kept["x-headrace-model-version"] = str(route.version)
        if answer.content_length is not None and answer.content_length <= 1 << 20:
            return Response(await answer.read(), answer.status, kept)
        return StreamingResponse(answer.content.iter_chunked(1 << 16), answer.status, kept)

    def _parent(self, route: deployment_pb2.Route, headers: dict[str, str]) -> str:
        """The first answer of a version ends the trace of its promotion; the others belong to their callers."""
        key = (route.tenant_id, route.deployment_name, route.version)
        if self._telemetry.enabled and key not in self._answered:
            self._answered.add(key)
            return getattr(route, "traceparent", "") or headers.get(TRACEPARENT, "")
        return headers.get(TRACEPARENT, "")


def _unknown(error: DomainError) -> Response:
    """Nobody could be made out who calls, or there is no such workspace."""
    match error.code:
        case grpc.StatusCode.UNAUTHENTICATED:
            return _refusal(401, "UNAUTHENTICATED", error.message, {"www-authenticate": "Bearer"})
        case grpc.StatusCode.INVALID_ARGUMENT:
            return _refusal(400, "INVALID_PARAMETER_VALUE", error.message)
        case grpc.StatusCode.NOT_FOUND:
            return _refusal(404, "RESOURCE_DOES_NOT_EXIST", error.message)
        case _:
            return _refusal(503, "TEMPORARILY_UNAVAILABLE", error.message, {"retry-after": "1"})


def _refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error_code": code, "message": message}, status, headers)
