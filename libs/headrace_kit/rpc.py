"""The edge of every gRPC service: one interceptor that authorizes, traces and answers errors as the contract says."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, TypeAlias, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import status_pb2
from grpc_status import rpc_status
from typing_extensions import override

from headrace.api.common.v1 import access_pb2, error_reason_pb2
from headrace_kit import errors, tenancy
from headrace_kit.auth import TENANT, Authenticator
from headrace_kit.errors import DomainError
from headrace_kit.telemetry import TRACEPARENT, Attributes, Telemetry

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs only

MAX_MESSAGE_BYTES: Final = 8 << 20
HEADER_TAKEN: Final = "x-headrace-header-taken"
"""Initial metadata of an upload whose header is taken: who waits for it sends no bytes to a call that is refused."""
CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
    # Thousands of streams come back in the same moment after a restart; from 1,000 waiting on, gRPC cancels some.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
)
_PUBLIC: Final = access_pb2.Access(role=access_pb2.ROLE_PUBLIC, resource=access_pb2.RESOURCE_TENANT)
_PUBLIC_SERVICES: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


@dataclass(frozen=True, slots=True)
class Servicer:
    """A gRPC service and what implements it."""

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.aio.Server], None]
    """The generated `add_XServicer_to_server`."""
    implementation: object


class PolicyMissing(Exception):  # noqa: N818 - says what it is
    """A method does not say who may call it; the server must not start."""


def policies(descriptors: Iterable[ServiceDescriptor]) -> dict[str, access_pb2.Access]:
    """Path → who may call it, for every method. Raises PolicyMissing naming the methods that do not say."""
    found = {
        f"/{service.full_name}/{method.name}": access_of(method)
        for service in descriptors
        for method in service.methods
    }
    silent = [path for path, access in found.items() if not access.role or not access.resource]
    if silent:
        raise PolicyMissing(f"these methods lack (headrace.api.common.v1.access) in their .proto: {', '.join(silent)}")
    return found


def access_of(method: MethodDescriptor) -> access_pb2.Access:
    """Who may call the method, as its .proto says; an empty message where it does not say."""
    option: Any = access_pb2.access  # the types of --pyi_out do not tell what an extension extends
    return cast("access_pb2.Access", method.GetOptions().Extensions[option])


def status_of_call(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The google.rpc.Status that a service answered with; None where the error is not one of its answers."""
    try:
        return rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # gRPC put a code of its own over the service's
        return None


def channel(address: str) -> grpc.aio.Channel:
    """A channel to another service."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)


class Edge(grpc.aio.ServerInterceptor):
    """Authorizes, traces, and turns errors into statuses, for every method of a server."""

    def __init__(
        self, access: Mapping[str, access_pb2.Access], authenticate: Authenticator, telemetry: Telemetry
    ) -> None:
        self._access = access
        self._authenticate = authenticate
        self._telemetry = telemetry

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Wraps the method's handler; a method unknown to the policies is refused."""
        handler = await continuation(handler_call_details)
        path = _text(handler_call_details.method)
        access = self._access.get(path)
        if access is None and path.startswith(_PUBLIC_SERVICES):
            access = _PUBLIC
        if handler is None or access is None:
            return handler if handler is None else _refuse(path)
        metadata = {key: _text(value) for key, value in handler_call_details.invocation_metadata or ()}
        return self._wrap(handler, _Call(path, access, metadata))

    def _wrap(self, handler: Any, call: "_Call") -> Handler:
        inner = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream

        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with self._around(call, context):
                return await inner(request, context)

        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with self._around(call, context):
                async for message in inner(request, context):
                    yield message

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        behavior: Any = stream if handler.response_streaming else answer
        return make(behavior, handler.request_deserializer, handler.response_serializer)

    @asynccontextmanager
    async def _around(self, call: "_Call", context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        started = perf_counter()
        code = grpc.StatusCode.OK
        try:
            with self._telemetry.span(call.path[1:], "server", traceparent=call.metadata.get(TRACEPARENT, "")):
                tenancy.set_caller(await self._authorized(call))
                yield
        except DomainError as error:
            code = error.code
            await context.abort_with_status(rpc_status.to_status(errors.status_of(error)))
        except grpc.aio.AioRpcError as error:
            code = error.code()
            await _pass_on(error, context)
        except (grpc.aio.AbortError, grpc.aio.UsageError):
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            log.exception("%s failed", call.path)
            internal = DomainError(
                error_reason_pb2.ERROR_REASON_INTERNAL, f"{call.path} failed inside Headrace; its log tells more"
            )
            await context.abort_with_status(rpc_status.to_status(errors.status_of(internal)))
        finally:
            if self._telemetry.enabled:
                attributes: Attributes = {"rpc.method": call.path[1:], "rpc.grpc.status_code": code.name}
                self._telemetry.record("rpc.server.duration", perf_counter() - started, attributes)

    async def _authorized(self, call: "_Call") -> tenancy.Caller:
        if call.access.role == access_pb2.ROLE_PUBLIC:
            return tenancy.Caller("", access_pb2.ROLE_PUBLIC)
        of_tenant = call.access.resource == access_pb2.RESOURCE_TENANT
        who = await self._authenticate(call.metadata, of_tenant=of_tenant)
        if who is None:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_TOKEN_MISSING,
                'no token: send it as metadata "authorization: Bearer <token>" (HEADRACE_TOKEN for the client)',
            )
        if who.role < call.access.role:
            needed = access_pb2.Role.Name(call.access.role).removeprefix("ROLE_")
            has = access_pb2.Role.Name(who.role).removeprefix("ROLE_")
            raise DomainError(
                error_reason_pb2.ERROR_REASON_ROLE_TOO_LOW,
                f"{call.path} needs the role {needed}; this token has {has}",
            )
        if not who.tenant_id and call.access.role != access_pb2.ROLE_SERVICE:
            raise errors.InvalidField(TENANT, f"a service that calls {call.path} must name the tenant it acts for")
        return who


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    access: access_pb2.Access
    metadata: Mapping[str, str]


async def _pass_on(error: grpc.aio.AioRpcError, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """A service behind this one answered with an error: the caller gets the same, or UNAVAILABLE where it is away."""
    status = status_of_call(error)
    if status is None:
        log.warning("a service behind this one failed: %s %s", error.code(), error.details())
        away = DomainError(
            error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE,
            f"a service behind this one does not answer now; try again ({error.details()})",
            retry_after_s=1,
        )
        status = errors.status_of(away)
    await context.abort_with_status(rpc_status.to_status(status))


def _refuse(path: str) -> Handler:
    async def refuse(_request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{path}: no such method")

    return grpc.unary_unary_rpc_method_handler(refuse)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
