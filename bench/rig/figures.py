"""What a row finds: figures, each with what was measured beside it in the same run."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Spent = Mapping[str, float]
"""CPU seconds by group."""


@dataclass
class Beside:
    """A peer, or a raw limit: the same figure of something else."""

    name: str
    values: list[float]
    wanted: float | None = None
    """How many times better the issue wants Headrace to be."""
    note: str = ""

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.values)


@dataclass
class Figure:
    """One figure of Headrace."""

    name: str
    unit: str
    values: list[float]
    """One a round."""
    floor: float | None = None
    aim: float | None = None
    more_is_better: bool = True
    beside: list[Beside] = field(default_factory=list)
    cpu: dict[str, Spent] = field(default_factory=dict)
    """Who was measured → CPU seconds by group, for a million points; medians."""
    note: str = ""

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.values)

    def ratio(self, other: Beside) -> float:
        """How many times better than the other."""
        mine, its = (self.median, other.median) if self.more_is_better else (other.median, self.median)
        return mine / its if its else float("inf")

    def reaches(self, goal: float) -> bool:
        """Whether the median does."""
        return self.median >= goal if self.more_is_better else self.median <= goal

    @property
    def verdict(self) -> str:
        """What is reached, in a word."""
        wanted = [(self.ratio(other), other.wanted) for other in self.beside if other.wanted is not None]
        if any(ratio < least for ratio, least in wanted) or (self.floor is not None and not self.reaches(self.floor)):
            return "**below the floor**"
        if self.aim is not None and self.reaches(self.aim):
            return "aim"
        return "floor" if wanted or self.floor is not None else ""


@dataclass(frozen=True)
class Round:
    """One measurement of a rate."""

    points: int
    seconds: float
    cpu: Spent
    durable: float | None = None
    """Seconds until the last point was durable, where that is another moment."""

    @property
    def rate(self) -> float:
        """Points a second."""
        return self.points / self.seconds


def in_turn(contestants: Mapping[str, Callable[[], Round]], rounds: int) -> dict[str, list[Round]]:
    """A B C A B C ... A: each so many times, and the first once more, so that the machine's mood falls on all."""
    found: dict[str, list[Round]] = {name: [] for name in contestants}
    order = [*list(contestants) * rounds, next(iter(contestants))]
    for name in order:
        found[name].append(contestants[name]())
        print(f"        {name}: {found[name][-1].rate:,.0f} points/s", flush=True)
    return found


def per_million(rounds: Sequence[Round]) -> dict[str, float]:
    """CPU seconds for a million points, by group: medians."""
    groups = rounds[0].cpu
    return {name: statistics.median(each.cpu[name] / each.points * 1e6 for each in rounds) for name in groups}
