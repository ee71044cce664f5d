"""How long one call takes: bursts of ten with a millisecond between, as a training loop has other work too."""

import time
from collections.abc import Callable
from time import perf_counter_ns

_BURST = 10
_PAUSE_S = 0.001


def measure(call: Callable[[int], object], calls: int) -> dict[str, float]:
    """p50, p99.9 and the mean of a call in microseconds; the clock's own 0.05 are in them."""
    for number in range(_BURST):
        call(number)
    spent: list[int] = []
    for start in range(0, calls, _BURST):
        time.sleep(_PAUSE_S)
        for number in range(start, start + _BURST):
            began = perf_counter_ns()
            call(number)
            spent.append(perf_counter_ns() - began)
    spent.sort()
    return {
        "p50": spent[len(spent) // 2] / 1e3,
        "p99.9": spent[min(len(spent) - 1, len(spent) * 999 // 1000)] / 1e3,
        "mean": sum(spent) / len(spent) / 1e3,
    }
