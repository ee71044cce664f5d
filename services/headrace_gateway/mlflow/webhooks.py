"""Routes under `webhooks`."""

from typing import Final

import grpc

from headrace.api.registry.v1 import webhook_pb2
from headrace.api.registry.v1 import webhook_service_pb2 as pb
from headrace_gateway.mlflow import failures, wire
from headrace_gateway.mlflow.calls import A, Calls, Q
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Int64, Request, Text

MOST_RESULTS: Final = 1000
ENTITIES: Final = (
    "REGISTERED_MODEL",
    "MODEL_VERSION",
    "MODEL_VERSION_TAG",
    "MODEL_VERSION_ALIAS",
    "PROMPT",
    "PROMPT_VERSION",
    "PROMPT_TAG",
    "PROMPT_VERSION_TAG",
    "PROMPT_ALIAS",
    "BUDGET_POLICY",
)
"""In the order of their numbers, from 1, as JSON has either."""
ACTIONS: Final = ("CREATED", "UPDATED", "DELETED", "SET", "EXCEEDED")
STATUSES: Final = ("ACTIVE", "DISABLED")


class Event(Request):
    """What a webhook is told."""

    entity: Text | int
    action: Text | int


class Create(Request):
    """create."""

    name: Text
    url: Text
    events: tuple[Event, ...]
    description: str = ""
    secret: str = ""
    status: str | int = "ACTIVE"


class ById(Request):
    """get, delete."""

    webhook_id: Text


class Search(Request):
    """list."""

    max_results: Int64 = 0
    page_token: str = ""


class Update(Request):
    """update: what is empty stays as it is, but for description and secret, which can be taken away."""

    webhook_id: Text
    name: str = ""
    url: str = ""
    events: tuple[Event, ...] = ()
    description: str | None = None
    secret: str | None = None
    status: str | int = ""


class Test(Request):
    """test."""

    webhook_id: Text
    event: Event | None = None


async def create(calls: Calls, request: Create) -> Answer:
    """It is told what happens from now on."""
    made = pb.CreateWebhookRequest(
        name=request.name,
        description=request.description,
        url=request.url,
        events=[_name(one) for one in request.events],
        secret=request.secret,
        disabled=_one_of(STATUSES, "status", request.status) == "DISABLED",
    )
    return {"webhook": shown((await calls(calls.to.webhooks.CreateWebhook, made)).webhook)}


async def find(calls: Calls, request: Search) -> Answer:
    """A page, newest first."""
    if not 0 <= request.max_results <= MOST_RESULTS:
        raise failures.invalid(f"max_results must be between 1 and {MOST_RESULTS}.")
    asked = pb.ListWebhooksRequest(page_size=request.max_results, page_token=request.page_token)
    found = await calls(calls.to.webhooks.ListWebhooks, asked)
    webhooks = [shown(one) for one in found.webhooks]
    return wire.without_empty({"webhooks": webhooks, "next_page_token": found.next_page_token})


async def get(calls: Calls, request: ById) -> Answer:
    """Without its secret."""
    asked = pb.GetWebhookRequest(webhook_id=request.webhook_id)
    answer = await _on_webhook(calls, request.webhook_id, calls.to.webhooks.GetWebhook, asked)
    return {"webhook": shown(answer.webhook)}


async def update(calls: Calls, request: Update) -> Answer:
    """The fields that are given."""
    changed = pb.UpdateWebhookRequest(secret=request.secret or "")
    webhook = webhook_pb2.Webhook(
        webhook_id=request.webhook_id,
        name=request.name,
        url=request.url,
        events=[_name(one) for one in request.events],
        description=request.description or "",
        disabled=bool(request.status) and _one_of(STATUSES, "status", request.status) == "DISABLED",
    )
    changed.webhook.CopyFrom(webhook)
    given = {
        "name": request.name,
        "url": request.url,
        "events": request.events,
        "description": request.description is not None,
        "secret": request.secret is not None,
        "disabled": request.status,
    }
    changed.update_mask.paths.extend(field for field, there in given.items() if there)
    if not changed.update_mask.paths:
        return await get(calls, ById(request.webhook_id))
    answer = await _on_webhook(calls, request.webhook_id, calls.to.webhooks.UpdateWebhook, changed)
    return {"webhook": shown(answer.webhook)}


async def delete(calls: Calls, request: ById) -> Answer:
    """What waits to be delivered is dropped."""
    gone = pb.DeleteWebhookRequest(webhook_id=request.webhook_id)
    await _on_webhook(calls, request.webhook_id, calls.to.webhooks.DeleteWebhook, gone)
    return {}


async def test(calls: Calls, request: Test) -> Answer:
    """Sends an example; what the receiver said."""
    asked = pb.TestWebhookRequest(webhook_id=request.webhook_id, event=_name(request.event) if request.event else "")
    answer = await _on_webhook(calls, request.webhook_id, calls.to.webhooks.TestWebhook, asked)
    result = {
        "success": answer.success,
        "response_status": answer.response_status or None,
        "response_body": answer.response_body,
        "error_message": answer.error_message,
    }
    return {"result": wire.without_empty(result)}


def shown(webhook: webhook_pb2.Webhook) -> Answer:
    """The webhook as MLflow has it."""
    return wire.without_empty(
        {
            "webhook_id": webhook.webhook_id,
            "name": webhook.name,
            "description": webhook.description,
            "url": webhook.url,
            "events": [_event(one) for one in webhook.events],
            "status": STATUSES[webhook.disabled],
            "creation_timestamp": webhook.create_time.ToMilliseconds(),
            "last_updated_timestamp": webhook.update_time.ToMilliseconds(),
        }
    )


def _name(event: Event) -> str:
    """Such as "model_version.created". Raises Failure."""
    entity = _one_of(ENTITIES, "entity", event.entity)
    return f"{entity}.{_one_of(ACTIONS, 'action', event.action)}".lower()


def _event(name: str) -> Answer:
    entity, _, action = name.upper().partition(".")
    return {"entity": entity, "action": action}


def _one_of(names: tuple[str, ...], parameter: str, given: str | int) -> str:
    """By its name or its number. Raises Failure."""
    if given in names:
        return str(given)
    if isinstance(given, int) and 1 <= given <= len(names):
        return names[given - 1]
    raise failures.unusable(parameter, given, f"it must be one of {', '.join(names)}.")


async def _on_webhook(calls: Calls, webhook_id: str, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
    """A call about the webhook; says failures as MLflow does."""
    try:
        return await calls(method, request)
    except Failure as failure:
        if failure.reason == "WEBHOOK_NOT_FOUND":
            raise failure.said(f"Webhook with ID {webhook_id} not found.") from None
        raise
