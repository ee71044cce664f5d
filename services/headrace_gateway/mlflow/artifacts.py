"""Files of runs and logged models: MLflow's list of a run's, and its proxy of an artifact store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import grpc
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from headrace import artifacts as files_of
from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.tracking.v1 import tracking_service_pb2
from headrace_gateway.mlflow import failures, models, runs, wire
from headrace_gateway.mlflow.calls import Calls
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Request, Text

_PART_BYTES: Final = 1 << 20
_PAGE: Final = 10_000
_MOST_DECODINGS: Final = 5


class List(Request):
    """artifacts/list."""

    run_id: Text
    path: str = ""
    page_token: str = ""


class ListOfModel(Request):
    """logged-models/{model_id}/artifacts/directories."""

    model_id: Text
    artifact_directory_path: str = ""


class ProxyList(Request):
    """mlflow-artifacts/artifacts?path=."""

    path: str = ""


class Place(NamedTuple):
    """What a path of the proxy names."""

    owner: artifacts_pb2.Owner
    path: str
    """Below the owner; empty for all of it."""


async def list_of_run(calls: Calls, request: List) -> Answer:
    """What lies directly in a folder of the run; paths begin at the run. Of a file there is nothing to list."""
    run = runs.run_id(request.run_id)
    found = await runs.on_run(calls, run, calls.to.tracking.GetRun, tracking_service_pb2.GetRunRequest(run_id=run))
    files = await _listed(calls, Place(artifacts_pb2.Owner(run_id=run), safe(request.path)))
    return wire.without_empty({"root_uri": runs.artifact_uri(found.run), "files": files})


async def list_of_model(calls: Calls, request: ListOfModel) -> Answer:
    """As `list_of_run`, of a logged model."""
    found = await models.get(calls, models.ById(model_id=request.model_id))
    where = Place(artifacts_pb2.Owner(model_id=request.model_id), safe(request.artifact_directory_path))
    return wire.without_empty(
        {
            "root_uri": found["model"]["info"]["artifact_uri"],
            "files": await _listed(calls, where),
        }
    )


async def list_of_proxy(calls: Calls, request: ProxyList) -> Answer:
    """As `list_of_run`, by a path of the proxy; paths are names only."""
    files = await _listed(calls, place(request.path))
    return wire.without_empty({"files": [{**file, "path": file["path"].rpartition("/")[2]} for file in files]})


async def download(calls: Calls, request: HttpRequest) -> Response:
    """The bytes of a file."""
    return await sent(calls, place(request.path_params["path"]))


async def upload(calls: Calls, request: HttpRequest) -> Response:
    """Stores the body, and nothing unless all of it came."""
    await _store(calls, place(request.path_params["path"]), request.stream())
    return Response(b"{}", media_type=wire.JSON)


async def copy(calls: Calls, artifact: artifacts_pb2.Artifact, to: Place) -> None:
    """Stores the file's bytes at another place too."""
    by_id = pb.DownloadArtifactRequest(artifact_id=artifact.artifact_id)
    stream = calls.to.artifacts.DownloadArtifact(by_id, metadata=calls.metadata)

    async def parts() -> AsyncIterator[bytes]:
        async for message in stream:
            if message.part:
                yield message.part

    try:
        await _store(calls, to, parts())
    except grpc.aio.AioRpcError as error:
        raise failures.of_call(error) from None
    finally:
        stream.cancel()


async def _store(calls: Calls, to: Place, content: AsyncIterator[bytes]) -> None:
    stream = calls.to.artifacts.UploadArtifact(metadata=calls.metadata)
    try:
        with suppress(asyncio.InvalidStateError):  # answered before it had everything: the answer says why
            async for message in _upload(to, content):
                await stream.write(message)
            await stream.done_writing()
        await stream
    except grpc.aio.AioRpcError as error:
        raise _named(failures.of_call(error), to) from None
    finally:
        stream.cancel()


async def delete(calls: Calls, request: HttpRequest) -> Response:
    """A file, or all that lies below a folder."""
    where = place(request.path_params["path"])
    for artifact in await below(calls, where):
        await calls(calls.to.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(artifact_id=artifact.artifact_id))
    return Response(b"{}", media_type=wire.JSON)


async def file_of_run(calls: Calls, request: HttpRequest) -> Response:
    """get-artifact: for a browser."""
    run = request.query_params.get("run_id") or request.query_params.get("run_uuid", "")
    return await sent(
        calls, Place(artifacts_pb2.Owner(run_id=runs.run_id(run)), safe(request.query_params.get("path", "")))
    )


async def file_of_model(calls: Calls, request: HttpRequest) -> Response:
    """logged-models/{model_id}/artifacts/files: for a browser."""
    path = safe(request.query_params.get("artifact_file_path", ""))
    return await sent(calls, Place(artifacts_pb2.Owner(model_id=request.path_params["model_id"]), path))


async def sent(calls: Calls, where: Place) -> Response:
    """A file as an answer; as an attachment, so that no page of somebody's runs in this server's name."""
    by = pb.DownloadArtifactRequest(path=pb.ArtifactPath(owner=where.owner, path=where.path))
    stream = calls.to.artifacts.DownloadArtifact(by, metadata=calls.metadata)
    try:
        first = await anext(aiter(stream), None)
    except grpc.aio.AioRpcError as error:
        raise _named(failures.of_call(error), where) from None
    if first is None:
        raise Failure("INTERNAL_ERROR", "the artifact service answered nothing")
    artifact = first.artifact

    async def parts() -> AsyncIterator[bytes]:
        try:
            async for message in stream:
                yield message.part
        finally:
            stream.cancel()

    headers = {
        "content-length": str(artifact.size_bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(where.path.rpartition('/')[2], safe='')}",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(parts(), media_type=artifact.media_type, headers=headers)


def safe(path: str) -> str:
    """A path without surprises, however often it is decoded. Raises Failure."""
    decoded = path
    for _ in range(_MOST_DECODINGS):
        parts = decoded.split("/")
        if decoded.startswith("/") or ".." in parts or "\\" in decoded or "#" in decoded or "\x00" in decoded:
            raise failures.invalid(f"Invalid path: {path[:500]!r}. It must be relative, without '..', '\\' and '#'.")
        before, decoded = decoded, unquote(decoded)
        if decoded == before:
            return path.strip("/")
    raise failures.invalid(f"Invalid path: {path[:500]!r}. It is percent-encoded too many times over.")


def place(path: str) -> Place:
    """What `<experiment>/<run>/artifacts/...` or `<experiment>/models/<model>/artifacts/...` names. Raises Failure."""
    named = files_of.place(safe(path))
    if named is None:
        raise failures.absent(
            f"There is nothing at {path[:500]!r}: files belong to runs, <experiment id>/<run id>/artifacts/...,"
            " or to logged models, <experiment id>/models/<model id>/artifacts/..."
        )
    return Place(files_of.owner_of(named.owner), named.path)


async def _listed(calls: Calls, where: Place) -> list[Answer]:
    """Folders and files directly below, by path."""
    found: list[Answer] = []
    token = ""
    while True:
        request = pb.ListArtifactsRequest(
            owner=where.owner, folder=where.path, page_size=_PAGE, page_token=token, shallow=True
        )
        try:
            page = await calls(calls.to.artifacts.ListArtifacts, request)
        except Failure as failure:
            raise _named(failure, where) from None
        found += [{"path": one.path, "is_dir": False, "file_size": one.size_bytes} for one in page.artifacts]
        found += [{"path": folder, "is_dir": True} for folder in page.folders]
        token = page.next_page_token
        if not token:
            return sorted(found, key=lambda file: str(file["path"]))


async def below(calls: Calls, where: Place) -> list[artifacts_pb2.Artifact]:
    """The file at the path, or the files below it."""
    if where.path:
        by = pb.ArtifactPath(owner=where.owner, path=where.path)
        try:
            return [(await calls(calls.to.artifacts.GetArtifact, pb.GetArtifactRequest(path=by))).artifact]
        except Failure as failure:
            if failure.reason != "ARTIFACT_NOT_FOUND":
                raise _named(failure, where) from None
    found: list[artifacts_pb2.Artifact] = []
    token = ""
    while True:
        request = pb.ListArtifactsRequest(owner=where.owner, folder=where.path, page_size=_PAGE, page_token=token)
        try:
            page = await calls(calls.to.artifacts.ListArtifacts, request)
        except Failure as failure:
            raise _named(failure, where) from None
        found += page.artifacts
        token = page.next_page_token
        if not token:
            return found


async def _upload(to: Place, content: AsyncIterator[bytes]) -> AsyncIterator[pb.UploadArtifactRequest]:
    yield pb.UploadArtifactRequest(header=pb.UploadHeader(owner=to.owner, path=to.path))
    digest, size, waiting = hashlib.sha256(), 0, bytearray()
    async for chunk in content:
        digest.update(chunk)
        size += len(chunk)
        waiting += chunk
        while len(waiting) >= _PART_BYTES:
            yield pb.UploadArtifactRequest(part=bytes(waiting[:_PART_BYTES]))
            del waiting[:_PART_BYTES]
    if waiting:
        yield pb.UploadArtifactRequest(part=bytes(waiting))
    yield pb.UploadArtifactRequest(trailer=pb.UploadTrailer(size_bytes=size, sha256=digest.digest()))


def _named(failure: Failure, where: Place) -> Failure:
    match failure.reason:
        case "ARTIFACT_NOT_FOUND":
            return failure.said(f"No such artifact: '{where.path}'")
        case "RUN_NOT_FOUND":
            return failure.said(f"Run with id={where.owner.run_id} not found")
        case "LOGGED_MODEL_NOT_FOUND":
            return failure.said(f"Logged model with ID '{where.owner.model_id}' not found.")
        case "NOT_ACTIVE":
            return failure.said(
                f"The run {where.owner.run_id} must be in the 'active' state. Current state is deleted."
            )
        case _:
            return failure
