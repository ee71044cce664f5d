"""Numbered SQL files, applied in order, each once, each in a transaction of its own.

A package's `migrations/NNNN_what_it_does.sql` build the schema of the same service. Around them the runner keeps what
every schema has: its two roles (see `db`), row security forced on every table, `tenant_id` leading every primary key.
A table whose comment begins with "system:" belongs to no tenant; only the worker role reaches it.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from headrace_kit import db

_LOCK: Final = 0x48454144  # "HEAD": one migration at a time in a database
_FILE: Final = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class MigrationError(RuntimeError):
    """The database and the files do not fit; the message says where."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text; an applied file must not change."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema and the package whose `migrations` folder builds it."""

    name: LiteralString
    package: str

    def migrations(self) -> list[Migration]:
        """The files in order. Raises MigrationError for a gap or a wrong name."""
        folder = resources.files(self.package) / "migrations"
        files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
        found = [
            Migration(int(name[:4]), name, (folder / name).read_text("utf-8")) for name in files if _FILE.match(name)
        ]
        if len(found) != len(files) or [m.number for m in found] != list(range(1, len(found) + 1)):
            raise MigrationError(
                f"{self.package}/migrations: files must be 0001_name.sql, 0002_name.sql, ...; got {files}"
            )
        return found


def migrate(dsn: str, schemas: Sequence[Schema]) -> list[str]:
    """Brings the schemas up to date and returns what was applied, as "schema/file".

    Needs a login that may create schemas and roles; safe to run from several places at once, and again.
    Raises MigrationError when an applied file has changed or is unknown, psycopg.Error when SQL fails.
    """
    applied: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        conn.execute(
            "CREATE TABLE IF NOT EXISTS public.headrace_migrations (schema text, number int, name text NOT NULL,"
            " sha256 text NOT NULL, apply_time timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (schema, number))"
        )
        for schema in schemas:
            applied += [f"{schema.name}/{m.name}" for m in _migrate_schema(conn, schema)]
    return applied


def pending(dsn: str, schemas: Sequence[Schema]) -> list[str]:
    """What `migrate` would apply, as "schema/file"; a service refuses to start when its own schema is behind."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        exists = conn.execute("SELECT to_regclass('public.headrace_migrations') IS NOT NULL").fetchone()
        done = _applied(conn) if exists and exists[0] else {}
    return [f"{s.name}/{m.name}" for s in schemas for m in s.migrations() if (s.name, m.number) not in done]


async def require_current(dsn: str, *schemas: Schema) -> None:
    """Raises MigrationError when the database lacks migrations that this code needs."""
    missing = await asyncio.to_thread(pending, dsn, schemas)
    if missing:
        raise MigrationError(f"the database is behind: run `headrace migrate` (missing: {', '.join(missing)})")


def _migrate_schema(conn: psycopg.Connection, schema: Schema) -> list[Migration]:
    done = _applied(conn)
    files = schema.migrations()
    for m in files:
        if done.get((schema.name, m.number), m.sha256) != m.sha256:
            raise MigrationError(
                f"{schema.package}/migrations/{m.name} has changed since it was applied; add a new file"
            )
    fresh = [m for m in files if (schema.name, m.number) not in done]
    if fresh:
        with conn.transaction():
            _make_roles(conn, schema.name)
    for m in fresh:
        with conn.transaction():
            conn.execute(sql.SQL("SET LOCAL search_path = {}, public").format(sql.Identifier(schema.name)))
            conn.execute(m.text.encode())
            _protect(conn, schema)
            conn.execute(
                "INSERT INTO public.headrace_migrations (schema, number, name, sha256) VALUES (%s, %s, %s, %s)",
                [schema.name, m.number, m.name, m.sha256],
            )
    return fresh


def _applied(conn: psycopg.Connection) -> dict[tuple[str, int], str]:
    rows = conn.execute("SELECT schema, number, sha256 FROM public.headrace_migrations").fetchall()
    return {(schema, number): sha256 for schema, number, sha256 in rows}


def _make_roles(conn: psycopg.Connection, schema: str) -> None:
    # Roles belong to the cluster, not to the database: another migration may be making the same ones right now.
    for role, attribute in (
        (db.request_role(schema), sql.SQL("NOBYPASSRLS")),
        (db.worker_role(schema), sql.SQL("BYPASSRLS")),
    ):
        known = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        if not known:
            try:
                with conn.transaction():
                    conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN {}").format(sql.Identifier(role), attribute))
            except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject):
                pass
        conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))


def _protect(conn: psycopg.Connection, schema: Schema) -> None:
    """Grants, row security and policy for every table of the schema; refuses one whose key is not led by tenant_id."""
    request, worker = sql.Identifier(db.request_role(schema.name)), sql.Identifier(db.worker_role(schema.name))
    name = sql.Identifier(schema.name)
    conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}, {}").format(name, request, worker))
    conn.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO {}, {}").format(name, request, worker))
    conn.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA {} TO {}").format(name, worker))
    for table, system, leading, guarded in conn.execute(_TABLES, {"schema": schema.name}).fetchall():
        if system:
            continue
        if leading != "tenant_id":
            raise MigrationError(f"{schema.name}.{table}: its primary key must begin with tenant_id, not {leading}")
        where = sql.Identifier(schema.name, table)
        conn.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(where, request))
        if not guarded:
            conn.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY").format(where))
            conn.execute(
                sql.SQL(
                    "CREATE POLICY tenant ON {} USING (tenant_id = current_setting('headrace.tenant', true))"
                    " WITH CHECK (tenant_id = current_setting('headrace.tenant', true))"
                ).format(where)
            )


_TABLES: Final = """
SELECT c.relname,
       coalesce(obj_description(c.oid, 'pg_class') LIKE 'system:%%', false),
       (SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
         WHERE i.indrelid = c.oid AND i.indisprimary),
       c.relforcerowsecurity
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p')
 ORDER BY c.relname
"""
