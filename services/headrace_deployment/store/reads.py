"""What requests read and change, of the tenant of their transaction; and what the route board reads, of all."""

from dataclasses import asdict
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from headrace_deployment.records import DeploymentRow, HistoryRow, InstanceRow, RouteRow, What
from headrace_deployment.store.columns import (
    INSERT_HISTORY,
    NOTIFY,
    SELECT_DEPLOYMENT,
    UPDATE_DEPLOYMENT,
)
from headrace_kit.db import Connection, Constraints

CONSTRAINTS: Final[Constraints] = {}
_INSTANCES_SHOWN: Final = 10


async def find(conn: Connection, name: str) -> DeploymentRow | None:
    """A deployment."""
    async with conn.cursor(row_factory=class_row(DeploymentRow)) as cursor:
        await cursor.execute(SELECT_DEPLOYMENT + " WHERE name = %(name)s", {"name": name})
        return await cursor.fetchone()


async def locked(conn: Connection, name: str) -> DeploymentRow | None:
    """A deployment that nobody else changes until the transaction ends."""
    async with conn.cursor(row_factory=class_row(DeploymentRow)) as cursor:
        await cursor.execute(SELECT_DEPLOYMENT + " WHERE name = %(name)s FOR UPDATE", {"name": name})
        return await cursor.fetchone()


async def page(conn: Connection, after: str, limit: int) -> list[DeploymentRow]:
    """Deployments behind this name."""
    async with conn.cursor(row_factory=class_row(DeploymentRow)) as cursor:
        await cursor.execute(
            SELECT_DEPLOYMENT + " WHERE name > %(after)s ORDER BY name LIMIT %(limit)s",
            {"after": after, "limit": limit},
        )
        return await cursor.fetchall()


async def instances(conn: Connection, names: list[str]) -> list[InstanceRow]:
    """Instances of these deployments, newest first: all live ones, and the last ten."""
    async with conn.cursor(row_factory=class_row(InstanceRow)) as cursor:
        await cursor.execute(
            "SELECT tenant_id, instance_id, deployment_name, version, model_id, state, message, routed, address,"
            " drain_generation, create_time, ready_time, update_time FROM deployment.instances AS i"
            " WHERE deployment_name = ANY(%(names)s) AND (state IN ('STARTING', 'READY', 'DRAINING') OR %(shown)s >"
            " (SELECT count(*) FROM deployment.instances AS newer WHERE newer.tenant_id = i.tenant_id"
            " AND newer.deployment_name = i.deployment_name AND newer.create_time > i.create_time))"
            " ORDER BY create_time DESC, instance_id",
            {"names": names, "shown": _INSTANCES_SHOWN},
        )
        return await cursor.fetchall()


async def history(conn: Connection, name: str, before: int | None, limit: int) -> list[HistoryRow]:
    """Entries of one deployment before this one, newest first."""
    async with conn.cursor(row_factory=class_row(HistoryRow)) as cursor:
        await cursor.execute(
            "SELECT entry_id, time, version, what, message FROM deployment.history WHERE deployment_name = %(name)s"
            " AND (%(before)s::bigint IS NULL OR entry_id < %(before)s) ORDER BY entry_id DESC LIMIT %(limit)s",
            {"name": name, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def change(conn: Connection, row: DeploymentRow, version: int, what: What, message: str) -> None:
    """Writes what may change of a deployment, with an entry in its history, and calls the reconciler."""
    values = asdict(row)
    await conn.execute(UPDATE_DEPLOYMENT, values)
    entry = {"version": version, "what": what, "message": message, "now": row.update_time}
    await conn.execute(INSERT_HISTORY, values | entry)
    await conn.execute(NOTIFY)


async def generation(conn: Connection) -> int:
    """The number of the route table; worker role."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT generation FROM deployment.route_table")
        return int(await cursor.fetchone() or 0)


async def routes(conn: Connection) -> list[RouteRow]:
    """The route table of all tenants; worker role.

    A deployment that serves nothing at the moment, but will, has a route without addresses. The trace belongs to the
    version of the newest promotion alone.
    """
    async with conn.cursor(row_factory=class_row(RouteRow)) as cursor:
        await cursor.execute(
            "SELECT d.tenant_id, d.name AS deployment_name, r.version, r.addresses,"
            " CASE WHEN r.version = d.wanted_version THEN d.traceparent ELSE '' END AS traceparent"
            " FROM deployment.deployments AS d CROSS JOIN LATERAL"
            " (SELECT coalesce(max(i.version), nullif(d.kept_version, 0), d.wanted_version) AS version,"
            "  coalesce(array_agg(i.address ORDER BY i.address) FILTER (WHERE i.address <> ''), '{}') AS addresses"
            "  FROM deployment.instances AS i WHERE i.tenant_id = d.tenant_id AND i.deployment_name = d.name"
            "  AND i.routed AND i.state = 'READY') AS r"
            " WHERE d.wanted_version > 0 AND (d.kept_version > 0 OR d.state = 'DEPLOYING')"
            " ORDER BY d.tenant_id, d.name"
        )
        return await cursor.fetchall()


async def router_says(conn: Connection, router_id: UUID, generation: int, now: datetime) -> None:
    """Keeps which table a router uses; worker role."""
    await conn.execute(
        "INSERT INTO deployment.routers (router_id, generation, seen_time) VALUES (%(id)s, %(generation)s, %(now)s)"
        " ON CONFLICT (router_id) DO UPDATE SET generation = %(generation)s, seen_time = %(now)s",
        {"id": router_id, "generation": generation, "now": now},
    )


async def routers_seen(conn: Connection, router_ids: list[UUID], now: datetime) -> None:
    """Keeps that these routers are still there; worker role."""
    await conn.execute(
        "UPDATE deployment.routers SET seen_time = %(now)s WHERE router_id = ANY(%(ids)s)",
        {"ids": router_ids, "now": now},
    )


async def router_left(conn: Connection, router_id: UUID) -> None:
    """Forgets a router; worker role."""
    await conn.execute("DELETE FROM deployment.routers WHERE router_id = %(id)s", {"id": router_id})
