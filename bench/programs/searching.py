"""One search after the other, whoever answers them."""

from collections.abc import Callable, Sequence

from programs.wire import hear, now, say

Search = dict[str, str]
"""A filter and an order."""


def answer(searches: Sequence[Search], search: Callable[[Search], list[float]]) -> None:
    """Makes the first one to warm up; at a word of the bench all of them, and says how long each took and what it found."""
    search(searches[0])
    say(ready=True)
    hear()
    seconds: list[float] = []
    results: list[list[float]] = []
    for each in searches:
        began = now()
        results.append(search(each))
        seconds.append(now() - began)
    say(seconds=seconds, results=results)
    hear()
