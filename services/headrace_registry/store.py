"""The registry schema in SQL, a function a statement; all see the rows of the transaction's tenant."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from headrace_kit.db import Connection, Constraints
from headrace_kit.errors import InvalidField

CONSTRAINTS: Final[Constraints] = {
    # Only when one id comes for two names at the same time; else the service sees it first.
    "version_requests_id": lambda: InvalidField("request_id", "was used for another request; take a new UUID"),
}


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A row of `models`, with what its versions and aliases say."""

    tenant_id: str
    name: str
    description: str
    tags: Mapping[str, str]
    create_time: datetime
    update_time: datetime
    aliases: Mapping[str, int]
    """Alias to version."""
    latest_version: int
    """0 where there is none."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A row of `versions`, with its aliases in order."""

    tenant_id: str
    model_name: str
    version: int
    model_id: str
    run_id: str
    description: str
    tags: Mapping[str, str]
    user_id: str
    create_time: datetime
    update_time: datetime
    aliases: Sequence[str]
    source: str = ""
    run_link: str = ""
    stage: str = "None"


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A row of `version_requests`."""

    request_id: UUID
    digest: bytes
    model_name: str
    version: int


_MODELS: Final = """
SELECT m.tenant_id, m.name, m.description, m.tags, m.create_time, m.update_time,
       coalesce((SELECT jsonb_object_agg(a.alias, a.version) FROM registry.aliases a
                  WHERE a.tenant_id = m.tenant_id AND a.model_name = m.name), '{}') AS aliases,
       coalesce((SELECT max(v.version) FROM registry.versions v
                  WHERE v.tenant_id = m.tenant_id AND v.model_name = m.name), 0) AS latest_version
  FROM registry.models m
"""
_VERSIONS: Final = """
SELECT v.tenant_id, v.model_name, v.version, v.model_id, v.run_id, v.description, v.tags, v.user_id, v.create_time,
       v.update_time, v.source, v.run_link, v.stage,
       ARRAY(SELECT a.alias FROM registry.aliases a
              WHERE a.tenant_id = v.tenant_id AND a.model_name = v.model_name AND a.version = v.version
              ORDER BY a.alias) AS aliases
  FROM registry.versions v
"""


async def lock_name(conn: Connection, name: str) -> None:
    """Until the end of the transaction, nobody else changes what has this name.

    Not a row lock: a name that does not exist yet has no row, and its events need an order too.
    """
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended("
        "'registry/' || current_setting('headrace.tenant') || '/' || %(name)s, 0))",
        {"name": name},
    )


async def insert_model(conn: Connection, row: ModelRow) -> bool:
    """False when the name is taken."""
    cursor = await conn.execute(
        "INSERT INTO registry.models (tenant_id, name, description, tags, create_time, update_time)"
        " VALUES (%(tenant)s, %(name)s, %(description)s, %(tags)s, %(created)s, %(updated)s)"
        " ON CONFLICT (tenant_id, name) DO NOTHING",
        {
            "tenant": row.tenant_id,
            "name": row.name,
            "description": row.description,
            "tags": Jsonb(row.tags),
            "created": row.create_time,
            "updated": row.update_time,
        },
    )
    return cursor.rowcount == 1


async def find_model(conn: Connection, name: str) -> ModelRow | None:
    """The model of this name."""
    async with conn.cursor(row_factory=class_row(ModelRow)) as cursor:
        await cursor.execute(_MODELS + " WHERE m.name = %(name)s", {"name": name})
        return await cursor.fetchone()


async def list_models(conn: Connection, prefix: str, after: str, limit: int) -> list[ModelRow]:
    """Models whose names begin so and come after this one, in order of name."""
    async with conn.cursor(row_factory=class_row(ModelRow)) as cursor:
        await cursor.execute(
            _MODELS + " WHERE m.name > %(after)s AND m.name ^@ %(prefix)s ORDER BY m.name LIMIT %(limit)s",
            {"after": after, "prefix": prefix, "limit": limit},
        )
        return await cursor.fetchall()


async def update_model(conn: Connection, name: str, row: ModelRow) -> None:
    """Writes name, description, tags and times of the model that is called `name` so far."""
    await conn.execute(
        "UPDATE registry.models SET name = %(new)s, description = %(description)s, tags = %(tags)s,"
        " create_time = %(created)s, update_time = %(updated)s WHERE name = %(name)s",
        {
            "name": name,
            "created": row.create_time,
            "new": row.name,
            "description": row.description,
            "tags": Jsonb(row.tags),
            "updated": row.update_time,
        },
    )


async def next_version(conn: Connection, name: str, update_time: datetime) -> int:
    """Takes the model's next number."""
    cursor = await conn.execute(
        "UPDATE registry.models SET last_version = last_version + 1, update_time = %(updated)s WHERE name = %(name)s"
        " RETURNING last_version",
        {"name": name, "updated": update_time},
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - the caller has the model, and its lock
    return int(row[0])


async def raise_last_version(conn: Connection, name: str, version: int) -> bool:
    """Numbers up to this one are not given any more; False where they were not before."""
    cursor = await conn.execute(
        "UPDATE registry.models SET last_version = %(version)s WHERE name = %(name)s AND last_version < %(version)s",
        {"name": name, "version": version},
    )
    return cursor.rowcount == 1


async def delete_model(conn: Connection, name: str) -> None:
    """With versions, aliases and what is known of requests."""
    await conn.execute("DELETE FROM registry.models WHERE name = %(name)s", {"name": name})


async def insert_version(conn: Connection, row: VersionRow) -> None:
    """Number and model are the caller's care."""
    await conn.execute(
        "INSERT INTO registry.versions (tenant_id, model_name, version, model_id, run_id, description, tags, user_id,"
        " create_time, update_time, source, run_link, stage) VALUES (%(tenant)s, %(name)s, %(version)s, %(model)s,"
        " %(run)s, %(description)s, %(tags)s, %(user)s, %(created)s, %(updated)s, %(source)s, %(link)s, %(stage)s)",
        {
            "tenant": row.tenant_id,
            "name": row.model_name,
            "version": row.version,
            "model": row.model_id,
            "run": row.run_id,
            "description": row.description,
            "tags": Jsonb(row.tags),
            "user": row.user_id,
            "created": row.create_time,
            "updated": row.update_time,
            "source": row.source,
            "link": row.run_link,
            "stage": row.stage,
        },
    )


async def find_version(conn: Connection, name: str, version: int) -> VersionRow | None:
    """A version by its number."""
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(
            _VERSIONS + " WHERE v.model_name = %(name)s AND v.version = %(version)s",
            {"name": name, "version": version},
        )
        return await cursor.fetchone()


async def find_by_alias(conn: Connection, name: str, alias: str) -> VersionRow | None:
    """The version that an alias points to."""
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(
            _VERSIONS + " JOIN registry.aliases p USING (tenant_id, model_name, version)"
            " WHERE p.model_name = %(name)s AND p.alias = %(alias)s",
            {"name": name, "alias": alias},
        )
        return await cursor.fetchone()


async def find_latest(conn: Connection, name: str) -> VersionRow | None:
    """The highest version."""
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(
            _VERSIONS + " WHERE v.model_name = %(name)s ORDER BY v.version DESC LIMIT 1", {"name": name}
        )
        return await cursor.fetchone()


async def list_versions(
    conn: Connection, name: str, run_id: str, model_id: str, before: tuple[datetime, int, str] | None, limit: int
) -> list[VersionRow]:
    """Versions of a model (empty: of all), from a run and of a logged model (empty: any), newest first, behind (time, version, name)."""
    time, version, model_name = before or (None, None, None)
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(
            _VERSIONS + " WHERE (%(name)s = '' OR v.model_name = %(name)s) AND (%(run)s = '' OR v.run_id = %(run)s)"
            " AND (%(logged)s = '' OR v.model_id = %(logged)s)"
            " AND (%(time)s::timestamptz IS NULL"
            "      OR (v.create_time, v.version, v.model_name) < (%(time)s, %(version)s, %(model)s))"
            " ORDER BY v.create_time DESC, v.version DESC, v.model_name DESC LIMIT %(limit)s",
            {
                "name": name,
                "run": run_id,
                "logged": model_id,
                "time": time,
                "version": version,
                "model": model_name,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def find_models(conn: Connection, names: Sequence[str]) -> dict[str, ModelRow]:
    """By name."""
    async with conn.cursor(row_factory=class_row(ModelRow)) as cursor:
        await cursor.execute(_MODELS + " WHERE m.name = ANY(%(names)s)", {"names": list(names)})
        return {row.name: row for row in await cursor.fetchall()}


async def find_versions(conn: Connection, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], VersionRow]:
    """By model and number."""
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(
            _VERSIONS + " JOIN unnest(%(names)s::text[], %(versions)s::int[]) AS k (model_name, version)"
            " USING (model_name, version)",
            {"names": [name for name, _ in keys], "versions": [version for _, version in keys]},
        )
        return {(row.model_name, row.version): row for row in await cursor.fetchall()}


async def latest_of_stages(conn: Connection, names: Sequence[str]) -> Mapping[str, list[VersionRow]]:
    """Of each of these models the highest version of each stage, in order of stage."""
    cursor = await conn.execute(
        "SELECT model_name, max(version) FROM registry.versions WHERE model_name = ANY(%(names)s)"
        " GROUP BY model_name, stage ORDER BY model_name, stage",
        {"names": list(names)},
    )
    keys = await cursor.fetchall()
    rows = await find_versions(conn, keys) if keys else {}
    found: defaultdict[str, list[VersionRow]] = defaultdict(list)
    for name, version in keys:
        found[name].append(rows[name, version])
    return found


async def versions_in_stage(conn: Connection, name: str, stage: str) -> list[VersionRow]:
    """The versions of a model that are there."""
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(
            _VERSIONS + " WHERE v.model_name = %(name)s AND v.stage = %(stage)s", {"name": name, "stage": stage}
        )
        return await cursor.fetchall()


async def version_numbers(conn: Connection, name: str) -> list[int]:
    """The versions of a model, rising."""
    cursor = await conn.execute(
        "SELECT version FROM registry.versions WHERE model_name = %(name)s ORDER BY version", {"name": name}
    )
    return [version for (version,) in await cursor.fetchall()]


async def update_version(conn: Connection, row: VersionRow) -> None:
    """Writes all but number and model name."""
    await conn.execute(
        "UPDATE registry.versions SET description = %(description)s, tags = %(tags)s, stage = %(stage)s,"
        " model_id = %(model)s, run_id = %(run)s, user_id = %(user)s, source = %(source)s, run_link = %(link)s,"
        " create_time = %(created)s, update_time = %(updated)s WHERE model_name = %(name)s AND version = %(version)s",
        {
            "model": row.model_id,
            "run": row.run_id,
            "user": row.user_id,
            "source": row.source,
            "link": row.run_link,
            "created": row.create_time,
            "name": row.model_name,
            "version": row.version,
            "description": row.description,
            "tags": Jsonb(row.tags),
            "updated": row.update_time,
            "stage": row.stage,
        },
    )


async def delete_version(conn: Connection, name: str, version: int) -> None:
    """With the aliases that point to it."""
    await conn.execute(
        "DELETE FROM registry.versions WHERE model_name = %(name)s AND version = %(version)s",
        {"name": name, "version": version},
    )


async def set_alias(conn: Connection, tenant_id: str, name: str, alias: str, version: int) -> None:
    """Points the alias at the version."""
    await conn.execute(
        "INSERT INTO registry.aliases (tenant_id, model_name, alias, version)"
        " VALUES (%(tenant)s, %(name)s, %(alias)s, %(version)s)"
        " ON CONFLICT (tenant_id, model_name, alias) DO UPDATE SET version = excluded.version",
        {"tenant": tenant_id, "name": name, "alias": alias, "version": version},
    )


async def delete_alias(conn: Connection, name: str, alias: str) -> None:
    """Nothing happens where there is none."""
    await conn.execute(
        "DELETE FROM registry.aliases WHERE model_name = %(name)s AND alias = %(alias)s", {"name": name, "alias": alias}
    )


async def find_request(conn: Connection, request_id: UUID) -> RequestRow | None:
    """What a request made, when it was here before."""
    async with conn.cursor(row_factory=class_row(RequestRow)) as cursor:
        await cursor.execute(
            "SELECT request_id, digest, model_name, version FROM registry.version_requests WHERE request_id = %(id)s",
            {"id": request_id},
        )
        return await cursor.fetchone()


async def insert_request(conn: Connection, tenant_id: str, row: RequestRow) -> None:
    """Breaks `version_requests_id` when the id was used."""
    await conn.execute(
        "INSERT INTO registry.version_requests (tenant_id, request_id, digest, model_name, version)"
        " VALUES (%(tenant)s, %(id)s, %(digest)s, %(name)s, %(version)s)",
        {
            "tenant": tenant_id,
            "id": row.request_id,
            "digest": row.digest,
            "name": row.model_name,
            "version": row.version,
        },
    )
