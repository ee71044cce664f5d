"""WebhookService: translates requests, owns the transactions."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import grpc

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.registry.v1 import webhook_pb2
from headrace.api.registry.v1 import webhook_service_pb2 as pb
from headrace.api.registry.v1.webhook_service_pb2_grpc import WebhookServiceServicer
from headrace_kit import paging, tenancy
from headrace_kit.db import Connection, Database
from headrace_kit.errors import DomainError
from headrace_registry import rules as registry_rules
from headrace_registry.webhooks import payloads, rules, store
from headrace_registry.webhooks.courier import Courier
from headrace_registry.webhooks.rules import Reach
from headrace_registry.webhooks.seal import Seal
from headrace_registry.webhooks.store import WebhookRow

Context = grpc.aio.ServicerContext[Any, Any]

TESTS: Final = 4
"""At the same time; `threads` has one for each."""


class WebhookService(WebhookServiceServicer):
    """`courier` sends tests, in `threads`."""

    def __init__(
        self,
        db: Database,
        reach: Reach,
        seal: Seal,
        courier: Courier,
        threads: Executor,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._db = db
        self._reach = reach
        self._seal = seal
        self._courier = courier
        self._threads = threads
        self._now = now
        self._tests = asyncio.Semaphore(TESTS)

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Context) -> pb.CreateWebhookResponse:
        tenant_id, webhook_id, now = tenancy.caller().tenant_id, uuid4(), self._now()
        secret = rules.secret("secret", request.secret)
        row = WebhookRow(
            tenant_id=tenant_id,
            webhook_id=webhook_id,
            name=rules.name("name", request.name),
            description=registry_rules.description("description", request.description),
            url=rules.url("url", request.url, self._reach),
            events=rules.events("events", request.events),
            secret=self._seal.seal(secret, tenant_id, webhook_id),
            disabled=request.disabled,
            create_time=now,
            update_time=now,
        )
        async with self._db.tenant(tenant_id) as conn:
            rules.check_room(await store.count(conn))
            await store.insert(conn, row)
        return pb.CreateWebhookResponse(webhook=_shown(row))

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: Context) -> pb.GetWebhookResponse:
        return pb.GetWebhookResponse(webhook=_shown(await self._found(request.webhook_id)))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Context) -> pb.ListWebhooksResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        behind = rules.place(paging.decode(request.page_token, "webhooks"))
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            rows = await store.find_page(conn, behind, size + 1)
        found = [_shown(row) for row in rows]
        page = found[: registry_rules.page_length(found, size)]
        token = ""
        if len(page) < len(found):
            last = rows[len(page) - 1]
            token = paging.encode("webhooks", [last.create_time.isoformat(), str(last.webhook_id)])
        return pb.ListWebhooksResponse(webhooks=page, next_page_token=token)

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: Context) -> pb.UpdateWebhookResponse:
        webhook_id = rules.webhook_id(request.webhook.webhook_id)
        secret = rules.secret("secret", request.secret)
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row = rules.updated(await _to_change(conn, webhook_id), request, self._reach, self._now())
            if "secret" in request.update_mask.paths:
                row = replace(row, secret=self._seal.seal(secret, row.tenant_id, webhook_id))
            await store.update(conn, row)
            if row.disabled:
                await store.drop_pending(conn, webhook_id)
        return pb.UpdateWebhookResponse(webhook=_shown(row))

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> pb.DeleteWebhookResponse:
        webhook_id = rules.webhook_id(request.webhook_id)
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            await _to_change(conn, webhook_id)
            await store.delete(conn, webhook_id)
            await store.drop_pending(conn, webhook_id)
        return pb.DeleteWebhookResponse()

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Context) -> pb.TestWebhookResponse:
        row = await self._found(request.webhook_id)
        event = rules.event("event", request.event) if request.event else row.events[0]
        if self._tests.locked():
            raise DomainError(
                error_reason_pb2.ERROR_REASON_OVERLOADED,
                f"{TESTS} webhooks are being tested now, and that is all at a time; try again",
                retry_after_s=1,
            )
        body = payloads.body(event, self._now(), payloads.EXAMPLES[event], row.tenant_id)
        parcel = (row.tenant_id, row.webhook_id, row.url, row.secret, uuid4(), body)
        async with self._tests:
            outcome = await asyncio.get_running_loop().run_in_executor(self._threads, self._courier.deliver, *parcel)
        return pb.TestWebhookResponse(
            success=outcome.delivered,
            response_status=outcome.status,
            response_body=outcome.body.decode(errors="replace"),
            error_message=outcome.problem,
        )

    async def _found(self, webhook_id: str) -> WebhookRow:
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            row = await store.find(conn, rules.webhook_id(webhook_id))
        if row is None:
            raise rules.not_found(webhook_id)
        return row


async def _to_change(conn: Connection, webhook_id: UUID) -> WebhookRow:
    row = await store.find_to_change(conn, webhook_id)
    if row is None:
        raise rules.not_found(str(webhook_id))
    return row


def _shown(row: WebhookRow) -> webhook_pb2.Webhook:
    message = webhook_pb2.Webhook(
        webhook_id=str(row.webhook_id),
        name=row.name,
        description=row.description,
        url=row.url,
        events=row.events,
        disabled=row.disabled,
        signed=bool(row.secret),
    )
    message.create_time.FromDatetime(row.create_time)
    message.update_time.FromDatetime(row.update_time)
    return message
