"""Files of runs and models: sent and fetched in parts, never whole in memory, digests checked at both ends."""

import hashlib
import mimetypes
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO, Final

import grpc

from headrace import errors
from headrace.api.artifacts.v1 import artifact_service_pb2 as wire
from headrace.api.artifacts.v1.artifacts_pb2 import Artifact as ArtifactMessage
from headrace.api.artifacts.v1.artifacts_pb2 import Owner
from headrace.connection import Connection
from headrace.default import of_default
from headrace.records import Artifact

_PART_BYTES: Final = 512 << 10
_BASE_S: Final = 60.0
_SECONDS_PER_MIB: Final = 4.0  # a line slower than 256 KiB/s is taken for a dead one


class Artifacts:
    """The files of one Headrace. An owner is a run's id, or a logged model's ("m-...")."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def upload(self, owner: str, file: str | os.PathLike[str], path: str) -> Artifact:
        """Stores a file under `path`, in place of one that was there. Returns when the server has it, digest and all.

        Sends it again after a broken connection. Raises OSError, InvalidRequest for a bad path, DataLost.
        """
        size = Path(file).stat().st_size
        return self._upload(owner, path, lambda: _parts_of(Path(file)), size)

    def upload_from(self, owner: str, opening: Callable[[], BinaryIO], size: int, path: str) -> Artifact:
        """Stores what `opening` gives, about `size` bytes, as `upload` does a file; it is opened for every attempt."""
        return self._upload(owner, path, lambda: _parts_in(opening), size)

    def upload_bytes(self, owner: str, data: bytes, path: str) -> Artifact:
        """Stores bytes, as `upload` does a file."""
        parts = [data[start : start + _PART_BYTES] for start in range(0, len(data), _PART_BYTES)]
        return self._upload(owner, path, lambda: parts, len(data))

    def upload_folder(self, owner: str, folder: str | os.PathLike[str], path: str = "") -> tuple[Artifact, ...]:
        """Stores every file below a folder, each under `path` and its place in the folder, in order of name."""
        root = Path(folder)
        if not root.is_dir():
            raise NotADirectoryError(f"{root} is no folder; log_artifact takes single files")
        files = sorted(each for each in root.rglob("*") if each.is_file())
        return tuple(self.upload(owner, file, join(path, file.relative_to(root).as_posix())) for file in files)

    def list(self, owner: str, folder: str = "") -> tuple[Artifact, ...]:
        """The files of an owner below a folder, in order of path."""
        return tuple(Artifact.of(each) for each in self._pages(owner, folder))

    def download(self, owner: str, path: str = "", to: str | os.PathLike[str] | None = None) -> Path:
        """Fetches one file, or all below a folder (all there are, for an empty path), into the folder `to`.

        Without `to`, a new temporary folder. Answers where the file or the folder is now: `to / path`. A file appears
        there only whole and with its digest right; fetching goes on where it was after a broken connection.
        Raises NotFound where there is no such file or folder, DataLost.
        """
        root = Path(to) if to is not None else Path(tempfile.mkdtemp(prefix="headrace-"))
        found = [*self._pages(owner, path)]
        if path and not found:
            request = wire.GetArtifactRequest(path=wire.ArtifactPath(owner=owner_of(owner), path=path))
            found = [self._connection.call(lambda c: c.artifacts.GetArtifact, request).artifact]
        for artifact in found:
            self._fetch(artifact, inside(root, artifact.path))
        root.mkdir(parents=True, exist_ok=True)
        return inside(root, path) if path else root

    def delete(self, artifact: Artifact) -> None:
        """Deletes one file."""
        request = wire.DeleteArtifactRequest(artifact_id=artifact.id)
        self._connection.call(lambda c: c.artifacts.DeleteArtifact, request, again=False)

    def _pages(self, owner: str, folder: str) -> Iterator[ArtifactMessage]:
        request = wire.ListArtifactsRequest(owner=owner_of(owner), folder=folder)
        for page in self._connection.pages(lambda c: c.artifacts.ListArtifacts, request):
            yield from page.artifacts

    def _upload(self, owner: str, path: str, parts: Callable[[], Iterable[bytes]], size: int) -> Artifact:
        header = upload_header(owner, path)
        connection = self._connection

        def attempt() -> ArtifactMessage:
            upload = _Upload(header, parts())
            try:
                answer = connection.artifacts.UploadArtifact(
                    iter(upload), timeout=_deadline(size), metadata=connection.metadata()
                )
            except grpc.RpcError as error:
                if upload.error is not None:  # grpc tells only that the requests ended badly
                    raise upload.error from None
                raise connection.failure(error) from None
            if answer.artifact.sha256 != upload.sha256.digest() or answer.artifact.size_bytes != upload.size:
                raise errors.DataLost(f"{path}: the server stored other bytes than were sent")
            return answer.artifact

        return Artifact.of(connection.patiently(attempt))

    def _fetch(self, artifact: ArtifactMessage, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".headrace-{uuid.uuid4().hex}.part")
        try:
            with part.open("xb") as file:
                self._fetch_into(artifact, file)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _fetch_into(self, artifact: ArtifactMessage, file: IO[bytes]) -> None:
        """By its id, which names these bytes and no others, so that every attempt goes on behind the last."""
        sha256 = hashlib.sha256()
        connection = self._connection

        def attempt() -> None:
            request = wire.DownloadArtifactRequest(artifact_id=artifact.artifact_id, offset=file.tell())
            left_s = _deadline(artifact.size_bytes - file.tell())
            try:
                for answer in connection.artifacts.DownloadArtifact(
                    request, timeout=left_s, metadata=connection.metadata()
                ):
                    file.write(answer.part)
                    sha256.update(answer.part)
            except grpc.RpcError as error:
                raise connection.failure(error) from None

        connection.patiently(attempt)
        if sha256.digest() != artifact.sha256 or file.tell() != artifact.size_bytes:
            raise errors.DataLost(
                f"{artifact.path}: the bytes received have another digest than the {artifact.size_bytes} stored"
            )


class _Upload:
    """The messages of one attempt; counts and digests what went through."""

    def __init__(self, header: wire.UploadHeader, parts: Iterable[bytes]) -> None:
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.error: Exception | None = None
        self._header = header
        self._parts = parts

    def __iter__(self) -> Iterator[wire.UploadArtifactRequest]:
        try:
            yield wire.UploadArtifactRequest(header=self._header)
            for part in self._parts:
                self.sha256.update(part)
                self.size += len(part)
                yield wire.UploadArtifactRequest(part=part)
        except OSError as error:
            self.error = error
            raise
        trailer = wire.UploadTrailer(size_bytes=self.size, sha256=self.sha256.digest())
        yield wire.UploadArtifactRequest(trailer=trailer)


def owner_of(owner: str) -> Owner:
    """The owner that an id names: a logged model where it begins with "m-", else a run."""
    return Owner(model_id=owner) if owner.startswith("m-") else Owner(run_id=owner)


def upload_header(owner: str, path: str) -> wire.UploadHeader:
    """What is said of a file before its bytes."""
    return wire.UploadHeader(
        owner=owner_of(owner), path=path, media_type=mimetypes.guess_type(path)[0] or "application/octet-stream"
    )


def join(folder: str, name: str) -> str:
    """A path below a folder; the folder may be empty or end in "/"."""
    folder = folder.strip("/")
    return f"{folder}/{name}" if folder else name


def inside(root: Path, path: str) -> Path:
    """The place of an artifact below a local folder. Raises InvalidRequest for a path that would lead out of it."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or PureWindowsPath(path).drive:
        raise errors.InvalidRequest(f"the artifact path {path!r} would leave the folder it is fetched into")
    return root.joinpath(*parts)


def _parts_of(file: Path) -> Iterator[bytes]:
    return _parts_in(lambda: file.open("rb"))


def _parts_in(opening: Callable[[], BinaryIO]) -> Iterator[bytes]:
    with opening() as opened:
        while part := opened.read(_PART_BYTES):
            yield part


def _deadline(size: int) -> float:
    return _BASE_S + _SECONDS_PER_MIB * (size / (1 << 20))


download_artifacts = of_default(Artifacts.download, lambda client: client.artifacts)
