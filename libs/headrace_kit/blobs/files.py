"""Blobs in a folder: each a file of its own, which appears under its name only when all of it is on the disk."""

import contextlib
import errno
import fcntl
import io
import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from headrace_kit.blobs import BlobNotFound, StoreFull, StoreUnavailable, rules

_UNFINISHED: Final = ".unfinished"  # no key has a dot: never taken for blobs
# EFBIG: a limit on the size of files, of the file system or the process.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MISSING: Final = frozenset({errno.ENOENT, errno.EISDIR, errno.ENOTDIR})


class FileBlobs:
    """The store in `folder`, which `check` makes; one folder serves any number of processes of one machine.

    A file under way is locked by its process. So `check` tells those of the dead, and the folder's lock keeps it from
    looking between the making of a file and its locking.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[Path] = set()
        """Folders that are on the disk with all above them, as far as is known; none is ever taken away."""

    def put(self, key: str, data: BinaryIO) -> int:
        """As `Blobs.put`; returns when file and folders are on the disk."""
        path = self._path(key)
        unfinished = self._folder / _UNFINISHED / uuid.uuid4().hex
        with _new_file(unfinished) as file:
            size = _copy(data, file, key)
            with _translated(key, missing=StoreUnavailable):
                os.fsync(file.fileno())
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.replace(path)
                # Also the folders above: one of them may be as new as the file.
                for folder in path.parents[: len(path.relative_to(self._folder).parts)]:
                    _sync(folder)
                    if folder in self._kept:
                        break
                self._kept.add(path.parent)
        return size

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        """As `Blobs.get`. A blob deleted or replaced meanwhile is read on to its end."""
        path = self._path(key)
        left = rules.checked_range(offset, length)
        with _translated(key):
            file = path.open("rb", buffering=0)
        with file:
            with _translated(key):
                file.seek(offset)
            while left is None or left > 0:
                with _translated(key):
                    part = file.read(rules.PART_BYTES if left is None else min(left, rules.PART_BYTES))
                if not part:
                    return
                left = None if left is None else left - len(part)
                yield part

    def size(self, key: str) -> int:
        """As `Blobs.size`."""
        with _translated(key):
            return self._path(key).stat().st_size

    def delete(self, key: str) -> None:
        """As `Blobs.delete`. Folders stay: taking an empty one away could pull it from under a `put`."""
        path = self._path(key)
        with contextlib.suppress(BlobNotFound), _translated(key):
            path.unlink()
            _sync(path.parent)

    def keys(self, prefix: str) -> Iterator[str]:
        """As `Blobs.keys`; walks the one folder that the prefix names."""
        top = self._folder / rules.checked_prefix(prefix).rpartition("/")[0]
        with _translated(prefix):
            for folder, folders, files in os.walk(top, onerror=_raise_unless_missing):
                folders[:] = [name for name in folders if name != _UNFINISHED]
                for name in files:
                    key = (Path(folder) / name).relative_to(self._folder).as_posix()
                    if key.startswith(prefix):
                        yield key

    def check(self) -> None:
        """As `Blobs.check`; also removes what killed processes left."""
        unfinished = self._folder / _UNFINISHED
        with _translated(str(self._folder)):
            # Blobs are read through services, which know who may.
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished.mkdir(exist_ok=True)
            with _locked(unfinished, fcntl.LOCK_EX):
                for file in unfinished.iterdir():
                    # Locked: under way. Missing: finished just now.
                    with (
                        contextlib.suppress(BlockingIOError, FileNotFoundError),
                        _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
                    ):
                        file.unlink()
        rules.probe(self)

    def _path(self, key: str) -> Path:
        return self._folder / rules.checked_key(key)


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[io.FileIO]:
    """A file under way, ours as long as the block lasts; when it raises, the file goes."""
    with _translated(path.name, missing=StoreUnavailable), _locked(path.parent, fcntl.LOCK_SH):
        file = path.open("xb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        with file:
            yield file
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def _copy(data: BinaryIO, file: io.FileIO, key: str) -> int:
    """All of the data into the file; errors of the data go on as they are. Returns the size."""
    size = 0
    while part := data.read(rules.PART_BYTES):
        with _translated(key):
            _write_all(file, part)
        size += len(part)
    return size


def _write_all(file: io.FileIO, part: bytes) -> None:
    """A disk that fills up takes a part of it first and fails at the next write."""
    rest = memoryview(part)
    while rest:
        rest = rest[file.write(rest) :]


def _sync(folder: Path) -> None:
    with _opened(folder) as handle:
        os.fsync(handle)


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    """Holds a lock (flock) on the file or folder. Raises BlockingIOError where another has it and `how` says LOCK_NB."""
    with _opened(path) as handle:
        fcntl.flock(handle, how)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _raise_unless_missing(error: OSError) -> None:
    if error.errno not in _MISSING:
        raise error


@contextlib.contextmanager
def _translated(what: str, missing: type[BlobNotFound | StoreUnavailable] = BlobNotFound) -> Iterator[None]:
    """The operating system's errors as the port's."""
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING:
            raise missing(f"{what}: {error.strerror}") from error
        if error.errno in _FULL:
            raise StoreFull(f"{what}: {error.strerror}") from error
        raise StoreUnavailable(f"{what}: {error.strerror}") from error
