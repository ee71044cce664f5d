"""The files of models on this machine, fetched from the artifacts service once each and checked against their digests."""

import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

import grpc

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from headrace_kit.auth import service_metadata
from headrace_kit.rpc import CHANNEL_OPTIONS
from headrace_kit.telemetry import TRACEPARENT, Telemetry

_PAGE: Final = 1000
_LIST_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.1
_LAST_PAUSE_S: Final = 5.0
_PASSING: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)


class FetchError(Exception):
    """The model's files cannot be had; the message says why."""


class Cancelled(Exception):  # noqa: N818 - says what it is
    """The process stops."""


class _Damaged(Exception):  # noqa: N818 - says what it is
    """What came is not what was stored."""


class ModelCache:
    """Folders by model below `folder`, each whole or not there at all.

    Names of files are data of whoever saved the model: they become paths only below the model's folder, and only if
    they are plain ones. Folders that nobody uses are deleted, oldest first, when all are larger than `most_bytes`.
    """

    def __init__(
        self, folder: Path, address: str, secret: str, telemetry: Telemetry, *, limit_s: float, most_bytes: int
    ) -> None:
        folder = folder.resolve()  # instances look for it from directories of their own
        self._models = folder / "models"
        self._incoming = folder / "incoming"
        self._secret = secret
        self._telemetry = telemetry
        self._limit_s = limit_s
        self._most_bytes = most_bytes
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._stub = ArtifactServiceStub(self._channel)
        self._closing = threading.Event()

    def open(self) -> None:
        """Makes the folders, and clears away what a crash left half done."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        for folder in (self._models, self._incoming):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def close(self) -> None:
        """Ends fetches under way, which raise Cancelled."""
        self._closing.set()
        self._channel.close()

    def fetch(self, tenant_id: str, model_id: str) -> Path:
        """The model's folder, fetched if it is not here.

        Waits for an artifacts service that is away, `limit_s` at most. Raises FetchError, and Cancelled after `close`.
        """
        final = self._models / _key(tenant_id, model_id)
        deadline = time.monotonic() + self._limit_s
        pause = _FIRST_PAUSE_S
        while not final.is_dir():
            try:
                self._download(tenant_id, model_id, final, deadline)
            except (grpc.RpcError, _Damaged) as error:
                if self._closing.is_set():
                    raise Cancelled from error
                if time.monotonic() + pause > deadline or not _passes(error):
                    raise FetchError(f"the files of model {model_id} cannot be fetched: {_said(error)}") from error
            except OSError as error:
                hint = "; free some room there" if error.errno == errno.ENOSPC else ""
                raise FetchError(f"the files of model {model_id} cannot be kept: {error}{hint}") from error
            else:
                break
            if self._closing.wait(pause):
                raise Cancelled
            pause = min(2 * pause, _LAST_PAUSE_S)
        os.utime(final)
        return final

    def prune(self, in_use: Collection[tuple[str, str]]) -> None:
        """Deletes folders beyond the cache's size, least recently used first; never those of (tenant, model) in use."""
        kept = {_key(*model) for model in in_use}
        folders = sorted(self._models.iterdir(), key=lambda folder: folder.stat().st_mtime)
        sizes = {folder: sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) for folder in folders}
        total = sum(sizes.values())
        for folder in folders:
            if total <= self._most_bytes:
                return
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
                total -= sizes[folder]

    def _download(self, tenant_id: str, model_id: str, final: Path, deadline: float) -> None:
        folder = self._incoming / uuid4().hex
        folder.mkdir()
        try:
            files = list(self._list(tenant_id, model_id))
            if not files:
                raise FetchError(f"model {model_id} has no files; log it again")
            size = sum(file.size_bytes for file in files)
            if size > self._most_bytes:
                raise FetchError(
                    f"model {model_id} has {size} bytes; HEADRACE_MODEL_CACHE_MB allows {self._most_bytes}"
                )
            for file in files:
                self._get(tenant_id, file, folder / _relative(file.path), deadline)
            try:
                folder.rename(final)
            except OSError:
                if not final.is_dir():  # otherwise another deployment of the same model was faster
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _list(self, tenant_id: str, model_id: str) -> Iterator[artifacts_pb2.Artifact]:
        request = pb.ListArtifactsRequest(owner=artifacts_pb2.Owner(model_id=model_id), page_size=_PAGE)
        while True:
            page = self._stub.ListArtifacts(request, metadata=self._metadata(tenant_id), timeout=_LIST_S)
            yield from page.artifacts
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _get(self, tenant_id: str, file: artifacts_pb2.Artifact, path: Path, deadline: float) -> None:
        request = pb.DownloadArtifactRequest(artifact_id=file.artifact_id)
        left = max(deadline - time.monotonic(), 1.0)
        digest, size = hashlib.sha256(), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            for answer in self._stub.DownloadArtifact(request, metadata=self._metadata(tenant_id), timeout=left):
                digest.update(answer.part)
                size += out.write(answer.part)
            out.flush()
            os.fsync(out.fileno())
        if (size, digest.digest()) != (file.size_bytes, file.sha256):
            raise _Damaged(f"{file.path} came with {size} of {file.size_bytes} bytes, sha-256 {digest.hexdigest()}")

    def _metadata(self, tenant_id: str) -> tuple[tuple[str, str], ...]:
        return (*service_metadata(self._secret, tenant_id), (TRACEPARENT, self._telemetry.traceparent()))


def _relative(path: str) -> Path:
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
        raise FetchError(f"the model has a file named {path!r}, which is no plain relative path")
    return Path(*parts)


def _key(tenant_id: str, model_id: str) -> str:
    """The folder's name: no name of a client's becomes a path here either."""
    return hashlib.sha256(f"{tenant_id}/{model_id}".encode()).hexdigest()


def _passes(error: Exception) -> bool:
    return isinstance(error, _Damaged) or cast("grpc.Call", error).code() in _PASSING


def _said(error: Exception) -> str:
    if isinstance(error, _Damaged):
        return str(error)
    call = cast("grpc.Call", error)
    return f"{call.details()} ({call.code().name})"
