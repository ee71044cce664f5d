"""DeploymentService and RouteService: translate requests, own the transactions."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import grpc

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.deployment.v1 import deployment_service_pb2 as pb
from headrace.api.deployment.v1 import route_service_pb2
from headrace.api.deployment.v1.deployment_service_pb2_grpc import DeploymentServiceServicer
from headrace.api.deployment.v1.route_service_pb2_grpc import RouteServiceServicer
from headrace_deployment import messages, rules
from headrace_deployment.board import RouteBoard
from headrace_deployment.records import DeploymentRow, InstanceRow
from headrace_deployment.store import reads
from headrace_kit import paging, tenancy
from headrace_kit.db import Connection, Database
from headrace_kit.errors import DomainError

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class DeploymentService(DeploymentServiceServicer):
    """What serves. Changes are made by the reconciler, which hears of what is written here."""

    def __init__(self, db: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._db = db
        self._now = now

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Context) -> pb.GetDeploymentResponse:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row = _found(await reads.find(conn, request.name), request.name)
            instances = await reads.instances(conn, [row.name])
        return pb.GetDeploymentResponse(
            deployment=messages.deployment(row, messages.serving_version(instances), instances)
        )

    async def ListDeployments(self, request: pb.ListDeploymentsRequest, context: Context) -> pb.ListDeploymentsResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        key = paging.decode(request.page_token, "deployments")
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            rows = await reads.page(conn, str(key[0]) if key else "", size + 1)
            found = rows[:size]
            by_name: dict[str, list[InstanceRow]] = {row.name: [] for row in found}
            for instance in await reads.instances(conn, list(by_name)):
                by_name[instance.deployment_name].append(instance)
        token = paging.encode("deployments", [found[-1].name]) if len(rows) > size else ""
        deployments = [
            messages.deployment(row, messages.serving_version(by_name[row.name]), by_name[row.name]) for row in found
        ]
        return pb.ListDeploymentsResponse(deployments=deployments, next_page_token=token)

    async def ListDeploymentHistory(
        self, request: pb.ListDeploymentHistoryRequest, context: Context
    ) -> pb.ListDeploymentHistoryResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        binding = ("history", request.name)
        key = paging.decode(request.page_token, binding)
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            _found(await reads.find(conn, request.name), request.name)
            rows = await reads.history(conn, request.name, int(key[0] or 0) if key else None, size + 1)
        token = paging.encode(binding, [rows[size - 1].entry_id]) if len(rows) > size else ""
        return pb.ListDeploymentHistoryResponse(entries=[messages.entry(r) for r in rows[:size]], next_page_token=token)

    async def StopDeployment(self, request: pb.StopDeploymentRequest, context: Context) -> pb.StopDeploymentResponse:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row = _found(await reads.locked(conn, request.name), request.name)
            if row.wanted is not None:
                row = await self._stop(conn, row)
            instances = await reads.instances(conn, [row.name])
        return pb.StopDeploymentResponse(
            deployment=messages.deployment(row, messages.serving_version(instances), instances)
        )

    async def _stop(self, conn: Connection, row: DeploymentRow) -> DeploymentRow:
        message = "stopped by request; the next promotion starts it again"
        after = rules.unwanted(row, message, self._now())
        await reads.change(conn, after, row.wanted_version, "stopping", message)
        return after


class RouteService(RouteServiceServicer):
    """The route table, to routers."""

    def __init__(self, board: RouteBoard) -> None:
        self._board = board

    async def WatchRoutes(
        self, request_iterator: AsyncIterator[route_service_pb2.WatchRoutesRequest], context: Context
    ) -> AsyncIterator[route_service_pb2.WatchRoutesResponse]:
        router_id = uuid4()
        listening = asyncio.create_task(self._listen(request_iterator, router_id))
        try:
            async for table in self._board.tables():
                yield table
        finally:
            listening.cancel()
            self._board.left(router_id)

    async def _listen(self, requests: AsyncIterator[route_service_pb2.WatchRoutesRequest], router_id: UUID) -> None:
        async for request in requests:
            try:
                await self._board.uses(router_id, request.generation)
            except DomainError as error:
                log.warning("what router %s uses is not known: %s", router_id, error)


def _found(row: DeploymentRow | None, name: str) -> DeploymentRow:
    if row is None:
        raise DomainError(
            error_reason_pb2.ERROR_REASON_DEPLOYMENT_NOT_FOUND,
            f"no deployment is named {name!r}; promote a version of its model first",
        )
    return row
