"""Files of records that survive the death of the process that writes them.

A file is a magic, then records: length and CRC-32 of the payload (8 bytes, little-endian), then the payload. The first
payload is a JSON object that says whose records follow. They are written without fsync: they survive a kill -9 of the
process, whose writes the kernel has, but not a crash of the machine. Whoever uses a file holds a lock on it, which ends
with the process; what is torn at the end is cut by the next reader.
"""

import contextlib
import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Final, Self

try:
    import fcntl
except ImportError:  # Windows: no locks, so no such files there
    fcntl = None  # type: ignore[assignment] # asked for below

_HEAD: Final = struct.Struct("<II")
_MOST_PAYLOAD: Final = 64 << 20  # a longer record is a broken length; the longest ones have a few MiB


def supported() -> bool:
    """Whether this system can lock files as it is needed here."""
    return fcntl is not None


class RecordFile:
    """One open and locked file. Not for several threads at once."""

    def __init__(self, path: Path, file: FileIO, header: Mapping[str, Any], size: int, most_bytes: int) -> None:
        self.path = path
        self.header = header
        self.size = size
        """Bytes up to the end of the last whole record."""
        self._file = file
        self._most_bytes = most_bytes

    @classmethod
    def create(cls, path: Path, magic: bytes, header: Mapping[str, Any], most_bytes: int) -> Self:
        """Makes the file; it has its name only once it is locked and says whose it is. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():  # never over records that wait to be sent
            raise FileExistsError(errno.EEXIST, "there is such a file already", str(path))
        new = path.with_suffix(".new")
        file = FileIO(os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+")
        try:
            _lock(file)
            made = cls(path, file, header, 0, most_bytes)
            made._write(magic)
            made._write(_record(json.dumps(header).encode()))
            new.rename(path)
        except BaseException:
            file.close()
            new.unlink(missing_ok=True)
            raise
        return made

    @classmethod
    def recover(cls, path: Path, magic: bytes) -> Self | None:
        """Opens what an ended process left; None where it is in use, gone, or another kind of file.

        May not be appended to before `records` was read to its end.
        """
        try:
            file = FileIO(os.open(path, os.O_RDWR), "r+")
        except FileNotFoundError:
            return None
        header: object = None
        try:
            _lock(file)
            if os.fstat(file.fileno()).st_nlink > 0 and file.read(len(magic)) == magic:
                header = json.loads(_next_payload(file) or b"null")
        except (BlockingIOError, ValueError):
            pass
        if not isinstance(header, dict):
            file.close()
            return None
        return cls(path, file, header, file.tell(), 1 << 62)

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Of a recovered file: where each whole record begins, and its payload. Cuts off what is torn behind them."""
        while True:
            self._file.seek(self.size)
            if (payload := _next_payload(self._file)) is None:
                break
            start, self.size = self.size, self._file.tell()
            yield start, payload
        self.cut(self.size)

    def append(self, payload: bytes) -> int:
        """Adds a record; where it begins. Raises OSError, with the file as before, where there is no room."""
        record = _record(payload)
        start = self.size
        if start + len(record) > self._most_bytes:
            raise OSError(errno.EDQUOT, f"the spool file has its limit of {self._most_bytes:,} bytes")
        try:
            self._write(record)
        except OSError:
            self.cut(start)
            raise
        return start

    def read(self, start: int) -> bytes | None:
        """The payload of the record that begins there; None where the disk does not give back what was written."""
        self._file.seek(start)
        return _next_payload(self._file)

    def cut(self, size: int) -> None:
        """Drops what is behind so many bytes."""
        self.size = size
        with contextlib.suppress(OSError):  # what is torn there is overwritten, or cut by the next reader
            if os.fstat(self._file.fileno()).st_size > size:
                self._file.truncate(size)

    def remove(self) -> None:
        """Deletes the file."""
        if not self._file.closed:
            self.path.unlink(missing_ok=True)
            self._file.close()

    def release(self) -> None:
        """Leaves the file to whoever sends it. In a forked child: the parent keeps its lock."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        self._file.seek(self.size)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(data)


def _record(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _next_payload(file: FileIO) -> bytes | None:
    """The payload of the record that begins here; None where no whole one does."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, crc = _HEAD.unpack(head)
    payload = file.read(length) if 0 < length <= _MOST_PAYLOAD else b""
    return payload if payload and len(payload) == length and zlib.crc32(payload) == crc else None


def _lock(file: FileIO) -> None:
    """Raises BlockingIOError where another process, or another open file of this one, holds it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
