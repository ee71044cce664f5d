"""What was logged and is in no frame yet. No I/O, no locks: single points are appended freely, its owner guards the rest."""

from collections import deque
from collections.abc import Callable
from typing import Final

from headrace.api.tracking.v1.metrics_pb2 import Frame
from headrace.ingest.columns import Block
from headrace.ingest.frames import Limits, Point, make_frames, make_mixed_frames


class PointQueue:
    """Points and blocks in the order in which they were logged."""

    def __init__(self) -> None:
        self.items: Final[deque[Point | Block]] = deque()
        """`log` appends points to it without a lock."""
        self.gone = 0
        """Points taken out so far, into frames or to be dropped."""
        self._in_blocks = 0  # points of the blocks, less the number of blocks

    def points(self) -> int:
        """How many points wait."""
        return len(self.items) + self._in_blocks

    def put(self, block: Block) -> None:
        """Takes a block, behind all that was logged before."""
        if len(block):
            self._put_back(block, first=False)

    def clear(self) -> None:
        """Drops all."""
        self.items.clear()
        self._in_blocks = 0

    def drop(self, down_to: int, *, oldest: bool = False) -> int:
        """Takes off the newest points, or the oldest, until so many are left; how many went."""
        dropped = 0
        while (surplus := self.points() - down_to) > 0:
            dropped += self._take_off(surplus, oldest=oldest)
        self.gone += dropped
        return dropped

    def take_frames(self, limits: Limits, refuse: Callable[[str, int], None]) -> list[Frame]:
        """Frames of the oldest points, as many as one frame may have; `refuse` as of `make_frames`."""
        if self._in_blocks == 0:  # the usual case, at a third of the cost
            found = [self.items.popleft() for _ in range(min(len(self.items), limits.points))]
            made = list(make_frames(found, limits, refuse))  # type: ignore[arg-type] # no block is in it
            self.gone += len(found)
            return made
        items, points = self._next_items(limits.points)
        made = list(make_mixed_frames(items, limits, refuse))
        self.gone += points
        return made

    def _take_off(self, most: int, *, oldest: bool) -> int:
        """Takes one item off an end, or of a block so many points as are to go; how many points went."""
        item = self.items.popleft() if oldest else self.items.pop()
        if not isinstance(item, Block):
            return 1
        gone = min(most, len(item))
        rest = item.cut(gone, len(item)) if oldest else item.cut(0, len(item) - gone)
        self._in_blocks -= len(item) - 1
        if len(rest):
            self._put_back(rest, first=oldest)
        return gone

    def _put_back(self, rest: Block, *, first: bool) -> None:
        """Queues a block at an end; one of a single point as that point, so that `_in_blocks` is 0 only without blocks."""
        item = rest if len(rest) > 1 else (rest.key, rest.values[0], rest.steps[0], rest.times[0])
        self._in_blocks += len(rest) - 1
        if first:
            self.items.appendleft(item)
        else:
            self.items.append(item)

    def _next_items(self, most: int) -> tuple[list[Point | Block], int]:
        """The oldest items that together have at most so many points, and how many they have."""
        items: list[Point | Block] = []
        points = 0
        while self.items and points < most:
            item = self.items.popleft()
            if isinstance(item, Block):
                self._in_blocks -= len(item) - 1
                if len(item) > most - points:
                    self._put_back(item.cut(most - points, len(item)), first=True)
                    item = item.cut(0, most - points)
                points += len(item)
            else:
                points += 1
            items.append(item)
        return items, points
