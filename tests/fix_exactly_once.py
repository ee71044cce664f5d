"""What "every acknowledged point exactly once, in order" means, for one producer; each way to break it has a name."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import TypeVar

P = TypeVar("P", bound=Hashable)


class Lost(AssertionError):  # noqa: N818 - says what happened
    """A point that was acknowledged does not show."""


class Doubled(AssertionError):  # noqa: N818 - says what happened
    """A point shows more than once."""


class OutOfOrder(AssertionError):  # noqa: N818 - says what happened
    """A point shows, and one that was logged before it does not; or a frame shows in part."""


class Foreign(AssertionError):  # noqa: N818 - says what happened
    """A point shows that nobody logged."""


class TwoOwners(AssertionError):  # noqa: N818 - says what happened
    """A writer moved a partition that has another owner."""


def judge(frames: Sequence[Collection[P]], visible: Iterable[P], *, acknowledged: int) -> int:
    """How many of a producer's first frames show, empty ones included; the first `acknowledged` must.

    `frames` are its points in the order in which they were logged, no two the same; `visible` is what shows of them.
    """
    shown = Counter(visible)
    twice = [point for point, times in shown.items() if times > 1]
    if twice:
        raise Doubled(f"{len(twice)} points show more than once, {twice[0]} {shown[twice[0]]} times")
    unknown = shown.keys() - {point for frame in frames for point in frame}
    if unknown:
        raise Foreign(f"{len(unknown)} points show that nobody logged: {next(iter(unknown))}")
    missing = [seq for seq, frame in enumerate(frames, 1) if not shown.keys() >= set(frame)]
    if missing and missing[0] <= acknowledged:
        raise Lost(f"frame {missing[0]} does not show, though the first {acknowledged} are acknowledged")
    first = missing[0] if missing else len(frames) + 1
    early = [point for frame in frames[first - 1 :] for point in frame if point in shown]
    if early:
        raise OutOfOrder(f"{early[0]} shows before all of frame {first} does")
    return first - 1
