"""What happens to which process, and when: drawn from a seed."""

import random
from dataclasses import dataclass
from typing import Final, Literal

Target = Literal["client", "tracking", "edge", "writer", "kafka", "postgres"]
Kind = Literal["kill", "pause", "stop"]
SERVICES: Final[tuple[Target, ...]] = ("tracking", "edge", "writer")
_TARGETS: Final[dict[Target, int]] = {"client": 2, "tracking": 2, "edge": 2, "writer": 2, "kafka": 4, "postgres": 2}
MOST: Final = 3
"""Faults of one schedule."""
WINDOW_S: Final = 1.0
"""Faults begin within."""
LONG_PAUSE_S: Final = 7.0
"""Longer than Kafka bears the silence of a member of a group: the writer wakes up as no owner."""
SILENCE_S: Final = 3.5
"""Longer than a client takes a server that says nothing for one that is there: its points go to the spool."""


@dataclass(frozen=True)
class Fault:
    """kill -9 and a start, SIGSTOP and SIGCONT, or SIGTERM and a start, `for_s` apart."""

    at_s: float
    target: Target
    kind: Kind
    for_s: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} at {self.at_s:.2f} s for {self.for_s:.2f} s"


def draw(seed: int) -> list[Fault]:
    """One to three faults, each of another process; they may overlap. One schedule in six kills a client that spools."""
    chance = random.Random(seed)
    if chance.random() < 1 / 6:
        return _orphaned(chance)
    drawn = chance.sample(list(_TARGETS), chance.choice([1, 2, 2, MOST]), counts=list(_TARGETS.values()))
    return [_fault(chance, target) for target in dict.fromkeys(drawn)]


def _orphaned(chance: random.Random) -> list[Fault]:
    """The client dies while no edge answers, or none acknowledges, and leaves a spool file."""
    at_s = chance.uniform(0.2, 0.6)
    if chance.random() < 0.3:
        silent = Fault(at_s, "kafka", "pause", SILENCE_S)
        return [silent, Fault(at_s + chance.uniform(2.3, SILENCE_S), "client", "kill", 0.0)]
    away = [Fault(at_s, target, "kill", 1.5) for target in ("tracking", "edge")]
    return [*away, Fault(at_s + chance.uniform(0.7, 1.5), "client", "kill", 0.0)]


def _fault(chance: random.Random, target: Target) -> Fault:
    kinds: list[Kind] = ["kill", "pause"]
    if target in SERVICES:
        kinds.append("stop")
    kind = chance.choice(kinds)
    for_s = chance.uniform(0.05, 1.0)
    if kind == "pause" and chance.random() < 0.1:
        for_s = SILENCE_S if target in {"kafka", "edge", "postgres"} else LONG_PAUSE_S
    return Fault(chance.uniform(0, WINDOW_S), target, kind, for_s)
