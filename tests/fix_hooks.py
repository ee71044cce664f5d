"""A registry that reaches receivers on this machine, and what tests ask of its webhooks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import grpc
import psycopg
import pytest

from fix_registry import Platform, platform
from fix_services import as_tenant
from fix_webhooks import REACHABLE, WAIT_S, Received, Receiver
from headrace.api.registry.v1 import webhook_pb2
from headrace.api.registry.v1 import webhook_service_pb2 as pb
from headrace.api.registry.v1.webhook_service_pb2_grpc import WebhookServiceStub

if TYPE_CHECKING:
    from headrace.api.registry.v1.webhook_service_pb2_grpc import WebhookServiceAsyncStub

ALL = (
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
)


class Hooks:
    """The platform's webhooks, and its deliveries as its database has them."""

    def __init__(self, hr: Platform, database: str) -> None:
        self.hr = hr
        self.stub = cast("WebhookServiceAsyncStub", WebhookServiceStub(hr.services.channel))
        self._database = database

    async def make(
        self,
        receiver: Receiver | str,
        events: Sequence[str] = ("registered_model.created",),
        tenant: str = "default",
        **fields: Any,
    ) -> webhook_pb2.Webhook:
        url = receiver if isinstance(receiver, str) else receiver.url()
        request = pb.CreateWebhookRequest(**{"name": "hook", "url": url, "events": events, **fields})
        return (await self.stub.CreateWebhook(request, metadata=as_tenant(tenant))).webhook

    async def change(self, webhook_id: str, **fields: Any) -> webhook_pb2.Webhook:
        secret = {"secret": fields.pop("secret")} if "secret" in fields else {}
        request = pb.UpdateWebhookRequest(webhook=webhook_pb2.Webhook(webhook_id=webhook_id, **fields), **secret)
        request.update_mask.paths.extend([*fields, *secret])
        return (await self.stub.UpdateWebhook(request)).webhook

    async def test(self, webhook_id: str, event: str = "") -> pb.TestWebhookResponse:
        return await self.stub.TestWebhook(pb.TestWebhookRequest(webhook_id=webhook_id, event=event))

    async def model(self, name: str, tenant: str = "default") -> None:
        await self.hr.model(name, tenant_id=tenant)

    def rows(self) -> list[tuple[str, int, int, str]]:
        """State, attempts, status and problem of each delivery, in order."""
        with psycopg.connect(self._database) as conn:
            return conn.execute(
                "SELECT state, attempts, status, problem FROM registry.webhook_deliveries ORDER BY create_time"
            ).fetchall()

    def ask(self, statement: Any) -> Any:
        with psycopg.connect(self._database, autocommit=True) as conn:
            cursor = conn.execute(statement)
            return cursor.fetchall() if cursor.description else None

    async def until(self, seen: Callable[[list[tuple[str, int, int, str]]], Any]) -> list[tuple[str, int, int, str]]:
        deadline = time.monotonic() + WAIT_S
        while not seen(rows := await asyncio.to_thread(self.rows)):
            assert time.monotonic() < deadline, rows
            await asyncio.sleep(0.02)
        return rows

    async def finished(self, count: int) -> list[tuple[str, int, int, str]]:
        """The deliveries, when so many have ended and none is left."""
        return await self.until(lambda rows: len(rows) >= count and all(row[0] != "PENDING" for row in rows))


@asynccontextmanager
async def hooks(database: str, **settings: Any) -> AsyncIterator[Hooks]:
    async with platform(database, **{**REACHABLE, **settings}) as hr:
        yield Hooks(hr, database)


async def wait(receiver: Receiver, count: int, path: str = "") -> list[Received]:
    return await asyncio.to_thread(receiver.wait, count, path)


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    return str(caught.value.details())
