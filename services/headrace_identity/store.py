"""The identity schema in SQL, a function a statement."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from psycopg.rows import class_row

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.db import Connection, Constraints
from headrace_kit.errors import DomainError

CONSTRAINTS: Final[Constraints] = {
    "tenants_pkey": lambda: DomainError(error_reason_pb2.ERROR_REASON_TENANT_EXISTS, "a tenant with this id exists"),
    "workspaces_pkey": lambda: DomainError(
        error_reason_pb2.ERROR_REASON_WORKSPACE_EXISTS, "a workspace with this name exists"
    ),
    "tokens_tenant": lambda: DomainError(error_reason_pb2.ERROR_REASON_TENANT_NOT_FOUND, "no such tenant"),
}


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A row of `tenants`."""

    tenant_id: str
    display_name: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row of `tokens`, without the digest."""

    tenant_id: str
    token_id: UUID
    name: str
    role: int
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True)
class WorkspaceRow:
    """A row of `workspaces`."""

    tenant_id: str
    name: str
    description: str
    default_artifact_root: str
    create_time: datetime


async def ensure_tenant(conn: Connection, tenant_id: str, display_name: str) -> None:
    """Makes the tenant where it is missing."""
    await conn.execute(
        "INSERT INTO identity.tenants (tenant_id, display_name) VALUES (%(id)s, %(name)s) ON CONFLICT DO NOTHING",
        {"id": tenant_id, "name": display_name},
    )


async def insert_tenant(conn: Connection, tenant_id: str, display_name: str) -> TenantRow:
    """Breaks `tenants_pkey` when it exists."""
    async with conn.cursor(row_factory=class_row(TenantRow)) as cursor:
        await cursor.execute(
            "INSERT INTO identity.tenants (tenant_id, display_name) VALUES (%(id)s, %(name)s)"
            " RETURNING tenant_id, display_name, create_time",
            {"id": tenant_id, "name": display_name},
        )
        row = await cursor.fetchone()
        assert row is not None  # noqa: S101 - INSERT ... RETURNING gives a row or raises
        return row


async def list_tenants(conn: Connection, after: str, limit: int) -> list[TenantRow]:
    """Tenants behind this id."""
    async with conn.cursor(row_factory=class_row(TenantRow)) as cursor:
        await cursor.execute(
            "SELECT tenant_id, display_name, create_time FROM identity.tenants"
            " WHERE tenant_id > %(after)s ORDER BY tenant_id LIMIT %(limit)s",
            {"after": after, "limit": limit},
        )
        return await cursor.fetchall()


async def insert_token(conn: Connection, token: TokenRow, digest: bytes) -> None:
    """Breaks `tokens_tenant` when the tenant is missing."""
    await conn.execute(
        "INSERT INTO identity.tokens (tenant_id, token_id, digest, name, role, create_time, expire_time)"
        " VALUES (%(tenant)s, %(id)s, %(digest)s, %(name)s, %(role)s, %(created)s, %(expires)s)",
        {
            "tenant": token.tenant_id,
            "id": token.token_id,
            "digest": digest,
            "name": token.name,
            "role": token.role,
            "created": token.create_time,
            "expires": token.expire_time,
        },
    )


async def list_tokens(conn: Connection, before: tuple[datetime, UUID] | None, limit: int) -> list[TokenRow]:
    """Tokens of the transaction's tenant, newest first, behind the one named."""
    time, token_id = before or (None, None)
    async with conn.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(
            "SELECT tenant_id, token_id, name, role, create_time, expire_time, revoke_time FROM identity.tokens"
            " WHERE %(time)s::timestamptz IS NULL OR (create_time, token_id) < (%(time)s, %(id)s)"
            " ORDER BY create_time DESC, token_id DESC LIMIT %(limit)s",
            {"time": time, "id": token_id, "limit": limit},
        )
        return await cursor.fetchall()


async def revoke_token(conn: Connection, token_id: UUID, now: datetime) -> bool:
    """False when the transaction's tenant has no such token; revoking again keeps the first time."""
    cursor = await conn.execute(
        "UPDATE identity.tokens SET revoke_time = coalesce(revoke_time, %(now)s) WHERE token_id = %(id)s",
        {"id": token_id, "now": now},
    )
    return cursor.rowcount == 1


async def find_token(conn: Connection, digest: bytes) -> TokenRow | None:
    """Any tenant's token by its digest; for the worker role, which sees all tenants."""
    async with conn.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(
            "SELECT tenant_id, token_id, name, role, create_time, expire_time, revoke_time FROM identity.tokens"
            " WHERE digest = %(digest)s",
            {"digest": digest},
        )
        return await cursor.fetchone()


_WORKSPACES: Final = "SELECT tenant_id, name, description, default_artifact_root, create_time FROM identity.workspaces"
_INSERT_WORKSPACE: Final = (
    "INSERT INTO identity.workspaces (tenant_id, name, description, default_artifact_root, create_time)"
    " VALUES (%(tenant)s, %(name)s, %(description)s, %(root)s, %(created)s)"
)


async def ensure_workspace(conn: Connection, row: WorkspaceRow) -> None:
    """Makes the workspace where it is missing."""
    await conn.execute(_INSERT_WORKSPACE + " ON CONFLICT DO NOTHING", _values(row))


async def insert_workspace(conn: Connection, row: WorkspaceRow) -> None:
    """Breaks `workspaces_pkey` when it exists."""
    await conn.execute(_INSERT_WORKSPACE, _values(row))


async def find_workspace(conn: Connection, name: str) -> WorkspaceRow | None:
    """A workspace of the transaction's tenant."""
    return await _workspace(conn, _WORKSPACES + " WHERE name = %(name)s", name)


async def lock_workspace(conn: Connection, name: str) -> WorkspaceRow | None:
    """As `find_workspace`, for a change."""
    return await _workspace(conn, _WORKSPACES + " WHERE name = %(name)s FOR UPDATE", name)


async def list_workspaces(conn: Connection, after: str, limit: int) -> list[WorkspaceRow]:
    """Workspaces of the transaction's tenant behind this name."""
    async with conn.cursor(row_factory=class_row(WorkspaceRow)) as cursor:
        await cursor.execute(
            _WORKSPACES + ' WHERE name COLLATE "C" > %(after)s ORDER BY name COLLATE "C" LIMIT %(limit)s',
            {"after": after, "limit": limit},
        )
        return await cursor.fetchall()


async def update_workspace(conn: Connection, row: WorkspaceRow) -> None:
    """What may change of it."""
    await conn.execute(
        "UPDATE identity.workspaces SET description = %(description)s, default_artifact_root = %(root)s"
        " WHERE name = %(name)s",
        {"name": row.name, "description": row.description, "root": row.default_artifact_root},
    )


async def delete_workspace(conn: Connection, name: str) -> None:
    """A workspace of the transaction's tenant."""
    await conn.execute("DELETE FROM identity.workspaces WHERE name = %(name)s", {"name": name})


async def _workspace(conn: Connection, query: LiteralString, name: str) -> WorkspaceRow | None:
    async with conn.cursor(row_factory=class_row(WorkspaceRow)) as cursor:
        await cursor.execute(query, {"name": name})
        return await cursor.fetchone()


def _values(row: WorkspaceRow) -> dict[str, object]:
    return {
        "tenant": row.tenant_id,
        "name": row.name,
        "description": row.description,
        "root": row.default_artifact_root,
        "created": row.create_time,
    }
