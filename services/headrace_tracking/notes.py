"""What a metric writer tells those who wait for a position: how far its partitions are applied. Pure text, of PostgreSQL's NOTIFY."""

from collections.abc import Iterable, Mapping
from typing import Final

CHANNEL: Final = "headrace_tracking_applied"
_LONGEST: Final = 7_999
"""Bytes that PostgreSQL takes: https://www.postgresql.org/docs/current/sql-notify.html"""


def written(offsets: Mapping[int, int]) -> str:
    """Of partitions and the offsets below which all is applied; nothing where it would be too long: then somebody has to look."""
    note = ",".join(f"{partition}:{offset}" for partition, offset in offsets.items())
    return note if len(note) <= _LONGEST else ""


def read(notes: Iterable[str]) -> dict[int, int]:
    """What `written` wrote, the later over the earlier. Raises ValueError for anything else, an empty note too."""
    moves = (move.partition(":") for note in notes for move in note.split(","))
    return {int(partition): int(offset) for partition, _, offset in moves}
