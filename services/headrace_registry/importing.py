"""Models and versions as another system has them; pure."""

from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.api.registry.v1 import registry_pb2
from headrace_kit.errors import InvalidField
from headrace_registry import rules
from headrace_registry.rules import Row
from headrace_registry.store import ModelRow, VersionRow


def model(tenant_id: str, message: registry_pb2.Model, now: datetime) -> ModelRow:
    """The model that an import asks for. Raises InvalidField."""
    created = _time("model.create_time", message.create_time, now)
    updated = _time("model.update_time", message.update_time, created)
    row = ModelRow(
        tenant_id=tenant_id,
        name=rules.name("model.name", message.name),
        description=rules.description("model.description", message.description),
        tags={},
        create_time=created,
        update_time=updated,
        aliases={},
        latest_version=0,
    )
    tagged = rules.with_tags(row, rules.tags("model.tags", message.tags), now)
    return replace(tagged, update_time=updated)


def version(tenant_id: str, message: registry_pb2.ModelVersion, now: datetime) -> VersionRow:
    """The version that an import asks for. Raises InvalidField."""
    if not message.model_id and not message.source:
        raise InvalidField("version.source", "must be set for a version that is of no logged model")
    created = _time("version.create_time", message.create_time, now)
    updated = _time("version.update_time", message.update_time, created)
    row = VersionRow(
        tenant_id=tenant_id,
        model_name=rules.name("version.model_name", message.model_name),
        version=rules.version("version.version", message.version),
        model_id=rules.sought_id("version.model_id", message.model_id),
        run_id=rules.sought_id("version.run_id", message.run_id),
        description=rules.description("version.description", message.description),
        tags={},
        user_id=rules.sought_id("version.user_id", message.user_id),
        create_time=created,
        update_time=updated,
        aliases=(),
        source=rules.location("version.source", message.source),
        run_link=rules.location("version.run_link", message.run_link),
        stage=rules.stage("version.stage", message.stage or rules.STAGES[0]),
    )
    tagged = rules.with_tags(row, rules.tags("version.tags", message.tags), now)
    return replace(tagged, update_time=updated)


def as_wanted(old: Row, wanted: Row) -> Row:
    """The row with what the import asks for; itself where it is so already. Aliases are promotions, and stay."""
    if isinstance(old, ModelRow):
        new: Row = replace(wanted, aliases=old.aliases, latest_version=old.latest_version)
    else:
        new = replace(wanted, aliases=old.aliases)
    return old if new == old else new


def _time(field: str, value: Timestamp, absent: datetime) -> datetime:
    if not value.ByteSize():
        return absent
    try:
        return value.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidField(field, f"must lie in the years 1 to 9999, got {value.seconds} s") from None
