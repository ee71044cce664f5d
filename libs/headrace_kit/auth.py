"""How a request proves who it comes from: a bearer token, another service's secret, or nothing where that is allowed."""

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import grpc

from headrace.api.common.v1 import access_pb2, error_reason_pb2
from headrace.api.identity.v1 import identity_service_pb2, identity_service_pb2_grpc
from headrace_kit.errors import DomainError
from headrace_kit.tenancy import DEFAULT_TENANT, Caller

AUTHORIZATION: Final = "authorization"
TENANT: Final = "x-headrace-tenant"
"""The tenant that one service acts for, when it calls another; ignored from anyone else."""

SERVICE_PREFIX: Final = "hrs_"
_CACHE_S: Final = 1.0  # a revoked token is refused everywhere within two seconds
_CACHE_MOST: Final = 10_000
_IDENTITY_S: Final = 5.0

Resolve = Callable[[str], Awaitable[Caller]]
"""Token → caller. Raises DomainError TOKEN_INVALID where it is unknown, expired or revoked, SERVICE_UNAVAILABLE when
nobody can tell."""


class Authenticator:
    """Finds the caller of a request from its metadata."""

    def __init__(self, mode: Literal["token", "open"], service_secret: str, resolve: Resolve) -> None:
        self._open = mode == "open"
        self._secret = service_secret.encode()
        self._resolve = resolve
        self._cache: dict[str, tuple[float, Caller]] = {}

    async def __call__(self, metadata: Mapping[str, str]) -> Caller | None:
        """The caller; None without credentials. Raises DomainError TOKEN_INVALID, or as `Resolve`."""
        scheme, _, token = metadata.get(AUTHORIZATION, "").partition(" ")
        if not token:
            return Caller(DEFAULT_TENANT, access_pb2.ROLE_ADMIN) if self._open else None
        if scheme.lower() != "bearer":
            raise token_invalid('the authorization must be "Bearer <token>"')
        if token.startswith(SERVICE_PREFIX):
            if not hmac.compare_digest(token.removeprefix(SERVICE_PREFIX).encode(), self._secret):
                raise token_invalid("the service secret is not the one of this installation")
            return Caller(metadata.get(TENANT, ""), access_pb2.ROLE_SERVICE)
        return await self._cached(token)

    async def _cached(self, token: str) -> Caller:
        now = time.monotonic()
        known = self._cache.get(token)
        if known and now - known[0] < _CACHE_S:
            return known[1]
        found = await self._resolve(token)
        if len(self._cache) >= _CACHE_MOST:
            self._cache.clear()
        self._cache[token] = (now, found)
        return found


def token_invalid(message: str) -> DomainError:
    """The error of credentials that prove nothing."""
    return DomainError(error_reason_pb2.ERROR_REASON_TOKEN_INVALID, message)


def service_metadata(secret: str, tenant_id: str = "") -> tuple[tuple[str, str], ...]:
    """Metadata with which one service calls another on behalf of a tenant."""
    return ((AUTHORIZATION, f"Bearer {SERVICE_PREFIX}{secret}"), (TENANT, tenant_id))


def resolve_by(channel: grpc.aio.Channel, secret: str) -> Resolve:
    """Asks the identity service, and waits a few seconds for one that restarts."""
    stub: identity_service_pb2_grpc.IdentityServiceAsyncStub = identity_service_pb2_grpc.IdentityServiceStub(channel)  # type: ignore[assignment] # the async form exists in the stub file only

    async def resolve(token: str) -> Caller:
        request = identity_service_pb2.ResolveTokenRequest(secret=token)
        try:
            answer = await stub.ResolveToken(
                request, metadata=service_metadata(secret), timeout=_IDENTITY_S, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise token_invalid(error.details() or "the token is not known") from None
            raise DomainError(
                error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE,
                f"no token can be checked now, as the identity service does not answer; try again ({error.details()})",
                retry_after_s=1,
            ) from error
        return Caller(answer.token.tenant_id, answer.token.role, answer.token.token_id)

    return resolve
