"""What both sides of an import have, thing by thing, and where they differ. For any number of threads."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headrace.imports.checksum import KINDS, Kind, Total, Totals, together


@dataclass(frozen=True, slots=True)
class Difference:
    """A thing that is not the same on both sides."""

    thing: str
    """Such as "run 4f0c..."."""
    kind: Kind
    source: Total
    target: Total

    def __str__(self) -> str:
        if self.source.count != self.target.count:
            return f"{self.thing}: {self.source.count:,} {self.kind} in the source, {self.target.count:,} here"
        return f"{self.thing}: {self.kind} differ ({self.source.count:,} on both sides)"


@dataclass(slots=True)
class Report:
    """Filled while things are brought over and read back."""

    changed: int = 0
    """Things that were not as they were to be."""
    points_sent: int = 0
    files_sent: int = 0
    bytes_sent: int = 0
    repeats: int = 0
    """Points that the source has more than once, to the bit: they are kept once."""
    left_out: Counter[str] = field(default_factory=Counter)
    """What the source has and a Headrace has no place for, or what could not be read, by kind."""
    notes: list[str] = field(default_factory=list)
    """What could not be kept as it was, in words."""
    failures: list[str] = field(default_factory=list)
    """What could not be brought over, and why."""
    source: dict[str, Totals] = field(default_factory=dict)
    target: dict[str, Totals] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, changed: int = 0, points: int = 0, files: int = 0, size: int = 0, repeats: int = 0) -> None:
        """Counts what was done."""
        with self._lock:
            self.changed += changed
            self.points_sent += points
            self.files_sent += files
            self.bytes_sent += size
            self.repeats += repeats

    def leave(self, kinds: Mapping[str, int]) -> None:
        """Counts what did not come."""
        with self._lock:
            self.left_out += Counter(kinds)  # which drops zeros

    def note(self, text: str) -> None:
        """Once each."""
        with self._lock:
            if text not in self.notes:
                self.notes.append(text)

    def fail(self, thing: str, why: object) -> None:
        """Something that is not there now, or not whole."""
        with self._lock:
            self.failures.append(f"{thing}: {why}")

    def differences(self) -> Iterator[Difference]:
        """In the order in which the things were read."""
        for thing, has in self.source.items():
            got = self.target.get(thing, {})
            for kind in KINDS:
                if has.get(kind, Total()) != got.get(kind, Total()):
                    yield Difference(thing, kind, has.get(kind, Total()), got.get(kind, Total()))

    def sums(self) -> tuple[Mapping[Kind, Total], Mapping[Kind, Total]]:
        """Of all things, in the source and here."""
        return together(self.source.values()), together(self.target.values())

    @property
    def well(self) -> bool:
        """Whether all is here, and the same."""
        return not self.failures and next(self.differences(), None) is None
