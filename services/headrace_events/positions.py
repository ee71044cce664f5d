"""Places on the bus, and cursors: places as a subscriber keeps them; pure.

A place says for every partition which offset comes next. A partition it does not name did not exist then, or had no
record: its next offset is 0.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Final

from headrace_kit.bus import Partition
from headrace_kit.errors import InvalidField

_VERSION: Final = 1
_OFFSET_LIMIT: Final = 1 << 63


def gap(here: Mapping[Partition, int], there: Mapping[Partition, int]) -> int:
    """How many offsets lie between, counting only partitions in which `there` is ahead; 0: `here` has all of it."""
    return sum(max(0, offset - here.get(partition, 0)) for partition, offset in there.items())


def encode(here: Mapping[Partition, int]) -> str:
    """A cursor."""
    offsets: dict[str, dict[int, int]] = {}
    for partition, offset in here.items():
        if offset:
            offsets.setdefault(partition.topic, {})[partition.number] = offset
    raw = json.dumps([_VERSION, offsets], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(cursor: str, topics: frozenset[str]) -> dict[Partition, int]:
    """The place of a cursor, of topics that there are. Raises InvalidField for what `encode` did not make."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, offsets = json.loads(raw)
        if version != _VERSION:
            raise _bad(f"is of version {version!r}; this Headrace knows version {_VERSION}")
        found = {
            Partition(topic, int(number)): _offset(offset)
            for topic, numbers in offsets.items()
            for number, offset in numbers.items()
        }
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise _bad("was not issued by Headrace") from None
    return {partition: offset for partition, offset in found.items() if partition.topic in topics}


def ahead_of_bus() -> InvalidField:
    """The error of a cursor that points to what the bus never had."""
    return _bad("is ahead of the bus: it is of another installation, or the bus was made anew")


def _offset(value: object) -> int:
    if type(value) is not int or not 0 <= value < _OFFSET_LIMIT:
        raise ValueError
    return value


def _bad(why: str) -> InvalidField:
    return InvalidField("cursor", f"{why}; send one from an earlier answer, or none with `from`")
