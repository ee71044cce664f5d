"""PostgreSQL as services use it: a pool, a transaction per request with its tenant set, errors translated once.

Each service has a schema and two roles, made by `migrate`: `headrace_<schema>` for requests, which row security
holds to the tenant of the transaction (none set: no rows), and `headrace_<schema>_worker` for relays and writers,
which serve all tenants and check the tenant themselves.
"""

import select
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final, LiteralString

import msgspec
import psycopg
import psycopg_pool
from psycopg import conninfo, sql
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.errors import DomainError

Connection = psycopg.AsyncConnection[TupleRow]
Constraints = Mapping[str, Callable[[], DomainError]]
"""Constraint name → the error that breaking it means."""

_CONNECT_TIMEOUT_S: Final = 10

# For all connections of the process; Python's own takes five times as long, which is a tenth of reading a page of runs.
set_json_loads(msgspec.json.decode)


def as_role(dsn: str, role: str, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """The DSN with every session in `role`: what the login may do beyond it is given up. `settings` are PostgreSQL's."""
    options = " ".join(f"-c {name}={value}" for name, value in {"role": role, **settings}.items())
    return conninfo.make_conninfo(dsn, options=options, application_name=role, connect_timeout=_CONNECT_TIMEOUT_S)


def request_role(schema: str) -> str:
    """The role that row security holds to one tenant."""
    return f"headrace_{schema}"


def worker_role(schema: str) -> str:
    """The role of relays and writers; it sees all tenants of its schema."""
    return f"headrace_{schema}_worker"


class Database:
    """The request side of one service's schema. `open` and `close` once; `tenant` for every transaction."""

    def __init__(
        self,
        dsn: str,
        schema: LiteralString,
        *,
        connections: int,
        constraints: Constraints,
        role: str | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.schema = schema
        self._dsn = as_role(dsn, role or request_role(schema), settings)
        self._connections = connections
        self._constraints = constraints
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] | None = None

    async def open(self) -> None:
        """Opens the pool. Raises DomainError BACKEND_UNAVAILABLE when PostgreSQL does not answer in 30 s."""
        pool = psycopg_pool.AsyncConnectionPool(
            self._dsn,
            connection_class=psycopg.AsyncConnection[TupleRow],
            kwargs={"autocommit": True},
            min_size=1,
            max_size=self._connections,
            open=False,
            name=self.schema,
            check=_check,
        )
        try:
            await pool.open(wait=True, timeout=30)
        except psycopg_pool.PoolTimeout as error:
            await pool.close()
            raise _unavailable(str(error)) from error
        self._pool = pool

    async def close(self) -> None:
        """Closes the pool; transactions under way end first."""
        if self._pool is not None:
            await self._pool.close(timeout=5)

    async def check(self) -> None:
        """Raises DomainError when the database does not answer."""
        async with self.tenant(""):  # to begin it asks
            pass

    @asynccontextmanager
    async def tenant(self, tenant_id: str, *, snapshot: bool = False) -> AsyncIterator[Connection]:
        """A transaction that sees and writes the rows of one tenant alone; commits at the end, rolls back on error.

        With `snapshot` it only reads, and all its statements see the same moment.

        Errors of the driver come out as DomainError: a broken constraint as the service's table says, a full disk as
        STORE_FULL, a lost or busy database as BACKEND_UNAVAILABLE.
        """
        if self._pool is None:
            raise RuntimeError("Database.open was not called")
        try:
            async with self._pool.connection(timeout=10) as conn:  # which commits, or rolls back, what is begun here
                # Both in one message: a round trip of its own takes longer than most reads.
                await conn.execute(_begin(tenant_id, snapshot), prepare=False)
                yield conn
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            raise translate(error, self._constraints) from error


def _begin(tenant_id: str, snapshot: bool) -> sql.Composed:
    mode = sql.SQL(" ISOLATION LEVEL REPEATABLE READ, READ ONLY" if snapshot else "")
    return sql.SQL("BEGIN{}; SET LOCAL headrace.tenant = {}").format(mode, sql.Literal(tenant_id))


async def _check(conn: Connection) -> None:
    """Raises OperationalError when the connection of the pool has broken. One that the server closed has its end to be
    read, which is seen without a round trip; then, or when anything else came unasked, the server is asked.
    """
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    if poll.poll(0):
        await psycopg_pool.AsyncConnectionPool.check_connection(conn)


def translate(error: Exception, constraints: Constraints) -> Exception:
    """The driver's error as the caller may understand it; itself where it is a defect of ours."""
    if isinstance(error, psycopg.IntegrityError):
        known = constraints.get(error.diag.constraint_name or "")
        return known() if known else error
    if isinstance(error, psycopg.errors.DiskFull):
        return DomainError(
            error_reason_pb2.ERROR_REASON_STORE_FULL,
            "the database has no room left; nothing was stored, try again when there is",
            retry_after_s=30,
        )
    if isinstance(error, psycopg_pool.PoolTimeout | psycopg.OperationalError):
        return _unavailable(str(error).strip())
    return error


def _unavailable(why: str) -> DomainError:
    return DomainError(
        error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
        f"the database does not answer now; try again ({why})",
        retry_after_s=1,
    )
