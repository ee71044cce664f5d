"""What happens to which process, and when: drawn from a seed."""

import random
from dataclasses import dataclass
from typing import Final, Literal

Target = Literal["client", "tracking-0", "tracking-1", "kafka", "postgres"]
TARGETS: Final[tuple[Target, ...]] = ("client", "tracking-0", "tracking-1", "kafka", "postgres")
WINDOW_S: Final = 1.5
"""Faults begin within."""
LONG_PAUSE_S: Final = 7.0
"""Longer than Kafka bears the silence of a member of a group: the writer wakes up as no owner."""


@dataclass(frozen=True)
class Fault:
    """kill -9 and a start, or SIGSTOP and SIGCONT, `for_s` apart. A client that was killed does not come back."""

    at_s: float
    target: Target
    kind: Literal["kill", "pause"]
    for_s: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} at {self.at_s:.2f} s for {self.for_s:.2f} s"


def draw(seed: int) -> list[Fault]:
    """One to three faults, each of another process; they may overlap."""
    chance = random.Random(seed)
    return [_fault(chance, target) for target in chance.sample(TARGETS, chance.choice([1, 2, 2, 3]))]


def _fault(chance: random.Random, target: Target) -> Fault:
    # A broker takes seconds to come back, so that is drawn less often.
    kind: Literal["kill", "pause"] = "kill" if chance.random() < (0.15 if target == "kafka" else 0.6) else "pause"
    for_s = chance.uniform(0.05, 1.5)
    if kind == "pause" and target.startswith("tracking") and chance.random() < 0.15:
        for_s = LONG_PAUSE_S
    return Fault(chance.uniform(0, WINDOW_S), target, kind, for_s)
