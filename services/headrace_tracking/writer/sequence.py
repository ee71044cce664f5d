"""Which frames of a producer to apply: exactly the one after the last applied, each once, in order."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """What to do with the frames of one producer that arrived together."""

    applied_seq: int
    """The high-water mark afterwards."""
    apply: list[tuple[int, T | None]]
    """In order of seq; None stands for the frame that was parked under this seq."""
    park: list[tuple[int, T]]
    """Beyond a gap: to be kept until it closes."""


def plan(applied_seq: int, arrivals: Iterable[tuple[int, T]], parked: AbstractSet[int]) -> Plan[T]:
    """Of what has arrived behind `applied_seq` and what was parked before, the run without a gap is applied.

    Frames at or below the mark, and those that are parked already, are duplicates and dropped.
    """
    fresh: dict[int, T] = {}
    for seq, frame in arrivals:
        if seq > applied_seq and seq not in parked:
            fresh.setdefault(seq, frame)
    apply: list[tuple[int, T | None]] = []
    seq = applied_seq + 1
    while seq in fresh or seq in parked:
        apply.append((seq, fresh.pop(seq, None)))
        seq += 1
    return Plan(seq - 1, apply, sorted(fresh.items(), key=lambda item: item[0]))
