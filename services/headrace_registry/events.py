"""The facts that the registry tells, each written in the transaction that makes it one."""

from google.protobuf.message import Message

from headrace.api.registry.v1 import registry_events_pb2 as pb
from headrace_kit import names, outbox
from headrace_kit.db import Connection
from headrace_registry import messages
from headrace_registry.store import ModelRow, VersionRow


async def model_created(conn: Connection, row: ModelRow) -> None:
    """Emits ModelCreated."""
    await _model(conn, row, pb.ModelCreated(model=messages.model(row)))


async def model_updated(conn: Connection, row: ModelRow, previous_name: str = "") -> None:
    """Emits ModelUpdated."""
    await _model(conn, row, pb.ModelUpdated(model=messages.model(row), previous_name=previous_name))


async def model_deleted(conn: Connection, row: ModelRow) -> None:
    """Emits ModelDeleted."""
    await _model(conn, row, pb.ModelDeleted(name=row.name))


async def version_created(conn: Connection, row: VersionRow) -> None:
    """Emits ModelVersionCreated."""
    await _version(
        conn, row.tenant_id, row.model_name, row.version, pb.ModelVersionCreated(version=messages.version(row))
    )


async def version_updated(conn: Connection, row: VersionRow) -> None:
    """Emits ModelVersionUpdated."""
    await _version(
        conn, row.tenant_id, row.model_name, row.version, pb.ModelVersionUpdated(version=messages.version(row))
    )


async def version_deleted(conn: Connection, tenant_id: str, name: str, version: int) -> None:
    """Emits ModelVersionDeleted."""
    await _version(conn, tenant_id, name, version, pb.ModelVersionDeleted(model_name=name, version=version))


async def promoted(conn: Connection, row: VersionRow, alias: str, previous: int) -> None:
    """Emits ModelVersionPromoted; `row` has the alias already."""
    event = pb.ModelVersionPromoted(version=messages.version(row), alias=alias, previous_version=previous)
    await _version(conn, row.tenant_id, row.model_name, row.version, event)


async def alias_deleted(conn: Connection, tenant_id: str, name: str, alias: str, version: int) -> None:
    """Emits ModelAliasDeleted."""
    event = pb.ModelAliasDeleted(model_name=name, alias=alias, version=version)
    await _version(conn, tenant_id, name, version, event)


async def _model(conn: Connection, row: ModelRow, event: Message) -> None:
    await outbox.append(conn, names.model(row.tenant_id, row.name), event)


async def _version(conn: Connection, tenant_id: str, name: str, version: int, event: Message) -> None:
    subject = names.model_version(tenant_id, name, version)
    await outbox.append(conn, subject, event, key=names.model(tenant_id, name))
