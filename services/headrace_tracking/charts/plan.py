"""Which width the buckets of a chart have, and what of each chunk they are made from; pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import Final

from headrace_tracking.store.charts import ChartChunk


class Level(IntEnum):
    """What is read of a chunk, the cheapest first."""

    COARSE = 0
    FINE = 1
    POINTS = 2


_COST: Final = {Level.COARSE: 1 / 200, Level.FINE: 1 / 20, Level.POINTS: 1}
_BATCH_COST: Final = 2_000_000  # points unpacked: 48 MB


@dataclass(frozen=True, slots=True)
class Source:
    """A chunk, and what is read of it."""

    chunk: ChartChunk
    level: Level


def sources(chunks: Sequence[ChartChunk], first: int, last: int, shift: int) -> Iterator[Source]:
    """Of chunks of one series by where they begin, those that matter between first and last (both included)."""
    inside = [chunk for chunk in chunks if chunk.least <= last and chunk.greatest >= first]
    for cluster in _clusters(inside):
        # Which point is the first or the last of a bin that chunks share, only the points can tell.
        alone = len(cluster) == 1
        yield from (Source(one, _level(one, first, last, shift) if alone else Level.POINTS) for one in cluster)


def batches(found: Sequence[Source]) -> Iterator[Sequence[Source]]:
    """The sources in parts that may be held in memory."""
    begin, cost = 0, 0.0
    for at, source in enumerate(found):
        cost += source.chunk.points * _COST[source.level]
        if cost > _BATCH_COST:
            yield found[begin : at + 1]
            begin, cost = at + 1, 0.0
    if begin < len(found):
        yield found[begin:]


def stretches(batch: Sequence[Source]) -> Iterator[tuple[Level, Sequence[Source]]]:
    """Neighbours of one series and one level."""
    by = groupby(batch, lambda source: (source.chunk.run_id, source.chunk.key, source.level))
    return ((level, list(group)) for (_, _, level), group in by)


def _clusters(chunks: Sequence[ChartChunk]) -> Iterator[Sequence[ChartChunk]]:
    """Chunks whose points lie among one another, by (time, step), and those that stand alone."""
    cluster: list[ChartChunk] = []
    end = (0, 0)
    for chunk in chunks:
        if cluster and chunk.begin > end:
            yield cluster
            cluster = []
        end = max(end, chunk.end) if cluster else chunk.end
        cluster.append(chunk)
    if cluster:
        yield cluster


def _level(chunk: ChartChunk, first: int, last: int, shift: int) -> Level:
    """The coarsest whose bins each lie in one bucket, and wholly inside or outside of first to last."""
    for level, own in ((Level.COARSE, chunk.coarse_shift), (Level.FINE, chunk.fine_shift)):
        if own is None or own > shift:
            continue
        within = (1 << own) - 1
        if (first <= chunk.least or not first & within) and (last >= chunk.greatest or not (last + 1) & within):
            return level
    return Level.POINTS
