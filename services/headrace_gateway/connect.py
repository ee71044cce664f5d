"""The Connect protocol's unary form (connectrpc.com/docs/protocol), made from the service descriptors.

`application/proto` passes through undecoded; `application/json` is protobuf's JSON form.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.common.v1 import access_pb2
from headrace_gateway import forwarded
from headrace_gateway.services import DESCRIPTORS, Services
from headrace_gateway.web import body_of, workspace_of
from headrace_kit import rpc
from headrace_kit.auth import AUTHORIZATION, workspace_metadata
from headrace_kit.errors import DomainError
from headrace_kit.rpc import MAX_MESSAGE_BYTES

JSON: Final = "application/json"
PROTO: Final = "application/proto"
_TIMEOUT_S: Final = 60.0
_STATUS: Final = {
    grpc.StatusCode.CANCELLED: ("canceled", 499),
    grpc.StatusCode.UNKNOWN: ("unknown", 500),
    grpc.StatusCode.INVALID_ARGUMENT: ("invalid_argument", 400),
    grpc.StatusCode.DEADLINE_EXCEEDED: ("deadline_exceeded", 504),
    grpc.StatusCode.NOT_FOUND: ("not_found", 404),
    grpc.StatusCode.ALREADY_EXISTS: ("already_exists", 409),
    grpc.StatusCode.PERMISSION_DENIED: ("permission_denied", 403),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("resource_exhausted", 429),
    grpc.StatusCode.FAILED_PRECONDITION: ("failed_precondition", 400),
    grpc.StatusCode.ABORTED: ("aborted", 409),
    grpc.StatusCode.OUT_OF_RANGE: ("out_of_range", 400),
    grpc.StatusCode.UNIMPLEMENTED: ("unimplemented", 501),
    grpc.StatusCode.INTERNAL: ("internal", 500),
    grpc.StatusCode.UNAVAILABLE: ("unavailable", 503),
    grpc.StatusCode.DATA_LOSS: ("data_loss", 500),
    grpc.StatusCode.UNAUTHENTICATED: ("unauthenticated", 401),
}


@dataclass(frozen=True, slots=True)
class _Method:
    service: str
    path: str
    streaming: bool
    request: type[Message]
    response: type[Message]


class _Refused(Exception):  # noqa: N818 - not an error of ours: an answer
    def __init__(
        self, code: grpc.StatusCode, message: str, *, http: int = 0, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.http, self.headers = code, message, http, headers


class ConnectDoor:
    """Answers POST /<service>/<method>. Methods between services are not to be had here."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._methods = {method.path: method for method in _methods()}

    async def answer(self, request: Request) -> Response:
        """The whole exchange; errors come out in Connect's form."""
        try:
            return await self._exchange(request)
        except _Refused as refused:
            return _error(refused.code, refused.message, [], http=refused.http, headers=refused.headers)
        except DomainError as error:
            return _error(error.code, error.message, error.details())
        except grpc.aio.AioRpcError as error:
            status = rpc.status_of_call(error) or status_pb2.Status(message=error.details() or "")
            return _error(error.code(), status.message, list(status.details))

    async def _exchange(self, request: Request) -> Response:
        method = self._method(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in {JSON, PROTO}:
            raise _Refused(
                grpc.StatusCode.UNKNOWN,
                f"Content-Type must be {JSON} or {PROTO}, got {kind!r}",
                http=415,
                headers={"accept-post": f"{JSON}, {PROTO}"},
            )
        body = await _body(request)
        if kind == JSON:
            body = _from_json(method.request, body)
        answer = await self._call(method, body, request)
        return Response(_to_json(method.response, answer) if kind == JSON else answer, media_type=kind)

    def _method(self, request: Request) -> _Method:
        method = self._methods.get(request.url.path)
        if method is None:
            raise _Refused(grpc.StatusCode.UNIMPLEMENTED, f"no method {request.url.path}", http=404)
        if method.streaming:
            raise _Refused(
                grpc.StatusCode.UNIMPLEMENTED,
                f"{method.path} streams: call it over gRPC, see /.well-known/headrace",
                http=415,
            )
        if request.method != "POST":
            raise _Refused(grpc.StatusCode.UNIMPLEMENTED, "use POST", http=405, headers={"allow": "POST"})
        if request.headers.get("content-encoding", "identity") != "identity":
            raise _Refused(grpc.StatusCode.UNIMPLEMENTED, "Content-Encoding must be identity")
        return method

    async def _call(self, method: _Method, body: bytes, request: Request) -> bytes:
        metadata = [*forwarded.trace(request.headers), *workspace_metadata(workspace_of(request.headers))]
        given = request.headers.get(AUTHORIZATION)
        if given is not None:
            metadata.append((AUTHORIZATION, _checked(given)))
        call: Any = self._services.channel(method.service).unary_unary(method.path)
        return bytes(await call(body, metadata=metadata, timeout=_timeout(request)))


def _checked(authorization: str) -> str:
    scheme, space, token = authorization.partition(" ")
    try:
        return f"{forwarded.checked_token(scheme)}{space}{forwarded.checked_token(token)}"
    except DomainError as error:
        raise _Refused(error.code, error.message) from None


def _methods() -> list[_Method]:
    found = []
    for name, descriptors in DESCRIPTORS.items():
        for method in (m for descriptor in descriptors for m in descriptor.methods):
            if rpc.access_of(method).role == access_pb2.ROLE_SERVICE:
                continue
            path = f"/{method.containing_service.full_name}/{method.name}"
            request = message_factory.GetMessageClass(method.input_type)
            response = message_factory.GetMessageClass(method.output_type)
            found.append(_Method(name, path, method.client_streaming or method.server_streaming, request, response))
    return found


async def _body(request: Request) -> bytes:
    body = await body_of(request, MAX_MESSAGE_BYTES)
    if body is None:
        raise _Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the body may have at most {MAX_MESSAGE_BYTES} bytes")
    return body


def _timeout(request: Request) -> float:
    text = request.headers.get("connect-timeout-ms")
    if text is None:
        return _TIMEOUT_S
    if not text.isdigit() or len(text) > 10:
        raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Connect-Timeout-Ms must be 1 to 10 digits, got {text!r}")
    return int(text) / 1000


def _from_json(kind: type[Message], body: bytes) -> bytes:
    try:
        return json_format.Parse(body, kind()).SerializeToString()
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(
            grpc.StatusCode.INVALID_ARGUMENT, f"the body is not a {kind.DESCRIPTOR.full_name} in JSON: {error}"
        ) from None


def _to_json(kind: type[Message], answer: bytes) -> bytes:
    return json_format.MessageToJson(kind.FromString(answer), indent=None).encode()


def _error(
    code: grpc.StatusCode,
    message: str,
    details: list[AnyMessage],
    *,
    http: int = 0,
    headers: dict[str, str] | None = None,
) -> Response:
    name, status = _STATUS.get(code, ("unknown", 500))
    body: dict[str, Any] = {"code": name, "message": message}
    if details:
        body["details"] = [_detail(detail) for detail in details]
    retry = error_details_pb2.RetryInfo()
    after = {"retry-after": str(max(1, retry.retry_delay.seconds))} if any(d.Unpack(retry) for d in details) else {}
    return Response(json.dumps(body), http or status, headers={**after, **(headers or {})}, media_type=JSON)


def _detail(detail: AnyMessage) -> dict[str, Any]:
    value = base64.b64encode(detail.value).decode().rstrip("=")
    known = json_format.MessageToDict(detail)
    known.pop("@type", None)
    return {"type": detail.TypeName(), "value": value, "debug": known}
