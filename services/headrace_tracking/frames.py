"""What a frame must be like, as far as edges look into it."""

from typing import Final

from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.errors import InvalidField
from headrace_kit.topics import FRAMES
from headrace_tracking import limits

MOST_POINTS: Final = 100_000
MOST_BYTES: Final = FRAMES.max_bytes - 4096
"""Of a serialized frame; the rest of a record is room for its address."""
PRODUCER_ID_BYTES: Final = 16

_KEYS_REMEMBERED: Final = 10_000


class HeaderCheck:
    """Checks the headers of frames; remembers good keys, as the same ones come again and again."""

    def __init__(self) -> None:
        self._good: set[str] = set()

    def __call__(self, frame: metrics_pb2.Frame) -> None:
        """Raises InvalidField ("series[3].key") for the first thing wrong. The columns are not looked into."""
        size = frame.ByteSize()
        if size > MOST_BYTES:
            raise InvalidField("columns", f"a frame may have {MOST_BYTES:,} bytes, got {size:,}: make smaller ones")
        points = 0
        for index, series in enumerate(frame.series):
            if not series.count:
                raise InvalidField(f"series[{index}].count", "must be at least 1, got 0")
            if series.key not in self._good:
                self._check_key(f"series[{index}].key", series.key)
            points += series.count
        if points > MOST_POINTS:
            raise InvalidField("series", f"a frame may have {MOST_POINTS:,} points, got {points:,}: make smaller ones")

    def _check_key(self, field: str, key: str) -> None:
        limits.key(field, key)
        if len(self._good) >= _KEYS_REMEMBERED:
            self._good.clear()
        self._good.add(key)


def points_of(frame: metrics_pb2.Frame) -> int:
    """How many points the headers say."""
    return sum(series.count for series in frame.series)
