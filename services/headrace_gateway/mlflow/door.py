"""Receives requests of MLflow's clients: finds the route, reads what it is given, answers as MLflow does."""

import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response

from headrace.api.common.v1 import access_pb2
from headrace_gateway import forwarded
from headrace_gateway.mlflow import failures, wire
from headrace_gateway.mlflow.calls import SHARED, Calls, Stubs
from headrace_gateway.mlflow.failures import STATUSES, Failure
from headrace_gateway.mlflow.table import Route
from headrace_gateway.services import DESCRIPTORS
from headrace_gateway.web import body_of, workspace_of
from headrace_kit import rpc
from headrace_kit.auth import AUTHORIZATION, workspace_metadata
from headrace_kit.errors import DomainError, InvalidField
from headrace_kit.rpc import PolicyMissing

log = logging.getLogger(__name__)

MOST_BODY_BYTES: Final = 64 << 20
_REST: Final = frozenset({"path", "folder", "file"})
"""Parts of a path that take all of its rest."""
_NOT_FOUND: Final = "<!doctype html><title>404 Not Found</title><h1>Not Found</h1><p>Headrace answers nothing here.</p>"
_NOT_ALLOWED: Final = "<!doctype html><title>405 Method Not Allowed</title><h1>Method Not Allowed</h1>"


@dataclass(frozen=True, slots=True)
class _Door:
    route: Route
    reader: wire.Reader[Any] | None
    """None for handlers that take the HTTP request as it is."""


class MlflowDoor:
    """Answers what `routes` name, and the rest as MLflow answers an unknown route.

    `public_url` is where clients reach this server; where it is empty, it is where each request came to.
    """

    def __init__(self, stubs: Stubs, routes: Iterable[Route], public_url: str = "") -> None:
        self._stubs = stubs
        self._public_url = public_url
        self._fixed: dict[str, dict[str, _Door]] = {}
        self._templates: list[tuple[re.Pattern[str], dict[str, _Door]]] = []
        for route in routes:
            check_policy(route)
            door = _Door(route, _reader(route))
            for path in (prefix + route.path for prefix in route.prefixes):
                doors = self._doors_at(path)
                doors.update(dict.fromkeys(route.verbs.split(), door))

    def _doors_at(self, path: str) -> dict[str, _Door]:
        if "{" not in path:
            return self._fixed.setdefault(path, {})
        pattern = re.compile(_pattern(path))
        for known, doors in self._templates:
            if known.pattern == pattern.pattern:
                return doors
        self._templates.append((pattern, {}))
        return self._templates[-1][1]

    async def answer(self, request: HttpRequest) -> Response:
        """The whole exchange."""
        doors, path = self._found(request.scope["path"])
        if not doors:
            return HTMLResponse(_NOT_FOUND, 404)
        door = doors.get(request.method)
        if door is None:
            return HTMLResponse(_NOT_ALLOWED, 405, {"allow": ", ".join(sorted(doors))})
        return await answered(request, self._exchange(door, request, path))

    def _found(self, path: str) -> tuple[Mapping[str, _Door], dict[str, str]]:
        doors = self._fixed.get(path)
        if doors is not None:
            return doors, {}
        for pattern, found in self._templates:
            match = pattern.fullmatch(path)
            if match is not None:
                return found, match.groupdict()
        return {}, {}

    async def _exchange(self, door: _Door, request: HttpRequest, path: dict[str, str]) -> Response:
        calls = self._calls(request) if door.route.rpcs else Calls(self._stubs, ())
        given: object = request
        if door.reader is None:
            request.scope["path_params"] = path
        elif request.method == "GET":
            given = door.reader.query(request.query_params, path)
        else:
            given = door.reader.body(await _body(request), path)
        answer = await door.route.handler(calls, given)
        return answer if isinstance(answer, Response) else Response(wire.encode(answer), media_type=wire.JSON)

    def _calls(self, request: HttpRequest) -> Calls:
        """In the name of whoever sent the request, in the workspace that it names. Raises Failure."""
        try:
            workspace = workspace_of(request.headers)
        except InvalidField as error:
            raise failures.invalid(f"The workspace's name in {error.message}") from None
        metadata = (*_metadata(request), *workspace_metadata(workspace))
        return Calls(self._stubs, metadata, workspace, lambda: (self._public_url or str(request.base_url)).rstrip("/"))


async def answered(request: HttpRequest, exchange: Awaitable[Response]) -> Response:
    """What the exchange answers, whatever goes wrong with it."""
    try:
        return await exchange
    except Failure as failure:
        return told(failure)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads it
    except Exception:
        log.exception("%s %s failed", request.method, request.url.path)
        return told(Failure("INTERNAL_ERROR", "Headrace failed to answer this; the gateway's log tells more."))


def told(failure: Failure) -> Response:
    """The failure as JSON, with Retry-After where coming back helps."""
    status = STATUSES[failure.code]
    headers = {}
    if status in {429, 503}:
        headers["retry-after"] = str(max(1, failure.retry_after_s))
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="Headrace"'
    return Response(
        wire.encode({"error_code": failure.code, "message": failure.message}), status, headers, media_type=wire.JSON
    )


def check_policy(route: Route) -> None:
    """Raises PolicyMissing for a route that calls no RPC with a policy, nor says why it needs none."""
    if bool(route.rpcs) == bool(route.open):
        raise PolicyMissing(
            f"{route.verbs} {route.path} must name the RPCs that it calls, or say why anyone may call it"
        )
    for name in route.rpcs:
        service, _, method = name.partition(".")
        known = {
            one.name: one for descriptor in DESCRIPTORS[SHARED.get(service, service)] for one in descriptor.methods
        }
        access = rpc.access_of(known[method]) if method in known else access_pb2.Access()
        if access.role in {access_pb2.ROLE_UNSPECIFIED, access_pb2.ROLE_SERVICE}:
            raise PolicyMissing(f"{route.verbs} {route.path}: {name} is no method that a client may call")


def _reader(route: Route) -> wire.Reader[Any] | None:
    kind = get_type_hints(route.handler)["request"]
    return wire.Reader(kind) if issubclass(kind, wire.Request) else None


def _pattern(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda part: f"(?P<{part[1]}>{'.+' if part[1] in _REST else '[^/]+'})", path)


def _metadata(request: HttpRequest) -> Iterator[tuple[str, str]]:
    """The credentials and the trace of the request. Raises Failure for credentials that prove nothing."""
    given = request.headers.get(AUTHORIZATION)
    if given:
        scheme, _, value = given.partition(" ")
        token = _password(value) if scheme.lower() == "basic" else value.strip()
        try:
            yield AUTHORIZATION, f"Bearer {forwarded.checked_token(token)}"
        except DomainError as error:
            raise Failure("UNAUTHENTICATED", error.message) from None
    yield from forwarded.trace(request.headers)


def _password(value: str) -> str:
    """Of Basic credentials; the token is the password, whatever the name. Raises Failure."""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise Failure("UNAUTHENTICATED", "the Basic credentials are not base64 of name:token") from None


async def _body(request: HttpRequest) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await body_of(request, MOST_BODY_BYTES)
    if body is None:
        raise Failure("INVALID_PARAMETER_VALUE", f"The body may have at most {MOST_BODY_BYTES} bytes.")
    if body and kind != wire.JSON:
        raise Failure("INVALID_PARAMETER_VALUE", f"Content-Type must be {wire.JSON}, got {kind!r}.")
    return body
