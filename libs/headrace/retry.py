"""When to try again, and how long to wait before."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from headrace import errors

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient a client is with a server that is away."""

    first_delay_s: float = 0.05
    most_delay_s: float = 3.0
    patience_s: float = 30.0
    """How long a call is tried again, once this client has reached the server or its gateway: long enough for a restart."""
    first_patience_s: float = 2.0
    """The same for a client that never reached either: a wrong address should be told soon."""


DEFAULT: Final = Policy()


class Backoff:
    """Delays that double from first to most, each drawn from its upper half so that clients do not march in step."""

    def __init__(self, policy: Policy = DEFAULT, draw: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._draw = draw
        self._attempts = 0

    def next(self, asked_s: float | None = None) -> float:
        """Seconds to wait before the next attempt; at least what the server asked for."""
        policy = self._policy
        longest = min(policy.most_delay_s, policy.first_delay_s * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return max(asked_s or 0.0, longest * (0.5 + 0.5 * self._draw()))

    def reset(self) -> None:
        """Begin anew: an attempt worked."""
        self._attempts = 0


def call(
    attempt: Callable[[], R],
    *,
    patience_s: Callable[[], float],
    policy: Policy = DEFAULT,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> R:
    """The result of the first attempt that works, for what may safely be done twice.

    Tries again after Unavailable, and after Overloaded where the server said when to come back. Raises the last error
    when the next attempt would begin more than `patience_s()` after the first failure; an attempt that lasted longer than
    that was getting somewhere, and its failure counts as a first one.
    """
    backoff = Backoff(policy)
    failing_since: float | None = None
    while True:
        began = now()
        try:
            return attempt()
        except (errors.Unavailable, errors.Overloaded) as error:
            if isinstance(error, errors.Overloaded) and error.retry_after_s is None:
                raise
            # Asked now: an attempt may have reached the server before it failed.
            patience = patience_s()
            if failing_since is None or now() - began > patience:
                failing_since = now()
                backoff.reset()
            delay = backoff.next(error.retry_after_s)
            if now() + delay > failing_since + patience:
                raise
        sleep(delay)
