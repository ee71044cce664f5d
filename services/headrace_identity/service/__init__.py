"""IdentityService: translates requests, owns the transactions."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import cast
from uuid import UUID, uuid4

from headrace.api.common.v1 import access_pb2, error_reason_pb2
from headrace.api.identity.v1 import identity_pb2
from headrace.api.identity.v1 import identity_service_pb2 as pb
from headrace_identity import rules, store
from headrace_identity.service.workspaces import Context, WorkspaceCalls
from headrace_identity.store import TenantRow, TokenRow
from headrace_kit import paging, tenancy
from headrace_kit.auth import token_invalid
from headrace_kit.db import Database
from headrace_kit.errors import DomainError
from headrace_kit.tenancy import Caller


class IdentityService(WorkspaceCalls):
    """`requests` sees one tenant at a time; `everyone` (worker role) is for what is asked before the tenant is known."""

    def __init__(
        self,
        requests: Database,
        everyone: Database,
        key: str,
        contents: Callable[[str], Awaitable[str]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[], bytes] = lambda: secrets.token_bytes(32),
    ) -> None:
        super().__init__(requests, contents, now)
        self._everyone = everyone
        self._key = key
        self._random = random

    async def resolve(self, token: str) -> Caller:
        """As `auth.Identity.resolve`; the `Authenticator` of this process asks here without a call."""
        found = await self._find(token)
        return Caller(found.tenant_id, cast("access_pb2.Role", found.role), str(found.token_id))

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: Context) -> pb.CreateTenantResponse:
        rules.check_tenant_id(request.tenant_id)
        async with self._db.tenant(request.tenant_id) as conn:
            row = await store.insert_tenant(conn, request.tenant_id, request.display_name or request.tenant_id)
        return pb.CreateTenantResponse(tenant=_tenant(row))

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> pb.ListTenantsResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        key = paging.decode(request.page_token, "tenants")
        async with self._everyone.tenant("") as conn:
            rows = await store.list_tenants(conn, str(key[0]) if key else "", size + 1)
        token = paging.encode("tenants", [rows[size - 1].tenant_id]) if len(rows) > size else ""
        return pb.ListTenantsResponse(tenants=[_tenant(row) for row in rows[:size]], next_page_token=token)

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        now = self._now()
        expires = request.expire_time.ToDatetime(tzinfo=UTC) if request.HasField("expire_time") else None
        rules.check_token(request.name, request.role, expires, now)
        tenant_id = tenancy.caller().tenant_id
        rules.check_tenant_id(tenant_id)
        secret = rules.secret_from(self._random())
        row = TokenRow(tenant_id, uuid4(), request.name, request.role, now, expires, None)
        async with self._db.tenant(tenant_id) as conn:
            await store.ensure_tenant(conn, tenant_id, tenant_id)
            await store.insert_token(conn, row, rules.digest(secret, self._key))
        return pb.CreateTokenResponse(token=_token(row), secret=secret)

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        key = paging.decode(request.page_token, "tokens")
        before = (datetime.fromisoformat(str(key[0])), UUID(str(key[1]))) if key else None
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            rows = await store.list_tokens(conn, before, size + 1)
        token = ""
        if len(rows) > size:
            last = rows[size - 1]
            token = paging.encode("tokens", [last.create_time.isoformat(), str(last.token_id)])
        return pb.ListTokensResponse(tokens=[_token(row) for row in rows[:size]], next_page_token=token)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            known = await store.revoke_token(conn, _uuid(request.token_id), self._now())
        if not known:
            raise _token_not_found(request.token_id)
        return pb.RevokeTokenResponse()

    async def ResolveToken(self, request: pb.ResolveTokenRequest, context: Context) -> pb.ResolveTokenResponse:
        return pb.ResolveTokenResponse(token=_token(await self._find(request.secret)))

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        who = tenancy.caller()
        return pb.WhoAmIResponse(tenant_id=who.tenant_id, role=who.role, token_id=who.token_id)

    async def _find(self, secret: str) -> TokenRow:
        # The index finds the HMAC, not the secret: how long it takes tells nothing about a secret.
        async with self._everyone.tenant("") as conn:
            token = await store.find_token(conn, rules.digest(secret, self._key))
        if token is None:
            raise token_invalid("no such token; make one with `headrace tokens create`")
        if token.revoke_time is not None:
            raise token_invalid(f"this token was revoked at {token.revoke_time.isoformat()}")
        if token.expire_time is not None and token.expire_time <= self._now():
            raise token_invalid(f"this token expired at {token.expire_time.isoformat()}")
        return token


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _token_not_found(text) from None


def _token_not_found(token_id: str) -> DomainError:
    return DomainError(error_reason_pb2.ERROR_REASON_TOKEN_NOT_FOUND, f"no token has the id {token_id!r}")


def _tenant(row: TenantRow) -> identity_pb2.Tenant:
    message = identity_pb2.Tenant(tenant_id=row.tenant_id, display_name=row.display_name)
    message.create_time.FromDatetime(row.create_time)
    return message


def _token(row: TokenRow) -> identity_pb2.Token:
    message = identity_pb2.Token(
        token_id=str(row.token_id),
        tenant_id=row.tenant_id,
        name=row.name,
        role=cast("access_pb2.Role", row.role),
    )
    message.create_time.FromDatetime(row.create_time)
    if row.expire_time is not None:
        message.expire_time.FromDatetime(row.expire_time)
    if row.revoke_time is not None:
        message.revoke_time.FromDatetime(row.revoke_time)
    return message
