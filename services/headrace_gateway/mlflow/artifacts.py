"""Files of runs and logged models: MLflow's list of a run's, and its proxy of an artifact store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, unquote

import grpc
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from headrace import artifacts as files_of
from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.tracking.v1 import tracking_service_pb2
from headrace_gateway import ranges
from headrace_gateway.mlflow import failures, models, runs, wire
from headrace_gateway.mlflow.calls import TIMEOUT_S, A, Calls, Q
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Request, Text
from headrace_gateway.ranges import Stretch, Unsatisfiable
from headrace_gateway.web import body_of
from headrace_kit import rpc

_PART_BYTES: Final = 1 << 20
_PAGE: Final = 10_000
_MOST_UPLOAD_BYTES: Final = 10 << 20
_MOST_DECODINGS: Final = 5
_WORKSPACES: Final = "workspaces"


M = TypeVar("M", pb.UploadArtifactRequest, pb.UploadPartRequest)


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


_NOWHERE: Final = Place(artifacts_pb2.Owner(), "")


async def list_of_run(calls: Calls, request: List) -> Answer:
    """What lies directly in a folder of the run; paths begin at the run. Of a file there is nothing to list."""
    run = runs.run_id(request.run_id)
    found = await runs.on_run(calls, run, calls.to.tracking.GetRun, tracking_service_pb2.GetRunRequest(run_id=run))
    files = await _listed(calls, Place(artifacts_pb2.Owner(run_id=run), safe(request.path)))
    return wire.without_empty({"root_uri": runs.artifact_uri(found.run, calls.workspace), "files": files})


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
    files = await _listed(calls, place(calls, request.path))
    return wire.without_empty({"files": [{**file, "path": file["path"].rpartition("/")[2]} for file in files]})


async def download(calls: Calls, request: HttpRequest) -> Response:
    """The bytes of a file."""
    return await sent(calls, place(calls, request.path_params["path"]), request.headers)


async def upload(calls: Calls, request: HttpRequest) -> Response:
    """Stores the body, and nothing unless all of it came."""
    await store(calls, place(calls, request.path_params["path"]), request.stream())
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
        await store(calls, to, parts())
    except grpc.aio.AioRpcError as error:
        raise failures.of_call(error) from None
    finally:
        stream.cancel()


async def store(calls: Calls, to: Place, content: AsyncIterator[bytes], media_type: str = "") -> artifacts_pb2.Artifact:
    """Stores the content, and nothing unless all of it came. Raises Failure."""
    header = pb.UploadHeader(owner=to.owner, path=to.path, media_type=media_type)
    stream = calls.to.artifacts.UploadArtifact(metadata=calls.metadata)
    answer = await _sent_up(stream, pb.UploadArtifactRequest(header=header), content, to)
    return answer.artifact


async def store_part(calls: Calls, upload_id: str, number: int, content: AsyncIterator[bytes]) -> str:
    """Stores a part of an upload; the ETag. Raises Failure."""
    header = pb.UploadPartHeader(upload_id=upload_id, number=number)
    stream = calls.to.artifacts.UploadPart(metadata=calls.metadata)
    answer = await _sent_up(stream, pb.UploadPartRequest(header=header), content, _NOWHERE)
    return answer.etag


async def _sent_up(stream: "grpc.aio.StreamUnaryCall[M, A]", header: M, content: AsyncIterator[bytes], to: Place) -> A:
    try:
        with suppress(asyncio.InvalidStateError):  # answered before it had everything: the answer says why
            await stream.write(header)
            # Who writes to a call that is being refused may hear of a broken call instead of why.
            if rpc.HEADER_TAKEN in dict(await stream.initial_metadata()):
                async for message in _messages(type(header), content):
                    await stream.write(message)
                await stream.done_writing()
        return await stream
    except grpc.aio.AioRpcError as error:
        raise _named(failures.of_call(error), to) from None
    finally:
        stream.cancel()


async def _messages(kind: type[M], content: AsyncIterator[bytes]) -> AsyncIterator[M]:
    """Parts of one size, and the trailer."""
    digest, size, waiting = hashlib.sha256(), 0, bytearray()
    async for chunk in content:
        digest.update(chunk)
        size += len(chunk)
        waiting += chunk
        while len(waiting) >= _PART_BYTES:
            yield kind(part=bytes(waiting[:_PART_BYTES]))
            del waiting[:_PART_BYTES]
    if waiting:
        yield kind(part=bytes(waiting))
    yield kind(trailer=pb.UploadTrailer(size_bytes=size, sha256=digest.digest()))


async def delete(calls: Calls, request: HttpRequest) -> Response:
    """A file, or all that lies below a folder."""
    where = place(calls, request.path_params["path"])
    for artifact in await below(calls, where):
        await calls(calls.to.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(artifact_id=artifact.artifact_id))
    return Response(b"{}", media_type=wire.JSON)


async def file_of_run(calls: Calls, request: HttpRequest) -> Response:
    """get-artifact: for a browser."""
    run = request.query_params.get("run_id") or request.query_params.get("run_uuid", "")
    where = Place(artifacts_pb2.Owner(run_id=runs.run_id(run)), safe(request.query_params.get("path", "")))
    return await sent(calls, where, request.headers)


async def file_of_model(calls: Calls, request: HttpRequest) -> Response:
    """logged-models/{model_id}/artifacts/files: for a browser."""
    path = safe(request.query_params.get("artifact_file_path", ""))
    where = Place(artifacts_pb2.Owner(model_id=request.path_params["model_id"]), path)
    return await sent(calls, where, request.headers)


async def upload_of_run(calls: Calls, request: HttpRequest) -> Response:
    """upload-artifact: from a browser, small files only."""
    run, path = request.query_params.get("run_uuid", ""), request.query_params.get("path", "")
    if not run:
        raise failures.invalid("Request must specify run_uuid.")
    if not path:
        raise failures.invalid("Request must specify path.")
    where = Place(artifacts_pb2.Owner(run_id=runs.run_id(run)), safe(path))
    body = await body_of(request, _MOST_UPLOAD_BYTES)
    if body is None:
        raise failures.invalid("Artifact size is too large. Max size is 10MB.")
    if not body:
        raise failures.invalid("Request must specify data.")

    async def content() -> AsyncIterator[bytes]:
        yield body

    await store(calls, where, content())
    return Response(b"{}", media_type=wire.JSON)


async def sent(calls: Calls, where: Place, headers: Mapping[str, str]) -> Response:
    """As `sent_by`, the file at a place."""
    try:
        return await sent_by(
            calls, pb.DownloadArtifactRequest(path=pb.ArtifactPath(owner=where.owner, path=where.path)), headers
        )
    except Failure as failure:
        raise _named(failure, where) from None


async def sent_by(calls: Calls, request: pb.DownloadArtifactRequest, headers: Mapping[str, str]) -> Response:
    """A file, or the range of it that the headers ask for, as an answer.

    As an attachment, so that no page of somebody's runs in this server's name. Raises Failure.
    """
    stretch: Stretch | None = None
    if ranges.wanted(headers):
        by_name = pb.GetArtifactRequest()
        by_name.MergeFromString(request.SerializeToString())
        known = (await calls(calls.to.artifacts.GetArtifact, by_name)).artifact
        try:
            stretch = ranges.stretch(headers, known.size_bytes, etag(known))
        except Unsatisfiable:
            return Response(status_code=416, headers={"content-range": f"bytes */{known.size_bytes}"})
        request = pb.DownloadArtifactRequest(artifact_id=known.artifact_id)
        if stretch:
            request.offset, request.length = stretch.offset, stretch.length
    artifact, parts = await _opened(calls, request)
    answer_headers = {
        "content-length": str(stretch.length if stretch else artifact.size_bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(artifact.path.rpartition('/')[2], safe='')}",
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": etag(artifact),
    }
    if stretch:
        answer_headers["content-range"] = stretch.content_range
    return StreamingResponse(parts, 206 if stretch else 200, answer_headers, artifact.media_type)


def etag(artifact: artifacts_pb2.Artifact) -> str:
    """As the header has it."""
    return f'"{artifact.sha256.hex()}"'


async def _opened(
    calls: Calls, request: pb.DownloadArtifactRequest
) -> tuple[artifacts_pb2.Artifact, AsyncIterator[bytes]]:
    stream = calls.to.artifacts.DownloadArtifact(request, metadata=calls.metadata)
    try:
        first = await anext(aiter(stream), None)
    except grpc.aio.AioRpcError as error:
        raise failures.of_call(error) from None
    if first is None:
        raise Failure("INTERNAL_ERROR", "the artifact service answered nothing")

    async def parts() -> AsyncIterator[bytes]:
        try:
            async for message in stream:
                yield message.part
        finally:
            stream.cancel()

    return first.artifact, parts()


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


def place(calls: Calls, path: str) -> Place:
    """What `<experiment>/<run>/artifacts/...` or `<experiment>/models/<model>/artifacts/...` names. Raises Failure.

    `workspaces/<name>/` may stand before it, if it is the workspace of the request.
    """
    inside = safe(path)
    first, _, rest = inside.partition("/")
    if first == _WORKSPACES:
        workspace, _, inside = rest.partition("/")
        if workspace != calls.workspace:
            raise failures.invalid(
                f"Artifact path targets workspace '{workspace[:80]}' but the workspace specified in the request is"
                f" '{calls.workspace}'."
            )
    named = files_of.place(inside)
    if named is None:
        raise failures.absent(
            f"There is nothing at {path[:500]!r}: files belong to runs, <experiment id>/<run id>/artifacts/...,"
            " or to logged models, <experiment id>/models/<model id>/artifacts/..."
        )
    return Place(files_of.owner_of(named.owner), named.path)


async def _listed(calls: Calls, where: Place) -> list[Answer]:
    """Folders and files directly below, by path."""
    found: list[Answer] = []
    async for page in _pages(calls, where, shallow=True):
        found += [{"path": one.path, "is_dir": False, "file_size": one.size_bytes} for one in page.artifacts]
        found += [{"path": folder, "is_dir": True} for folder in page.folders]
    return sorted(found, key=lambda file: str(file["path"]))


async def below(calls: Calls, where: Place) -> list[artifacts_pb2.Artifact]:
    """The file at the path, or the files below it."""
    if where.path:
        by = pb.ArtifactPath(owner=where.owner, path=where.path)
        try:
            return [
                (await on_file(calls, where, calls.to.artifacts.GetArtifact, pb.GetArtifactRequest(path=by))).artifact
            ]
        except Failure as failure:
            if failure.reason != "ARTIFACT_NOT_FOUND":
                raise
    return [artifact async for page in _pages(calls, where) for artifact in page.artifacts]


async def _pages(calls: Calls, where: Place, *, shallow: bool = False) -> AsyncIterator[pb.ListArtifactsResponse]:
    """All pages of a list."""
    request = pb.ListArtifactsRequest(owner=where.owner, folder=where.path, page_size=_PAGE, shallow=shallow)
    try:
        async for page in calls.pages(calls.to.artifacts.ListArtifacts, request):
            yield page
    except Failure as failure:
        raise _named(failure, where) from None


async def on_file(
    calls: Calls,
    where: Place,
    method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]",
    request: Q,
    *,
    timeout_s: float = TIMEOUT_S,
) -> A:
    """A call about a file, or a folder; says failures as MLflow does."""
    try:
        return await calls(method, request, timeout_s=timeout_s)
    except Failure as failure:
        raise _named(failure, where) from None


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
