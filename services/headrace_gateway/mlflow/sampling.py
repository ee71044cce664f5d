"""Fewer points of a series that look the same; pure."""

import itertools

import numpy as np
from numpy.typing import NDArray


def thinned(values: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Which of the values to keep, in order, at most `most` (1 or more) of them.

    The first and the last one, and of each of the stretches between, all of one length give or take one, the least and the
    greatest: a spike is never lost, where every n-th point would lose it. NaN counts only where there is nothing else.
    """
    count = len(values)
    if count <= most:
        return np.arange(count)
    stretches = (most - 2) // 2
    if stretches < 1:
        return np.array([0, count - 1])[-most:]
    bounds = np.linspace(1, count - 1, stretches + 1).astype(np.intp)
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    kept = [np.array([0, count - 1])]
    for start, behind in itertools.pairwise(bounds):
        kept.append(start + np.array([low[start:behind].argmin(), high[start:behind].argmax()]))
    return np.unique(np.concatenate(kept))
