"""What must begin anew in a forked child: sockets, threads and locks of the parent are of no use there."""

import os
from typing import Final, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Something that a forked child inherits in a state that only the parent can use."""

    def forked(self) -> None:
        """Called in the child, where one thread is left: drop what is the parent's, without closing it."""


_known: Final[WeakSet[Forkable]] = WeakSet()
_kept: Final[list[object]] = []


def watch(thing: Forkable) -> None:
    """Calls `thing.forked()` in every child forked from now on, as long as the thing lives."""
    _known.add(thing)


def keep(*things: object) -> None:
    """Keeps what a child inherited from the garbage collector, which would close the parent's sockets or cancel its calls."""
    _kept.extend(things)


def _in_child() -> None:
    for thing in tuple(_known):
        thing.forked()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)
