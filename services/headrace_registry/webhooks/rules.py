"""What webhooks may look like; pure: settings are arguments."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.registry.v1 import webhook_service_pb2 as pb
from headrace_kit import paging
from headrace_kit.errors import DomainError, InvalidField
from headrace_registry import rules
from headrace_registry.webhooks import addresses
from headrace_registry.webhooks.addresses import Network
from headrace_registry.webhooks.store import WebhookRow

WEBHOOKS: Final = 1_000
"""Of one tenant."""
SECRET: Final = 512

EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "registered_model": ("created",),
    "model_version": ("created",),
    "model_version_tag": ("deleted", "set"),
    "model_version_alias": ("created", "deleted"),
    "prompt": ("created",),
    "prompt_version": ("created",),
    "prompt_tag": ("deleted", "set"),
    "prompt_version_tag": ("deleted", "set"),
    "prompt_alias": ("created", "deleted"),
    "budget_policy": ("exceeded",),
}
"""Entity → what may happen to it. Of prompts and budgets nothing happens here; MLflow's clients may ask for it all the same."""

FIELDS: Final = ("name", "description", "url", "events", "disabled", "secret")
"""What an update may change."""

_NAME: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")


@dataclass(frozen=True, slots=True)
class Reach:
    """Where deliveries may go, as the settings say."""

    http: bool = False
    """Also without TLS."""
    networks: tuple[Network, ...] = ()
    """Beside the public internet."""


def name(field: str, value: str) -> str:
    """Raises InvalidField."""
    if not _NAME.fullmatch(value):
        raise InvalidField(
            field,
            'must be 1 to 63 letters, digits, ".", "_" and "-", beginning and ending with a letter or a digit;'
            f" got {value[:70]!r}",
        )
    return value


def url(field: str, value: str, reach: Reach) -> str:
    """An address to be kept; where its host really is, is seen with each delivery. Raises InvalidField."""
    rules.location(field, value)
    if not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidField(field, "must be ASCII without spaces: write other characters as %XX, a host as xn--...")
    schemes = ("https", "http") if reach.http else ("https",)
    parts = _parts(field, value)
    if parts.scheme not in schemes:
        raise InvalidField(field, f"must begin with {' or '.join(f'{one}://' for one in schemes)}")
    if not parts.hostname:
        raise InvalidField(field, "must name a host")
    if parts.username is not None or parts.password is not None:
        raise InvalidField(field, "must not hold a user or password, which everyone who lists webhooks would see")
    if not _may_be(parts.hostname, reach):
        raise InvalidField(field, f"must be an address of the public internet, and {parts.hostname} is none")
    return value


def events(field: str, values: Sequence[str]) -> tuple[str, ...]:
    """Each once, in order. Raises InvalidField."""
    if not values:
        raise InvalidField(field, 'must have at least one, such as "model_version.created"')
    return tuple(sorted({event(f"{field}[{at}]", one) for at, one in enumerate(values)}))


def event(field: str, value: str) -> str:
    """One event. Raises InvalidField."""
    entity, _, action = value.partition(".")
    if entity not in EVENTS:
        raise InvalidField(field, f"must begin with {', '.join(EVENTS)}; got {value[:70]!r}")
    if action not in EVENTS[entity]:
        can = " or ".join(f"{entity}.{one}" for one in EVENTS[entity])
        raise InvalidField(field, f"must be {can}, got {value[:70]!r}")
    return value


def secret(field: str, value: str) -> str:
    """Raises InvalidField, which does not tell it."""
    if len(value) > SECRET:
        raise InvalidField(field, f"must have at most {SECRET} characters, got {len(value):,}")
    return value


def webhook_id(value: str) -> UUID:
    """Raises WEBHOOK_NOT_FOUND for what can be no id."""
    try:
        return UUID(value)
    except ValueError:
        raise not_found(value) from None


def not_found(value: str) -> DomainError:
    """No such webhook, as far as the caller's tenant goes."""
    return DomainError(error_reason_pb2.ERROR_REASON_WEBHOOK_NOT_FOUND, f"no webhook has the id {value[:70]!r}")


def check_room(count: int) -> None:
    """Raises InvalidField when the tenant has too many webhooks for one more."""
    if count >= WEBHOOKS:
        raise InvalidField("name", f"would be one more than the {WEBHOOKS:,} webhooks of a tenant; delete one first")


def updated(row: WebhookRow, request: pb.UpdateWebhookRequest, reach: Reach, now: datetime) -> WebhookRow:
    """The row with what the mask names, its secret excepted. Raises InvalidField."""
    paths = list(request.update_mask.paths)
    if not paths or not set(FIELDS).issuperset(paths):
        raise InvalidField("update_mask", f"must be of {', '.join(FIELDS)}; got {paths}")
    new = request.webhook
    if "name" in paths:
        row = replace(row, name=name("webhook.name", new.name))
    if "description" in paths:
        row = replace(row, description=rules.description("webhook.description", new.description))
    if "url" in paths:
        row = replace(row, url=url("webhook.url", new.url, reach))
    if "events" in paths:
        row = replace(row, events=events("webhook.events", new.events))
    if "disabled" in paths:
        row = replace(row, disabled=new.disabled)
    return replace(row, update_time=max(now, row.update_time))


def place(key: list[str | int | float | None] | None) -> tuple[datetime, UUID] | None:
    """Where a page begins, from its token. Raises InvalidField for a token that no page can have."""
    match key:
        case None:
            return None
        case [str(time), str(at)]:
            try:
                return datetime.fromisoformat(time), UUID(at)
            except ValueError:
                raise paging.invalid_token() from None
        case _:
            raise paging.invalid_token()


def _parts(field: str, value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port  # which says, too, whether it is one
    except ValueError as error:
        raise InvalidField(field, f"is no address: {error}") from None
    return parts


def _may_be(host: str, reach: Reach) -> bool:
    """False for a host that can be seen without a look at any name server to be out of reach."""
    try:
        return addresses.may_reach(str(ip_address(host)), reach.networks)
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
        return not local or any(network.is_loopback for network in reach.networks)
