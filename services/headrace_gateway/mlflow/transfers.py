"""Files that come in parts, and URLs that read or store one file without credentials; `signed.py` answers these."""

import re
from typing import Final

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace_gateway.mlflow import artifacts, failures, runs
from headrace_gateway.mlflow.artifacts import Place
from headrace_gateway.mlflow.calls import Calls
from headrace_gateway.mlflow.wire import Answer, Int64, Request, Text

_MOST_VALID_S: Final = 604_800
_MOST_PARTS: Final = 10_000
_COMPLETE_S: Final = 3600.0  # all bytes are read once more, and clients call again when they grow impatient
_SEPARATORS: Final = re.compile(r"[/\\]")


class CreateUpload(Request):
    """mpu/create/<path of the folder>; `path` is the file's at the client, and only its name counts."""

    folder: str
    path: Text
    num_parts: Int64 = 1


class Part(Request):
    """As it was answered; `etag` is the header of that answer."""

    part_number: Int64
    etag: str = ""


class CompleteUpload(Request):
    """mpu/complete/<path of the folder>."""

    folder: str
    path: Text
    upload_id: Text
    parts: tuple[Part, ...]


class AbortUpload(Request):
    """mpu/abort/<path of the folder>."""

    folder: str
    path: Text
    upload_id: Text


class OfProxy(Request):
    """mlflow-artifacts/presigned/<path>."""

    file: str


class SignDownload(Request):
    """artifacts/presigned-download-url."""

    run_id: Text
    path: Text
    expiration: Int64 | None = None


class SignUpload(Request):
    """artifacts/presigned-upload-url."""

    path: Text
    run_id: str = ""
    model_id: str = ""
    expiration: Int64 | None = None


async def create_upload(calls: Calls, request: CreateUpload) -> Answer:
    """An id, and a URL for each part, which need no credentials."""
    where = _target(calls, request.folder, request.path)
    if not 1 <= request.num_parts <= _MOST_PARTS:
        raise failures.unusable(
            "num_parts", request.num_parts, f"it must be 1 to {_MOST_PARTS}; take larger parts of a larger file."
        )
    asked = pb.StartUploadRequest(owner=where.owner, path=where.path, part_count=request.num_parts)
    started = await artifacts.on_file(calls, where, calls.to.artifacts.StartUpload, asked)
    url = signed_url(calls, started.ticket)
    return {
        "upload_id": started.upload_id,
        "credentials": [
            {"url": f"{url}/{number}", "part_number": number, "headers": {}}
            for number in range(1, request.num_parts + 1)
        ],
    }


async def complete_upload(calls: Calls, request: CompleteUpload) -> Answer:
    """All parts become the file; again, it is there already."""
    where = _target(calls, request.folder, request.path)
    asked = pb.CompleteUploadRequest(upload_id=request.upload_id, path=_artifact_path(where))
    for part in request.parts:
        if not 1 <= part.part_number <= _MOST_PARTS:
            raise failures.unusable("parts", part.part_number, f"a part's number must be 1 to {_MOST_PARTS}.")
        asked.parts.add(number=part.part_number, etag=part.etag.strip('"'))
    await artifacts.on_file(calls, where, calls.to.artifacts.CompleteUpload, asked, timeout_s=_COMPLETE_S)
    return {}


async def abort_upload(calls: Calls, request: AbortUpload) -> Answer:
    """Nothing of it is there any more; again changes nothing."""
    where = _target(calls, request.folder, request.path)
    asked = pb.AbortUploadRequest(upload_id=request.upload_id, path=_artifact_path(where))
    await artifacts.on_file(calls, where, calls.to.artifacts.AbortUpload, asked)
    return {}


async def presigned(calls: Calls, request: OfProxy) -> Answer:
    """A URL that reads the file."""
    signed = await _sign_download(calls, artifacts.place(calls, request.file), 0)
    return {"url": signed_url(calls, signed.ticket), "headers": {}, "file_size": signed.artifact.size_bytes}


async def sign_download(calls: Calls, request: SignDownload) -> Answer:
    """A URL that reads a run's file."""
    seconds = _seconds(request.expiration)
    where = Place(artifacts_pb2.Owner(run_id=runs.run_id(request.run_id)), artifacts.safe(request.path))
    signed = await _sign_download(calls, where, seconds)
    return {"presigned_url": signed_url(calls, signed.ticket), "file_size": signed.artifact.size_bytes}


async def sign_upload(calls: Calls, request: SignUpload) -> Answer:
    """A URL that stores a file of a run, or of a logged model."""
    if bool(request.run_id) == bool(request.model_id):
        raise failures.invalid("Exactly one of run_id and model_id must be provided.")
    seconds = _seconds(request.expiration)
    owner = (
        artifacts_pb2.Owner(run_id=runs.run_id(request.run_id))
        if request.run_id
        else artifacts_pb2.Owner(model_id=request.model_id)
    )
    where = Place(owner, artifacts.safe(request.path))
    asked = pb.SignUploadRequest(owner=owner, path=where.path, valid_seconds=seconds)
    signed = await artifacts.on_file(calls, where, calls.to.artifacts.SignUpload, asked)
    return {"presigned_url": signed_url(calls, signed.ticket)}


def signed_url(calls: Calls, ticket: str) -> str:
    """Where the gateway answers to the ticket."""
    return f"{calls.here()}/signed/{ticket}"


async def _sign_download(calls: Calls, where: Place, seconds: int) -> pb.SignDownloadResponse:
    asked = pb.SignDownloadRequest(path=_artifact_path(where), valid_seconds=seconds)
    return await artifacts.on_file(calls, where, calls.to.artifacts.SignDownload, asked)


def _artifact_path(where: Place) -> pb.ArtifactPath:
    return pb.ArtifactPath(owner=where.owner, path=where.path)


def _target(calls: Calls, folder: str, file: str) -> Place:
    """The file of this name, whatever folder the client has it in, in a folder of the proxy. Raises Failure."""
    name = _SEPARATORS.split(file)[-1]
    return artifacts.place(calls, f"{artifacts.safe(folder)}/{name}")


def _seconds(expiration: int | None) -> int:
    """0 for the default. Raises Failure."""
    if expiration is not None and not 1 <= expiration <= _MOST_VALID_S:
        raise failures.invalid(f"expiration must be between 1 and {_MOST_VALID_S} seconds (got {expiration}).")
    return expiration or 0
