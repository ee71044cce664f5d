"""Frames of one producer in a file, while the server is away.

A file is a magic, then records: length and CRC-32 of the payload (8 bytes, little-endian), then the payload. The first
payload says whose frames they are (JSON), every other is a serialized Frame, seqs rising by one. Records are written
without fsync: they survive a kill -9 of the process, whose writes the kernel has, but not a crash of the machine.
Whoever uses a file holds a lock on it, which ends with the process; what is torn at the end is cut by the next reader.
"""

import contextlib
import errno
import json
import os
import struct
import zlib
from array import array
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Final, Self

from google.protobuf.message import DecodeError

from headrace import errors
from headrace.api.tracking.v1.metrics_pb2 import Frame

try:
    import fcntl
except ImportError:  # Windows: no spool there
    fcntl = None  # type: ignore[assignment] # asked for below

MAGIC: Final = b"HRSPOOL1"
SUFFIX: Final = ".spool"
_HEAD: Final = struct.Struct("<II")
_MOST_PAYLOAD: Final = 64 << 20  # a longer record is a broken length; frames have a few MiB at most


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose frames a file holds, and for which server."""

    run_id: str
    producer_id: str
    """In hexadecimal."""
    uri: str


def directory(chosen: str = "") -> Path:
    """Where spool files are: as chosen, or HEADRACE_SPOOL, or headrace/spool in the user's state directory."""
    if given := chosen or os.environ.get("HEADRACE_SPOOL", ""):
        return Path(given).expanduser()
    state = os.environ.get("XDG_STATE_HOME", "") or "~/.local/state"
    return Path(state).expanduser() / "headrace" / "spool"


def supported() -> bool:
    """Whether this system can lock files as the spool needs it."""
    return fcntl is not None


class SpoolFile:
    """One open and locked file. Not for several threads at once."""

    def __init__(self, path: Path, file: FileIO, owner: Owner, most_bytes: int) -> None:
        self.path = path
        self.owner = owner
        self.first_seq = 0
        """0 while it has no frame."""
        self._file = file
        self._most_bytes = most_bytes
        self._starts = array("Q")
        self._size = 0

    @classmethod
    def create(cls, folder: Path, owner: Owner, most_bytes: int) -> Self:
        """Makes the file; it has its name only once it is locked and says whose it is. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{owner.run_id}-{owner.producer_id}{SUFFIX}"
        if path.exists():  # never over frames that wait to be sent
            raise FileExistsError(errno.EEXIST, "there is a spool file of this producer already", str(path))
        new = path.with_suffix(".new")
        file = FileIO(os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+")
        try:
            _lock(file)
            made = cls(path, file, owner, most_bytes)
            made._write(MAGIC)
            made._write(_record(json.dumps(asdict(owner)).encode()))
            new.rename(path)
        except BaseException:
            file.close()
            new.unlink(missing_ok=True)
            raise
        return made

    @classmethod
    def recover(cls, path: Path) -> Self | None:
        """Opens what an ended process left, without its torn end; None where it is in use, gone, or no spool file."""
        try:
            file = FileIO(os.open(path, os.O_RDWR), "r+")
        except FileNotFoundError:
            return None
        try:
            _lock(file)
            owner = _owner_of(file)
        except (BlockingIOError, TypeError, ValueError):
            owner = None
        if owner is None:
            file.close()
            return None
        made = cls(path, file, owner, 0)
        made._read_starts()
        return made

    @property
    def last_seq(self) -> int:
        """The last frame in it; one less than the first where there is none."""
        return self.first_seq + len(self._starts) - 1

    def append(self, frame: Frame) -> None:
        """Adds the next frame. Raises OSError, with the file as before, where there is no room."""
        record = _record(frame.SerializeToString())
        if self._size + len(record) > self._most_bytes:
            raise OSError(errno.EDQUOT, f"the spool file has its limit of {self._most_bytes:,} bytes")
        start = self._size
        try:
            self._write(record)
        except OSError:
            self._cut(start)
            raise
        self.first_seq = self.first_seq or frame.seq
        self._starts.append(start)

    def read(self, seq: int) -> Frame:
        """A frame of it. Raises DataLost where the disk does not give back what was written."""
        self._file.seek(self._starts[seq - self.first_seq])
        payload = _next_payload(self._file)
        if payload is None:
            raise errors.DataLost(f"{self.path}: frame {seq} cannot be read back")
        return Frame.FromString(payload)

    def remove(self) -> None:
        """Every frame is acknowledged: deletes the file."""
        if not self._file.closed:
            self.path.unlink(missing_ok=True)
            self._file.close()

    def release(self) -> None:
        """Leaves the file to whoever sends it. In a forked child: the parent keeps its lock."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        self._file.seek(self._size)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(data)

    def _cut(self, size: int) -> None:
        self._size = size
        with contextlib.suppress(OSError):  # what is torn there is overwritten, or cut by the next reader
            self._file.truncate(size)

    def _read_starts(self) -> None:
        start = self._file.tell()
        while (payload := _next_payload(self._file)) is not None:
            try:
                seq = Frame.FromString(payload).seq
            except DecodeError:
                break
            if self.first_seq and seq != self.last_seq + 1:
                break
            self.first_seq = self.first_seq or seq
            self._starts.append(start)
            start = self._file.tell()
        self._cut(start)


def _record(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _owner_of(file: FileIO) -> Owner | None:
    """None for a file deleted meanwhile, or another kind of file. Raises TypeError or ValueError for a broken one."""
    if os.fstat(file.fileno()).st_nlink == 0 or file.read(len(MAGIC)) != MAGIC:
        return None
    return Owner(**json.loads(_next_payload(file) or b"{}"))


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
