"""Archivers in tests: a store that lets things happen while a file goes up, and runs that have ended."""

import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

import psycopg

from headrace_kit.blobs import Blobs
from headrace_tracking.archiver.content import SIZES, Sizes
from headrace_tracking.archiver.step import Archiver, When
from headrace_tracking.archives import Archives
from headrace_tracking.writer.applier import connect

AT_ONCE = When(after_ms=0, least_points=1, lease_s=0.0, unused_s=0.0)
SMALL = Sizes(chunk_points=4, group_points=8, fetch=2)


@dataclass
class Watched:
    """A store; `meanwhile` is called when a file has gone up and nobody knows of it yet."""

    blobs: Blobs
    meanwhile: Callable[[], None] = lambda: None
    reads: list[str] = field(default_factory=list)

    def put(self, key: str, data: BinaryIO) -> int:
        size = self.blobs.put(key, data)
        self.meanwhile()
        return size

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        self.reads.append(key)
        return self.blobs.get(key, offset, length)

    def size(self, key: str) -> int:
        return self.blobs.size(key)

    def delete(self, key: str) -> None:
        self.blobs.delete(key)

    def keys(self, prefix: str) -> Iterator[str]:
        return self.blobs.keys(prefix)

    def check(self) -> None:
        self.blobs.check()


def archiver(
    dsn: str, stack: ExitStack, blobs: Blobs, archives: Archives, when: When = AT_ONCE, sizes: Sizes = SIZES
) -> Archiver:
    conn = connect(dsn)
    stack.callback(conn.close)
    return Archiver(conn, blobs, archives, when, sizes=sizes)


def end(dsn: str, run_id: uuid.UUID) -> None:
    """The run has ended long ago."""
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE tracking.runs SET state = 'FINISHED', end_ms = 1 WHERE run_id = %s", [run_id])


def all_archived(archiver: Archiver) -> None:
    """Steps until there is nothing to do."""
    while archiver.step():
        pass
