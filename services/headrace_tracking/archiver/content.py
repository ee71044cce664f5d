"""What goes into the file of a run: every series in its order, in full row groups, with bounded memory."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final
from uuid import UUID

from headrace.versions import version
from headrace_tracking import chunks
from headrace_tracking.archiver import store
from headrace_tracking.archives import Archives
from headrace_tracking.chunks import Chunk
from headrace_tracking.columns import Columns, Zstd
from headrace_tracking.writer.store import Connection, Run, Series


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is put together."""

    chunk_points: int = chunks.MOST_POINTS
    group_points: int = 100 * chunks.MOST_POINTS
    """In a row group: what a reader of one page must decode, 24 MB, and a multiple of a chunk."""
    fetch: int = 100
    """Chunks read at once: full ones take 24 MB."""


SIZES: Final = Sizes()


@dataclass(slots=True)
class Written:
    """What a file holds."""

    points: int = 0
    chunks: list[tuple[Series, Chunk]] = field(default_factory=list)
    """The rows that name its places."""
    taken: "array[int]" = field(default_factory=lambda: array("q"))
    """The ids of the chunks that it was made of."""


def facts(run: Run, experiment_id: int) -> Mapping[str, str]:
    """What the file says of itself; nothing of the tenant, as people pass files on."""
    return {
        "headrace.run_id": run.run_id.hex,
        "headrace.experiment_id": str(experiment_id),
        "headrace.version": version(),
    }


def write(
    conn: Connection,
    run: Run,
    experiment_id: int,
    file: BinaryIO,
    archives: Archives,
    archive_id: UUID,
    sizes: Sizes = SIZES,
) -> Written:
    """Writes the file of a run; series by key, points of streams and of unary calls in row groups of their own.

    Nobody may merge or archive chunks of the run meanwhile, unless this is in one snapshot. Chunks that come meanwhile
    are taken or left. Raises BadColumns for a damaged chunk, StoreUnavailable for archived points, OSError for a full disk.
    """
    from headrace_tracking import parquet  # noqa: PLC0415 - as in `archives`

    written = Written()
    zstd = Zstd()
    with parquet.Writer(file, facts(run, experiment_id)) as writer:
        for series in store.series_of(conn, run):
            pieces = _points(conn, series, archives, zstd, written.taken, sizes.fetch)
            for points in _joined(pieces, sizes.group_points):
                number = writer.add(series.key, points)
                rows = chunks.archived(points, zstd, archive_id, number, sizes.chunk_points)
                written.chunks += [(series, chunk) for chunk in rows]
                written.points += len(points)
    return written


def _points(
    conn: Connection, series: Series, archives: Archives, zstd: Zstd, taken: "array[int]", fetch: int
) -> Iterator[Columns]:
    """The points of a series in their order, piece by piece; notes the ids of their chunks."""
    rest = Columns.joined([])
    after = store.BEFORE_ALL
    while rows := store.chunks_after(conn, series, after, fetch):
        taken.extend(row.chunk_id for row in rows)
        read = chunks.ordered(Columns.joined([rest, *archives.columns(rows, zstd)]))
        after = rows[-1].place
        # Chunks come by where they begin: points before the last one's beginning have nothing to fear from the next.
        settled = chunks.count_before(read, after.first_time_ms, after.first_step)
        yield read[:settled]
        rest = read[settled:]
    yield rest


def _joined(pieces: Iterable[Columns], most: int) -> Iterator[Columns]:
    """The same points in pieces of exactly `most`, but the last."""
    kept: list[Columns] = []
    size = 0
    for piece in pieces:
        left = piece
        while len(left):
            part, left = left[: most - size], left[most - size :]
            kept.append(part)
            size += len(part)
            if size == most:
                yield Columns.joined(kept)
                kept, size = [], 0
    if size:
        yield Columns.joined(kept)
