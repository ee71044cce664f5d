"""The calls of IdentityService about workspaces."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import grpc

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.identity.v1 import identity_pb2
from headrace.api.identity.v1 import identity_service_pb2 as pb
from headrace.api.identity.v1.identity_service_pb2_grpc import IdentityServiceServicer
from headrace_identity import rules, store
from headrace_identity.store import WorkspaceRow
from headrace_kit import paging, tenancy, workspaces
from headrace_kit.auth import workspace_not_found
from headrace_kit.db import Connection, Database
from headrace_kit.errors import DomainError

Context = grpc.aio.ServicerContext[Any, Any]
_PAGES: Final = "workspaces"


class WorkspaceCalls(IdentityServiceServicer):
    """`contents` says what a tenant holds, in words; see `Contents.of`."""

    def __init__(
        self, requests: Database, contents: Callable[[str], Awaitable[str]], now: Callable[[], datetime]
    ) -> None:
        self._db = requests
        self._contents = contents
        self._now = now

    async def check_workspace(self, tenant_id: str, name: str) -> None:
        """As `auth.Identity.check_workspace`."""
        async with self._db.tenant(tenant_id) as conn:
            await _found(conn, name)

    async def CreateWorkspace(self, request: pb.CreateWorkspaceRequest, context: Context) -> pb.CreateWorkspaceResponse:
        row = rules.workspace(request.workspace, tenancy.caller().tenant_id, self._now())
        async with self._of_tenant() as conn:
            await store.insert_workspace(conn, row)
        return pb.CreateWorkspaceResponse(workspace=_message(row))

    async def GetWorkspace(self, request: pb.GetWorkspaceRequest, context: Context) -> pb.GetWorkspaceResponse:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:  # every second for each workspace in use
            row = await store.find_workspace(conn, request.name)
        if row is None:
            async with self._of_tenant() as conn:
                row = await _found(conn, request.name)
        return pb.GetWorkspaceResponse(workspace=_message(row))

    async def ListWorkspaces(self, request: pb.ListWorkspacesRequest, context: Context) -> pb.ListWorkspacesResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        key = paging.decode(request.page_token, _PAGES)
        async with self._of_tenant() as conn:
            rows = await store.list_workspaces(conn, str(key[0]) if key else "", size + 1)
        token = paging.encode(_PAGES, [rows[size - 1].name]) if len(rows) > size else ""
        return pb.ListWorkspacesResponse(workspaces=[_message(row) for row in rows[:size]], next_page_token=token)

    async def UpdateWorkspace(self, request: pb.UpdateWorkspaceRequest, context: Context) -> pb.UpdateWorkspaceResponse:
        async with self._of_tenant() as conn:
            old = await _found(conn, request.workspace.name, store.lock_workspace)
            row = rules.workspace_changed(old, request.workspace, request.update_mask.paths)
            await store.update_workspace(conn, row)
        return pb.UpdateWorkspaceResponse(workspace=_message(row))

    async def DeleteWorkspace(self, request: pb.DeleteWorkspaceRequest, context: Context) -> pb.DeleteWorkspaceResponse:
        """What somebody puts into it meanwhile stays, unseen, and is there again when a workspace has this name again."""
        name, tenant_id = request.name, tenancy.caller().tenant_id
        await self.check_workspace(tenant_id, rules.deletable(name))
        held = await self._contents(workspaces.within(tenant_id, name))
        if held:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_WRONG_STATE,
                f"workspace {name!r} still holds {held}: delete what is in it, empty its bin, then delete it",
            )
        async with self._db.tenant(tenant_id) as conn:
            await store.delete_workspace(conn, name)
        return pb.DeleteWorkspaceResponse()

    @asynccontextmanager
    async def _of_tenant(self) -> AsyncIterator[Connection]:
        """A transaction of the caller's tenant, which has its default workspace."""
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            await store.ensure_tenant(conn, tenant_id, tenant_id)
            await store.ensure_workspace(conn, rules.default_workspace(tenant_id, self._now()))
            yield conn


async def _found(
    conn: Connection,
    name: str,
    read: Callable[[Connection, str], Awaitable[WorkspaceRow | None]] = store.find_workspace,
) -> WorkspaceRow:
    """Raises WORKSPACE_NOT_FOUND."""
    row = await read(conn, name)
    if row is None:
        raise workspace_not_found(name)
    return row


def _message(row: WorkspaceRow) -> identity_pb2.Workspace:
    message = identity_pb2.Workspace(
        name=row.name, description=row.description, default_artifact_root=row.default_artifact_root
    )
    message.create_time.FromDatetime(row.create_time)
    return message
