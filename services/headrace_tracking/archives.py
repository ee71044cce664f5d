"""The points of finished runs, read back from their Parquet files in the object store.

One function, `columns_of`, makes points of a chunk's row, wherever its bytes are. What it needs of archives must have
been read before: edges do that between two transactions, as a store may take long, others by `Archives.columns`.
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple, cast
from uuid import UUID

from typing_extensions import override

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.blobs import BlobNotFound, Blobs, StoreUnavailable
from headrace_kit.errors import DomainError
from headrace_tracking import chunks
from headrace_tracking.chunks import Stored
from headrace_tracking.columns import BadColumns, Columns, Zstd

_KEPT_BYTES: Final = 96 << 20  # four row groups of a million points
_POINT_BYTES: Final = 24


class Part(NamedTuple):
    """Some rows of an archive's row group, the points of a chunk; they never change."""

    archive_id: UUID
    row_group: int
    first_row: int
    points: int


Held = Mapping[Part, Columns]
"""What was read of archives."""
_RowGroup = tuple[UUID, int]


class Unread(Exception):  # noqa: N818 - says what happened
    """These must be read first."""

    def __init__(self, parts: Collection[Part]) -> None:
        super().__init__(f"{len(parts)} parts of archives were not read yet")
        self.parts = parts


def blob_key(archive_id: UUID) -> str:
    """Where the object store has the archive."""
    return f"metrics/{archive_id}"


def parts_of(rows: Iterable[Stored]) -> set[Part]:
    """What these chunks have in archives."""
    return {part for row in rows if (part := _part_of(row))}


def columns_of(row: Stored, held: Held, zstd: Zstd) -> Columns:
    """The points of a chunk. Raises BadColumns for damage, Unread when they are in an archive and not in `held`."""
    part = _part_of(row)
    if part is None:
        return chunks.unpack(row.points, row.data or b"", zstd)
    if part not in held:
        raise Unread([part])
    return held[part]


def _part_of(row: Stored) -> Part | None:
    if row.archive_id is None or row.row_group is None or row.first_row is None:
        return None
    return Part(row.archive_id, row.row_group, row.first_row, row.points)


class Archives:
    """Reads archives, and keeps the row groups that were read last. Threads may share it; all calls block."""

    def __init__(self, blobs: Blobs | None, kept_bytes: int = _KEPT_BYTES) -> None:
        """Without `blobs`, reading an archive raises StoreUnavailable."""
        self._blobs = blobs
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[_RowGroup, Columns] = OrderedDict()

    def columns(self, rows: Sequence[Stored], zstd: Zstd) -> list[Columns]:
        """The points of these chunks. Raises as `read`, and BadColumns for a damaged chunk."""
        held = self.read(parts_of(rows))
        return [columns_of(row, held, zstd) for row in rows]

    def read(self, parts: Collection[Part]) -> dict[Part, Columns]:
        """Raises BadColumns when an archive is damaged or gone, naming it; StoreUnavailable."""
        return {part: self._part(part) for part in sorted(parts)}

    def _part(self, part: Part) -> Columns:
        group = part.archive_id, part.row_group
        whole = self._found(group) or self._fetched(group)
        found = whole[part.first_row : part.first_row + part.points]
        if len(found) != part.points:
            raise BadColumns(f"archive {blob_key(part.archive_id)} row group {part.row_group}: has too few rows")
        # Copies: a chunk that somebody holds must not keep the whole row group.
        return Columns(found.steps.copy(), found.times.copy(), found.values.copy())

    def open(self, archive_id: UUID) -> BinaryIO:
        """The file of an archive, which may be read anywhere. Opening and reading raise as `read`."""
        if self._blobs is None:
            raise StoreUnavailable(
                "this run is archived, and no object store is set: HEADRACE_S3_ENDPOINT or HEADRACE_ARCHIVE_DIR"
            )
        return cast("BinaryIO", _BlobFile(self._blobs, blob_key(archive_id)))

    def _found(self, group: _RowGroup) -> Columns | None:
        with self._lock:
            if group in self._kept:
                self._kept.move_to_end(group)
            return self._kept.get(group)

    def _fetched(self, group: _RowGroup) -> Columns:
        from headrace_tracking import parquet  # noqa: PLC0415 - takes 0.15 s, and most processes never need it

        archive_id, number = group
        file = self.open(archive_id)
        try:
            points = parquet.read(file, parquet.footer(file), number)
        except BadColumns as error:
            raise BadColumns(f"archive {blob_key(archive_id)} {error}") from error
        self._keep(group, points)
        return points

    def _keep(self, group: _RowGroup, points: Columns) -> None:
        with self._lock:
            self._kept[group] = points
            while sum(len(kept) for kept in self._kept.values()) * _POINT_BYTES > self._kept_bytes:
                self._kept.popitem(last=False)


def store_away(error: StoreUnavailable) -> DomainError:
    """The error of points that cannot be read just now."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
        f"the object store, which has the points of this run, does not answer now; try again ({error})",
        retry_after_s=1,
    )


@contextmanager
def _lost(key: str) -> Iterator[None]:
    try:
        yield
    except BlobNotFound as error:
        raise BadColumns(f"archive {key} is not in the object store") from error


class _BlobFile(io.RawIOBase):
    """A blob as a file that can be read anywhere."""

    def __init__(self, blobs: Blobs, key: str) -> None:
        super().__init__()
        self._blobs = blobs
        self._key = key
        self._at = 0
        with _lost(key):
            self._size = blobs.size(key)

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    @override
    def tell(self) -> int:
        return self._at

    @override
    def read(self, size: int = -1, /) -> bytes:
        left = self._size - self._at
        wanted = left if size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        with _lost(self._key):
            data = b"".join(self._blobs.get(self._key, self._at, wanted))
        self._at += len(data)
        return data
