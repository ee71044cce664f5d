"""Which chunks of a series to merge; pure."""

from collections.abc import Iterator, Sequence
from typing import Final

FEWEST: Final = 8
"""Fewer are not worth a transaction: what is left unmerged of a series is a few kilobytes."""


def groups(sizes: Sequence[int], full: int, fewest: int = FEWEST) -> Iterator[range]:
    """Neighbours to be made one, given the points of a series' chunks in their order.

    Chunks of `full` points or more stay as they are, and none is reached over, as the whole would overlap it.
    A group holds at least twice the points of its largest: so a point is rewritten at most log2(full) times, however
    slowly its series grows.
    """
    start = 0
    for end in range(len(sizes) + 1):
        if end == len(sizes) or sizes[end] >= full:
            yield from _doubling(sizes, start, end, fewest)
            start = end + 1


def _doubling(sizes: Sequence[int], start: int, end: int, fewest: int) -> Iterator[range]:
    if end - start < fewest:
        return
    largest = max(range(start, end), key=sizes.__getitem__)
    if 2 * sizes[largest] <= sum(sizes[start:end]):
        yield range(start, end)
        return
    # It holds more than half of all: each side has less than half, so this ends soon.
    yield from _doubling(sizes, start, largest, fewest)
    yield from _doubling(sizes, largest + 1, end, fewest)
