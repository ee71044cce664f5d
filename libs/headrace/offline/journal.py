"""What was said of a run while no server listened: calls in their order, in a file of checksummed records."""

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any, Final, Self

from google.protobuf.message import DecodeError, Message

from headrace import errors, forks
from headrace.api.artifacts.v1.artifact_service_pb2 import UploadHeader
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.connection import DEFAULT_WORKSPACE, Connection
from headrace.ingest.frames import key_problem
from headrace.ingest.recordfile import RecordFile

MAGIC: Final = b"HRRUN001"
SUFFIX: Final = ".run"
FILES: Final = ".files"

_KINDS: Final[dict[bytes, type[Message]]] = {
    b"E": wire.CreateExperimentRequest,
    b"C": wire.CreateRunRequest,
    b"P": wire.LogParamsRequest,
    b"T": wire.SetRunTagsRequest,
    b"I": wire.LogInputsRequest,
    b"U": wire.UpdateRunRequest,
    b"F": UploadHeader,  # whose bytes are in the folder beside, under their number
}
_LETTERS: Final[dict[type[Message], bytes]] = {kind: letter for letter, kind in _KINDS.items()}


class Journal:
    """The journal of one run in one process, made with its first record; threads may share it.

    A forked child writes one of its own. The file is locked as long as the process may still write.
    `whole` says that the run began here: nobody but this process and its children knows of it.
    """

    def __init__(self, folder: Path, run_id: str, to: Connection, most_bytes: int, *, whole: bool) -> None:
        self.run_id = run_id
        self.closed = False
        self._folder = folder
        self._to = {"uri": to.uri, "workspace": to.workspace}
        self._most_bytes = most_bytes
        self._whole = whole
        self._params: dict[str, str] = {}
        self._begin()
        forks.watch(self)

    def _begin(self) -> None:
        self._file: RecordFile | None = None
        self._files = 0
        self._file_bytes = 0
        self._lock = threading.Lock()

    def forked(self) -> None:
        """In a forked child: the file is the parent's."""
        if self._file is not None:
            self._file.release()
        self._whole = False
        self._begin()

    def add(self, message: Message) -> None:
        """Keeps a call. Raises InvalidRequest for what the server would surely refuse, Overloaded without room on the disk."""
        if isinstance(message, wire.CreateRunRequest | wire.LogParamsRequest):
            self._check_params(message.params)
        if isinstance(message, wire.CreateRunRequest | wire.SetRunTagsRequest):
            _check_keys(message.tags)
        with self._lock, _told(self.run_id):
            self._append(message)

    def add_file(self, header: UploadHeader, parts: Iterable[bytes]) -> tuple[int, bytes]:
        """Keeps a file; its size and SHA-256. Raises as `add`, and whatever reading the parts raises."""
        digest, size = sha256(), 0
        with self._lock:
            with _told(self.run_id):
                folder = self._open().path.with_suffix(FILES)
                folder.mkdir(mode=0o700, exist_ok=True)
                file = FileIO(folder / str(self._files), "w")
            with file:
                for part in parts:
                    with _told(self.run_id):
                        size += len(part)
                        if self._file_bytes + size > self._most_bytes:
                            raise OSError(0, f"the files of a run may have {self._most_bytes:,} bytes in the spool")
                        _write_all(file, part)
                    digest.update(part)
            with _told(self.run_id):
                self._append(header)
            self._files += 1
            self._file_bytes += size
        return size, digest.digest()

    def close(self) -> Path | None:
        """Nothing more comes: leaves the file to `headrace sync`; where it is, None where nothing was kept."""
        with self._lock:
            self.closed = True
            if self._file is None:
                return None
            self._file.release()
            return self._file.path

    def _append(self, message: Message) -> None:
        self._open().append(_LETTERS[type(message)] + message.SerializeToString(deterministic=True))

    def _open(self) -> RecordFile:
        if self.closed:
            raise errors.WrongState(f"run {self.run_id} has ended")
        if self._file is None:
            # Names sort by time: what a later process said of the run is replayed later.
            name = f"{self.run_id}-{time.time_ns():016x}-{secrets.token_hex(4)}{SUFFIX}"
            header = {"run_id": self.run_id, **self._to, "whole": self._whole}
            self._file = RecordFile.create(self._folder / name, MAGIC, header, self._most_bytes)
        return self._file

    def _check_params(self, params: Mapping[str, str]) -> None:
        _check_keys(params)
        for key, value in params.items():
            if self._params.setdefault(key, value) != value:
                error = errors.InvalidRequest(
                    f"param {key!r} has the value {self._params[key]!r:.80}, which cannot be changed to {value!r:.80}"
                )
                error.reason = "PARAM_CONFLICT"
                raise error


class LeftJournal:
    """A journal whose process has ended, open and locked, to be replayed."""

    def __init__(self, file: RecordFile) -> None:
        self.path = file.path
        self.run_id: Final = str(file.header["run_id"])
        self.uri: Final = str(file.header["uri"])
        self.workspace: Final = str(file.header.get("workspace", DEFAULT_WORKSPACE))
        self.whole: Final = bool(file.header["whole"])
        self.messages: list[Message] = []
        """All but the end of the run."""
        self.end: wire.UpdateRunRequest | None = None
        self._file = file

    @classmethod
    def recover(cls, path: Path) -> Self | None:
        """Without a torn end; None where it is in use, gone, or no journal."""
        file = RecordFile.recover(path, MAGIC)
        if file is None:
            return None
        try:
            made = cls(file)
            made._read()
        except (KeyError, DecodeError):
            file.release()
            return None
        return made

    def add_end(self, request: wire.UpdateRunRequest) -> None:
        """Notes how the run ended whose process could not say so: whoever replays it again finds the same. Raises OSError."""
        self._file.append(_LETTERS[type(request)] + request.SerializeToString())
        self.end = request

    def files(self) -> Iterator[tuple[UploadHeader, Path]]:
        """The files kept, with where their bytes are; of two at the same place the later one."""
        headers = [message for message in self.messages if isinstance(message, UploadHeader)]
        latest = {header.path: number for number, header in enumerate(headers)}
        for number in sorted(latest.values()):
            yield headers[number], self.path.with_suffix(FILES) / str(number)

    def remove(self) -> None:
        """All is said: deletes it with its files."""
        folder = self.path.with_suffix(FILES)
        self._file.remove()
        if folder.is_dir():
            for each in folder.iterdir():
                each.unlink(missing_ok=True)
            folder.rmdir()

    def set_aside(self) -> Path:
        """Keeps it where nobody replays it again; where it is now."""
        aside = self.path.with_suffix(".refused")
        self.path.rename(aside)
        self._file.release()
        return aside

    def release(self) -> None:
        """Leaves it as it is."""
        self._file.release()

    def _read(self) -> None:
        for _, payload in self._file.records():
            message = _KINDS[payload[:1]].FromString(payload[1:])
            ends = isinstance(message, wire.UpdateRunRequest) and message.run.state != tracking_pb2.Run.STATE_RUNNING
            if isinstance(message, wire.UpdateRunRequest) and ends:
                self.end = message
            else:
                self.messages.append(message)


@contextmanager
def _told(run_id: str) -> Iterator[None]:
    """Turns what the disk says into an error of the client's."""
    try:
        yield
    except OSError as error:
        if isinstance(error, errors.HeadraceError):
            raise
        why = error.strerror or error
        raise errors.Overloaded(f"run {run_id}: nothing more can be kept in the spool ({why})") from error


def _check_keys(values: Mapping[str, Any]) -> None:
    for key in values:
        if problem := key_problem(key):
            raise errors.InvalidRequest(problem)


def _write_all(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
