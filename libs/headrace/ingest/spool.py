"""Frames of one producer in a file, while the server is away: serialized Frames, seqs rising by one."""

import os
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from google.protobuf.message import DecodeError

from headrace import errors
from headrace.api.tracking.v1.metrics_pb2 import Frame
from headrace.connection import DEFAULT_WORKSPACE
from headrace.ingest.recordfile import RecordFile
from headrace.ingest.recordfile import supported as supported  # noqa: PLC0414 - whether there is a spool at all

MAGIC: Final = b"HRSPOOL1"
SUFFIX: Final = ".spool"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose frames a file holds, and for which server."""

    run_id: str
    producer_id: str
    """In hexadecimal."""
    uri: str
    workspace: str = DEFAULT_WORKSPACE


def directory(chosen: str = "") -> Path:
    """Where spool files are: as chosen, or HEADRACE_SPOOL, or headrace/spool in the user's state directory."""
    if given := chosen or os.environ.get("HEADRACE_SPOOL", ""):
        return Path(given).expanduser()
    state = os.environ.get("XDG_STATE_HOME", "") or "~/.local/state"
    return Path(state).expanduser() / "headrace" / "spool"


class SpoolFile:
    """One open and locked file. Not for several threads at once."""

    def __init__(self, file: RecordFile, owner: Owner) -> None:
        self.path = file.path
        self.owner = owner
        self.first_seq = 0
        """0 while it has no frame."""
        self._file = file
        self._starts = array("Q")

    @classmethod
    def create(cls, folder: Path, owner: Owner, most_bytes: int) -> Self:
        """Makes the file. Raises OSError; FileExistsError where there is one of this producer."""
        path = folder / f"{owner.run_id}-{owner.producer_id}{SUFFIX}"
        return cls(RecordFile.create(path, MAGIC, asdict(owner), most_bytes), owner)

    @classmethod
    def recover(cls, path: Path) -> Self | None:
        """Opens what an ended process left, without its torn end; None where it is in use, gone, or no spool file."""
        file = RecordFile.recover(path, MAGIC)
        if file is None:
            return None
        try:
            owner = Owner(**file.header)
        except TypeError:
            file.release()
            return None
        made = cls(file, owner)
        made._read_starts()
        return made

    @property
    def last_seq(self) -> int:
        """The last frame in it; one less than the first where there is none."""
        return self.first_seq + len(self._starts) - 1

    def append(self, frame: Frame) -> None:
        """Adds the next frame. Raises OSError, with the file as before, where there is no room."""
        self._starts.append(self._file.append(frame.SerializeToString()))
        self.first_seq = self.first_seq or frame.seq

    def read(self, seq: int) -> Frame:
        """A frame of it. Raises DataLost where the disk does not give back what was written."""
        payload = self._file.read(self._starts[seq - self.first_seq])
        if payload is None:
            raise errors.DataLost(f"{self.path}: frame {seq} cannot be read back")
        return Frame.FromString(payload)

    def remove(self) -> None:
        """Every frame is acknowledged: deletes the file."""
        self._file.remove()

    def release(self) -> None:
        """Leaves the file to whoever sends it. In a forked child: the parent keeps its lock."""
        self._file.release()

    def _read_starts(self) -> None:
        for start, payload in self._file.records():
            try:
                seq = Frame.FromString(payload).seq
            except DecodeError:
                seq = 0
            if seq == 0 or (self.first_seq and seq != self.last_seq + 1):
                self._file.cut(start)
                return
            self.first_seq = self.first_seq or seq
            self._starts.append(start)
