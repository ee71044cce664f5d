"""Rows as callers and consumers see them."""

from collections.abc import Sequence

from headrace.api.registry.v1 import registry_pb2
from headrace_registry import rules
from headrace_registry.store import ModelRow, VersionRow


def model(row: ModelRow, latest: Sequence[VersionRow] = ()) -> registry_pb2.Model:
    """A model, with its etag; and the latest versions of its stages."""
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
    message.latest_versions.extend(version(one) for one in latest)
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
        state=registry_pb2.ModelVersion.STATE_READY,  # of a logged model that is, or of what is not in our hands
        user_id=row.user_id,
        source=row.source,
        run_link=row.run_link,
        stage=row.stage,
    )
    message.create_time.FromDatetime(row.create_time)
    message.update_time.FromDatetime(row.update_time)
    message.etag = rules.etag(message)
    return message
