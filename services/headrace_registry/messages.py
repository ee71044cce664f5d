"""Rows as callers and consumers see them."""

from headrace.api.registry.v1 import registry_pb2
from headrace_registry import rules
from headrace_registry.store import ModelRow, VersionRow


def model(row: ModelRow) -> registry_pb2.Model:
    """A model, with its etag."""
    message = registry_pb2.Model(
        name=row.name,
        description=row.description,
        tags=row.tags,
        aliases=row.aliases,
        latest_version=row.latest_version,
    )
    message.create_time.FromDatetime(row.create_time)
    message.update_time.FromDatetime(row.update_time)
    message.etag = rules.etag(message)
    return message


def version(row: VersionRow) -> registry_pb2.ModelVersion:
    """A version, with its etag."""
    message = registry_pb2.ModelVersion(
        model_name=row.model_name,
        version=row.version,
        model_id=row.model_id,
        run_id=row.run_id,
        description=row.description,
        tags=row.tags,
        aliases=row.aliases,
        state=registry_pb2.ModelVersion.STATE_READY,  # made of a logged model that is; no other way leads here
        user_id=row.user_id,
    )
    message.create_time.FromDatetime(row.create_time)
    message.update_time.FromDatetime(row.update_time)
    message.etag = rules.etag(message)
    return message
