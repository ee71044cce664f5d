"""Disks that are full when a test wants them to be: a tmpfs of a few MiB."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MNT_DETACH: Final = 2
_CHUNK: Final = 1 << 16


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own at `folder`, which is made. Needs root, or a namespace in which one may mount."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={megabytes}m,mode=755".encode()
    if libc.mount(b"headrace-faults", os.fsencode(folder), b"tmpfs", 0, options) != 0:
        code = ctypes.get_errno()
        raise PermissionError(
            code,
            f"cannot mount a small disk ({os.strerror(code)}): be root, or put before the command:"
            " unshare --user --mount --map-current-user --keep-caps",
        )
    try:
        yield folder
    finally:
        libc.umount2(os.fsencode(folder), _MNT_DETACH)


def fill(disk: Path) -> Path:
    """Writes a file until there is no room for one more byte; to be deleted again."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (_CHUNK, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast
