"""What was logged and is in no frame yet. No I/O, no locks: single points are appended freely, its owner guards the rest."""

from collections.abc import Callable
from typing import Any, Final

from headrace.api.tracking.v1.metrics_pb2 import Frame
from headrace.ingest.columns import FAR, Block, whole
from headrace.ingest.frames import Limits, as_blocks, make_frames

FIELDS: Final = 4
"""Items of one point in the list: key, value, step, seconds since 1970; of a block itself, and three that say nothing."""

_SLACK: Final = 1024  # of a full queue so small a part goes with its oldest points: what is behind them moves in memory


class PointQueue:
    """Points and blocks in the order in which they were logged, in one flat list.

    Flat, because so many small tuples keep the garbage collector busy, and because columns are cut out of it at the
    speed of C. `log` appends the fields of a point at once, which no other thread can come between; all else touches
    only what is in front of that.
    """

    def __init__(self) -> None:
        self.items: Final[list[Any]] = []
        """`log` adds points to it, all FIELDS at once, without a lock."""
        self.gone = 0
        """Points taken out so far, into frames or to be dropped."""
        self._blocks = 0
        self._in_blocks = 0  # their points

    def points(self) -> int:
        """How many points wait."""
        return len(self.items) // FIELDS - self._blocks + self._in_blocks

    def put(self, block: Block) -> None:
        """Takes a block, behind all that was logged before."""
        if len(block):
            self.items.extend((block, None, None, None))
            self._count(block, 1)

    def clear(self) -> None:
        """Drops all."""
        self.items.clear()
        self._blocks = self._in_blocks = 0

    def drop(self, down_to: int, *, oldest: bool = False) -> int:
        """Takes off the newest points until so many are left, or the oldest until so many are or a little fewer; how many went."""
        surplus = self.points() - down_to
        if surplus <= 0:
            return 0
        left = surplus + (down_to // _SLACK if oldest else 0)
        dropped = 0
        while self.items and dropped < left:
            dropped += self._take_off(left - dropped, oldest=oldest)
        self.gone += dropped
        return dropped

    def take_frames(self, limits: Limits, refuse: Callable[[str, int], None]) -> list[Frame]:
        """Frames of the oldest points, as many as one frame may have; `refuse` as of `as_blocks`."""
        items = self.items[: limits.points * FIELDS]
        blocks: list[Block] = []
        points = at = 0
        while at < len(items) and points < limits.points:
            room = limits.points - points
            if isinstance(items[at], Block):
                part, rest = items[at].cut(0, room), items[at].cut(room, len(items[at]))
                self._count(items[at], -1)
                blocks.append(part)
                points += len(part)
                if len(rest):
                    self.items[at] = rest
                    self._count(rest, 1)
                    break
                at += FIELDS
            else:
                stop = self._next_block(items, at, at + room * FIELDS)
                blocks += _singles(items[at:stop], refuse)
                points += (stop - at) // FIELDS
                at = stop
        del self.items[:at]
        self.gone += points
        return list(make_frames(blocks, limits))

    def _next_block(self, items: list[Any], start: int, stop: int) -> int:
        """Where the next block is; `stop`, or the end, where none is before."""
        stop = min(stop, len(items))
        if self._blocks == 0:  # the usual case
            return stop
        return next((at for at in range(start, stop, FIELDS) if isinstance(items[at], Block)), stop)

    def _take_off(self, most: int, *, oldest: bool) -> int:
        """Takes an item off an end, of a block so many points as are to go, of points as many; how many points went."""
        at = 0 if oldest else len(self.items) - FIELDS  # others may append behind it meanwhile
        item = self.items[at]
        if not isinstance(item, Block):
            gone = min(most, at // FIELDS + 1 if not oldest else most) if self._blocks == 0 else 1
            first = 0 if oldest else at - (gone - 1) * FIELDS
            del self.items[first : first + gone * FIELDS]
            return gone
        gone = min(most, len(item))
        rest = item.cut(gone, len(item)) if oldest else item.cut(0, len(item) - gone)
        self._count(item, -1)
        if len(rest):
            self.items[at] = rest
            self._count(rest, 1)
        else:
            del self.items[at : at + FIELDS]
        return gone

    def _count(self, block: Block, sign: int) -> None:
        self._blocks += sign
        self._in_blocks += sign * len(block)


def _singles(items: list[Any], refuse: Callable[[str, int], None]) -> list[Block]:
    """The points of a flat list, as blocks. Steps that are too far out are left out and told."""
    steps: list[int] = items[2::FIELDS]
    if steps and not (min(steps) > -FAR and max(steps) < FAR):
        items = _with_near_steps(items, refuse)
        steps = items[2::FIELDS]
    return as_blocks(items[0::FIELDS], items[1::FIELDS], steps, items[3::FIELDS], refuse)


def _with_near_steps(items: list[Any], refuse: Callable[[str, int], None]) -> list[Any]:
    near: list[Any] = []
    for at in range(0, len(items), FIELDS):
        try:
            whole(items[at + 2])
        except ValueError as error:
            refuse(str(error), 1)
        else:
            near += items[at : at + FIELDS]
    return near
