"""The facts that the registry tells, each written in the transaction that makes it one."""

from typing import Final

from google.protobuf.message import Message

from headrace.api.registry.v1 import registry_events_pb2 as pb
from headrace_kit import names, outbox
from headrace_kit.db import Connection
from headrace_registry import messages, rules
from headrace_registry.store import ModelRow, VersionRow

_KEYS: Final = 200  # of tags in an event: at most 200 KB beside the version


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


async def version_updated(conn: Connection, old: VersionRow, new: VersionRow) -> None:
    """Emits ModelVersionUpdated; several of them where so many tags changed that their keys might not fit in one."""
    was_set, deleted = rules.changed_tags(old.tags, new.tags)
    for at in range(0, max(1, len(was_set)), _KEYS):
        event = pb.ModelVersionUpdated(version=messages.version(new), set_tags=was_set[at : at + _KEYS])
        event.deleted_tags.extend(deleted if at == 0 else ())
        await _version(conn, new.tenant_id, new.model_name, new.version, event)


async def version_deleted(conn: Connection, tenant_id: str, name: str, version: int) -> None:
    """Emits ModelVersionDeleted."""
    await _version(conn, tenant_id, name, version, pb.ModelVersionDeleted(model_name=name, version=version))


async def promoted(conn: Connection, row: VersionRow, alias: str, previous: int, *, renamed: bool = False) -> None:
    """Emits ModelVersionPromoted; `row` has the alias already."""
    version = messages.version(row)
    event = pb.ModelVersionPromoted(version=version, alias=alias, previous_version=previous, renamed=renamed)
    await _version(conn, row.tenant_id, row.model_name, row.version, event)


async def alias_deleted(
    conn: Connection, tenant_id: str, name: str, alias: str, version: int, *, implied: bool = False
) -> None:
    """Emits ModelAliasDeleted."""
    event = pb.ModelAliasDeleted(model_name=name, alias=alias, version=version, implied=implied)
    await _version(conn, tenant_id, name, version, event)


async def _model(conn: Connection, row: ModelRow, event: Message) -> None:
    await outbox.append(conn, names.model(row.tenant_id, row.name), event)


async def _version(conn: Connection, tenant_id: str, name: str, version: int, event: Message) -> None:
    subject = names.model_version(tenant_id, name, version)
    await outbox.append(conn, subject, event, key=names.model(tenant_id, name))
