"""Tables of 8-byte numbers as planes of bytes: the lowest bytes of all numbers first, then the next; zstd makes little of them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace_tracking.columns import Ints

_WIDTH: Final = 8
_FEW: Final = 8  # one in so many at most: then it is faster to take only those with more than the lowest byte


def split(table: Ints) -> NDArray[np.uint8]:
    """Of little-endian rows of columns: planes of rows of columns. So `[:, :, start:stop].tobytes()` are the planes of a part."""
    rows, columns = table.shape
    split = np.empty((_WIDTH, rows, columns), np.uint8)
    for row, numbers in enumerate(table):
        raw = numbers.view(np.uint8).reshape(columns, _WIDTH)
        large = numbers >> 8 != 0
        if _FEW * np.count_nonzero(large) < columns:
            split[0, row] = raw[:, 0]
            split[1:, row] = 0
            at = np.flatnonzero(large)
            split[1:, row, at] = raw[at, 1:].T
        else:
            split[:, row] = raw.T
    return split


def joined(data: bytes, rows: int) -> Ints:
    """The table that `split` was given, by all its bytes."""
    columns = len(data) // (_WIDTH * rows)
    planes = np.frombuffer(data, np.uint8).reshape(_WIDTH, rows * columns)
    numbers = np.empty((rows * columns, _WIDTH), np.uint8)
    for at in range(_WIDTH):  # a column at a time: a third of what numpy's own transposing takes
        numbers[:, at] = planes[at]
    return numbers.view("<i8").reshape(rows, columns)
