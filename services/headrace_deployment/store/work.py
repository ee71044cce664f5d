"""What the consumer and the reconciler read and write, over all tenants; synchronous, worker role."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final

import psycopg
from psycopg.rows import TupleRow, class_row, scalar_row

from headrace_deployment.records import DeploymentRow, InstanceRow, What
from headrace_deployment.store.columns import (
    INSERT_DEPLOYMENT,
    INSERT_HISTORY,
    INSERT_INSTANCE,
    LISTEN,
    NOTIFY,
    SELECT_DEPLOYMENT,
    SELECT_INSTANCE,
    UPDATE_DEPLOYMENT,
)

Connection = psycopg.Connection[TupleRow]

ROUTER_GONE_AFTER: Final = timedelta(seconds=30)
_ENDED_KEPT: Final = 20
_HISTORY_KEPT: Final = 1000


def find(conn: Connection, key: tuple[str, str]) -> DeploymentRow | None:
    """A deployment, locked until the transaction ends."""
    with conn.cursor(row_factory=class_row(DeploymentRow)) as cursor:
        cursor.execute(
            SELECT_DEPLOYMENT + " WHERE tenant_id = %(tenant)s AND name = %(name)s FOR UPDATE",
            {"tenant": key[0], "name": key[1]},
        )
        return cursor.fetchone()


def insert(conn: Connection, row: DeploymentRow) -> None:
    """A new deployment; one with this name already there is left as it is."""
    conn.execute(INSERT_DEPLOYMENT, asdict(row))


def update(conn: Connection, row: DeploymentRow) -> None:
    """Writes what may change of a deployment."""
    conn.execute(UPDATE_DEPLOYMENT, asdict(row))


def active(conn: Connection) -> list[DeploymentRow]:
    """Deployments that want something or have something left."""
    with conn.cursor(row_factory=class_row(DeploymentRow)) as cursor:
        cursor.execute(SELECT_DEPLOYMENT + " WHERE state <> 'STOPPED'")
        return cursor.fetchall()


def live(conn: Connection) -> list[InstanceRow]:
    """All instances that have not ended."""
    with conn.cursor(row_factory=class_row(InstanceRow)) as cursor:
        cursor.execute(SELECT_INSTANCE + " WHERE state IN ('STARTING', 'READY', 'DRAINING') ORDER BY create_time")
        return cursor.fetchall()


def live_of(conn: Connection, key: tuple[str, str]) -> list[InstanceRow]:
    """Instances of one deployment that have not ended, locked until the transaction ends."""
    with conn.cursor(row_factory=class_row(InstanceRow)) as cursor:
        cursor.execute(
            SELECT_INSTANCE + " WHERE tenant_id = %(tenant)s AND deployment_name = %(name)s"
            " AND state IN ('STARTING', 'READY', 'DRAINING') ORDER BY create_time FOR UPDATE",
            {"tenant": key[0], "name": key[1]},
        )
        return cursor.fetchall()


def insert_instance(conn: Connection, row: InstanceRow) -> None:
    """A new instance."""
    conn.execute(INSERT_INSTANCE, asdict(row))


def update_instance(conn: Connection, row: InstanceRow) -> None:
    """Writes what may change of an instance."""
    conn.execute(
        "UPDATE deployment.instances SET state = %(state)s, message = %(message)s, routed = %(routed)s,"
        " address = %(address)s, drain_generation = %(drain_generation)s, ready_time = %(ready_time)s,"
        " update_time = %(update_time)s WHERE tenant_id = %(tenant_id)s AND instance_id = %(instance_id)s",
        asdict(row),
    )


def add_history(conn: Connection, key: tuple[str, str], version: int, what: What, message: str, now: datetime) -> None:
    """One entry, behind all there are; calls the reconciler, which hears it when the transaction commits."""
    values = {"tenant_id": key[0], "name": key[1], "version": version, "what": what, "message": message, "now": now}
    conn.execute(INSERT_HISTORY, values)
    conn.execute(NOTIFY)


def listen(conn: Connection) -> None:
    """From now on the connection hears the calls."""
    conn.execute(LISTEN)


def forget_old(conn: Connection, key: tuple[str, str]) -> None:
    """Keeps the newest ended instances and history entries of a deployment: one that dies all day must not fill a disk."""
    values = {"tenant": key[0], "name": key[1], "instances": _ENDED_KEPT, "entries": _HISTORY_KEPT}
    conn.execute(
        "DELETE FROM deployment.instances WHERE tenant_id = %(tenant)s AND instance_id IN (SELECT instance_id"
        " FROM deployment.instances WHERE tenant_id = %(tenant)s AND deployment_name = %(name)s"
        " AND state IN ('STOPPED', 'FAILED') ORDER BY create_time DESC OFFSET %(instances)s)",
        values,
    )
    conn.execute(
        "DELETE FROM deployment.history WHERE tenant_id = %(tenant)s AND deployment_name = %(name)s AND entry_id <"
        " (SELECT entry_id FROM deployment.history WHERE tenant_id = %(tenant)s AND deployment_name = %(name)s"
        " ORDER BY entry_id DESC OFFSET %(entries)s LIMIT 1)",
        values,
    )


def next_generation(conn: Connection) -> int:
    """Counts one change of the route table; the table is locked until the transaction ends."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        cursor.execute("UPDATE deployment.route_table SET generation = generation + 1 RETURNING generation")
        return int(cursor.fetchone() or 0)


def routers_behind(conn: Connection, generation: int, now: datetime) -> int:
    """How many routers do not use this route table or a later one yet; ones not heard of for 30 s are gone."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(
            "SELECT count(*) FROM deployment.routers WHERE generation < %(generation)s AND seen_time > %(since)s",
            {"generation": generation, "since": now - ROUTER_GONE_AFTER},
        )
        return int(cursor.fetchone() or 0)


def forget_routers(conn: Connection, now: datetime) -> None:
    """Deletes the ones that are gone."""
    conn.execute("DELETE FROM deployment.routers WHERE seen_time < %(since)s", {"since": now - ROUTER_GONE_AFTER})


def lead(conn: Connection) -> bool:
    """Whether this connection is the one, in the whole installation, whose process reconciles; until it closes."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext('headrace deployment reconciler'))")
        return bool(cursor.fetchone())
