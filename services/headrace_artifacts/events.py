"""The messages of artifacts, and the events written with them."""

from typing import Any

import psycopg

from headrace.api.artifacts.v1 import artifacts_events_pb2, artifacts_pb2
from headrace_artifacts import rules
from headrace_artifacts.store import ArtifactRow
from headrace_kit import names, outbox
from headrace_kit.db import Connection
from headrace_kit.outbox import OutboxEvent


def artifact(row: ArtifactRow) -> artifacts_pb2.Artifact:
    """What callers and consumers see of a row."""
    message = artifacts_pb2.Artifact(
        artifact_id=str(row.artifact_id),
        owner=rules.owner(row.owner_id),
        path=row.path,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        media_type=row.media_type,
    )
    message.create_time.FromDatetime(row.create_time)
    return message


async def stored(conn: Connection, row: ArtifactRow, replaced: ArtifactRow | None) -> None:
    """Emits ArtifactStored."""
    await outbox.append(
        conn,
        names.artifact(row.tenant_id, str(row.artifact_id)),
        artifacts_events_pb2.ArtifactStored(
            artifact=artifact(row), replaced_artifact_id=str(replaced.artifact_id) if replaced else ""
        ),
    )


async def deleted(conn: Connection, row: ArtifactRow) -> None:
    """Emits ArtifactDeleted."""
    await outbox.append_event(conn, _deleted(row))


def deleted_sync(conn: psycopg.Connection[Any], row: ArtifactRow) -> None:
    """As `deleted`, for threads."""
    outbox.append_event_sync(conn, _deleted(row))


def _deleted(row: ArtifactRow) -> OutboxEvent:
    event = artifacts_events_pb2.ArtifactDeleted(
        artifact_id=str(row.artifact_id), owner=rules.owner(row.owner_id), path=row.path
    )
    return outbox.event(names.artifact(row.tenant_id, str(row.artifact_id)), event)
