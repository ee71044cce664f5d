"""A few connections to one database, opened when needed and shared by threads."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, Final, ParamSpec, TypeVar

import psycopg

from headrace_kit.bus import BusError, BusUnavailable

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_RETRY_S: Final = 0.2


def connect(dsn: str) -> psycopg.Connection:
    """A connection in autocommit."""
    return psycopg.connect(dsn, autocommit=True)


class Connections:
    """At most `most` connections. A broken one is dropped, and the idle ones with it: they broke at the same time."""

    def __init__(self, dsn: str, most: int, patience_s: float) -> None:
        self._dsn = dsn
        self._patience_s = patience_s
        self._free = threading.BoundedSemaphore(most)
        self._idle: list[psycopg.Connection] = []
        self._closed = False

    def run(self, query: Callable[Concatenate[psycopg.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The query's result. Raises BusUnavailable when the database does not answer now."""
        if self._closed:
            raise BusError("the bus is closed")
        try:
            with self._free, self._connection() as conn:
                return query(conn, *args, **kwargs)
        except psycopg.OperationalError as error:
            self._drop_idle()
            raise BusUnavailable(f"PostgreSQL does not answer for the bus: {error}") from error

    def insist(self, query: Callable[Concatenate[psycopg.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, tried again for `patience_s` seconds."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self.run(query, *args, **kwargs)
            except BusUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)

    def close(self) -> None:
        """Closes the idle connections, and those in use when they come back."""
        self._closed = True
        self._drop_idle()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        try:
            conn = self._idle.pop()
        except IndexError:
            conn = connect(self._dsn)
        try:
            yield conn
        except BaseException:
            conn.close()
            raise
        if self._closed:
            conn.close()
        else:
            self._idle.append(conn)

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
