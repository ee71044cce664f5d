"""Uploads in parts over gRPC, in tests."""

import hashlib
from collections.abc import Iterator

from fix_artifacts import MIB, OWNER, RUN
from fix_services import as_tenant
from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceStub


def part_of(upload_id: str, number: int, data: bytes) -> Iterator[pb.UploadPartRequest]:
    """The messages of one part."""
    yield pb.UploadPartRequest(header=pb.UploadPartHeader(upload_id=upload_id, number=number))
    for at in range(0, len(data), MIB):
        yield pb.UploadPartRequest(part=data[at : at + MIB])
    trailer = pb.UploadTrailer(size_bytes=len(data), sha256=hashlib.sha256(data).digest())
    yield pb.UploadPartRequest(trailer=trailer)


class Parts:
    """One upload in parts, by blocking calls: play with it in a thread, the service is in the test's loop."""

    def __init__(
        self,
        stub: ArtifactServiceStub,
        count: int,
        path: str = "model.bin",
        *,
        owner: artifacts_pb2.Owner = OWNER,
        tenant: str = "default",
    ) -> None:
        self.stub = stub
        self.metadata = as_tenant(tenant)
        started = stub.StartUpload(
            pb.StartUploadRequest(owner=owner, path=path, part_count=count), metadata=self.metadata
        )
        self.upload_id = started.upload_id
        self.etags: dict[int, str] = {}

    def put(self, number: int, data: bytes) -> str:
        answer = self.stub.UploadPart(part_of(self.upload_id, number, data), metadata=self.metadata)
        self.etags[number] = answer.etag
        return answer.etag

    def complete(self, parts: dict[int, str] | None = None, path: str = "") -> artifacts_pb2.Artifact:
        request = pb.CompleteUploadRequest(upload_id=self.upload_id)
        for number, etag in (self.etags if parts is None else parts).items():
            request.parts.add(number=number, etag=etag)
        if path:
            request.path.owner.run_id, request.path.path = RUN, path
        return self.stub.CompleteUpload(request, metadata=self.metadata).artifact

    def abort(self) -> None:
        self.stub.AbortUpload(pb.AbortUploadRequest(upload_id=self.upload_id), metadata=self.metadata)
