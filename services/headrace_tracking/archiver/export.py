"""The Parquet file of any run, for people to take away: the one in the object store, or one made on the spot."""

import asyncio
import io
import tempfile
import uuid
from collections.abc import AsyncGenerator
from contextlib import closing
from typing import BinaryIO, Final, cast

import psycopg
from psycopg import IsolationLevel

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit import db
from headrace_kit.blobs import StoreUnavailable
from headrace_kit.errors import DomainError
from headrace_tracking.archiver import content, store
from headrace_tracking.archives import Archives, store_away
from headrace_tracking.columns import BadColumns
from headrace_tracking.doors import RunAddress
from headrace_tracking.stored import damaged
from headrace_tracking.writer.applier import connect
from headrace_tracking.writer.store import Run

_READ_BYTES: Final = 8 << 20  # from the store at once
_PART_BYTES: Final = 1 << 20  # in a message
_AT_ONCE: Final = 2  # files made at the same time: each takes a core and some hundred megabytes


class Exports:
    """Gives files away; at most two are made at a time, others wait."""

    def __init__(self, dsn: str, archives: Archives) -> None:
        self._dsn = dsn
        self._archives = archives
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def parts(self, run: RunAddress) -> AsyncGenerator[bytes | int, None]:
        """The size of the file in bytes, then its bytes in parts of at most 1 MiB.

        Raises DomainError: DATA_LOST for damaged points, BACKEND_UNAVAILABLE, STORE_FULL for a full disk.
        """
        async with self._slots:
            file = await asyncio.to_thread(self._opened, run)
        try:
            yield await asyncio.to_thread(file.seek, 0, io.SEEK_END)
            await asyncio.to_thread(file.seek, 0)
            while data := await asyncio.to_thread(_read, file):
                for start in range(0, len(data), _PART_BYTES):
                    yield data[start : start + _PART_BYTES]
        finally:
            file.close()

    def _opened(self, run: RunAddress) -> BinaryIO:
        """The file, whole; its points are those of one moment."""
        try:
            with closing(connect(self._dsn)) as conn:
                conn.isolation_level = IsolationLevel.REPEATABLE_READ
                with conn.transaction():
                    return self._kept_or_made(conn, run)
        except BadColumns as error:
            raise damaged(error) from error
        except StoreUnavailable as error:
            raise store_away(error) from error
        except psycopg.Error as error:
            raise db.translate(error, {}) from error
        except OSError as error:
            raise DomainError(
                error_reason_pb2.ERROR_REASON_STORE_FULL,
                f"the server has no room for the file ({error.strerror}); try again when there is",
                retry_after_s=30,
            ) from error

    def _kept_or_made(self, conn: psycopg.Connection, run: RunAddress) -> BinaryIO:
        address = Run(run.tenant_id, run.run_id)
        archive_id = store.archive_of(conn, address)
        fresh, _ = store.count_points(conn, address)
        if archive_id and not fresh:
            return self._archives.open(archive_id)
        file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - given away; who reads it closes it
        try:
            content.write(conn, address, run.experiment_id, file, self._archives, uuid.uuid4())
        except BaseException:
            file.close()
            raise
        return file


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(_READ_BYTES)
    except StoreUnavailable as error:
        raise store_away(error) from error
