"""Reading an MLflow database: PostgreSQL and SQLite behind one interface, whichever columns their schema has."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import numpy as np

from headrace import errors
from headrace.records import MetricHistory

Row = dict[str, Any]
_ROWS: Final = 100_000  # read at once
_HEADER: Final = 19  # bytes before the rows of a binary COPY
_POINT: Final = np.dtype(
    [("fields", ">i2")]
    + [
        part
        for name, kind in (("key", ">i4"), ("step", ">i8"), ("time", ">i8"), ("value", ">f8"), ("nan", "?"))
        for part in ((f"{name} size", ">i4"), (name, kind))
    ]
)
"""A row of the COPY below: https://www.postgresql.org/docs/current/sql-copy.html, binary format."""


class Dialect(Protocol):
    """One database. Each call opens a connection of its own: for any number of threads."""

    def columns(self) -> Mapping[str, set[str]]:
        """Of each table."""
        ...

    def rows(self, statement: str, values: Sequence[object] = ()) -> Iterator[Row]:
        """The rows of a statement with "?" for values, by the names of their columns."""
        ...

    def among(self, column: str, values: Sequence[object]) -> tuple[str, Sequence[object]]:
        """The condition that a column is among the values, and what to pass for it."""
        ...

    def series(self, run_id: str) -> Iterator[MetricHistory]:
        """The metrics of a run in order of (key, time, step, value), never more than one series in memory."""
        ...


def dialect(uri: str) -> Dialect:
    """By SQLAlchemy's URI. Raises InvalidRequest for another database."""
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0]
    if kind in {"postgresql", "postgres"}:
        return Postgres(uri.replace(parts.scheme, "postgresql", 1))
    if kind == "sqlite":
        path = uri.partition("://")[2].partition("?")[0].removeprefix("/")
        return Sqlite(Path(unquote(path)))
    raise errors.InvalidRequest(
        f"of {kind} databases nothing is known here, only of postgresql:// and sqlite://. Import from the running server"
        " instead: headrace import mlflow http://..."
    )


class Postgres:
    """Reads in transactions that only read."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        import psycopg  # noqa: PLC0415 - not for those who read SQLite
        from psycopg.rows import dict_row  # noqa: PLC0415 - as above

        try:
            with psycopg.connect(self._uri, row_factory=dict_row) as conn:
                conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                conn.read_only = True
                yield conn
        except psycopg.OperationalError as error:
            raise errors.Unavailable(f"MLflow's database: {error}") from None

    def columns(self) -> Mapping[str, set[str]]:
        """See `Dialect`."""
        found: dict[str, set[str]] = {}
        for row in self.rows(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = ANY(current_schemas(false))"
        ):
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return found

    def rows(self, statement: str, values: Sequence[object] = ()) -> Iterator[Row]:
        """See `Dialect`."""
        with self._connected() as conn, conn.cursor("headrace_import") as cursor:
            cursor.itersize = _ROWS
            cursor.execute(statement.replace("%", "%%").replace("?", "%s"), values)
            yield from cursor

    def among(self, column: str, values: Sequence[object]) -> tuple[str, Sequence[object]]:
        """See `Dialect`."""
        return f"{column} = ANY(?)", (list(values),)

    def series(self, run_id: str) -> Iterator[MetricHistory]:
        """See `Dialect`. By COPY, whose rows all have the same size when keys are numbers: numpy reads them as they are."""
        with self._connected() as conn:
            keys = [
                str(row["key"])
                for row in conn.execute(
                    'SELECT key FROM metrics WHERE run_uuid = %s GROUP BY key ORDER BY key COLLATE "C"', (run_id,)
                )
            ]
            if not keys:
                return
            with conn.cursor().copy(
                'COPY (SELECT (dense_rank() OVER (ORDER BY key COLLATE "C"))::int4, step, timestamp, value, is_nan'
                ' FROM metrics WHERE run_uuid = %s ORDER BY key COLLATE "C", timestamp, step, value)'
                " TO STDOUT (FORMAT BINARY)",
                (run_id,),
            ) as copy:
                yield from _split(keys, _blocks(copy))


class Sqlite:
    """Reads the file, and never writes to it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        if not file.is_file():
            raise errors.InvalidRequest(f"there is no SQLite database at {file}")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)) as conn:
                conn.row_factory = sqlite3.Row
                conn.execute("BEGIN")
                yield conn
        except sqlite3.OperationalError as error:
            raise errors.Unavailable(f"{self._file}: {error}") from None
        except sqlite3.DatabaseError as error:
            raise errors.InvalidRequest(f"{self._file} is no SQLite database: {error}") from None

    def columns(self) -> Mapping[str, set[str]]:
        """See `Dialect`."""
        found: dict[str, set[str]] = {}
        for row in self.rows(
            "SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table'"
        ):
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return found

    def rows(self, statement: str, values: Sequence[object] = ()) -> Iterator[Row]:
        """See `Dialect`."""
        with self._connected() as conn:
            for row in conn.execute(statement, tuple(values)):
                yield dict(row)

    def among(self, column: str, values: Sequence[object]) -> tuple[str, Sequence[object]]:
        """See `Dialect`."""
        return f"{column} IN ({', '.join('?' * len(values))})", values

    def series(self, run_id: str) -> Iterator[MetricHistory]:
        """See `Dialect`."""
        with self._connected() as conn:
            conn.row_factory = None
            cursor = conn.execute(
                "SELECT key, step, timestamp, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics"
                " WHERE run_uuid = ? ORDER BY key, timestamp, step, value",
                (run_id,),
            )
            series: MetricHistory | None = None
            while rows := cursor.fetchmany(_ROWS):
                for key, step, time, value in rows:
                    if series is None or series.key != key:
                        if series is not None:
                            yield series
                        series = MetricHistory(key)
                    series.steps.append(step)
                    series.times_ms.append(time)
                    series.values.append(_NAN if value is None else value)
            if series is not None:
                yield series


_NAN: Final = float("nan")


def _blocks(copy: Any) -> Iterator[np.ndarray[Any, Any]]:
    """The rows of a COPY, some at a time."""
    waiting = bytearray()
    skip = _HEADER
    for part in copy:
        waiting += part
        if len(waiting) >= _ROWS * _POINT.itemsize:
            whole = (len(waiting) - skip) // _POINT.itemsize * _POINT.itemsize
            yield np.frombuffer(bytes(waiting[skip : skip + whole]), _POINT)
            del waiting[: skip + whole]
            skip = 0
    whole = (len(waiting) - skip) // _POINT.itemsize * _POINT.itemsize  # the rest is the end mark
    if whole:
        yield np.frombuffer(bytes(waiting[skip : skip + whole]), _POINT)


def _split(keys: Sequence[str], blocks: Iterator[np.ndarray[Any, Any]]) -> Iterator[MetricHistory]:
    series: MetricHistory | None = None
    for block in blocks:
        if (block["fields"] != 5).any() or (block["value size"] != 8).any():
            raise errors.DataLost(
                "MLflow's table metrics has rows that are no points: a NULL in step, timestamp or value"
            )
        numbers = block["key"]
        starts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(numbers)]
        for start, stop in pairwise(starts):
            key = keys[int(numbers[start]) - 1]
            if series is None or series.key != key:
                if series is not None:
                    yield series
                series = MetricHistory(key)
            part = block[start:stop]
            values = np.where(part["nan"], np.nan, part["value"].astype(np.float64))
            series.steps.frombytes(part["step"].astype(np.int64).tobytes())
            series.times_ms.frombytes(part["time"].astype(np.int64).tobytes())
            series.values.frombytes(values.tobytes())
    if series is not None:
        yield series
