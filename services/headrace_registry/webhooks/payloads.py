"""What webhooks are told of the registry's events, in the words of MLflow's webhooks; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from headrace.api.registry.v1 import registry_events_pb2 as emitted
from headrace.api.registry.v1 import registry_pb2
from headrace_kit import workspaces
from headrace_kit.bus.cloudevents import CloudEvent
from headrace_kit.topics import EVENT_TYPES

_PROMPT: Final = "mlflow.prompt.is_prompt"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing to tell."""

    event: str
    """Such as "model_version.created"."""
    data: Mapping[str, Any]


CONSUMED: Final = tuple(
    kind.DESCRIPTOR.full_name
    for kind in (
        emitted.ModelCreated,
        emitted.ModelVersionCreated,
        emitted.ModelVersionUpdated,
        emitted.ModelVersionPromoted,
        emitted.ModelAliasDeleted,
    )
)
"""The events in which there may be something to tell."""


def occurrences(event: CloudEvent) -> tuple[Occurrence, ...]:
    """What to tell of one of `CONSUMED`. Of prompts, which MLflow keeps as models, nothing."""
    return tuple(_of(EVENT_TYPES[event.type][1].FromString(event.data)))


def body(event: str, time: datetime, data: Mapping[str, Any], tenant_id: str) -> bytes:
    """What is posted, with the tenant's workspace."""
    entity, _, action = event.partition(".")
    told = {
        "entity": entity,
        "action": action,
        "timestamp": time.astimezone(UTC).isoformat(),
        "data": data,
        "workspace": workspaces.split(tenant_id)[1],
    }
    return msgspec.json.encode(told)


def _of(message: Any) -> Iterable[Occurrence]:
    if isinstance(message, emitted.ModelCreated):
        yield from _model(message.model)
    elif isinstance(message, emitted.ModelAliasDeleted):
        if not message.implied:
            yield Occurrence("model_version_alias.deleted", {"name": message.model_name, "alias": message.alias})
    elif message.version.tags.get(_PROMPT) == "true":
        return
    elif isinstance(message, emitted.ModelVersionCreated):
        yield _version(message.version)
    elif isinstance(message, emitted.ModelVersionUpdated):
        yield from _tags(message)
    elif isinstance(message, emitted.ModelVersionPromoted) and not message.renamed:
        named = {"name": message.version.model_name, "alias": message.alias, "version": str(message.version.version)}
        yield Occurrence("model_version_alias.created", named)


def _model(model: registry_pb2.Model) -> Iterable[Occurrence]:
    if model.tags.get(_PROMPT) != "true":
        data = {"name": model.name, "tags": dict(model.tags), "description": model.description}
        yield Occurrence("registered_model.created", data)


def _version(version: registry_pb2.ModelVersion) -> Occurrence:
    data = {
        "name": version.model_name,
        "version": str(version.version),
        "source": version.source or f"models:/{version.model_id}",
        "run_id": version.run_id or None,
        "tags": dict(version.tags),
        "description": version.description or None,
    }
    return Occurrence("model_version.created", data)


def _tags(message: emitted.ModelVersionUpdated) -> Iterable[Occurrence]:
    version = message.version
    of = {"name": version.model_name, "version": str(version.version)}
    for key in message.set_tags:
        yield Occurrence("model_version_tag.set", {**of, "key": key, "value": version.tags[key]})
    for key in message.deleted_tags:
        yield Occurrence("model_version_tag.deleted", {**of, "key": key})


_TAG: Final = {"key": "oven", "value": "hot"}
_OF_MODEL: Final = {"name": "cookies", "tags": {"oven": "hot"}, "description": "An example"}
_OF_VERSION: Final = {**_OF_MODEL, "version": "1"}
_NAMED: Final = {"name": "cookies", "alias": "best"}

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "registered_model.created": _OF_MODEL,
    "model_version.created": {**_OF_VERSION, "source": "models:/m-" + 16 * "0a", "run_id": 16 * "0b"},
    "model_version_tag.set": {"name": "cookies", "version": "1", **_TAG},
    "model_version_tag.deleted": {"name": "cookies", "version": "1", "key": "oven"},
    "model_version_alias.created": {**_NAMED, "version": "1"},
    "model_version_alias.deleted": _NAMED,
    "prompt.created": _OF_MODEL,
    "prompt_version.created": {**_OF_VERSION, "template": "Bake {{count}} cookies."},
    "prompt_tag.set": {"name": "cookies", **_TAG},
    "prompt_tag.deleted": {"name": "cookies", "key": "oven"},
    "prompt_version_tag.set": {"name": "cookies", "version": "1", **_TAG},
    "prompt_version_tag.deleted": {"name": "cookies", "version": "1", "key": "oven"},
    "prompt_alias.created": {**_NAMED, "version": "1"},
    "prompt_alias.deleted": _NAMED,
    "budget_policy.exceeded": {
        "budget_policy_id": "bp-example",
        "budget_unit": "USD",
        "budget_amount": 100.0,
        "current_spend": 101.5,
        "duration_unit": "MONTHS",
        "duration_value": 1,
        "target_scope": "GLOBAL",
        "workspace": "default",
        "target_value": None,
        "window_start": 1_700_000_000_000,
    },
}
"""What a test sends, by event."""
