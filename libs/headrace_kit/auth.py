"""How a request proves who it comes from: a bearer token, another service's secret, or nothing where that is allowed.

And in which workspace of the tenant it acts: the caller's tenant is then that workspace.
"""

import hmac
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, Protocol

import grpc

from headrace.api.common.v1 import access_pb2, error_reason_pb2
from headrace.api.identity.v1 import identity_service_pb2, identity_service_pb2_grpc
from headrace_kit import workspaces
from headrace_kit.errors import DomainError
from headrace_kit.tenancy import DEFAULT_TENANT, Caller

AUTHORIZATION: Final = "authorization"
TENANT: Final = "x-headrace-tenant"
"""The tenant that one service acts for, when it calls another; ignored from anyone else."""
WORKSPACE: Final = "x-headrace-workspace"
"""The workspace of its tenant in which a call acts; without it, "default". A service names it in the tenant already."""

SERVICE_PREFIX: Final = "hrs_"
_CACHE_S: Final = 1.0  # a revoked token, a deleted workspace is refused everywhere within two seconds
_CACHE_MOST: Final = 10_000
_IDENTITY_S: Final = 5.0


class Identity(Protocol):
    """Who knows tokens and workspaces. Both methods raise DomainError SERVICE_UNAVAILABLE when nobody can tell."""

    async def resolve(self, token: str) -> Caller:
        """The caller with this token. Raises DomainError TOKEN_INVALID where it is unknown, expired or revoked."""
        ...

    async def check_workspace(self, tenant_id: str, name: str) -> None:
        """Raises DomainError WORKSPACE_NOT_FOUND where the tenant has no such workspace."""


class Authenticator:
    """Finds the caller of a request from its metadata."""

    def __init__(self, mode: Literal["token", "open"], service_secret: str, identity: Identity) -> None:
        self._open = mode == "open"
        self._secret = service_secret.encode()
        self._identity = identity
        self._cache: dict[str, tuple[float, Caller]] = {}
        self._workspaces: dict[str, float] = {}

    async def __call__(self, metadata: Mapping[str, str], *, of_tenant: bool = False) -> Caller | None:
        """The caller, in the workspace that the metadata names; with `of_tenant`, whatever it names, in none of them.

        None without credentials. Raises InvalidField for the name of a workspace, DomainError TOKEN_INVALID, or as `Identity`.
        """
        who = await self._caller(metadata)
        workspace = metadata.get(WORKSPACE, workspaces.DEFAULT)
        if workspace == workspaces.DEFAULT or of_tenant or who is None or who.role == access_pb2.ROLE_SERVICE:
            return who
        return replace(who, tenant_id=await self._within(who.tenant_id, workspace))

    async def _caller(self, metadata: Mapping[str, str]) -> Caller | None:
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
        found = await self._identity.resolve(token)
        if len(self._cache) >= _CACHE_MOST:
            self._cache.clear()
        self._cache[token] = (now, found)
        return found

    async def _within(self, tenant_id: str, workspace: str) -> str:
        found = workspaces.within(tenant_id, workspace)
        now = time.monotonic()
        known = self._workspaces.get(found)
        if known is not None and now - known < _CACHE_S:
            return found
        await self._identity.check_workspace(tenant_id, workspaces.checked(workspace, WORKSPACE))
        if len(self._workspaces) >= _CACHE_MOST:
            self._workspaces.clear()
        self._workspaces[found] = now
        return found


def token_invalid(message: str) -> DomainError:
    """The error of credentials that prove nothing."""
    return DomainError(error_reason_pb2.ERROR_REASON_TOKEN_INVALID, message)


def service_metadata(secret: str, tenant_id: str = "") -> tuple[tuple[str, str], ...]:
    """Metadata with which one service calls another on behalf of a tenant."""
    return ((AUTHORIZATION, f"Bearer {SERVICE_PREFIX}{secret}"), (TENANT, tenant_id))


def workspace_metadata(workspace: str) -> tuple[tuple[str, str], ...]:
    """Metadata that names the workspace; nothing for the default one."""
    return () if workspace == workspaces.DEFAULT else ((WORKSPACE, workspace),)


class RemoteIdentity:
    """The identity service behind a channel; waits a few seconds for one that restarts."""

    def __init__(self, channel: grpc.aio.Channel, secret: str) -> None:
        self._stub: identity_service_pb2_grpc.IdentityServiceAsyncStub = (
            identity_service_pb2_grpc.IdentityServiceStub(channel)  # type: ignore[assignment] # the async form exists in the stub file only
        )
        self._secret = secret

    async def resolve(self, token: str) -> Caller:
        """As `Identity.resolve`."""
        request = identity_service_pb2.ResolveTokenRequest(secret=token)
        try:
            answer = await self._stub.ResolveToken(
                request, metadata=service_metadata(self._secret), timeout=_IDENTITY_S, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise token_invalid(error.details() or "the token is not known") from None
            raise _away("no token", error) from error
        return Caller(answer.token.tenant_id, answer.token.role, answer.token.token_id)

    async def check_workspace(self, tenant_id: str, name: str) -> None:
        """As `Identity.check_workspace`."""
        request = identity_service_pb2.GetWorkspaceRequest(name=name)
        metadata = service_metadata(self._secret, tenant_id)
        try:
            await self._stub.GetWorkspace(request, metadata=metadata, timeout=_IDENTITY_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise workspace_not_found(name) from None
            raise _away("no workspace", error) from error


class NoIdentity:
    """For a process whose own identity service is not wired yet, or never asked."""

    async def resolve(self, token: str) -> Caller:
        """Raises RuntimeError: a defect."""
        del token
        raise RuntimeError("a token came before the identity service of this process was there")

    async def check_workspace(self, tenant_id: str, name: str) -> None:
        """Raises RuntimeError: a defect."""
        raise RuntimeError(
            f"workspace {name!r} of {tenant_id} was named before the identity service of this process was there"
        )


def workspace_not_found(name: str) -> DomainError:
    """The error of a name that no workspace of the tenant has, in the words that MLflow's clients know."""
    return DomainError(error_reason_pb2.ERROR_REASON_WORKSPACE_NOT_FOUND, f"Workspace '{name}' not found")


def _away(what: str, error: grpc.aio.AioRpcError) -> DomainError:
    return DomainError(
        error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE,
        f"{what} can be checked now, as the identity service does not answer; try again ({error.details()})",
        retry_after_s=1,
    )
