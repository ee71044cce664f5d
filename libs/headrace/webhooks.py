"""Webhooks: addresses that are told over HTTP what happens to models. Only an admin may see to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask

from headrace.api.registry.v1 import webhook_pb2
from headrace.api.registry.v1 import webhook_service_pb2 as wire
from headrace.connection import Connection
from headrace.records import time_in

_TEST_S = 60.0  # a receiver has half of that to answer


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address and what it is told, without its secret."""

    id: str
    name: str
    description: str
    url: str
    events: tuple[str, ...]
    """Such as "model_version.created"."""
    disabled: bool
    signed: bool
    """Whether it has a secret."""
    create_time: datetime | None
    update_time: datetime | None

    @classmethod
    def of(cls, message: webhook_pb2.Webhook) -> "Webhook":
        """From the wire."""
        return cls(
            id=message.webhook_id,
            name=message.name,
            description=message.description,
            url=message.url,
            events=tuple(message.events),
            disabled=message.disabled,
            signed=message.signed,
            create_time=time_in(message, "create_time"),
            update_time=time_in(message, "update_time"),
        )


@dataclass(frozen=True, slots=True)
class WebhookTest:
    """What a receiver said to an example."""

    success: bool
    status: int | None
    """None where there was no answer."""
    body: str
    problem: str
    """Why there was no success."""


class Webhooks:
    """The webhooks of the caller's tenant."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        url: str,
        events: Sequence[str],
        *,
        secret: str = "",
        description: str = "",
        disabled: bool = False,
    ) -> Webhook:
        """Makes a webhook, which is told what happens from now on; with a secret, deliveries are signed by it."""
        request = wire.CreateWebhookRequest(
            name=name, url=url, events=events, secret=secret, description=description, disabled=disabled
        )
        return Webhook.of(self._connection.call(lambda c: c.webhooks.CreateWebhook, request, again=False).webhook)

    def get(self, webhook_id: str) -> Webhook:
        """One webhook. Raises NotFound."""
        request = wire.GetWebhookRequest(webhook_id=webhook_id)
        return Webhook.of(self._connection.call(lambda c: c.webhooks.GetWebhook, request).webhook)

    def list(self) -> tuple[Webhook, ...]:
        """All webhooks, newest first."""
        pages = self._connection.pages(lambda c: c.webhooks.ListWebhooks, wire.ListWebhooksRequest(page_size=1_000))
        return tuple(Webhook.of(each) for page in pages for each in page.webhooks)

    def update(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        secret: str | None = None,
        description: str | None = None,
        disabled: bool | None = None,
    ) -> Webhook:
        """Changes what is not None; an empty secret takes it away. Raises NotFound."""
        fields = {
            "name": name,
            "url": url,
            "events": events,
            "secret": secret,
            "description": description,
            "disabled": disabled,
        }
        request = wire.UpdateWebhookRequest(
            webhook=webhook_pb2.Webhook(
                webhook_id=webhook_id,
                name=name or "",
                url=url or "",
                events=events or (),
                description=description or "",
                disabled=bool(disabled),
            ),
            update_mask=FieldMask(paths=[field for field, value in fields.items() if value is not None]),
            secret=secret or "",
        )
        return Webhook.of(self._connection.call(lambda c: c.webhooks.UpdateWebhook, request).webhook)

    def delete(self, webhook_id: str) -> None:
        """Deletes it, with what waits to be delivered. Raises NotFound."""
        request = wire.DeleteWebhookRequest(webhook_id=webhook_id)
        self._connection.call(lambda c: c.webhooks.DeleteWebhook, request, again=False)

    def test(self, webhook_id: str, event: str = "") -> WebhookTest:
        """Sends an example of an event, of the webhook's first where none is named, and waits for the answer."""
        request = wire.TestWebhookRequest(webhook_id=webhook_id, event=event)
        said = self._connection.call(lambda c: c.webhooks.TestWebhook, request, again=False, timeout_s=_TEST_S)
        return WebhookTest(said.success, said.response_status or None, said.response_body, said.error_message)
